"""Which test files of Python are nearest to a source file, by their names and what they import.

Texts come in and names go out; no file is opened and nothing is run here. Those of jest and vitest
are found in `near_scripts.py`; other runners cannot be given some files alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from tools.command_words import Argv, is_pytest, is_unittest, parts_of, start_folder
from tools.project import SKIPPED_FOLDERS

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]+))",
    re.MULTILINE,
)
NOT_LOADED = "unittest.loader._FailedTest."
"""What unittest calls a file that could not be imported, before its dotted name."""


def is_test_file(path: str) -> bool:
    """Say whether a path of the project is that of a Python test file."""
    *folders, name = path.split("/")  # asked of every file: pathlib would be slow
    stem = name.removesuffix(".py")
    if stem == name or not (stem == "tests" or stem.startswith("test_") or stem.endswith("_test")):
        return False
    return not any(part.startswith(".") or part in SKIPPED_FOLDERS for part in folders)


def near_tests(path: str, tests: Mapping[str, str]) -> tuple[str, ...]:
    """Return the test files that are near to the file at `path`, the nearest first.

    Args:
        path: the edited file.
        tests: the text of every test file, by path.
    """
    if path in tests:
        return (path,)
    module = _module(path)
    if not module:
        return ()
    distances = {test: _distance(module, test, text) for test, text in tests.items()}
    near = [test for test, distance in distances.items() if distance < FAR]
    nearest = min((distances[test] for test in near), default=FAR)
    if nearest < PACKAGE:  # who imports the package only is asked where nobody is nearer
        near = [test for test in near if distances[test] < PACKAGE]
    return tuple(sorted(near, key=lambda test: (distances[test], test)))


SAME_NAME_AND_IMPORT, IMPORT, SAME_NAME, PACKAGE, FAR = range(5)


def _distance(module: tuple[str, ...], test: str, text: str) -> int:
    stem = PurePosixPath(test).stem
    name = stem.removeprefix("test_").removesuffix("_test")
    is_named = name == module[-1] or name.startswith(f"{module[-1]}_")
    imported = set(_imported(text))
    if any(_is_end_of(names, module) for names in imported):
        return SAME_NAME_AND_IMPORT if is_named else IMPORT
    if is_named:
        return SAME_NAME
    package = module[:-1]
    return PACKAGE if any(_is_end_of(names, package) for names in imported) else FAR


def _module(path: str) -> tuple[str, ...]:
    """Return the dotted name of a Python file, with the folders that may be before it."""
    name = PurePosixPath(path)
    if name.suffix != ".py" or name.stem == "conftest":
        return ()
    return name.parent.parts if name.stem == "__init__" else (*name.parent.parts, name.stem)


def _imported(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names that a text imports: of modules, and of what is taken from them."""
    for module, names, modules in _IMPORT.findall(text):
        if module:
            start = _words(module)
            if start:
                yield start
            for name in names.strip("() \t").split(","):
                if taken := _words(name):
                    yield (*start, taken[0])
        for name in modules.split(","):
            if words := _words(name):
                yield words


def _words(name: str) -> tuple[str, ...]:
    """Split `.a.b as c` into `a` and `b`."""
    first = name.split()[:1]
    return tuple(filter(None, first[0].split("."))) if first else ()


def _is_end_of(names: tuple[str, ...], module: tuple[str, ...]) -> bool:
    """Say whether an import means a module: folders like `src` stand before its name."""
    return bool(module) and bool(names) and module[-len(names) :] == names


def ids_of(command: Argv, files: Sequence[str]) -> tuple[str, ...] | None:
    """Name the tests of some files for a runner; None if the command cannot be restricted."""
    if is_pytest(command):
        return tuple(files)
    parts = parts_of(command)
    if not is_unittest(parts[0]):
        return None
    folders = [start_folder(part).rstrip("/") for part in parts]
    return tuple(
        name for file in files for name in _unittest_names(file, folders, has_parts=len(parts) > 1)
    )


def _unittest_names(file: str, folders: Sequence[str], has_parts: bool) -> Iterator[str]:
    """Yield the ids of a file for the folder that unittest discovers it from."""
    path = PurePosixPath(file)
    around = [folder for folder in folders if path.is_relative_to(folder or ".")]
    if around:
        folder = max(around, key=len)
        dotted = ".".join(path.relative_to(folder or ".").with_suffix("").parts)
        prefix = f"{folder}/" if has_parts and folder else ""
        yield from (f"{prefix}{dotted}", f"{prefix}{NOT_LOADED}{dotted}")
