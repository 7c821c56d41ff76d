"""Generated edits with the file that each must end in, and a realistic mistake in the first try.

A task is drawn from a seed: a file of some functions in one language, many of them alike, and one
change of one line in one of them. The golden file is made here, line by line, without the editor.
"""

import html
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from string import Template

from evals.bench.edit_languages import COUNT, LANGUAGES, PRODUCT, REPORT, Language

MARKERS = (PRODUCT, COUNT, REPORT)
_NOUNS = ("price", "order", "stock", "ticket", "parcel", "score", "badge", "credit", "seat", "lamp")
_VERBS = ("add", "join", "count", "merge", "check", "scale", "weigh", "rank", "split", "round")
_ITEMS = ("import", "export", "backup", "audit", "billing", "refund", "delivery", "payment")
_MAX_LINES = 400
NO_MISTAKE = "none"
NUM_CLEAN = 14
"""A language's tasks without a mistake: a third of all, fewer than models are seen to get right."""


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


def make_tasks(seed: int) -> Iterator[Task]:
    """Yield two tasks for every mistake in every language, and more where there is no mistake."""
    for mistake, make in MISTAKES.items():
        for language in LANGUAGES:
            for variant in range(NUM_CLEAN if make is _none else 2):
                rng = random.Random(f"{seed}/{mistake}/{language.name}/{variant}")
                task = make(language, variant, rng)
                yield replace(task, mistake=mistake)


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


# ---- mistakes: each makes its task in two variants


def _none(language: Language, variant: int, rng: random.Random) -> Task:
    case = draw_case(language, rng)
    return case.task(case.old, case.new)


def _stale(language: Language, variant: int, rng: random.Random) -> Task:
    """The file got another line since: above the function, or in the middle of what is named."""
    case = draw_case(language, rng)
    at = case.place[0] + 1 if variant else 0
    return case.task(case.old, case.new, [*case.lines[:at], language.comment, *case.lines[at:]])


def _indent(language: Language, variant: int, rng: random.Random) -> Task:
    """The lines of the body without their indentation, or all of them with too much."""
    case = draw_case(language, rng)
    if variant:
        return case.task([f"  {line}" for line in case.old], [f"  {line}" for line in case.new])
    old, new = case.old[1:], case.new[1:]
    num = min(len(line) - len(line.lstrip()) for line in old)
    return case.task([line[num:] for line in old], [line[num:] for line in new])


def _half_indent(language: Language, variant: int, rng: random.Random) -> Task:
    """The old line without its indentation, the new ones at the margin or with all of it."""
    case = draw_case(language, rng, shape=0, kinds="swap add" if variant else "add")
    new = case.new[len(case.old) - 1 :]
    return case.task([case.old[-1].strip()], new if variant else [line.strip() for line in new])


def _tabs(language: Language, variant: int, rng: random.Random) -> Task:
    """Spaces for the file's tabs, in steps of four or two; tabs for its spaces."""
    case = draw_case(language, rng)
    step = "  " if variant else "    "

    def swapped(line: str) -> str:
        body = line.lstrip()
        indent = line[: len(line) - len(body)]
        return (indent.replace("\t", step) if "\t" in indent else indent.replace(step, "\t")) + body

    return case.task([swapped(line) for line in case.old], [swapped(line) for line in case.new])


def _crlf(language: Language, variant: int, rng: random.Random) -> Task:
    """A file of CRLF edited with LF, and one of both edited with CRLF."""
    if not variant:
        case = draw_case(language, rng)
        return case.task(case.old, case.new, endings=["\r\n"])
    case = draw_case(language, rng, kinds="swap drop")
    task = case.task(case.old, case.new, endings=["\r\n", "\n", "\n"])
    return replace(task, old=task.old.replace("\n", "\r\n"), new=task.new.replace("\n", "\r\n"))


def _duplicate(language: Language, variant: int, rng: random.Random) -> Task:
    """One line alone, or two, that other functions have too."""
    case = draw_case(language, rng, shape=1, kinds="swap add")
    keep = 1 + variant
    return case.task(case.old[-keep:], case.new[len(case.old) - keep :])


def _numbers(language: Language, variant: int, rng: random.Random) -> Task:
    """The line numbers of the view in the old text, or in both."""
    case = draw_case(language, rng)

    def numbered(lines: Sequence[str]) -> list[str]:
        return [f"{number:>4}\t{line}" for number, line in enumerate(lines, case.place[0] + 1)]

    return case.task(numbered(case.old), numbered(case.new) if variant else case.new)


def _new_numbers(language: Language, variant: int, rng: random.Random) -> Task:
    """The line numbers of the view in the new text alone."""
    case = draw_case(language, rng)
    new = [f"{n:>4}\t{line}" for n, line in enumerate(case.new, case.place[0] + 1)]
    return case.task(case.old, new)


def _applied(language: Language, variant: int, rng: random.Random) -> Task:
    """An edit that was made before, a line swapped or one added."""
    case = draw_case(language, rng, kinds="add" if variant else "swap")
    task = case.task(case.old, case.new)
    golden = task.golden
    return replace(task, shown=golden, before=golden, cause="Already applied")


def _escapes(language: Language, variant: int, rng: random.Random) -> Task:
    r"""Each line break written as `\n`."""
    case = draw_case(language, rng, shape=0)
    if not variant:
        return case.task([r"\n".join(case.old)], [r"\n".join(case.new)])
    case = draw_case(language, rng, shape=0, kinds="add")
    *lines, last, added = case.new
    return case.task(case.old, [*lines, rf"{last}\n{added}"])


def _entities(language: Language, variant: int, rng: random.Random) -> Task:
    """Signs of the code written as entities, in both texts or in the new one."""
    case = draw_case(language, rng, shape=variant)
    new = [html.escape(line, quote=False) for line in case.new]
    return (
        case.task(new if case.change.kind == "drop" else case.old, new)
        if variant
        else (
            case.task([html.escape(line) for line in case.old], [html.escape(n) for n in case.new])
        )
    )


def _blanks(language: Language, variant: int, rng: random.Random) -> Task:
    """Blanks at the ends of lines, in the file or in the old text."""
    case = draw_case(language, rng)
    if variant:
        return case.task([f"{line}  " for line in case.old], case.new)
    first, last = case.place
    disk = [f"{line} " if first <= n < last else line for n, line in enumerate(case.lines)]
    case = replace(case, lines=disk)
    return case.task([line.rstrip() for line in case.old], [line.rstrip() for line in case.new])


def _invented(language: Language, variant: int, rng: random.Random) -> Task:
    """A text as the model remembers it, or one that is like nothing in the file."""
    if variant:
        case = draw_case(language, rng, kinds="swap add")
        return case.task(["@@@@ ????", "%%%% ~~~~"], case.new)
    case = draw_case(language, rng)
    return case.task(_misremembered(case.old), _misremembered(case.new))


def _drifts(language: Language, variant: int, rng: random.Random) -> Task:
    """A text that is remembered wrongly again, after the right one was shown."""
    case = draw_case(language, rng)
    task = case.task(_misremembered(case.old), _misremembered(case.new))
    return replace(task, drifts=True)


def _absent(language: Language, variant: int, rng: random.Random) -> Task:
    """A change of a function that is not in the file."""
    case = draw_case(language, rng)
    task = case.task(case.old, case.new)
    name = f"{case.change.function}_of_old"
    return replace(
        task,
        golden=task.before,
        change=replace(case.change, function=name),
        old=task.old.replace(case.change.function, name),
        new=task.new.replace(case.change.function, name),
        cause="not found",
    )


def _misremembered(lines: Sequence[str]) -> list[str]:
    return [*lines[:1], *(line.replace("a", "e") for line in lines[1:]), "    // and so on"]


MISTAKES: dict[str, Callable[[Language, int, random.Random], Task]] = {
    NO_MISTAKE: _none,
    "stale text": _stale,
    "wrong indent": _indent,
    "half indent": _half_indent,
    "tabs, spaces": _tabs,
    "CRLF": _crlf,
    "duplicate": _duplicate,
    "line numbers": _numbers,
    "numbers in new": _new_numbers,
    "already applied": _applied,
    "escapes": _escapes,
    "entities": _entities,
    "trailing blanks": _blanks,
    "invented text": _invented,
    "invented twice": _drifts,
    "absent": _absent,
}
