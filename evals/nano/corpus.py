"""Small Python repositories with a pytest suite and a bug or two, each made from a seed.

The same seed gives the same repository in every process and Python version. Sessions and training
are not here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

from evals.nano.bugs import Bug, find_bugs
from evals.nano.callers import call_through
from evals.nano.classes import CLASSES
from evals.nano.functions_lists import LISTS
from evals.nano.functions_numbers import NUMBERS
from evals.nano.functions_rules import RULES
from evals.nano.functions_tables import TABLES
from evals.nano.functions_text import TEXTS
from evals.nano.functions_units import UNITS
from evals.nano.layouts import Layout, Module, choose_layout, import_line, module_names, write_tests
from evals.nano.pieces import Namespace, Piece, fill, run_source, value_of

TEMPLATES = (*NUMBERS, *LISTS, *TEXTS, *RULES, *UNITS, *TABLES)
KIND_WEIGHTS = {
    "variable": 0.5,
    "arithmetic": 0.8,
    "constant": 0.8,
    "slice": 0.8,
    "boundary": 3,
    "boolean": 8,
    "negation": 4,
    "range": 6,
    "assignment": 3,
    "early_return": 2,
    "default": 8,
}
"""How much sooner than others a kind is tried where it is possible."""
HELD_OUT = 900_000
"""Seeds from here on are in no training set of ours: they are for evaluation."""
MAX_SOURCE_LINES = 45
MAX_TEST_LINES = 50
MAX_LINE = 96


@dataclass(frozen=True)
class Repair:
    """The edit that makes the tests green: a function written anew, found once in the file."""

    path: str
    old_str: str
    new_str: str


@dataclass(frozen=True)
class Defect:
    """What is known about one bug of a repository."""

    repair: Repair
    bug_kind: str
    function: str
    """The function or method that a failing test names."""
    lookups: tuple[tuple[str, str], ...]
    """The ideal search: patterns for ripgrep and the path where each is found."""


@dataclass(frozen=True)
class Repository:
    """A broken repository and what is known about its bugs."""

    seed: int
    files: Mapping[str, str]
    defects: tuple[Defect, ...]
    """Each in a function of its own, and mended without the others."""


def generate(seed: int, num_bugs: int = 1) -> Repository:
    """Return the repository of a seed; with more than one bug it is another repository."""
    random = Random(seed)
    while True:
        repository = _attempt(seed, random, num_bugs)
        if repository is not None:
            return repository


def write(repository: Repository, folder: Path) -> None:
    """Write the broken repository's files below a folder."""
    for path, text in repository.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="ascii", newline="\n")


@dataclass(frozen=True)
class _Plan:
    """What a repository is made of before its bug: pieces by module, and who calls whom."""

    groups: tuple[tuple[Piece, ...], ...]
    target: Piece
    caller: Piece | None
    untested: frozenset[str]


@dataclass(frozen=True)
class _Slip:
    """A bug in one of the pieces, and the function whose tests show it."""

    piece: Piece
    bug: Bug
    function: str


def _attempt(seed: int, random: Random, num_bugs: int) -> Repository | None:
    plan = _choose_plan(random)
    if plan is None:
        return None
    slips = _choose_slips(plan, random, num_bugs)
    if slips is None:
        return None
    layout = choose_layout(random)
    names = module_names(random, len(plan.groups))
    modules = [
        Module(f"{layout.source}{name}.py", f"{layout.package}{name}", group)
        for name, group in zip(names, plan.groups, strict=True)
    ]
    right = {module.path: _module_text(module, modules, plan, random) for module in modules}
    broken = dict(right)
    for slip in slips:
        path = _home(slip.piece, modules).path
        broken[path] = _with_bug(broken[path], slip.piece, slip.bug)
    found = [_defect(slip, plan, modules, right, broken) for slip in slips]
    defects = tuple(defect for defect in found if defect is not None)
    if len(defects) < num_bugs:
        return None
    tests = write_tests(modules, layout, plan.untested, random)
    files = {**broken, **dict(layout.extra), **_exports(layout, modules), **tests}
    if any(files[path].count("\n") > MAX_SOURCE_LINES for path in right):
        return None
    if any(text.count("\n") > MAX_TEST_LINES for text in tests.values()):
        return None
    if any(len(line) > MAX_LINE for text in files.values() for line in text.split("\n")):
        return None
    in_order = {path: files[path] for path in sorted(files)}
    return Repository(seed, in_order, defects)


def _home(piece: Piece, modules: Sequence[Module]) -> Module:
    return next(module for module in modules if piece in module.pieces)


def _defect(
    slip: _Slip,
    plan: _Plan,
    modules: Sequence[Module],
    right: Mapping[str, str],
    broken: Mapping[str, str],
) -> Defect | None:
    """Say what mends a slip and where to look for it; None if its function is not found once."""
    path = _home(slip.piece, modules).path
    repair = _repair(path, right[path], _with_bug(right[path], slip.piece, slip.bug))
    if broken[path].count(repair.old_str) != 1:
        return None
    lookups = [(f"def {slip.function}", path)]
    if plan.caller is not None and slip.function == plan.caller.name:
        home = _home(plan.caller, modules).path
        lookups = [(f"def {slip.function}", home), (f"def {slip.piece.name}", path)]
    return Defect(repair, slip.bug.kind, slip.function, tuple(lookups))


def _choose_plan(random: Random) -> _Plan | None:
    """Choose the pieces and share them out over modules."""
    count = random.choice((1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6))
    pieces = [fill(template, random) for template in random.sample(TEMPLATES, count)]
    if random.random() < 0.12:
        pieces[-1] = fill(random.choice(CLASSES), random)
    num_modules = min(count, random.choice((1, 1, 1, 1, 2, 2, 2, 3, 3, 4)))
    groups: list[list[Piece]] = [[] for _ in range(num_modules)]
    for number, piece in enumerate(pieces):
        groups[number if number < num_modules else random.randrange(num_modules)].append(piece)
    target = random.choice(pieces)
    caller = None
    untested: frozenset[str] = frozenset()
    if count < 6 and random.random() < 0.16:
        caller = call_through(target, random)
        if caller is None:
            return None
        home = next(i for i, group in enumerate(groups) if target in group)
        if len(groups) == 1:
            groups.append([])
        groups[(home + 1) % len(groups)].append(caller)
        pieces.append(caller)
        if random.random() < 0.6:
            untested = frozenset((target.name,))
    if _names_clash(pieces):
        return None
    for group in groups:
        random.shuffle(group)
    return _Plan(tuple(map(tuple, groups)), target, caller, untested)


def _names_clash(pieces: Sequence[Piece]) -> bool:
    """Tell whether one name begins with another, or two constants share a name."""
    names = sorted({c.function for p in pieces for c in p.checks} | {p.name for p in pieces})
    if len({piece.name for piece in pieces}) < len(pieces):
        return True
    constants = [line for piece in pieces for line in piece.head if line]
    heads = [line.split(" = ")[0] for line in dict.fromkeys(constants)]
    if len(set(heads)) < len(heads):
        return True
    return any(second.startswith(first) for first, second in pairwise(names))


def _choose_slips(plan: _Plan, random: Random, num_bugs: int) -> list[_Slip] | None:
    """Choose a bug for the target and for as many other pieces as are to have one."""
    others = [piece for group in plan.groups for piece in group if piece is not plan.target]
    alone = [piece for piece in others if piece is not plan.caller]
    if len(alone) < num_bugs - 1:
        return None
    slips = []
    for target in (plan.target, *alone[: num_bugs - 1]):
        # What calls the first target is no test of the others.
        caller = plan.caller if target is plan.target else None
        found = _choose_bug(replace(plan, target=target, caller=caller), random)
        if found is None:
            return None
        slips.append(_Slip(target, *found))
    return slips


def _choose_bug(plan: _Plan, random: Random) -> tuple[Bug, str] | None:
    """Choose a bug in a function that only the tests of one show; return it with that one."""
    piece = plan.target
    by_kind: dict[str, list[Bug]] = {}
    for bug in _possible_bugs(piece):
        by_kind.setdefault(bug.kind, []).append(bug)
    kinds = sorted(by_kind, key=lambda kind: random.random() ** (1 / KIND_WEIGHTS.get(kind, 1)))
    kinds.reverse()
    for kind in kinds:
        bugs = by_kind[kind]
        random.shuffle(bugs)
        for bug in bugs[:4]:
            function = _function_shown(plan, bug)
            if function is not None:
                return bug, function
    return None


def _possible_bugs(piece: Piece) -> list[Bug]:
    template = piece.template
    lines = (*piece.head, *piece.lines)
    bugs = []
    if template.general_bugs:
        bugs = [bug for bug in find_bugs(lines) if bug.kind not in template.without]
    for kind, right, wrong in piece.bugs:
        for index, line in enumerate(lines):
            if right in line:
                bugs.append(Bug(kind, index, line, line.replace(right, wrong, 1)))
    return [bug for bug in bugs if bug.index >= len(piece.head)]


def _function_shown(plan: _Plan, bug: Bug) -> str | None:
    """Return the function whose tests turn red, if it is exactly one, or the caller's with it."""
    piece = plan.target
    lines = [*piece.head, *piece.lines]
    lines[bug.index] = bug.wrong
    source = "\n".join(lines) + "\n"
    if plan.caller is not None:
        source += plan.caller.source
    try:
        names = run_source(source)
    except (SyntaxError, NameError, TypeError):
        return None
    if plan.caller is not None and piece.name in plan.untested:
        return plan.caller.name if _red_functions(plan.caller, names) else None
    red = _red_functions(piece, names)
    return red[0] if len(red) == 1 else None


def _helper(caller: Piece) -> Piece:
    assert caller.helper is not None, "only callers are asked"
    return caller.helper


def _red_functions(piece: Piece, names: Namespace) -> list[str]:
    """Return the functions with a check that fails."""
    red = []
    for check in piece.checks:
        try:
            value = value_of(check, names)
        except RecursionError:
            return []
        except Exception:  # whatever a broken function raises makes its test red
            is_red = True
        else:
            is_red = value != eval(check.expected)
            if check.expected in ("True", "False"):
                is_red = bool(value) != (check.expected == "True")
        if is_red and check.function not in red:
            red.append(check.function)
    return red


def _module_text(module: Module, modules: Sequence[Module], plan: _Plan, random: Random) -> str:
    """Write one right module."""
    imports = []
    if plan.caller is not None and plan.caller in module.pieces:
        helper = _helper(plan.caller)
        home = next(m for m in modules if helper in m.pieces)
        imports.append(f"from {home.dotted} import {helper.name}")
    constants = list(dict.fromkeys(line for p in module.pieces for line in p.head if line))
    blocks = ["\n".join(piece.lines) for piece in module.pieces]
    top = []
    if random.random() < 0.3:
        title = module.dotted.rpartition(".")[2].replace("_", " ")
        top.append(f'"""{title.capitalize()}."""')
    if imports:
        top.append("\n".join(imports))
    if constants:
        top.append("\n".join(constants))
    return "\n\n\n".join(["\n\n".join(top), *blocks] if top else blocks) + "\n"


def _with_bug(text: str, piece: Piece, bug: Bug) -> str:
    """Break the piece's line in the text of its module."""
    lines = list(piece.lines)
    lines[bug.index - len(piece.head)] = bug.wrong
    return text.replace("\n".join(piece.lines) + "\n", "\n".join(lines) + "\n", 1)


def _repair(path: str, right: str, wrong: str) -> Repair:
    """Return the edit back: the whole function, written anew."""
    right_lines, wrong_lines = right.split("\n"), wrong.split("\n")
    index = next(
        i for i, pair in enumerate(zip(right_lines, wrong_lines, strict=True)) if pair[0] != pair[1]
    )
    start, end = _function_around(right_lines, index)
    return Repair(path, "\n".join(wrong_lines[start:end]), "\n".join(right_lines[start:end]))


def _function_around(lines: Sequence[str], index: int) -> tuple[int, int]:
    """Return first line and end of the function that holds a line."""
    start = index
    while not lines[start].lstrip().startswith("def "):
        start -= 1
    margin = _margin(lines[start])
    end = index + 1
    while end < len(lines) and (not lines[end] or _margin(lines[end]) > margin):
        end += 1
    while not lines[end - 1]:
        end -= 1
    return start, end


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _exports(layout: Layout, modules: Sequence[Module]) -> dict[str, str]:
    """Return the package's __init__ that re-exports every name."""
    if not layout.exports:
        return {}
    lines = [
        import_line(module.dotted, sorted(piece.name for piece in module.pieces))
        for module in modules
    ]
    return {f"{layout.source}__init__.py": "\n".join(lines) + "\n"}
