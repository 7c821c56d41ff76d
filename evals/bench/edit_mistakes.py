"""The mistakes that models make in an edit: each makes a task of it, in two variants."""

import html
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from evals.bench.edit_languages import LANGUAGES, Language
from evals.bench.edit_tasks import Task, draw_case

NO_MISTAKE = "none"
NUM_CLEAN = 14
"""A language's tasks without a mistake: a third of all, fewer than models are seen to get right."""


def make_tasks(seed: int) -> Iterator[Task]:
    """Yield two tasks for every mistake in every language, and more where there is no mistake."""
    for mistake, make in MISTAKES.items():
        for language in LANGUAGES:
            for variant in range(NUM_CLEAN if make is _none else 2):
                rng = random.Random(f"{seed}/{mistake}/{language.name}/{variant}")
                task = make(language, variant, rng)
                yield replace(task, mistake=mistake)


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
    case = draw_case(language, rng, shape=variant, kinds="swap add")

    def escaped(lines: Sequence[str]) -> list[str]:
        return [html.escape(line, quote=False) for line in lines]

    return case.task(case.old if variant else escaped(case.old), escaped(case.new))


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
