"""Generated edits: a file, a change of it that is wanted, and the file that it must end in.

A file has some functions in one language, many of them alike; a change is of one line in one of
them. The golden file is made here, line by line, without the editor. The mistakes that a model
makes in it are in `edit_mistakes.py`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template

from evals.bench.edit_languages import COUNT, PRODUCT, REPORT, Language

MARKERS = (PRODUCT, COUNT, REPORT)
_NOUNS = ("price", "order", "stock", "ticket", "parcel", "score", "badge", "credit", "seat", "lamp")
_VERBS = ("add", "join", "count", "merge", "check", "scale", "weigh", "rank", "split", "round")
_ITEMS = ("import", "export", "backup", "audit", "billing", "refund", "delivery", "payment")
_MAX_LINES = 400


@dataclass(frozen=True)
class Change:
    """What is wanted: a line of a function swapped, dropped, or another one put after it."""

    function: str
    marker: str
    """What the line holds."""
    kind: str
    """`swap`, `drop` or `add`."""
    text: str
    """In place of the marker, or the line to add."""

    def apply(self, line: str) -> list[str]:
        """Return the lines that stand for the marked one."""
        if self.kind == "drop":
            return []
        if self.kind == "swap":
            return [line.replace(self.marker, self.text)]
        return [line, line[: len(line) - len(line.lstrip())] + self.text]

    def find(self, lines: Sequence[str]) -> tuple[int, int] | None:
        """Return where the function begins and where its marked line is, if both are there."""
        for first, line in enumerate(lines):
            if self.function in line:
                marked = range(first, min(first + 12, len(lines)))
                last = next((last for last in marked if self.marker in lines[last]), None)
                return None if last is None else (first, last)
        return None


@dataclass(frozen=True)
class Task:
    """One edit, as it is first tried, and how it must end."""

    language: str
    mistake: str
    path: str
    shown: bytes
    """The file as the model sees it."""
    before: bytes
    """The file as it is when the model edits it."""
    golden: bytes
    change: Change
    old: str
    new: str
    cause: str = ""
    """What a refusal must say where nothing is to be written; else the edit must be made."""
    drifts: bool = False
    """Whether the second try is as wrong as the first."""


@dataclass(frozen=True)
class Case:
    """A file and a change of it, before any mistake is made."""

    language: Language
    lines: Sequence[str]
    change: Change
    rng: random.Random

    @property
    def place(self) -> tuple[int, int]:
        """The first line of the function and the marked one."""
        found = self.change.find(self.lines)
        assert found is not None, "the change is of a function that is there"
        return found

    @property
    def old(self) -> list[str]:
        """The lines that the right edit names: from the signature on, so that they are alone."""
        first, last = self.place
        return list(self.lines[first : last + 1])

    @property
    def new(self) -> list[str]:
        """What the right edit puts there."""
        return [*self.old[:-1], *self.change.apply(self.old[-1])]

    def task(
        self,
        old: Sequence[str],
        new: Sequence[str],
        lines: Sequence[str] = (),
        endings: Sequence[str] = ("\n",),
    ) -> Task:
        """Make the task; `lines` are those of the file at the edit, if they are others by then."""
        disk = list(lines or self.lines)
        found = self.change.find(disk)
        assert found is not None, "a mistake leaves the function in the file"
        changed = self.change.apply(disk[found[1]])
        num_lines = max(len(disk), len(self.lines))
        ends = [endings[number % len(endings)] for number in range(num_lines)]
        golden_ends = [*ends[: found[1]], *[ends[found[1]]] * len(changed), *ends[found[1] + 1 :]]
        return Task(
            language=self.language.name,
            mistake="",
            path=f"shop/prices{self.language.suffix}",
            shown=_bytes(self.lines, ends),
            before=_bytes(disk, ends),
            golden=_bytes([*disk[: found[1]], *changed, *disk[found[1] + 1 :]], golden_ends),
            change=self.change,
            old="\n".join(old),
            new="\n".join(new),
        )


# ---- files


def draw_case(
    language: Language, rng: random.Random, shape: int | None = None, kinds: str = "swap drop add"
) -> Case:
    """Draw a file of 30 to 400 lines and a change of one of its functions."""
    names = [f"{verb}_{noun}" for verb in _VERBS for noun in _NOUNS]
    functions = [
        _draw_function(language, name, rng) for name in rng.sample(names, rng.randint(5, 36))
    ]
    lines = language.head.split("\n")
    chosen: list[_Function] = []
    for function in functions:
        if len(lines) + len(function.lines) > _MAX_LINES - 10:
            break
        lines += [*function.lines, ""]
        chosen.append(function)
    lines += language.tail.split("\n")[:-1]
    target = rng.choice([f for f in chosen if shape in (None, f.shape)] or chosen)
    if shape not in (None, target.shape):
        return draw_case(language, rng, shape, kinds)
    kind = rng.choice(kinds.split())
    text = target.swapped if kind == "swap" else _report_line(language, rng)
    return Case(language, lines, Change(target.name, target.marker, kind, text), rng)


@dataclass(frozen=True)
class _Function:
    name: str
    shape: int
    lines: Sequence[str]
    marker: str
    swapped: str
    """What may stand in place of the marker."""


def _draw_function(language: Language, name: str, rng: random.Random) -> _Function:
    shape = rng.randrange(3)
    first, second = rng.sample(_NOUNS, 2)
    op, other = rng.sample("+-*", 2)
    words = {"name": name, "a": first, "b": second, "item": rng.choice(_ITEMS), "op": op}
    words |= {"k": str(rng.randint(1, 3)), "m": str(rng.randint(1, 9))}
    swaps = {"op": other, "k": "count", "item": f"{words['item']} is"}
    rendered = Template(language.shapes[shape]).substitute(words)
    return _Function(
        name=name,
        shape=shape,
        lines=[language.margin + line if line else "" for line in rendered.split("\n")[:-1]],
        marker=Template(MARKERS[shape]).substitute(words),
        swapped=Template(MARKERS[shape]).substitute(words | swaps),
    )


def _report_line(language: Language, rng: random.Random) -> str:
    """Return the line of a report: a string with escapes, which no tool may take for a slip."""
    line = next(line for line in language.shapes[2].split("\n") if REPORT in line)
    return Template(line.strip()).safe_substitute(item=rng.choice(_ITEMS))


def _bytes(lines: Sequence[str], endings: Sequence[str]) -> bytes:
    return "".join(f"{a}{b}" for a, b in zip(lines, endings, strict=False)).encode()
