"""What becomes of a reply, well or badly formed, as its ids come in one by one."""

import random
from typing import Any

import pytest

from inference.messages import BadToolCall, Text, Thinking, ToolCall, ToolSpec
from inference.parser import ReplyParser, ReplyPiece
from inference.profiles import TAGS, CallSyntax
from inference.tokenizer import Tokenizer
from tests.inference.malformed_calls import DEMO, READABLE, REPLIES, UNREADABLE
from tests.inference.replies import EDITOR, ids, pair, parse, read, xml

# --- text and thinking --------------------------------------------------------------------------


def test_thinking_text_and_a_call_come_apart_without_their_framing(tokenizer: Tokenizer) -> None:
    written = f"I look.\n</think>\n\nReading it.\n\n{xml(pair('path', 'a.py'))}<|im_end|>"
    assert parse(tokenizer, written, opener="<think>\n") == [
        Thinking("I look."),
        Text("Reading it."),
        ToolCall("edit", {"path": "a.py"}),
    ]


def test_blank_lines_within_text_stay(tokenizer: Tokenizer) -> None:
    assert parse(tokenizer, "a\n\n\n  b  \nc\n<|im_end|>") == [Text("a\n\n\n  b  \nc")]


def test_text_streams_before_the_reply_ends(tokenizer: Tokenizer) -> None:
    parser = ReplyParser(tokenizer)
    streamed = [parser.feed(token) for token in tokenizer.encode("one two three")]
    assert sum(map(bool, streamed)) > 3


def test_a_character_of_several_tokens_is_shown_once_and_whole(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("🙂")) > 1
    parser = ReplyParser(tokenizer)
    pieces = [piece for token in tokenizer.encode("a🙂b") for piece in parser.feed(token)]
    assert [p.text for p in pieces if isinstance(p, Text)] == ["a", "🙂", "b"]


def test_a_long_call_tells_its_tool_and_how_long_it_has_become(tokenizer: Tokenizer) -> None:
    parser, told = ReplyParser(tokenizer), []
    for token in ids(tokenizer, xml(pair("new_str", "word " * 200))):
        parser.feed(token)
        told += [news] if (news := parser.news()) else []
    assert {news.name for news in told} == {"edit"}
    sizes = [news.num_bytes for news in told]
    assert 8 < len(sizes) < 20
    assert sizes == sorted(sizes)
    assert sizes[-1] > 900
    assert parser.news() is None
    for token in tokenizer.encode(
        "A text that is as long as a call would have to be to be told of."
    ):
        parser.feed(token)
    assert parser.news() is None


def test_half_a_character_at_the_end_is_shown_as_broken(tokenizer: Tokenizer) -> None:
    parser = ReplyParser(tokenizer)
    pieces = [p for token in tokenizer.encode("🙂")[:2] for p in parser.feed(token)]
    assert [*pieces, *parser.flush()] == [Text("\ufffd")]


def test_nothing_inside_a_thought_is_a_call(tokenizer: Tokenizer) -> None:
    pieces = parse(tokenizer, f"Maybe {xml(pair('path', 'a'))}?", opener="<think>\n")
    assert len(pieces) == 1
    assert isinstance(pieces[0], Thinking)
    assert "<function=edit>" in pieces[0].text


def test_prose_that_spells_the_tags_is_text(tokenizer: Tokenizer) -> None:
    written = r"Write \<tool_call> and \</think> or <function=edit> by hand."
    assert parse(tokenizer, written) == [Text(written.replace("\\", ""))]


def test_the_closed_opener_leaves_plain_text(tokenizer: Tokenizer) -> None:
    opener = "<think>\n\n</think>\n\n"
    assert parse(tokenizer, "Hello.<|im_end|>", opener=opener) == [Text("Hello.")]


def test_a_thought_that_the_model_opens_itself(tokenizer: Tokenizer) -> None:
    assert parse(tokenizer, "<think>\nhm\n</think>\n\nYes.") == [Thinking("hm"), Text("Yes.")]


def test_closing_tags_that_close_nothing_are_dropped(tokenizer: Tokenizer) -> None:
    assert parse(tokenizer, "A</think></think> b</tool_call>.") == [Text("A b.")]


def test_an_older_vocabulary_has_no_thoughts_and_still_has_calls(old_tokenizer: Tokenizer) -> None:
    parser = ReplyParser(old_tokenizer, (EDITOR,), syntax="hermes")
    call = '\n{"name": "edit", "arguments": {"path": "a"}}\n'
    tokens = [
        *old_tokenizer.encode("<think> no"),
        old_tokenizer.control("<tool_call>"),
        *old_tokenizer.encode(call),
        old_tokenizer.control("</tool_call>"),
    ]
    assert read(parser, tokens) == [Text("<think> no"), ToolCall("edit", {"path": "a"})]


@pytest.mark.parametrize("length", [1, 2, 3, 50])
def test_a_vocabulary_without_the_tag_has_calls_by_its_letters(
    plain_tokenizer: Tokenizer, length: int
) -> None:
    written = f"So `<tool_call>`, a < b.\n\n{xml(pair('new', DEMO), pair('path', '<'))}\nEnd <tool"
    cut = [written[n : n + length] for n in range(0, len(written), length)]
    tokens = [token for part in cut for token in plain_tokenizer.encode(part)]
    assert read(ReplyParser(plain_tokenizer, (EDITOR,)), tokens) == [
        Text("So `<tool_call>`, a < b."),
        ToolCall("edit", {"new": DEMO, "path": "<"}),
        Text("End <tool"),
    ]


@pytest.mark.parametrize("syntax", ["xml", "hermes"])
def test_an_error_asks_for_the_form_of_the_family(syntax: CallSyntax, tokenizer: Tokenizer) -> None:
    parser = ReplyParser(tokenizer, (), syntax=syntax)
    (bad,) = read(parser, ids(tokenizer, "<tool_call>\nls\n</tool_call>"))
    assert isinstance(bad, BadToolCall)
    assert ("<function=NAME>" in bad.reason) == (syntax == "xml")
    assert ('{"name": NAME' in bad.reason) == (syntax == "hermes")


def test_broken_bytes_do_not_swallow_what_follows(tokenizer: Tokenizer) -> None:
    tokens = [*tokenizer.encode("🙂")[:2], *tokenizer.encode("ok")]
    assert read(ReplyParser(tokenizer), tokens) == [Text("\ufffdok")]


def test_tokens_of_thinking_are_counted_without_opener_and_tags(tokenizer: Tokenizer) -> None:
    thought = tokenizer.encode("Look first.\n")
    parser = ReplyParser(tokenizer, (EDITOR,), ids(tokenizer, "<think>\n"))
    assert parser.is_thinking
    read(parser, [*thought, *ids(tokenizer, f"</think>\n\nNow.\n\n{DEMO}<|im_end|>")])
    assert not parser.is_thinking
    assert parser.num_thinking == len(thought)
    unclosed = ReplyParser(tokenizer, (EDITOR,), ids(tokenizer, "<think>\n"))
    read(unclosed, [*thought, *ids(tokenizer, "<|im_end|>")])
    assert unclosed.is_thinking
    assert unclosed.num_thinking == len(thought)


# --- well-formed calls --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "    indented\n\n",
        "\n\n  def f():\n\treturn 1\n\n",
        "a </parameter> b",
        "<parameter=old> in a line",
        "</function>",
        "x\n</parameter> y",
        '{"a": 1}',
        "1",
        "café 🙂",
    ],
)
def test_a_string_comes_out_to_the_blank(value: str, tokenizer: Tokenizer) -> None:
    written = xml(f"old>\n{value}", f"new>\n{value}")
    assert parse(tokenizer, written) == [ToolCall("edit", {"old": value, "new": value})]


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("line", "12", 12),
        ("line", " 12 ", 12),
        ("line", "12.0", 12),
        ("scale", "1.5", 1.5),
        ("scale", "2", 2),
        ("all", "true", True),
        ("all", "False", False),
        ("range", "[1, 20]", [1, 20]),
        ("range", "[1,\n 20]", [1, 20]),
        ("extra", '{"a": [1]}', {"a": [1]}),
        ("extra", "null", None),
        ("extra", "None", None),
        ("free", "12", "12"),
        ("unknown", "12", "12"),
    ],
)
def test_other_types_follow_the_schema(
    key: str, written: str, value: object, tokenizer: Tokenizer
) -> None:
    assert parse(tokenizer, xml(f"{key}>\n{written}")) == [ToolCall("edit", {key: value})]


def test_several_calls_in_one_reply(tokenizer: Tokenizer) -> None:
    written = f"Two.\n\n{xml(pair('path', 'a'))}\n{xml(pair('path', 'b'))}<|im_end|>"
    assert parse(tokenizer, written) == [
        Text("Two."),
        ToolCall("edit", {"path": "a"}),
        ToolCall("edit", {"path": "b"}),
    ]


def test_a_call_is_handed_out_when_its_tag_closes(tokenizer: Tokenizer) -> None:
    parser = ReplyParser(tokenizer, (EDITOR,))
    tokens = ids(tokenizer, xml("path>\na"))
    assert [piece for token in tokens[:-1] for piece in parser.feed(token)] == []
    assert parser.feed(tokens[-1]) == [ToolCall("edit", {"path": "a"})]
    assert parser.flush() == []


# --- malformed calls that can be read -----------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "arguments"), [c[1:] for c in READABLE], ids=[c[0] for c in READABLE]
)
def test_a_call_whose_meaning_is_plain_is_read(
    written: str, arguments: dict[str, Any], tokenizer: Tokenizer
) -> None:
    assert parse(tokenizer, written) == [ToolCall("edit", arguments)]


def test_a_call_that_lost_its_closing_tag_ends_where_the_next_begins(tokenizer: Tokenizer) -> None:
    one, two = xml("path>\na"), xml("path>\nb")
    both = [ToolCall("edit", {"path": "a"}), ToolCall("edit", {"path": "b"})]
    assert parse(tokenizer, one.replace("</tool_call>", "") + two) == both
    no_end = one.replace("</parameter>\n</function>\n", "")
    assert parse(tokenizer, f"{no_end}\n{two}") == both


# --- malformed calls that cannot ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "reason"), [c[1:] for c in UNREADABLE], ids=[c[0] for c in UNREADABLE]
)
def test_a_call_that_cannot_be_read_says_why_in_one_line(
    written: str, reason: str, tokenizer: Tokenizer
) -> None:
    (piece,) = parse(tokenizer, written)
    assert isinstance(piece, BadToolCall)
    assert reason in piece.reason
    assert "\n" not in piece.reason
    assert piece.reason.endswith(".")
    assert len(piece.reason) < 200


@pytest.mark.parametrize(
    ("written", "pieces"), [c[1:] for c in REPLIES], ids=[c[0] for c in REPLIES]
)
def test_what_is_no_call_is_told_from_what_is_one(
    written: str, pieces: list[ReplyPiece], tokenizer: Tokenizer
) -> None:
    assert parse(tokenizer, written) == pieces


def test_a_bad_call_keeps_its_raw_text_and_the_next_one_is_read(tokenizer: Tokenizer) -> None:
    written = f"{xml(pair('line', 'x'))}\n{xml(pair('path', 'a'))}"
    bad, good = parse(tokenizer, written)
    assert isinstance(bad, BadToolCall)
    assert bad.raw == "\n<function=edit>\n<parameter=line>\nx\n</parameter>\n</function>\n"
    assert good == ToolCall("edit", {"path": "a"})


def test_no_cut_of_a_good_reply_makes_a_call_out_of_half_a_value(tokenizer: Tokenizer) -> None:
    whole = ToolCall("edit", {"new": "first\nsecond </x>\n  third", "line": 3})
    tokens = ids(tokenizer, "Go.\n\n" + xml(f"new>\n{whole.arguments['new']}", "line>\n3"))
    for length in range(len(tokens)):
        parser = ReplyParser(tokenizer, (EDITOR,))
        pieces = [piece for token in tokens[:length] for piece in parser.feed(token)]
        calls = [p for p in (*pieces, *parser.flush()) if isinstance(p, ToolCall)]
        assert calls in ([], [whole])


@pytest.mark.parametrize("lost", ["", "</function>", "</tool_call>", "'</tool_call>' + y"])
def test_at_the_limit_of_a_reply_a_value_without_its_end_may_go_on(
    tokenizer: Tokenizer, lost: str
) -> None:
    tokens = ids(tokenizer, f"<tool_call>\n<function=edit>\n<parameter=new>\nx\n{lost}")
    parser = ReplyParser(tokenizer, (EDITOR,))
    assert [piece for token in tokens for piece in parser.feed(token)] == []
    (call,) = parser.flush(cut_at=len(tokens))
    assert isinstance(call, BadToolCall)
    assert call.cut_at == len(tokens)


def test_a_schema_that_says_nothing_of_use_types_nothing(tokenizer: Tokenizer) -> None:
    schemas = {"a": None, "b": {"type": None}, "c": {"anyOf": 3}, "d": {"$ref": "#/x"}, "e": True}
    tool = ToolSpec("edit", "", {"properties": schemas})
    pieces = parse(tokenizer, xml(*(f"{key}>\n 1" for key in schemas)), [tool])
    assert pieces == [ToolCall("edit", dict.fromkeys(schemas, " 1"))]


# --- anything at all ----------------------------------------------------------------------------


def test_no_reply_whatever_breaks_the_parser(tokenizer: Tokenizer) -> None:
    draw = random.Random(31)
    scraps = [*TAGS, "<function=edit>", "</function>", "<parameter=line>", "<parameter=old>"]
    scraps += ["<function=", "</parameter>", "\n", "3", "[", '{"name": "edit", "arguments": {']
    scraps += ['"}', "}}", "text", "/>"]
    for _ in range(500):
        written = "".join(draw.choices(scraps, k=draw.randint(1, 14)))
        for piece in parse(tokenizer, written):
            if isinstance(piece, BadToolCall):
                assert piece.reason
                assert "\n" not in piece.reason
            if isinstance(piece, ToolCall):
                assert piece.name
                assert isinstance(piece.arguments.get("line", 0), int)
