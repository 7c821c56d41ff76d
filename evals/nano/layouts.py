"""How a generated project is laid out and how its tests are written; knows no template, no bug."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from evals.nano.pieces import Check, Piece
from evals.nano.words import CASE_NAMES, MODULES, PACKAGES


@dataclass(frozen=True)
class Module:
    """One source file to be: where it is, how it is imported, what is in it."""

    path: str
    dotted: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Layout:
    """Where sources and tests go."""

    source: str
    """Folder of the modules, with a final slash or empty."""
    package: str
    """Dotted prefix of the modules, with a final dot or empty."""
    tests: str
    """Folder of the tests, with a final slash or empty."""
    extra: tuple[tuple[str, str], ...]
    """Files that make the imports work."""
    exports: bool
    """Whether the package's __init__ re-exports everything."""


def choose_layout(random: Random) -> Layout:
    """Choose one of the ways people lay out small projects."""
    name = random.choice(PACKAGES)
    form = random.randrange(7)
    if form == 0:
        return Layout("", "", "", (), exports=False)
    if form == 1:
        return Layout("", "", "tests/", (_root(random, "."),), exports=False)
    if form == 2:
        folder = random.choice(("src", "lib", "app"))
        return Layout(f"{folder}/", "", "tests/", (_root(random, folder),), exports=False)
    exports = form in (3, 5) and random.random() < 0.6
    init = () if exports else ((_INIT_PATH, random.choice(("", f'"""The {name}."""\n'))),)
    if form in (3, 4):
        extra = (_root(random, "."), *((f"{name}/__init__.py", text) for _, text in init))
        return Layout(f"{name}/", f"{name}.", "tests/", extra, exports)
    source = f"src/{name}/"
    extra = (_root(random, "src"), *((f"{source}__init__.py", text) for _, text in init))
    return Layout(source, f"{name}.", "tests/", extra, exports)


_INIT_PATH = "__init__.py"


def _root(random: Random, folder: str) -> tuple[str, str]:
    """Return the file that puts a folder on the path of the tests."""
    form = random.randrange(3)
    if form == 0:
        return "pyproject.toml", f'[tool.pytest.ini_options]\npythonpath = ["{folder}"]\n'
    if form == 1:
        return "pytest.ini", f"[pytest]\npythonpath = {folder}\n"
    if folder == ".":
        return "conftest.py", '"""Makes the project importable from the tests."""\n'
    place = f'str(Path(__file__).parent / "{folder}")'
    return "conftest.py", f"import sys\nfrom pathlib import Path\n\nsys.path.insert(0, {place})\n"


def module_names(random: Random, count: int) -> list[str]:
    """Choose the names of the modules."""
    return random.sample(MODULES, count)


def import_line(module: str, names: Sequence[str]) -> str:
    """Import names from a module, one a line where they do not fit into one."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= 88:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


def write_tests(
    modules: Sequence[Module], layout: Layout, untested: frozenset[str], random: Random
) -> dict[str, str]:
    """Write the test files, one for each module or one for all."""
    style = _Style.choose(random)
    if len(modules) > 1 and random.random() < 0.3:
        name = random.choice(("test_all", "test_project", "test_everything"))
        groups = [(f"{layout.tests}{name}.py", list(modules))]
    else:
        groups = []
        for module in modules:
            stem = module.path.rsplit("/", 1)[-1].removesuffix(".py")
            groups.append((f"{layout.tests}test_{stem}.py", [module]))
    files = {}
    for path, members in groups:
        text = _test_file(members, layout, style, untested, random)
        if text:
            files[path] = text
    return files


@dataclass(frozen=True)
class _Style:
    """How one author writes tests."""

    form: str
    by_module: bool
    in_class: bool

    @classmethod
    def choose(cls, random: Random) -> "_Style":
        forms = ("plain", "plain", "split", "parametrize", "result", "expected", "constants")
        return cls(random.choice(forms), random.random() < 0.25, random.random() < 0.2)


def _test_file(
    modules: Sequence[Module],
    layout: Layout,
    style: _Style,
    untested: frozenset[str],
    random: Random,
) -> str:
    imports: list[str] = []
    heads: list[str] = []
    blocks: list[list[str]] = []
    for module in modules:
        pieces = [piece for piece in module.pieces if piece.name not in untested]
        if not pieces:
            continue
        prefix = ""
        names = sorted(piece.name for piece in pieces)
        if layout.exports and random.random() < 0.7:
            imports.append(import_line(layout.package.rstrip("."), names))
        elif style.by_module:
            package, _, stem = module.dotted.rpartition(".")
            imports.append(f"from {package} import {stem}" if package else f"import {stem}")
            prefix = stem + "."
        else:
            imports.append(import_line(module.dotted, names))
        for piece in pieces:
            blocks.append(_piece_tests(piece, prefix, style, heads, random))
    if not blocks:
        return ""
    if any(line.startswith("@pytest") for block in blocks for line in block):
        imports = ["import pytest", "", *imports]
    lines = list(imports)
    if heads:
        lines += ["", *heads]
    for block in blocks:
        lines += ["", "", *block]
    return "\n".join(lines) + "\n"


def _piece_tests(
    piece: Piece, prefix: str, style: _Style, heads: list[str], random: Random
) -> list[str]:
    """Write the tests of one function or class."""
    checks = [_prefixed(check, piece.name, prefix) for check in piece.checks]
    if piece.template.scenes:
        return _scene_tests(piece, checks, style)
    name = f"test_{piece.name}"
    values = {check.expected for check in checks}
    blocks: list[list[str]]
    if style.form == "parametrize" and len(checks) > 1:
        return _parametrized(piece, name, prefix, checks)
    if style.form == "split":
        ends = random.sample(CASE_NAMES, len(checks))
        blocks = [
            [f"def {name}_{end}():", f"    {_assertion(check)}"]
            for end, check in zip(ends, checks, strict=True)
        ]
    elif style.form in ("result", "expected") and not values & {"True", "False", "None"}:
        body = []
        for check in checks:
            if style.form == "result":
                body += [f"    result = {check.call}", f"    assert result == {check.expected}"]
            else:
                body += [f"    expected = {check.expected}", f"    assert {check.call} == expected"]
        blocks = [[f"def {name}():", *body]]
    elif style.form == "constants" and checks[0].arguments[0].startswith(("[", "{")):
        constant = f"{piece.name.split('_')[-1].upper()}"
        if any(head.startswith(f"{constant} = ") for head in heads):
            constant = piece.name.upper()
        heads.append(f"{constant} = {checks[0].arguments[0]}")
        call = checks[0].call.replace(checks[0].arguments[0], constant, 1)
        first = Check(checks[0].function, call, checks[0].expected)
        blocks = [[f"def {name}():", *(f"    {_assertion(c)}" for c in (first, *checks[1:]))]]
    else:
        blocks = [[f"def {name}():", *(f"    {_assertion(check)}" for check in checks)]]
    if style.in_class:
        title = "".join(word.capitalize() for word in piece.name.split("_"))
        lines = [f"class Test{title}:"]
        for number, block in enumerate(blocks):
            lines += [""] if number else []
            lines += [f"    {block[0].replace('():', '(self):')}"]
            lines += [f"    {line}" for line in block[1:]]
        return lines
    return _joined(blocks)


def _joined(blocks: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for number, block in enumerate(blocks):
        lines += ["", "", *block] if number else block
    return lines


def _parametrized(piece: Piece, name: str, prefix: str, checks: Sequence[Check]) -> list[str]:
    count = max(len(check.arguments) for check in checks)
    params = [param.split("=")[0] for param in piece.params][:count]
    if any(len(check.arguments) != count for check in checks) or len(params) != count:
        return [f"def {name}():", *(f"    {_assertion(check)}" for check in checks)]
    quoted = ", ".join(f'"{param}"' for param in [*params, "expected"])
    lines = [f"@pytest.mark.parametrize(({quoted}), ["]
    for check in checks:
        lines.append(f"    ({', '.join([*check.arguments, check.expected])}),")
    lines += ["])", f"def {name}({', '.join([*params, 'expected'])}):"]
    lines.append(f"    assert {prefix}{piece.name}({', '.join(params)}) == expected")
    return lines


def _scene_tests(piece: Piece, checks: Sequence[Check], style: _Style) -> list[str]:
    blocks = []
    seen: dict[str, int] = {}
    for check in checks:
        seen[check.function] = seen.get(check.function, 0) + 1
        end = f"_{CASE_NAMES[seen[check.function]]}" if seen[check.function] > 1 else ""
        body = [f"    {line}" for line in (*check.setup, _assertion(check))]
        blocks.append([f"def test_{check.function}{end}():", *body])
    if not style.in_class:
        return _joined(blocks)
    lines = [f"class Test{piece.name}:"]
    for number, block in enumerate(blocks):
        lines += [""] if number else []
        lines += [f"    {block[0].replace('():', '(self):')}", *(f"    {x}" for x in block[1:])]
    return lines


def _assertion(check: Check) -> str:
    if check.expected == "True":
        return f"assert {check.call}"
    if check.expected == "False":
        return f"assert not {check.call}"
    if check.expected == "None":
        return f"assert {check.call} is None"
    return f"assert {check.call} == {check.expected}"


def _prefixed(check: Check, name: str, prefix: str) -> Check:
    """Write a check for tests that import the module instead of the name."""

    def change(text: str) -> str:
        return re.sub(rf"\b{name}\(", f"{prefix}{name}(", text)

    setup = tuple(map(change, check.setup))
    return Check(check.function, change(check.call), check.expected, setup, check.arguments)
