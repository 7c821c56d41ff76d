"""Which test files of jest and vitest are nearest to a script, by their places and their imports.

Texts come in and names go out; no file is opened and nothing is run here.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from posixpath import normpath

from tools.project import SKIPPED_FOLDERS

SUFFIXES = tuple(f".{start}{kind}" for start in ("", "c", "m") for kind in ("js", "ts"))
SUFFIXES += (".jsx", ".tsx", ".vue", ".svelte")
TESTS_FOLDER = "__tests__"
_TEST = re.compile(r"(.+)[.](?:test|spec)")
_IMPORT = re.compile(
    r"""(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*["'](\.{1,2}/?[^"'\n]*)["']"""
)


def is_script_test(path: str) -> bool:
    """Say whether a path of the project is that of a test file of jest or vitest."""
    *folders, name = path.split("/")  # asked of every file: pathlib would be slow
    stem, dot, suffix = name.rpartition(".")
    if f"{dot}{suffix}" not in SUFFIXES or not (TESTS_FOLDER in folders or _TEST.fullmatch(stem)):
        return False
    return not any(part.startswith(".") or part in SKIPPED_FOLDERS for part in folders)


def near_scripts(path: str, tests: Mapping[str, str]) -> tuple[str, ...]:
    """Return the test files that are near to the file at `path`, the nearest first.

    Args:
        path: the edited file.
        tests: the text of every test file, by path.
    """
    if path in tests:
        return (path,)
    if PurePosixPath(path).suffix not in SUFFIXES:
        return ()
    distances = {test: _distance(PurePosixPath(path), test, text) for test, text in tests.items()}
    near = [test for test, distance in distances.items() if distance < FAR]
    return tuple(sorted(near, key=lambda test: (distances[test], test)))


NAME_AND_IMPORT, IMPORT, NAME, FAR = range(4)


def _distance(script: PurePosixPath, test: str, text: str) -> int:
    place = PurePosixPath(test)
    is_named = _tested_name(place) == script.stem and _is_beside(place, script)
    if script.with_suffix("") in _imported(place.parent, text):
        return NAME_AND_IMPORT if is_named else IMPORT
    return NAME if is_named else FAR


def _tested_name(test: PurePosixPath) -> str:
    match = _TEST.fullmatch(test.stem)
    return match[1] if match else test.stem


def _is_beside(test: PurePosixPath, script: PurePosixPath) -> bool:
    folder = test.parent.parent if test.parent.name == TESTS_FOLDER else test.parent
    return folder == script.parent


def _imported(folder: PurePosixPath, text: str) -> Iterator[PurePosixPath]:
    """Yield the files that a test imports by relative names, without their suffixes."""
    for name in _IMPORT.findall(text):
        path = PurePosixPath(normpath(folder / name))
        yield path.with_suffix("") if path.suffix in SUFFIXES else path
        yield path / "index"
