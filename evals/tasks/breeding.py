"""Finds the mutants of a library: mutations that its tests notice, in an order a seed decides.

What was tried is kept on disk, a line each, so that a search that was stopped goes on where it was
and a larger number of mutants begins with those of a smaller one.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path

from agent.deciding_files import decides_tests
from agent.errors import UsageError
from evals.tasks.bed import TestBed, measure
from evals.tasks.cache import alone_in, cache_folder
from evals.tasks.library import Library
from evals.tasks.mutations import DIALECTS, VERSION, Mutation, mutations, still_parses
from sandbox.tree import is_environment
from tools.languages import language_of
from tools.test_report import RED, TestReport

Tell = Callable[[str], None]
MAX_SOURCE_BYTES = 400_000
NO_SOURCES = frozenset({"doc", "docs", "examples", "vendor", "build", "dist"})
"""Folders whose code is not the library's, or not its source."""


@dataclass(frozen=True)
class Mutant:
    """A mutation that was noticed."""

    number: int
    """In the order of all mutations that were considered."""
    mutation: Mutation
    red: tuple[str, ...]
    """Tests that it turns red: all or, of many, some."""
    failure: str
    """What one of them says, in a line."""


def breed(
    library: Library, python: Path, command: tuple[str, ...], seed: int, count: int, tell: Tell
) -> tuple[TestBed, tuple[Mutant, ...]]:
    """Return the first `count` mutants of a seed; those not known yet are looked for.

    Raises:
        UsageError: the tests are not green, or there are too few mutants.
        ProjectError: the tests cannot be run.
    """
    folder = cache_folder() / "mutants" / _key(library, python, command)
    with alone_in(folder):
        bed = _open_bed(folder / "bed.json", library, python, command, tell)
        tried = _Tried(folder / f"tried-{seed}-v{VERSION}.jsonl")
        found: list[Mutant] = []
        for mutant in _search(bed, seed, tried):
            found.append(mutant)
            tell(f"{len(found)} of {count} mutants: {mutant.mutation.operator}")
            if len(found) == count:
                return bed, tuple(found)
    raise UsageError(f"{library.name} has {len(found)} mutants that its tests notice, not {count}")


def open_bed(library: Library, python: Path, command: tuple[str, ...], tell: Tell) -> TestBed:
    """Return what is known of a library's tests; measure it if nothing is."""
    folder = cache_folder() / "mutants" / _key(library, python, command)
    with alone_in(folder):
        return _open_bed(folder / "bed.json", library, python, command, tell)


def candidates(bed: TestBed, seed: int) -> Iterator[Mutation]:
    """Return every mutation that a test could notice, all kinds of mistake in turn."""
    by_operator: dict[str, list[Mutation]] = defaultdict(list)
    for path in _sources(bed.library.folder):
        for one in mutations(path, (bed.library.folder / path).read_bytes()):
            if bed.may_be_noticed(one):
                by_operator[one.operator].append(one)
    shuffled = [
        sorted(by_operator[operator], key=lambda one: _place(one, seed))
        for operator in sorted(by_operator)
    ]
    return (one for one in chain.from_iterable(zip_longest(*shuffled)) if one is not None)


class _Tried:
    """What came of each mutation, on disk; None where no test noticed it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, tuple[tuple[str, ...], str] | None] = {}
        for line in file.read_text("utf-8").split("\n") if file.exists() else ():
            if line.endswith("}"):  # the last one may have been cut off
                values = json.loads(line)
                noticed = tuple(values["red"]), values["failure"]
                self._known[values["mutation"]] = noticed if values["red"] else None
        if self._known and not file.read_bytes().endswith(b"\n"):
            with file.open("a", encoding="utf-8") as out:
                out.write("\n")

    def outcome(self, bed: TestBed, one: Mutation) -> tuple[tuple[str, ...], str] | None:
        """Return what is known of a mutation; try it out if nothing is."""
        name = json.dumps(asdict(one), sort_keys=True)
        if name not in self._known:
            report = bed.try_out(one)
            red = _red(report) if report is not None else ()
            failure = _failure(report) if report is not None else ""
            line = json.dumps({"mutation": name, "red": red, "failure": failure})
            with self._file.open("a", encoding="utf-8") as out:
                out.write(f"{line}\n")
            self._known[name] = (red, failure) if red else None
        return self._known[name]


def _search(bed: TestBed, seed: int, tried: _Tried) -> Iterator[Mutant]:
    """Yield mutants, one a line of source at most, so that no two are nearly the same."""
    taken: set[tuple[str, int]] = set()
    for number, one in enumerate(candidates(bed, seed)):
        source = (bed.library.folder / one.path).read_bytes()
        if (one.path, one.line) in taken or not still_parses(one, source):
            continue
        noticed = tried.outcome(bed, one)
        if noticed is not None:
            taken.add((one.path, one.line))
            yield Mutant(number, one, *noticed)


def _red(report: TestReport) -> tuple[str, ...]:
    return tuple(sorted(report.red))


def _failure(report: TestReport) -> str:
    """What a failing test says; of a command with an exit code alone, what it printed of one."""
    cases = [case for case in (*report.told, *report.cases) if case.outcome in RED]
    first = min(cases, key=lambda case: case.id)
    said = first.message.strip().split("\n")[0][:200]
    return f"{first.id}: {said}" if said else first.id


def _sources(folder: Path) -> Iterator[str]:
    """The files of a library that may be changed."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        language = language_of(path.name)
        if language is None or language.module not in DIALECTS or decides_tests(inside.as_posix()):
            continue
        is_foreign = any(_is_foreign(folder / parent) for parent in list(inside.parents)[:-1])
        is_plain = path.is_file() and not path.is_symlink()
        if is_plain and not is_foreign and path.stat().st_size <= MAX_SOURCE_BYTES:
            yield inside.as_posix()


def _is_foreign(folder: Path) -> bool:
    return folder.name in NO_SOURCES or folder.name.startswith(".") or is_environment(folder)


def _open_bed(
    file: Path, library: Library, python: Path, command: tuple[str, ...], tell: Tell
) -> TestBed:
    if not file.exists():
        tell(f"running the tests of {library.name} as they are")
        partial = file.with_suffix(".partial")
        partial.write_text(measure(library, python, command).to_json(), encoding="utf-8")
        partial.replace(file)
    return TestBed.from_json(file.read_text("utf-8"), library, python)


def _key(library: Library, python: Path, command: tuple[str, ...]) -> str:
    whole = json.dumps([library.digest, str(library.folder), str(python), command])
    return f"{library.name}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _place(one: Mutation, seed: int) -> str:
    """Where a mutation comes in the order of a seed, whatever others there are."""
    text = f"{seed} {one.path} {one.start} {one.end} {one.new}"
    return hashlib.sha256(text.encode()).hexdigest()
