"""No wrong write: whatever file and edit are drawn, the file is as meant or as it was."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from sandbox.workspace import Workspace
from tools.editor import StrReplaceEditor
from tools.errors import ToolFailed
from tools.placing import Ask, find_place
from tools.textfile import NotWritable, TextFile, split_lines

STEPS = ("\t", "  ", "    ")
WORDS = ("a = 1", "b(a)", "if a:", "end", "x = y + 1", "}")
ENDINGS = st.sampled_from(["\n", "\r\n"])


@dataclass(frozen=True)
class Wanted:
    """A file, and which of its lines are to become what."""

    lines: list[str]
    first: int
    last: int
    new: list[str]

    @property
    def old(self) -> list[str]:
        return self.lines[self.first : self.last]

    @property
    def text(self) -> str:
        return joined(self.lines)

    @property
    def golden(self) -> str:
        return joined([*self.lines[: self.first], *self.new, *self.lines[self.last :]])


def joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


@st.composite
def wanted(draw: st.DrawFn) -> Wanted:
    step = draw(st.sampled_from(STEPS))

    def line() -> str:
        word = draw(st.sampled_from((*WORDS, "")))
        return step * draw(st.integers(0, 3)) + word if word else ""

    lines = [line() for _ in range(draw(st.integers(1, 10)))]
    first = draw(st.integers(0, len(lines) - 1))
    last = draw(st.integers(first + 1, min(len(lines), first + 4)))
    kept = [own for own in lines[first:last] if draw(st.booleans())]
    at = draw(st.integers(0, len(kept)))
    fresh = [line() for _ in range(draw(st.integers(0, 2)))]
    return Wanted(lines, first, last, [*kept[:at], *fresh, *kept[at:]])


Slip = Callable[[str], str | None]
"""From a line to the same line in other white space; None where there is no such line."""


def indented(prefix: str) -> Slip:
    return lambda line: prefix + line if line else line


def dedented(prefix: str) -> Slip:
    def dedent(line: str) -> str | None:
        return line.removeprefix(prefix) if line.startswith(prefix) or not line else None

    return dedent


def converted(step: str, other: str) -> Slip:
    def convert(line: str) -> str | None:
        body = line.lstrip()
        depth = (len(line) - len(body)) // len(step)
        return other * depth + body if line == step * depth + body else None

    return convert


SLIPS: dict[str, Slip] = {
    **{f"+{prefix!r}": indented(prefix) for prefix in (" ", *STEPS)},
    **{f"-{prefix!r}": dedented(prefix) for prefix in STEPS},
    **{
        f"{step!r} as {other!r}": converted(step, other)
        for step in STEPS
        for other in (*STEPS, "   ")
        if step != other
    },
    "blanks": lambda line: f"{line}  ",
    "other words": lambda line: line.replace("a", "e"),
}


def edited(text: str, old: str, new: str) -> str | None:
    try:
        place = find_place(Ask("a.txt", text, old, new, is_stale=False, is_plain=False))
    except ToolFailed:
        return None
    return text[: place.start] + place.new + text[place.end :]


@settings(max_examples=100, deadline=None)
@given(wanted(), st.sampled_from(sorted(SLIPS)))
def test_a_slip_of_white_space_leads_to_what_was_meant_or_to_nothing(
    case: Wanted, name: str
) -> None:
    slipped = [[SLIPS[name](line) for line in lines] for lines in (case.old, case.new)]
    assume(not any(None in lines for lines in slipped))
    old, new = (joined([line or "" for line in lines]) for lines in slipped)
    assume(old not in case.text)
    result = edited(case.text, old, new)
    event(f"{name}: {'refused' if result is None else 'made'}")
    if name == "blanks" and result is not None:
        result = joined([line.rstrip() for line in split_lines(result)])
    assert result in (None, case.golden)


@settings(max_examples=100, deadline=None)
@given(wanted())
def test_an_exact_edit_is_made_when_its_text_stands_in_one_place(case: Wanted) -> None:
    old, new = joined(case.old), joined(case.new)
    result = edited(case.text, old, new)
    if result is None:
        is_there_already = old in new and new in case.text
        assert case.text.count(old) != 1 or old == new or is_there_already or overlaps(case)
    else:
        assert result == case.golden


def overlaps(case: Wanted) -> bool:
    """Whether the old text stands in two places, one reaching into the other or into a line."""
    old = joined(case.old)
    first = case.text.find(old)
    return case.text.find(old, first + 1) >= 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "é b", "\t漢", "x\ry"]), ENDINGS), max_size=8),
    st.booleans(),
    st.data(),
    st.text(alphabet="xyé\n", max_size=6),
)
def test_lines_outside_of_an_edit_keep_their_bytes(
    pieces: list[tuple[str, str]], has_mark: bool, data: st.DataObject, new: str
) -> None:
    raw = ("\ufeff" if has_mark else "") + "".join(line + end for line, end in pieces)
    encoding = data.draw(st.sampled_from(["utf-8", "utf-16-le"])) if has_mark else "utf-8"
    file = TextFile.decode(raw.encode(encoding))
    start = data.draw(st.integers(0, len(file.text)))
    end = data.draw(st.integers(start, len(file.text)))
    try:
        after = file.replace(start, end, new)
    except NotWritable:
        assert "\r" in file.text
        return
    assert after.text == file.text[:start] + new + file.text[end:]
    num_before = file.text.count("\n", 0, start)
    num_after = file.text.count("\n", end)
    before_lines, after_lines = file.raw.split("\n"), after.raw.split("\n")
    assert after_lines[:num_before] == before_lines[:num_before]
    assert (
        after_lines[len(after_lines) - num_after :] == before_lines[len(before_lines) - num_after :]
    )


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=40).filter(lambda data: b"\0" not in data),
    st.data(),
    st.text(alphabet="xé\n", max_size=4),
)
def test_bytes_of_an_unknown_encoding_are_never_changed(
    content: bytes, data: st.DataObject, new: str
) -> None:
    content = bytes(byte if byte >= 32 or byte in b"\r\n\t" else 65 for byte in content)
    assume(not content.startswith((b"\xff\xfe", b"\xfe\xff")))
    file = TextFile.decode(content)
    assert file.encode() == content
    start = data.draw(st.integers(0, len(file.text)))
    end = data.draw(st.integers(start, len(file.text)))
    try:
        after = file.replace(start, end, new).encode()
    except NotWritable:
        return
    others = [byte for byte in content if byte >= 128]
    if not file.is_known:
        assert [byte for byte in after if byte >= 128] == others


TEXTS = st.sampled_from(["", "a\n", "b\n", "a\nb\n", "c\r\n", "if a:\n    b = 1\n"])
COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("str_replace"), TEXTS, TEXTS),
        st.tuples(st.just("insert"), st.integers(0, 4), TEXTS),
        st.tuples(st.just("create"), TEXTS, TEXTS),
        st.tuples(st.just("undo_edit"), TEXTS, TEXTS),
        st.tuples(st.just("outside"), TEXTS, TEXTS),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(COMMANDS)
def test_undo_goes_back_through_every_content_there_was(
    commands: list[tuple[str, str | int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "a.txt")
        editor = StrReplaceEditor(Workspace(Path(name), Path(name)))
        past: list[bytes | None] = []
        expected: bytes | None = None
        is_known = True
        for command, first, second in commands:
            if command == "outside":
                if str(first).encode() != expected:
                    is_known = False
                expected = str(first).encode()
                file.write_bytes(expected)
                continue
            arguments = {"command": command, "path": "a.txt", "file_text": second}
            arguments |= {"old_str": str(first), "new_str": second}
            arguments |= {"insert_line": first} if isinstance(first, int) else {}
            try:
                editor.run(arguments)
            except ToolFailed:
                assert content_of(file) == expected
                continue
            if command == "undo_edit":
                expected = past.pop()
                assert content_of(file) == expected
            else:
                past.append(expected)
                expected = content_of(file)
        assert is_known or content_of(file) == expected


def content_of(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None
