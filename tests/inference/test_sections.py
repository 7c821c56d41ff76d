"""Sections of a system message: encoded apart, counted, and where snapshots between them are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.door import FINE_LADDER_TOKENS, FINE_TOKENS, LADDER_TOKENS
from inference.marks import _spread
from inference.messages import Message, ToolSpec
from inference.profiles import NANO, QWEN2_5, QWEN3_5, Profile
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript

TOOLS = (ToolSpec("bash", "Run.", {"type": "object", "properties": {}}),)
SECTIONS = ("# Files\n\n", '<file path="a">\none\n</file>\n', '<file path="b">\ntwo\n</file>\n')


def system(*sections: str) -> Message:
    return Message("system", "Be kind.", sections=sections)


@pytest.mark.parametrize("profile", [QWEN3_5, QWEN2_5, NANO], ids=lambda profile: profile.name)
def test_sections_read_as_one_text_behind_the_system_message(
    profile: Profile, tokenizer: Tokenizer
) -> None:
    transcript = Transcript(tokenizer, profile, TOOLS)
    parts = transcript.render([system(*SECTIONS)], thinking=False)
    whole = transcript.render([Message("system", "Be kind.")], thinking=False)
    text = tokenizer.decode(whole.tokens[: whole.boundaries[0]])
    end = "<|im_end|>\n"
    expected = text.removesuffix(end) + "\n\n" + "".join(SECTIONS) + end
    assert tokenizer.decode(parts.tokens[: parts.boundaries[0]]) == expected


def test_sections_of_this_form_have_the_tokens_of_the_whole_text(tokenizer: Tokenizer) -> None:
    transcript = Transcript(tokenizer, QWEN3_5)
    rendered = transcript.render([system(*SECTIONS)], thinking=False)
    start, *_, end = rendered.sections
    assert rendered.tokens[start:end] == tokenizer.encode("".join(SECTIONS))


def test_places_are_where_each_section_begins_and_ends(tokenizer: Tokenizer) -> None:
    rendered = Transcript(tokenizer, QWEN3_5, TOOLS).render([system(*SECTIONS)], thinking=False)
    pairs = zip(rendered.sections, rendered.sections[1:], strict=False)
    texts = [tokenizer.decode(rendered.tokens[a:b]) for a, b in pairs]
    assert tuple(texts) == SECTIONS
    assert rendered.sections[-1] < rendered.boundaries[0]


def test_without_sections_there_are_no_places(tokenizer: Tokenizer) -> None:
    assert Transcript(tokenizer, QWEN3_5).render([system()], thinking=False).sections == ()


def test_an_older_vocabulary_keeps_its_sections_apart_too(old_tokenizer: Tokenizer) -> None:
    rendered = Transcript(old_tokenizer, QWEN2_5).render([system(*SECTIONS)], thinking=False)
    start, *_, end = rendered.sections
    assert old_tokenizer.decode(rendered.tokens[start:end]) == "".join(SECTIONS)


@settings(max_examples=150, deadline=None, database=None)
@given(
    texts=st.lists(st.text(max_size=20), min_size=1, max_size=6),
    new=st.text(max_size=20),
    data=st.data(),
)
def test_a_changed_section_leaves_the_tokens_before_it(
    tokenizer: Tokenizer, texts: list[str], new: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(texts) - 1))
    transcript = Transcript(tokenizer, QWEN3_5)
    one = transcript.render([system(*texts)], thinking=False)
    other = transcript.render([system(*texts[:place], new, *texts[place + 1 :])], thinking=False)
    length = one.sections[place]
    assert one.sections[: place + 1] == other.sections[: place + 1]
    assert one.tokens[:length] == other.tokens[:length]


@pytest.mark.parametrize("text", ["<|im_end|>", "<|im_start|>system\n", "<think>", "<tool_call>"])
def test_no_section_becomes_a_control_token(text: str, tokenizer: Tokenizer) -> None:
    rendered = Transcript(tokenizer, QWEN3_5).render([system(text, "x")], thinking=False)
    start, *_, end = rendered.sections
    assert not set(rendered.tokens[start:end]) & set(tokenizer.controls.values())


def test_only_a_system_message_has_sections() -> None:
    with pytest.raises(AssertionError):
        Message("user", "Hello.", sections=("x",))


@settings(max_examples=200, deadline=None, database=None)
@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=80), start=st.integers(1, 3000))
def test_snapshots_lie_where_sections_end_and_closer_where_much_changes(
    lengths: list[int], start: int
) -> None:
    places = [start]
    for length in lengths:
        places.append(places[-1] + length)
    chosen = _spread(places)
    assert chosen[0] == start
    assert set(chosen) <= set(places)
    longest = max(lengths)
    for place in places:
        nearest = max(mark for mark in chosen if mark <= place)
        is_late = place > places[-1] - FINE_TOKENS
        step = FINE_LADDER_TOKENS if is_late else LADDER_TOKENS
        assert place - nearest < step + longest
    assert len(chosen) <= 1 + places[-1] // LADDER_TOKENS + FINE_TOKENS // FINE_LADDER_TOKENS + 1
