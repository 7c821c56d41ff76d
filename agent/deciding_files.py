"""Which files decide what a test run says: tests, their configuration, and what shadows a runner.

A patch is judged with the original of each of these. Rules on path names only; no file is opened:
what contents tell is found by `support_files` and `command_scripts`.
"""

import posixpath
import re
import sys
from collections.abc import Sequence
from pathlib import PurePosixPath

TEST_FOLDERS = frozenset({"tests", "test", "__tests__", "__snapshots__", "spec", "specs", "e2e"})
DATA_FOLDERS = frozenset(
    {"fixtures", "__fixtures__", "__mocks__", "testdata", "test_data", "test-data", "testfiles"}
    | {"golden", "goldens", "cassettes"}
)
"""What tests compare with, wherever it lies."""
TEST_NAME = re.compile(
    r"test_.*\.pyi?|.*_tests?\.(py|go|rs|cc|cpp|c|sh)|(run_?)?tests?\.(py|sh)|conftest\.py"
    r"|.*\.(test|spec)\.[a-z]+|.*_spec\.[a-z]+|.*\.(t|bats|snap)"
)
CONFIGURATION = frozenset(
    {
        "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "setup.cfg",
        "tox.ini", "tox.toml", "noxfile.py", ".coveragerc", ".env",
        "package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", "bunfig.toml",
        ".babelrc", ".swcrc", "karma.conf.js",
        "makefile", "gnumakefile",
        "cargo.toml", "rust-toolchain", "rust-toolchain.toml", "go.mod", "go.work",
        "sitecustomize.py", "usercustomize.py",
    }
)  # fmt: skip
CONFIGURATION_NAME = re.compile(
    r"(jest|vitest|vite|babel|ava|playwright|cypress|mocha)\.(config|workspace|setup)\..*"
    r"|\.mocharc.*|\.nycrc.*|.*\.pth|.*\.mk"
)
METADATA = re.compile(r".*\.(egg-info|dist-info)")
"""Entry points in such a folder load plugins into pytest."""
RUNNER_MODULES = frozenset(
    {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "xdist", "coverage"}
)
SCRIPT_SUFFIXES = frozenset({"", ".sh", ".bash", ".ini", ".cfg", ".toml", ".json", ".yml", ".yaml"})
MODULE_ROOTS = frozenset({"", "src", "lib"})


def decides_tests(path: str) -> bool:
    """Whether the file at `path`, relative to the repository, has a say in the tests' outcome."""
    folders = PurePosixPath(path.lower()).parts[:-1]
    known = TEST_FOLDERS | DATA_FOLDERS
    is_inside = any(folder in known or METADATA.fullmatch(folder) for folder in folders)
    return is_inside or is_rule_by_name(path) or METADATA.fullmatch(path.lower()) is not None


def is_rule_by_name(path: str) -> bool:
    """Whether the name alone says so, wherever the file lies."""
    file = PurePosixPath(path.lower())
    return (
        TEST_NAME.fullmatch(file.name) is not None
        or file.name in CONFIGURATION
        or CONFIGURATION_NAME.fullmatch(file.name) is not None
        or (file.parent.name == ".cargo" and file.name in ("config", "config.toml"))
    )


def named_in(command: Sequence[str]) -> frozenset[str]:
    """The scripts and configurations that a test command may name, be they there or not.

    Source files that it names are looked for among those that are there: see `command_scripts`.
    """
    words = re.findall(r"[\w./+-]+", " ".join(command))
    paths = (PurePosixPath(posixpath.normpath(word)) for word in words)
    return frozenset(str(path) for path in paths if path.suffix.lower() in SCRIPT_SUFFIXES)


def shadows_runner(path: str) -> bool:
    """Whether a new file at `path` would be imported in place of a module that runners use."""
    parts = PurePosixPath(path).parts
    first = parts[1:] if parts[0] in MODULE_ROOTS else parts
    if not first:
        return False
    module = first[0].split(".")[0]
    is_module = len(first) > 1 or first[0].endswith((".py", ".pyc", ".so", ".pyd"))
    return is_module and (module in RUNNER_MODULES or module in sys.stdlib_module_names)
