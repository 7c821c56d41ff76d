"""Finds the original files that decide what tests say and that no rule on names alone can know.

They are the files that the tests' ids name, what the project's own settings of pytest select, the
plugins these and conftest files load, and the helpers that tests import. Where the line lies: a
helper counts if its path says that it is for tests. One that is called like any other source
(`shop/tools.py`) cannot be told from the code under repair, and is judged as the repair left it.
"""

import ast
import configparser
import posixpath
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath

from agent.command_scripts import scripts_of
from agent.deciding_files import TEST_FOLDERS, decides_tests, is_rule_by_name, named_in
from agent.originals import SOURCE_SUFFIXES, Originals

MAX_READ = 2_000
"""Test files whose imports are looked at."""
HELPER_WORDS = frozenset(
    {"test", "tests", "testing", "testutil", "testutils", "testlib", "testkit"}
    | {"fixture", "fixtures", "mocks", "fakes", "stubs", "conftest"}
)
SETTINGS = (
    ("pytest.ini", "pytest"),
    (".pytest.ini", "pytest"),
    ("tox.ini", "pytest"),
    ("setup.cfg", "tool:pytest"),
)
"""Where pytest reads its settings beside pyproject.toml: file and section."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
PLUGIN = re.compile(r"(?<!\S)-p[\s=]*([A-Za-z_][\w.]*)")
LOADED = re.compile(r"(?:require\(|import\(|from|import)\s*[\"'](\.{1,2}/[^\"']+)[\"']")
JAVASCRIPT = (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx")
HOLDER = re.compile(r"(?:setUp|tearDown)(?:Class|Module) \((.+)\)")
"""The id that unittest gives to what surrounds the tests of a class or module, when it fails."""
FAILED_LOAD = "unittest.loader._FailedTest."
"""How it begins the id of a module that could not be loaded."""


@dataclass(frozen=True)
class Deciding:
    """The originals that stand in the copy which is judged."""

    paths: frozenset[str]
    is_selected: Callable[[str], bool]
    """Whether the project's settings make a test file of one at such a path."""
    doctested: frozenset[str]
    """Source files known only by the examples in them."""


def find_deciding(
    command: Sequence[str], ids: Collection[str], folder: str, files: Originals
) -> Deciding:
    """Find them for tests that `command`, started in `folder`, gave these `ids`."""
    settings = list(_pytest_settings(folder, files))
    named, doctested = _files_of_ids(ids, folder, files)
    selected = _selection(settings)
    found = set(named) | set(scripts_of(command, folder, files))
    found |= {posixpath.normpath(posixpath.join(folder, name)) for name in named_in(command)}
    found |= {path for path in files.paths if selected(path) or _is_data_of_tests(path, files)}
    words = [" ".join(command), *(text for _, _, _, text in settings)]
    for module in (name for text in words for name in PLUGIN.findall(text)):
        found |= set(_modules(module, "", folder, files))
    _follow(found, folder, files)
    return Deciding(frozenset(found), selected, doctested - found)


def named_by_tests(path: str, deciding: Collection[str], files: Originals) -> bool:
    """Whether a test file has the name of the data file at `path` in its text."""
    name = PurePosixPath(path).name
    tests = [test for test in files.paths if test in deciding or decides_tests(test)]
    sources = [test for test in sorted(tests) if PurePosixPath(test).suffix in SOURCE_SUFFIXES]
    return any(name in files.read(test) for test in sources[:MAX_READ])


# --- ids ------------------------------------------------------------------------------------


def _files_of_ids(
    ids: Collection[str], folder: str, files: Originals
) -> tuple[frozenset[str], frozenset[str]]:
    """The files that ids name, and apart those in which nothing but doctests was found."""
    named: set[str] = set()
    doctested: set[str] = set()
    for name in ids:
        holder = HOLDER.fullmatch(name.rpartition("/")[2])
        inside = holder[1] if holder else name
        file, _, rest = inside.partition("::")
        path = posixpath.normpath(posixpath.join(folder, file))
        if path in files.paths:
            is_doctest = (
                rest.startswith(PurePosixPath(path).stem + ".") or "." in rest.split("[")[0]
            )
            (doctested if is_doctest and path.endswith(".py") else named).add(path)
        else:
            named.update(_files_of_dotted(inside.rpartition("/")[2], files))
    return frozenset(named), frozenset(doctested - named)


def _files_of_dotted(name: str, files: Originals) -> list[str]:
    """The files that could be meant by the dotted id of a unittest."""
    parts = name.removeprefix(FAILED_LOAD).split(".")
    for num_parts in range(len(parts), 0, -1):
        path = "/".join(parts[:num_parts]) + ".py"
        found = [one for one in files.paths if one == path or one.endswith(f"/{path}")]
        if found:
            return found
    return []


# --- settings of pytest -----------------------------------------------------------------------

Settings = tuple[str, tuple[str, ...], tuple[str, ...], str]
"""A folder, its `python_files` and `testpaths`, and its `addopts`."""


def _pytest_settings(folder: str, files: Originals) -> Iterator[Settings]:
    """Read what pytest would find in `folder` and above it."""
    for place in ("", *(str(path) for path in PurePosixPath(folder).parents), folder):
        place = "" if place == "." else place
        for name, section in SETTINGS:
            parser = configparser.ConfigParser(interpolation=None, strict=False)
            try:
                parser.read_string(files.read(posixpath.join(place, name)))
            except configparser.Error:
                continue
            if parser.has_section(section):
                values = dict(parser[section])
                patterns, paths = (values.get(key, "") for key in ("python_files", "testpaths"))
                yield (
                    place,
                    tuple(patterns.split()),
                    tuple(paths.split()),
                    values.get("addopts", ""),
                )
        yield from _pyproject(place, files)


def _pyproject(place: str, files: Originals) -> Iterator[Settings]:
    try:
        whole = tomllib.loads(files.read(posixpath.join(place, "pyproject.toml")))
        tool = whole.get("tool", {}).get("pytest", {})
        values = {**tool, **tool.get("ini_options", {})}
        points = whole.get("project", {}).get("entry-points", {}).get("pytest11", {})
        plugins = [f"-p {str(point).partition(':')[0]}" for point in points.values()]
    except (tomllib.TOMLDecodeError, AttributeError, TypeError):
        return
    patterns, paths, options = (
        tuple(str(word) for word in value) if isinstance(value, list) else tuple(str(value).split())
        for value in (values.get(key, "") for key in ("python_files", "testpaths", "addopts"))
    )
    yield place, patterns, paths, " ".join((*options, *plugins))


def _selection(settings: Collection[Settings]) -> Callable[[str], bool]:
    """Make the question whether a path is of a test file by the project's settings."""

    def is_selected(path: str) -> bool:
        for place, patterns, roots, _ in settings:
            if not path.endswith(".py") or not _is_below(path, place):
                continue
            inside = PurePosixPath(path).relative_to(place)
            rooted = [root for root in roots if posixpath.normpath(root) not in (".", "src")]
            if roots and not any(_is_below(str(inside), root) for root in roots):
                continue
            for pattern in patterns:
                # `*.py` says nothing of its own: it makes test files of what lies in `testpaths`.
                is_telling = pattern not in ("*", "*.py") or bool(rooted)
                if is_telling and (fnmatch(inside.name, pattern) or fnmatch(str(inside), pattern)):
                    return True
        return False

    return is_selected


def _is_below(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(posixpath.normpath(folder) if folder else "")


# --- what tests load ----------------------------------------------------------------------------


def _is_data_of_tests(path: str, files: Originals) -> bool:
    """Whether it lies in a folder `data` beside tests; of those called `fixtures` names tell."""
    parts = PurePosixPath(path).parts
    if "data" not in parts[:-1] or PurePosixPath(path).suffix in SOURCE_SUFFIXES:
        return False
    around = parts[: parts.index("data")]
    beside = (PurePosixPath(*around, name) for name in ("tests", "test"))
    return any(other.startswith(f"{folder}/") for folder in beside for other in files.paths)


def _follow(found: set[str], folder: str, files: Originals) -> None:
    """Add the plugins and helpers that tests load, and what those load in turn."""
    tests = sorted(path for path in files.paths if decides_tests(path) or path in found)
    waiting = [path for path in tests if path.endswith((".py", *JAVASCRIPT))][:MAX_READ]
    seen = set(waiting)
    for path in waiting:  # grows while it is read
        loaded = _python_loads if path.endswith(".py") else _javascript_loads
        for helper in loaded(path, folder, files):
            found.add(helper)
            if helper not in seen:
                seen.add(helper)
                waiting.append(helper)


def _python_loads(path: str, folder: str, files: Originals) -> Iterator[str]:
    text = files.read(path)
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in nodes:
        if isinstance(node, ast.Assign) and _names(node) == ["pytest_plugins"]:
            strings = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
            for name in strings:
                yield from _modules(str(name), path, folder, files)
            continue
        for module in _imported(node, path):
            yield from filter(_says_test, _modules(module, path, folder, files))


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _imported(node: ast.AST, path: str) -> list[str]:
    """The modules that an import may load; a relative one from the top of the repository."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = PurePosixPath(path).parts[: -node.level]
        base = ".".join((*parts, base) if base else parts)
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _modules(module: str, path: str, folder: str, files: Originals) -> Iterator[str]:
    """The files that `module` may be, for the code at `path`, wherever the import path begins."""
    inner = module.replace(".", "/")
    around = [str(place) for place in PurePosixPath(path).parents] if path else []
    for place in dict.fromkeys(("", folder, "src", "lib", posixpath.join(folder, "src"), *around)):
        for name in (f"{inner}.py", f"{inner}/__init__.py"):
            candidate = posixpath.normpath(posixpath.join(place, name))
            if candidate in files.paths:
                yield candidate


def _javascript_loads(path: str, folder: str, files: Originals) -> Iterator[str]:
    for word in LOADED.findall(files.read(path)):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), word))
        ends = ("", *JAVASCRIPT, ".json", *(f"/index{suffix}" for suffix in JAVASCRIPT))
        names = (target + end for end in ends)
        yield from (name for name in names if name in files.paths and _says_test(name))


def _says_test(path: str) -> bool:
    """Whether a path has a word that is used of tests: `testing_utils.py`, `testUtils.js`."""
    place = PurePosixPath(path)
    words = {
        word.lower() for part in (*place.parts[:-1], place.stem) for word in WORD.findall(part)
    }
    return bool(words & (HELPER_WORDS | TEST_FOLDERS)) or is_rule_by_name(path)
