"""What becomes of a reply, well or badly formed, as its ids come in one by one."""

import random
import re
from collections.abc import Sequence
from typing import Any

import pytest

from inference.messages import BadToolCall, Message, Text, Thinking, ToolCall, ToolSpec
from inference.parser import ReplyParser, ReplyPiece
from inference.profiles import QWEN3, QWEN3_5, QWEN3_8, TAGS, Profile
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript

EDITOR = ToolSpec(
    "edit",
    "",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "old": {"type": "string"},
            "new": {"type": "string"},
            "line": {"type": "integer"},
            "scale": {"type": "number"},
            "all": {"type": "boolean"},
            "range": {"type": "array", "items": {"type": "integer"}},
            "extra": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            "free": {},
        },
    },
)


def ids(tokenizer: Tokenizer, written: str) -> list[int]:
    """Encode a reply as a model would: tags are control tokens, `\\<` is just text."""
    out: list[int] = []
    pattern = "((?<!\\\\)(?:" + "|".join(map(re.escape, TAGS)) + "))"
    for part in re.split(pattern, written):
        if part in TAGS:
            out.append(tokenizer.control(part))
        else:
            out += tokenizer.encode(part.replace("\\<", "<"))
    return out


def parse(
    tokenizer: Tokenizer, written: str, tools: Sequence[ToolSpec] = (EDITOR,), opener: str = ""
) -> list[ReplyPiece]:
    parser = ReplyParser(tokenizer, tools, ids(tokenizer, opener))
    pieces: list[ReplyPiece] = []
    for token in ids(tokenizer, written):
        pieces += parser.feed(token)
    return joined([*pieces, *parser.flush()])


def joined(pieces: Sequence[ReplyPiece]) -> list[ReplyPiece]:
    """Join neighbouring texts, which may stream in any cut."""
    out: list[ReplyPiece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if isinstance(piece, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + piece.text)
        elif isinstance(piece, Thinking) and isinstance(last, Thinking):
            out[-1] = Thinking(last.text + piece.text)
        else:
            out.append(piece)
    return out


def pair(key: str, value: str) -> str:
    """Write the inside of `<parameter=KEY>\\nVALUE` up to its closing tag."""
    return f"{key}>\n{value}"


def xml(*parameters: str, name: str = "edit") -> str:
    inner = "".join(f"<parameter={p}\n</parameter>\n" for p in parameters)
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


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
    parser = ReplyParser(old_tokenizer, (EDITOR,))
    call = '\n{"name": "edit", "arguments": {"path": "a"}}\n'
    tokens = [
        *old_tokenizer.encode("<think> no"),
        old_tokenizer.control("<tool_call>"),
        *old_tokenizer.encode(call),
        old_tokenizer.control("</tool_call>"),
    ]
    pieces = [piece for token in tokens for piece in parser.feed(token)]
    assert joined(pieces) == [Text("<think> no"), ToolCall("edit", {"path": "a"})]


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


DEMO = xml(pair("path", "x"), name="demo")

# --- malformed calls that can be read -----------------------------------------------------------

LENIENT: list[tuple[str, str, dict[str, Any]]] = [
    ("no arguments", "<tool_call>\n<function=edit>\n</function>\n</tool_call>", {}),
    ("self-closing", "<tool_call>\n<function=edit/>\n</tool_call>", {}),
    ("self-closing, one space", "<tool_call><function=edit /></tool_call>", {}),
    ("self-closing parameter", xml().replace("</f", "<parameter=old/>\n</f"), {"old": ""}),
    ("empty tag that is no string", xml("line>", "path>\na"), {"path": "a"}),
    ("empty string", xml("old>", "path>\na"), {"old": "", "path": "a"}),
    ("all on one line", xml("path>a.py", "line>3").replace("\n", ""), {"path": "a.py", "line": 3}),
    ("quoted names", xml('"path">\na', name='"edit"'), {"path": "a"}),
    ("blank lines between", xml("path>\na").replace(">\n<", ">\n\n  <"), {"path": "a"}),
    (
        "no </function>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</tool_call>",
        {"path": "a"},
    ),
    (
        "no </tool_call>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</function>",
        {"path": "a"},
    ),
    (
        "nothing closed",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n<|im_end|>",
        {"path": "a"},
    ),
    (
        "a closing tag begun",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</para<|im_end|>",
        {"path": "a"},
    ),
    (
        "no last </parameter>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</function>\n</tool_call>",
        {"path": "a"},
    ),
    (
        "no last </parameter>, no </function>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</tool_call><|im_end|>",
        {"path": "a"},
    ),
    (
        "no </parameter> in the middle",
        xml("path>\na", "new>\nb").replace("\n</parameter>", "", 1),
        {"path": "a", "new": "b"},
    ),
    (
        "JSON in the function",
        '<tool_call>\n<function=edit>\n{"path": "a", "line": 3}\n</function>\n</tool_call>',
        {"path": "a", "line": 3},
    ),
    (
        "JSON strings for numbers",
        '<tool_call>{"name": "edit", "arguments": {"line": "3", "all": ""}}</tool_call>',
        {"line": 3},
    ),
    (
        "JSON objects for strings",
        '<tool_call>{"name": "edit", "arguments": {"new": {"k": 1}, "old": null}}</tool_call>',
        {"new": '{"k": 1}'},
    ),
    (
        "Hermes JSON",
        '<tool_call>\n{"name": "edit", "arguments": {"old": "  x\\n", "range": [1]}}\n</tool_call>',
        {"old": "  x\n", "range": [1]},
    ),
    (
        "Hermes, arguments as a JSON string",
        '<tool_call>{"name": "edit", "arguments": "{\\"line\\": 1}"}</tool_call>',
        {"line": 1},
    ),
    ("Hermes, no arguments", '<tool_call>{"name": "edit"}</tool_call>', {}),
    ("Hermes, null arguments", '<tool_call>{"name": "edit", "arguments": null}</tool_call>', {}),
    (
        "Hermes, a brace lost",
        '<tool_call>{"name": "edit", "arguments": {"path": "a"}</tool_call>',
        {"path": "a"},
    ),
    (
        "Hermes, a brace too many",
        '<tool_call>{"name": "edit", "arguments": {"path": "a"}}}</tool_call>',
        {"path": "a"},
    ),
    (
        "Hermes, a newline in a string",
        '<tool_call>{"name": "edit", "arguments": {"old": "a\nb"}}</tool_call>',
        {"old": "a\nb"},
    ),
    (
        "a value that shows a call",
        xml(f"new>\nSee:\n{DEMO}\nend"),
        {"new": f"See:\n{DEMO}\nend"},
    ),
    (
        "a value that names a closing tag",
        xml("new>\ntags = '</tool_call>'\nend", "path>\na"),
        {"new": "tags = '</tool_call>'\nend", "path": "a"},
    ),
]


@pytest.mark.parametrize(
    ("written", "arguments"), [c[1:] for c in LENIENT], ids=[c[0] for c in LENIENT]
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

UNREADABLE: list[tuple[str, str, str]] = [
    ("empty", "<tool_call></tool_call>", "names no function"),
    ("prose", "<tool_call>\nrun the tests\n</tool_call>", "names no function"),
    ("no name", "<tool_call>\n<function=>\n</function>\n</tool_call>", "names no function"),
    ("not a number", xml("line>\ntwelve"), "line of edit must be an integer"),
    ("a fraction", xml("line>\n1.5"), "line of edit must be an integer"),
    ("a boolean for a number", xml("line>\ntrue"), "must be an integer"),
    ("a number for an array", xml("range>\n3"), "range of edit must be an array"),
    ("two numbers", xml("range>\n1, 20"), "must be an array written as JSON, not '1, 20'"),
    ("a number for a boolean", xml("all>\n1"), "all of edit must be a boolean"),
    ("twice", xml("path>\na", "path>\nb"), "path of edit is given twice"),
    ("stray text", xml("path>\na").replace("</fun", "oops\n</fun"), "of path comes text"),
    ("text first", xml().replace("</fun", "oops\n</fun"), "'oops"),
    ("broken JSON", '<tool_call>{"name": "edit", "arguments": {,}}</tool_call>', "not valid JSON"),
    ("JSON, no name", '<tool_call>{"arguments": {}}</tool_call>', 'has no "name"'),
    (
        "JSON, listed arguments",
        '<tool_call>{"name": "edit", "arguments": [1]}</tool_call>',
        "must be a JSON object",
    ),
    (
        "broken JSON in the function",
        '<tool_call><function=edit>{"path": }</function></tool_call>',
        "The body of edit is not valid JSON",
    ),
    ("JSON that is an unfinished list", '<tool_call>{"name": "edit", [</tool_call>', "not valid"),
    (
        "cut in a value",
        "<tool_call>\n<function=edit>\n<parameter=new>\nhalf of a fi",
        "cut off inside parameter new",
    ),
    (
        "cut between parameters",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n",
        "cut off inside a call",
    ),
    (
        "cut in JSON",
        '<tool_call>{"name": "edit", "arguments": {"path": "a"',
        "cut off inside a call",
    ),
    ("cut at once", "<tool_call>", "cut off inside a call"),
    (
        "a value without an end, then words",
        "<tool_call>\n<function=edit>\n<parameter=new>\nx\n</tool_call>\nThen I go on.<|im_end|>",
        "without </parameter>",
    ),
    (
        "cut in a value that names a tag",
        "<tool_call>\n<function=edit>\n<parameter=new>\nx = '</tool_call>'\nfor y in",
        "without </parameter>",
    ),
]


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


# --- against the transcript, and against anything -----------------------------------------------

LINES = ("x = 1", "    y", "", "</div>", "<parameter", "\\n", "{", "café 🙂", "</tool_call>", "\t")


def some_arguments(draw: random.Random) -> dict[str, Any]:
    def text() -> str:
        return "\n".join(draw.choices(LINES, k=draw.randint(0, 4)))

    values: dict[str, Any] = {
        "path": text(),
        "old": text(),
        "line": draw.randint(-5, 500),
        "scale": draw.random(),
        "all": draw.random() < 0.5,
        "range": [1, draw.randint(2, 9)],
        "extra": {"a": text(), "b": None},
    }
    return {key: values[key] for key in draw.sample(sorted(values), k=draw.randint(0, 5))}


@pytest.mark.parametrize("profile", [QWEN3_5, QWEN3_8, QWEN3], ids=lambda p: p.name)
def test_a_call_that_the_transcript_writes_is_read_as_it_was(
    profile: Profile, tokenizer: Tokenizer
) -> None:
    draw = random.Random(30)
    for _ in range(150):
        calls = tuple(ToolCall("edit", some_arguments(draw)) for _ in range(draw.randint(1, 2)))
        start = [Message("system", "s"), Message("user", "u")]
        transcript = Transcript(tokenizer, profile, (EDITOR,))
        prompt = transcript.render(start, thinking=False)
        reply = Message("assistant", "Now.", tool_calls=calls)
        whole = transcript.render([*start, reply], thinking=False)
        parser = ReplyParser(tokenizer, (EDITOR,))
        generated = whole.tokens[prompt.boundaries[1] : whole.boundaries[2]]
        after_role = generated[len(prompt.tokens) - prompt.boundaries[1] - len(prompt.opener) :]
        pieces = [piece for token in after_role for piece in parser.feed(token)]
        assert joined([*pieces, *parser.flush()]) == [Text("Now."), *calls]


def test_no_reply_whatever_breaks_the_parser(tokenizer: Tokenizer) -> None:
    draw = random.Random(31)
    scraps = [*TAGS, "<function=edit>", "</function>", "<parameter=line>", "<parameter=old>"]
    scraps += ["<function=", "</parameter>", "\n", "3", "[", '{"name": "edit", "arguments": {']
    scraps += ['"}', "}}", "text", "/>"]
    for _ in range(2000):
        written = "".join(draw.choices(scraps, k=draw.randint(1, 14)))
        for piece in parse(tokenizer, written):
            if isinstance(piece, BadToolCall):
                assert piece.reason
                assert "\n" not in piece.reason
            if isinstance(piece, ToolCall):
                assert piece.name
                assert isinstance(piece.arguments.get("line", 0), int)
