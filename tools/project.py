"""What kind of project a folder holds: how its tests are run, and in which environment.

Looks at files only; nothing of the project is run, and nothing outside the folder is followed.
"""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox.limits import Limits
from tools.command_words import parts_of
from tools.errors import ProjectError
from tools.interpreters import (
    find_interpreter,
    has_package,
    prefixes_of,
    read_small,
    site_folders,
)
from tools.toolchains import find_toolchains

Command = tuple[str, ...]

PYTEST: Command = ("python", "-m", "pytest")
"""As a module: the repository's own packages are then importable without being installed."""
SYSTEM_PATH = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
SKIPPED_FOLDERS = frozenset(
    {"node_modules", "site-packages", "build", "dist", "target", "vendor", "__pycache__"}
)
MAX_FOLDERS = 2_000
MAX_TEST_FILES = 300


@dataclass(frozen=True)
class Environment:
    """The tools of a project: what its tests run with, never what this program runs with."""

    interpreter: Path | None
    """The project's python; None on a machine without one."""
    read_only: tuple[Path, ...] = ()
    """Folders of the host that the tools live in, bound read-only."""
    path: tuple[Path, ...] = SYSTEM_PATH
    """PATH, in order."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the tests."""
    address_space_bytes: int = 0
    """What one process reserves, most of it never used; 0 for no more than any program."""

    def widened(self, limits: Limits) -> Limits:
        """Return limits under which the tools of the project can start."""
        return replace(limits, memory_bytes=max(limits.memory_bytes, self.address_space_bytes))


# --- the test command -----------------------------------------------------------------------


def detect_test_command(root: Path) -> Command:
    """Find how the tests of the project in `root` are run.

    Raises:
        ProjectError: nothing in it says how.
    """
    for detect in DETECTORS:
        command = detect(root)
        if command is not None:
            return command
    raise ProjectError(f"{root}: found no tests; say how to run them with --test-cmd.")


def _pytest(root: Path) -> Command | None:
    return PYTEST if _is_configured_for_pytest(root) or _has_pytest_tests(root) else None


def _is_configured_for_pytest(root: Path) -> bool:
    if any((root / name).is_file() for name in ("pytest.ini", ".pytest.ini", "conftest.py")):
        return True
    if re.search(r"(?m)^\[pytest\]", read_small(root / "tox.ini")):
        return True
    if re.search(r"(?m)^\[tool:pytest\]", read_small(root / "setup.cfg")):
        return True
    return "pytest" in _tool_table(root)


def _has_pytest_tests(root: Path) -> bool:
    for path in _python_tests(root):
        text = read_small(path)
        if path.name == "conftest.py" or re.search(r"(?m)^\s*(import|from) pytest\b", text):
            return True
        if re.search(r"(?m)^(async )?def test_|^class Test\w*(\(\))?:", text):
            return True
    return False


def _unittest(root: Path) -> Command | None:
    files = [path for path in _python_tests(root) if "TestCase" in read_small(path)]
    starts: dict[tuple[Path, str], None] = {}  # in the order found, the root first
    for path in files:
        pattern = "" if path.name.startswith("test") else "*_test.py"
        starts[_top_of(path.parent, root), pattern] = None
    commands = []
    for start, pattern in starts:
        command: Command = ("python", "-m", "unittest", "discover")
        if start != root:
            command += ("-s", str(start.relative_to(root)))
        commands.append(command + (("-p", pattern) if pattern else ()))
    if len(commands) < 2:
        return commands[0] if commands else None
    # No one run of unittest sees the tests of two folders that are no packages.
    return ("sh", "-c", " && ".join(map(shlex.join, commands)))


def _top_of(folder: Path, root: Path) -> Path:
    """The folder from which discovery finds the tests in `folder`: the one around its packages."""
    while folder != root and (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _npm(root: Path) -> Command | None:
    script = npm_test_script(root)
    if not script or "no test specified" in script:
        return None
    locks = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}
    manager = next((name for lock, name in locks.items() if (root / lock).is_file()), "npm")
    return ("bun", "run", "test") if manager == "bun" else (manager, "test")


def npm_test_script(root: Path) -> str:
    """Return the script that `npm test` runs; nothing if there is none."""
    try:
        data = json.loads(read_small(root / "package.json") or "{}")
    except (ValueError, RecursionError):
        return ""
    scripts = data.get("scripts") if isinstance(data, dict) else None
    script = scripts.get("test") if isinstance(scripts, dict) else None
    return script if isinstance(script, str) else ""


def _cargo(root: Path) -> Command | None:
    return ("cargo", "test") if (root / "Cargo.toml").is_file() else None


def _go(root: Path) -> Command | None:
    return ("go", "test", "./...") if (root / "go.mod").is_file() else None


def _make(root: Path) -> Command | None:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        targets = re.findall(r"(?m)^(test|check)\s*::?(?!=)", read_small(root / name))
        if targets:
            return ("make", "test" if "test" in targets else "check")
    return None


def _tox(root: Path) -> Command | None:
    has_section = "tox" in _tool_table(root)
    return ("tox",) if has_section or (root / "tox.ini").is_file() else None


def _nox(root: Path) -> Command | None:
    return ("nox",) if (root / "noxfile.py").is_file() else None


DETECTORS: tuple[Callable[[Path], Command | None], ...] = (
    _pytest,
    _unittest,
    _npm,
    _cargo,
    _go,
    _make,
    _tox,  # the last: they build environments, for which there is no network
    _nox,
)


def _python_tests(root: Path) -> Iterator[Path]:
    """Test files and conftests, top folders first."""
    num_found = 0
    for folder in _folders(root):
        for path in sorted(folder.glob("*.py")):
            is_test = path.name.startswith("test_") or path.name.endswith("_test.py")
            if path.is_symlink() or not (is_test or path.name in ("conftest.py", "tests.py")):
                continue
            yield path
            num_found += 1
            if num_found == MAX_TEST_FILES:
                return


def _folders(root: Path) -> Iterator[Path]:
    """The folders of a project, nearest first: no hidden, built or foreign ones."""
    waiting = [root]
    for num_seen, folder in enumerate(waiting):  # grows while it is read
        if num_seen == MAX_FOLDERS:
            return
        yield folder
        try:
            with os.scandir(folder) as entries:
                inner = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
        except OSError:
            continue
        waiting += [
            folder / name
            for name in inner
            if not name.startswith(".")
            and name not in SKIPPED_FOLDERS
            and not (folder / name / "pyvenv.cfg").is_file()
        ]


def _tool_table(root: Path) -> Mapping[str, object]:
    """`[tool]` of pyproject.toml; empty if there is none or it cannot be read."""
    try:
        table = tomllib.loads(read_small(root / "pyproject.toml")).get("tool", {})
    except tomllib.TOMLDecodeError:
        return {}
    return table if isinstance(table, dict) else {}


# --- the environment ------------------------------------------------------------------------


def detect_environment(
    root: Path, python: Path | None = None, variables: Mapping[str, str] | None = None
) -> Environment:
    """Find what the tests of `root` run with; `variables` stands for this process's own.

    Raises:
        ProjectError: `python` was named and is no interpreter.
    """
    known = os.environ if variables is None else variables
    home = Path(known.get("HOME") or "/nonexistent")
    interpreter = find_interpreter(root, python, known)
    folders: list[Path] = []
    path: list[Path] = []
    settings = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # the same run reads the same
        "PYTHONUNBUFFERED": "1",  # what a killed program had printed is not lost
    }
    if interpreter is not None:
        folders += prefixes_of(interpreter, home)
        path.append(interpreter.parent)
        settings |= _python_variables(interpreter, home, folders)
    address_space_bytes = 0
    for toolchain in find_toolchains(root, known):
        folders += toolchain.read_only
        path += toolchain.path
        settings |= toolchain.variables
        address_space_bytes = max(address_space_bytes, toolchain.address_space_bytes)
    if _pytest(root) is not None:
        settings.pop("CI", None)  # pytest does not shorten its messages there
    places = dict.fromkeys((*path, *SYSTEM_PATH))
    return Environment(
        interpreter,
        tuple(dict.fromkeys(folders)),
        tuple(places),
        settings,
        address_space_bytes,
    )


def _python_variables(interpreter: Path, home: Path, folders: list[Path]) -> dict[str, str]:
    prefix = interpreter.parent.parent
    if (prefix / "pyvenv.cfg").is_file():
        return {"VIRTUAL_ENV": str(prefix)}
    if (prefix / "conda-meta").is_dir():
        return {"CONDA_PREFIX": str(prefix)}
    packages = [
        path for path in site_folders(interpreter, home) if path.is_relative_to(home / ".local")
    ]
    folders += packages  # what `pip install --user` put there
    return {"PYTHONUSERBASE": str(home / ".local")} if packages else {}


def check_environment(
    command: Command, environment: Environment, variables: Mapping[str, str] | None = None
) -> None:
    """Make sure that `environment` has the python and the pytest that `command` asks for.

    Raises:
        ProjectError: it has not.
    """
    known = os.environ if variables is None else variables
    words = [Path(word).name for word in parts_of(command)[0]]
    if "pytest" in words or re.fullmatch(r"python[\d.]*", words[0]):
        if environment.interpreter is None:
            raise ProjectError("No python was found for the tests; name one with --python.")
        home = Path(known.get("HOME") or "/nonexistent")
        if "pytest" in words and not has_package(environment.interpreter, "pytest", home):
            raise ProjectError(
                f"{environment.interpreter} has no pytest; install pytest for it"
                " or name another interpreter with --python."
            )
