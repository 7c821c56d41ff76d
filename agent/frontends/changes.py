"""What a patch changes, region by region, in line numbers of the files as they were before it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
NO_NEWLINE = "\\ No newline at end of file"
ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
LETTERS = dict(zip(b"abtnvfr", b"\a\b\t\n\v\f\r", strict=True))


@dataclass(frozen=True)
class Change:
    """Lines of a file that others stand in the place of."""

    path: str
    """Relative to the repository."""
    start: int
    """The first line that goes, or the one before which others come; from 1."""
    removed: tuple[str, ...] = ()
    """Without their ends."""
    inserted: tuple[str, ...] = ()
    cuts_end: bool = False
    """Whether the last removed line had no newline: it was the end of the file."""
    ends_open: bool = False
    """Whether the last inserted line has no newline."""

    @property
    def text(self) -> str:
        """What comes, as it is written to the file."""
        end = "" if self.ends_open or not self.inserted else "\n"
        return "\n".join(self.inserted) + end


def changes_of(patch: str) -> Iterator[Change]:
    """Read a patch as git writes it; of a binary file it tells no lines, and none are given."""
    lines = patch.split("\n")
    path, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("diff --git "):
            path = ""
        elif line.startswith(("--- ", "+++ ")):
            path = path or _path(line[4:])  # the old name, unless there was no file
        elif found := HUNK.match(line):
            start, num_old, num_new = (int(number) for number in found.groups(default="1"))
            body = _body(lines, at, num_old, num_new)
            at += len(body)
            yield from _changes(path, start + (num_old == 0), body)


def _body(lines: Sequence[str], at: int, num_old: int, num_new: int) -> Sequence[str]:
    """Return the lines of one hunk, by their number: nothing in them is taken for a header."""
    end = at
    while (num_old > 0 or num_new > 0) and end < len(lines):
        num_old -= lines[end][:1] in " -"
        num_new -= lines[end][:1] in " +"
        end += 1
    return lines[at : end + (lines[end : end + 1] == [NO_NEWLINE])]


def _changes(path: str, at: int, body: Sequence[str]) -> Iterator[Change]:
    """Return what stands between the unchanged lines of a hunk that begins with line `at`."""
    removed: list[str] = []
    inserted: list[str] = []
    is_open = {"-": False, "+": False}
    last = ""
    for line in (*body, " "):
        kind, text = line[:1], line[1:]
        if kind == "\\":
            is_open[last] = True
        elif kind == "-":
            removed.append(text)
        elif kind == "+":
            inserted.append(text)
        else:
            if removed or inserted:
                gone, come = tuple(removed), tuple(inserted)
                yield Change(path, at, gone, come, is_open["-"], is_open["+"])
            at += len(removed) + 1
            removed, inserted = [], []
        last = kind


def _path(name: str) -> str:
    """Read `a/NAME` or `b/NAME`, which git puts in quotes if it is not plain; nothing for none."""
    name = name.rstrip("\t")
    if name == "/dev/null":
        return ""
    if name.startswith('"'):
        raw = ESCAPE.sub(_unescaped, name[1:-1].encode("utf-8", "surrogateescape"))
        name = raw.decode("utf-8", "replace")
    return name[2:]


def _unescaped(found: "re.Match[bytes]") -> bytes:
    word = found[1]
    return bytes([int(word, 8) & 255 if len(word) == 3 else LETTERS.get(word[0], word[0])])
