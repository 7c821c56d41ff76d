"""Replies that went wrong at random: whatever comes, no call is altered and nothing breaks.

Every stream is made from a good call or a known bad one, changed a few times, and cut into tokens
twice, at random places: between bytes too, so that characters come in halves.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from inference.messages import BadToolCall, Message, Text, ToolCall
from inference.parser import ReplyParser, ReplyPiece
from inference.profiles import QWEN3, QWEN3_5, QWEN3_8, TAGS, Profile
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript
from tests.inference.malformed_calls import DEMO, READABLE, REPLIES, UNREADABLE
from tests.inference.replies import EDITOR, ids, read, xml

# --- streams ------------------------------------------------------------------------------------

LINES = (
    "x = 1",
    "    y  ",
    "",
    "\t",
    "  ",
    "\r",
    "</div>",
    "<parameter",
    "\\n",
    "{",
    '"}}',
    "café 🙂\u00a0",
    "`<tool_call>`",
    "</tool_call>",
    "</parameter> in a line",
    "</function>",
    "<function=edit>",
    "</think>",
    "<parameter=path>a</parameter>",
    "<parameter=k>\n1\n</parameter>\n<parameter=l>\n2\n</parameter>",
    DEMO,
)
"""Lines of values. A tag alone in its line is there with its other half, or the call would be
another one (calls.py)."""

ODD = (*"🙂é\u00a0\u2028\ufeff\x00\r\n\t <>/\\\"'{}[]", "</", "<tool_call>", "\ud7ff", "NaN", "```")
PIECES = re.compile(r"(</?tool_call>|</?think>|<\|im_end\|>|</?function[^>]*>|</?parameter[^>]*>)")


def some_text(draw: random.Random) -> str:
    return "\n".join(draw.choices(LINES, k=draw.randint(0, 4)))


def some_arguments(draw: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {
        "path": some_text(draw),
        "old": some_text(draw),
        "new": some_text(draw),
        "line": draw.randint(-5, 500),
        "scale": draw.random(),
        "all": draw.random() < 0.5,
        "range": [1, draw.randint(2, 9)],
        "extra": {"a": some_text(draw), "b": None},
    }
    return {key: values[key] for key in draw.sample(sorted(values), k=draw.randint(0, 4))}


def written_xml(draw: random.Random) -> str:
    arguments = some_arguments(draw).items()
    lines = (f"{k}>\n{v if isinstance(v, str) else json.dumps(v)}" for k, v in arguments)
    return f"Now.\n\n{xml(*lines)}<|im_end|>"


def written_json(draw: random.Random) -> str:
    body = {"name": "edit", "arguments": some_arguments(draw)}
    written = json.dumps(body, ensure_ascii=draw.random() < 0.2)
    return f"Now.\n<tool_call>\n{written}\n</tool_call><|im_end|>"


CORPUS = [case[1] for case in (*READABLE, *UNREADABLE, *REPLIES) if len(case[1]) < 2000]


def written_known(draw: random.Random) -> str:
    return draw.choice(CORPUS).replace("\\<", "<")


def drop(parts: list[str], at: int, draw: random.Random) -> None:
    del parts[at]


def double(parts: list[str], at: int, draw: random.Random) -> None:
    parts.insert(at, parts[at])


def swap(parts: list[str], at: int, draw: random.Random) -> None:
    other = draw.randrange(len(parts))
    parts[at], parts[other] = parts[other], parts[at]


def truncate(parts: list[str], at: int, draw: random.Random) -> None:
    parts[at:] = [parts[at][: draw.randint(0, len(parts[at]))]]


def insert(parts: list[str], at: int, draw: random.Random) -> None:
    where = draw.randint(0, len(parts[at]))
    parts[at] = parts[at][:where] + draw.choice(ODD) + parts[at][where:]


def nest(parts: list[str], at: int, draw: random.Random) -> None:
    parts.insert(at, draw.choice(("<tool_call>\n", "<think>", "</think>", DEMO, "<parameter=old>")))


def quote(parts: list[str], at: int, draw: random.Random) -> None:
    mark = draw.choice(("`", '"', "'", "```\n", "<think>\n"))
    parts[at] = f"{mark}{parts[at]}{mark}"


def crack(parts: list[str], at: int, draw: random.Random) -> None:
    """Lose one character, of a tag perhaps."""
    where = draw.randint(0, len(parts[at]))
    parts[at] = parts[at][:where] + parts[at][where + 1 :]


MUTATIONS: tuple[Callable[[list[str], int, random.Random], None], ...] = (
    *(drop, double, swap, truncate, insert, nest, quote, crack),
)


def mutated(written: str, draw: random.Random) -> str:
    """Change a reply once or twice; it ends where an engine would end it."""
    parts = [part for part in PIECES.split(written) if part]
    for _ in range(draw.randint(1, 2)):
        if parts:
            draw.choice(MUTATIONS)(parts, draw.randrange(len(parts)), draw)
    said, stop, _ = "".join(parts).partition("<|im_end|>")
    return said + stop


# --- tokens -------------------------------------------------------------------------------------


class Cutter:
    """Cuts a reply into tokens of a vocabulary anywhere; what it has as one token stays whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        controls = {tokenizer.control(tag) for tag in TAGS if tokenizer.has_control(tag)}
        ordinary = set(range(tokenizer.vocab_size)) - controls
        self._token_of = {tokenizer.token_bytes(token): token for token in ordinary}
        self._control_of = {
            tag: tokenizer.controls[tag] for tag in TAGS if tag in tokenizer.controls
        }
        self._tag = re.compile("(" + "|".join(map(re.escape, self._control_of)) + ")")

    def cut(self, written: str, draw: random.Random) -> Iterator[int]:
        """Cut a reply in which every tag is a control token."""
        for part in self._tag.split(written):
            if part in self._control_of:
                yield self._control_of[part]
            else:
                yield from self.cut_text(part, draw)

    def cut_text(self, text: str, draw: random.Random) -> Iterator[int]:
        """Cut text that holds no control token, whatever it spells."""
        data, start = text.encode(), 0
        while start < len(data):
            end = start + int(draw.random() * 6) + 1
            while data[start:end] not in self._token_of:
                end = min(end, len(data)) - 1
            yield self._token_of[data[start:end]]
            start = end


# --- what must hold -----------------------------------------------------------------------------


def check_reasons(pieces: Sequence[ReplyPiece]) -> None:
    for piece in pieces:
        if isinstance(piece, BadToolCall):
            assert re.fullmatch(r"[^\n]{20,260}\.", piece.reason), piece.reason


def check_values(pieces: Sequence[ReplyPiece], written: str) -> None:
    """Check that every string of a call stands in the reply, to the blank."""
    for piece in pieces:
        if isinstance(piece, ToolCall):
            for key, value in piece.arguments.items():
                if isinstance(value, str):
                    is_there = stands_in_xml(key, value, written) or stands_in_json(value, written)
                    assert is_there, (key, value, written)


def stands_in_xml(key: str, value: str, written: str) -> bool:
    """Whether a value stands there less one newline before it and one after."""
    head = rf"<parameter(?:=|\s+name=)\s*[\"']?{re.escape(key)}[\"']?\s*/?>(?:\n|(?!\n))"
    after = r"(?=\n(?:<|\Z))" if value.endswith("\n") else r"(?=\n?(?:\s*<|\Z))"
    return re.search(head + re.escape(value) + after, written) is not None


def stands_in_json(value: str, written: str) -> bool:
    """Whether a value stands there as a string of JSON, or as an object."""
    decoder = json.JSONDecoder(strict=False)
    for start in re.finditer(r'["{[]', written):
        with suppress(ValueError):
            found, _ = decoder.raw_decode(written, start.start())
            if value in (found, json.dumps(found, ensure_ascii=False)):
                return True
    return False


def run(
    cutter: Cutter, tokenizer: Tokenizer, written: str, draw: random.Random
) -> list[ReplyPiece]:
    """Read a reply in two cuts and return its pieces, the same of both."""
    is_thought = tokenizer.has_control("<think>") and draw.random() < 0.1
    opener = ids(tokenizer, "<think>\n") if is_thought else ()
    ways = (
        read(ReplyParser(tokenizer, (EDITOR,), opener), cutter.cut(written, draw)) for _ in range(2)
    )
    pieces, again = ways
    assert pieces == again
    check_reasons(pieces)
    if is_thought and "</think>" not in written:
        assert not any(isinstance(piece, ToolCall | BadToolCall | Text) for piece in pieces)
    return pieces


def fuzz(tokenizer: Tokenizer, seed: int, num: int) -> None:
    draw, cutter = random.Random(seed), Cutter(tokenizer)
    num_calls = 0
    for n in range(num):
        good = (written_xml, written_json, written_known)[n % 3](draw)
        written = mutated(good, draw)
        pieces = run(cutter, tokenizer, written, draw)
        check_values(pieces, written)
        num_calls += any(isinstance(piece, ToolCall) for piece in pieces)
    assert num * 0.2 < num_calls < num * 0.9, "both kinds must come out"


def test_mutated_replies_alter_no_call_however_they_are_cut(tokenizer: Tokenizer) -> None:
    fuzz(tokenizer, seed=40, num=600)


def test_the_same_where_tags_are_spelled_in_letters(plain_tokenizer: Tokenizer) -> None:
    fuzz(plain_tokenizer, seed=41, num=200)


@pytest.mark.slow
def test_twenty_thousand_mutated_replies(tokenizer: Tokenizer) -> None:
    fuzz(tokenizer, seed=42, num=20_000)


@pytest.mark.parametrize("profile", [QWEN3_5, QWEN3_8, QWEN3], ids=lambda p: p.name)
def test_a_call_that_the_transcript_writes_is_read_as_it_was(
    profile: Profile, tokenizer: Tokenizer
) -> None:
    draw, cutter = random.Random(30), Cutter(tokenizer)
    transcript = Transcript(tokenizer, profile, (EDITOR,))
    start = [Message("system", "s"), Message("user", "u")]
    prompt = transcript.render(start, thinking=False)
    for _ in range(80):
        calls = tuple(ToolCall("edit", some_arguments(draw)) for _ in range(draw.randint(1, 2)))
        whole = transcript.render([*start, Message("assistant", "Now.", tool_calls=calls)], False)
        generated = whole.tokens[len(prompt.tokens) - len(prompt.opener) : whole.boundaries[2]]
        assert read(ReplyParser(tokenizer, (EDITOR,)), generated) == [Text("Now."), *calls]
        pieces = read(ReplyParser(tokenizer, (EDITOR,)), recut(generated, tokenizer, cutter, draw))
        assert pieces == [Text("Now."), *calls]


def recut(
    tokens: Sequence[int], tokenizer: Tokenizer, cutter: Cutter, draw: random.Random
) -> Iterator[int]:
    """Cut the text between control tokens anew."""
    text: list[int] = []
    for token in tokens:
        if token in tokenizer.controls.values():
            yield from cutter.cut_text(tokenizer.decode(text), draw)
            yield token
            text = []
        else:
            text.append(token)
    yield from cutter.cut_text(tokenizer.decode(text), draw)
