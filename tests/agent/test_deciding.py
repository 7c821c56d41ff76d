"""What decides a test run, found in the contents of a repository; nothing is run here."""

from collections.abc import Mapping

import pytest

from agent.command_scripts import scripts_of
from agent.early_exits import added_exit
from agent.inline_tests import keeps_doctests, keeps_rust_tests
from agent.originals import Originals
from agent.support_files import find_deciding, named_by_tests

PYTEST = ("python", "-m", "pytest")
TEST = "from calc import total\ndef test_total(): assert total([1]) == 1\n"


def originals(files: Mapping[str, str]) -> Originals:
    return Originals(frozenset(files), lambda path: files.get(path, ""))


def found(
    files: Mapping[str, str], *ids: str, command: tuple[str, ...] = PYTEST, folder: str = "."
) -> set[str]:
    """The paths of `files` that are kept as they were, besides those with telling names."""
    return set(find_deciding(command, ids, folder, originals(files)).paths) & set(files)


# --- the scripts behind a command


@pytest.mark.parametrize(
    ("command", "files", "scripts"),
    [
        ("python3 check.py", {"check.py": "", "calc.py": ""}, {"check.py"}),
        ("node ./check.js --all", {"check.js": ""}, {"check.js"}),
        ("./qa/run calc.py", {"qa/run": "", "calc.py": ""}, {"qa/run", "calc.py"}),
        ("python -m checks.all", {"checks/all.py": "", "calc.py": ""}, {"checks/all.py"}),
        ("python -m check", {"check/__main__.py": ""}, {"check/__main__.py"}),
        ("python -m doctest calc.py", {"calc.py": ""}, set()),
        ("python -m coverage run check.py", {"check.py": ""}, {"check.py"}),
        ("python -m pytest -c qa.cfg", {"qa.cfg": "", "calc.py": ""}, {"qa.cfg"}),
        ("uv run python check.py", {"check.py": ""}, {"check.py"}),
        ("env A=1 timeout 5 ruby check.rb", {"check.rb": ""}, {"check.rb"}),
        ("python ../check.py", {"check.py": ""}, set()),
    ],
)
def test_the_files_that_a_command_names_are_its_scripts(
    command: str, files: dict[str, str], scripts: set[str]
) -> None:
    assert scripts_of(tuple(command.split()), ".", originals(files)) == scripts


@pytest.mark.parametrize(
    ("makefile", "scripts"),
    [
        ("test: ; python3 check.py\n", {"check.py"}),
        ("test: all\nall:\n\t@sh ci/check.sh\n", {"ci/check.sh", "ci/data.json", "check.py"}),
        ("PY := python3\nFILE = check.py\ntest:\n\t$(PY) $(FILE)\n", {"check.py"}),
        ("test: t\n\t./t\nt: calc.c check.c\n\t$(CC) -o t calc.c check.c\n", set()),
        ("test:\n\tgcc calc.c -o t && ./t < expected.txt\n", {"expected.txt"}),
        ("test:\n\t$(MAKE) inner\ninner:\n\tcd ci && ./check.sh\n", {"ci/check.sh"}),
        ("lint:\n\tpython3 check.py\ntest:\n\tmypy calc.py\n", set()),
        ("test:\n\tfor f in a b; do node check.js $$f; done\n", {"check.js"}),
        ("test:\n\tmake -C ci\n", {"ci/Makefile", "check.py"}),
        ("test: test\n\techo 'not closed\n", set()),
    ],
)
def test_recipes_and_what_they_need_are_followed(makefile: str, scripts: set[str]) -> None:
    files = {
        "Makefile": makefile,
        "ci/Makefile": "first:\n\tpython ../check.py\nlater:\n\tnode ../check.js\n",
        "ci/check.sh": "# a comment\npython3 check.py < ci/data.json\n",
        "ci/data.json": "",
        **dict.fromkeys(
            ("check.py", "check.js", "calc.py", "calc.c", "check.c", "expected.txt"), ""
        ),
    }
    assert scripts_of(("make", "test"), ".", originals(files)) == {"Makefile", *scripts}


def test_package_scripts_are_followed_and_others_are_not() -> None:
    scripts = """{"scripts": {"test": "npm run -s unit && jest", "unit": "node check.js",
        "pretest": "sh setup.sh", "start": "node index.js", "loop": "npm run loop"}}"""
    names = ("check.js", "setup.sh", "index.js")
    files = originals({"package.json": scripts, **dict.fromkeys(names, "")})
    assert scripts_of(("npm", "test"), ".", files) == {"check.js", "setup.sh"}
    assert scripts_of(("yarn", "run", "start"), ".", files) == {"index.js"}
    assert scripts_of(("npm", "run", "loop"), ".", files) == set()
    assert scripts_of(("npm", "test"), ".", originals({"package.json": "[1]"})) == set()


def test_a_shell_line_is_read_command_by_command() -> None:
    files = originals({"a.py": "", "b.sh": "python c.py", "c.py": "", "ci/d.py": "", "e.toml": ""})
    command = (
        "sh",
        "-c",
        "X=1 python a.py --config=e.toml | tee log; ./b.sh && (cd ci; python d.py)",
    )
    assert scripts_of(command, ".", files) == {"a.py", "b.sh", "c.py", "ci/d.py", "e.toml"}
    assert scripts_of(("python", "d.py"), "ci", files) == {"ci/d.py"}


# --- test files, plugins, helpers, data


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (("check_calc.py::test_total",), {"check_calc.py"}),
        (("check_calc.py",), {"check_calc.py"}),
        (("more.cases.Cases.test_x",), {"more/cases.py"}),
        (("unittest.loader._FailedTest.cases",), {"more/cases.py"}),
        (("more/unittest.loader._FailedTest.cases",), {"more/cases.py"}),
        (("setUpClass (cases.Cases)",), {"more/cases.py"}),
        (("calc.py::calc.total",), set()),
        (("make test", "absent.py::test_a", ""), set()),
    ],
)
def test_the_files_that_ids_name_are_kept(ids: tuple[str, ...], expected: set[str]) -> None:
    files = {"check_calc.py": TEST, "more/cases.py": "", "calc.py": ""}
    assert found(files, *ids) == expected


@pytest.mark.parametrize(
    ("settings", "selected"),
    [
        ({"pytest.ini": "[pytest]\npython_files = check_*.py\n"}, {"qa/check_a.py", "check_b.py"}),
        (
            {"pytest.ini": "[pytest]\ntestpaths = qa\npython_files = *.py\n"},
            {"qa/check_a.py", "qa/b.py"},
        ),
        ({"setup.cfg": "[tool:pytest]\npython_files = qa/*.py\n"}, {"qa/check_a.py", "qa/b.py"}),
        (
            {"pyproject.toml": '[tool.pytest.ini_options]\npython_files = ["b.py", "x_*.py"]\n'},
            {"qa/b.py"},
        ),
        ({"pytest.ini": "[pytest]\npython_files = *.py\n"}, set()),
        ({"pytest.ini": "[pytest]\npython_files = *.py\ntestpaths = src\n"}, set()),
        ({"pytest.ini": "[pytest]\ntestpaths = qa\n"}, set()),
        ({"pytest.ini": "broken", "tox.ini": "[tox]\n", "pyproject.toml": "tool = 3"}, set()),
    ],
)
def test_what_pytest_is_told_to_collect_is_kept(
    settings: dict[str, str], selected: set[str]
) -> None:
    names = ("qa/check_a.py", "qa/b.py", "check_b.py", "src/calc.py")
    files = {**settings, **dict.fromkeys(names, "")}
    assert found(files) - set(settings) == selected
    deciding = find_deciding(PYTEST, (), ".", originals(files))
    assert deciding.is_selected("qa/check_new.py") == ("qa/check_a.py" in selected)


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (
            {"pytest.ini": "[pytest]\naddopts = -q -p myplug\n", "myplug.py": ""},
            {"myplug.py"},
        ),
        (
            {
                "conftest.py": 'pytest_plugins = ["plug.one", "two"]\n',
                "plug/one.py": "",
                "two.py": "",
            },
            {"plug/one.py", "two.py"},
        ),
        (
            {
                "pyproject.toml": '[project.entry-points.pytest11]\nx = "shop.plug"\n',
                "src/shop/plug.py": "",
            },
            {"src/shop/plug.py"},
        ),
        (
            {
                "tests/test_a.py": "from testing_utils import check\nimport shop.testing as t\n"
                "import shop.cart\n",
                "testing_utils.py": "",
                "utils.py": "",
                "src/shop/testing.py": "",
                "src/shop/cart.py": "",
            },
            {"testing_utils.py", "src/shop/testing.py"},
        ),
        (
            {
                "tests/test_a.py": "from helpers_for_tests import x\n",
                "helpers_for_tests.py": "from test_doubles import y\n",
                "test_doubles.py": "",
            },
            {"helpers_for_tests.py", "test_doubles.py"},
        ),
        (
            {"qa/test_a.py": "from . import fixtures\n", "qa/fixtures.py": ""},
            {"qa/fixtures.py"},
        ),
        (
            {
                "a.test.js": 'const t = require("./testUtils");\nimport s from "./sum"',
                "testUtils.js": "",
                "sum.js": "",
            },
            {"testUtils.js"},
        ),
        (
            {
                "tests/test_a.py": "",
                "data/x.json": "",
                "data/load.py": "",
                "shop/data/y.json": "",
            },
            {"data/x.json"},
        ),
        ({"tests/test_a.py": "import broken (\n", "latest.py": "", "attest.py": ""}, set()),
    ],
)
def test_what_tests_load_is_kept(files: dict[str, str], kept: set[str]) -> None:
    sources = {path for path in files if not path.startswith(("tests/", "qa/test_", "a.test."))}
    assert (found(files) & sources) - {"pytest.ini", "conftest.py", "pyproject.toml"} == kept


def test_a_project_in_a_folder_is_looked_at_from_there() -> None:
    files = {
        "py/pytest.ini": "[pytest]\npython_files = check_*.py\n",
        "py/check_a.py": "",
        "py/b.py": "",
    }
    assert found(files, "b.py::test_b", folder="py") == {"py/check_a.py", "py/b.py"}


def test_data_that_tests_name_is_known() -> None:
    files = originals(
        {"tests/test_a.py": 'open("conf/prices.csv")', "conf/prices.csv": "", "x.csv": ""}
    )
    assert named_by_tests("conf/prices.csv", (), files)
    assert not named_by_tests("x.csv", (), files)


# --- tests inside of source


RUST = """pub fn add(a: i32, b: i32) -> i32 { a - b }
#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn t() { assert_eq!(add(1, 2), 3); }
}
"""
DOCUMENTED = "/// Adds.\n/// ```\n/// assert_eq!(x::add(1, 2), 3);\n/// ```\n"


@pytest.mark.parametrize(
    ("new", "kept"),
    [
        (RUST.replace("a - b", "a + b"), True),
        (RUST.replace("    ", "\t") + "fn more() {}\n", True),
        (RUST.split("#[cfg")[0], False),
        (RUST.replace("2), 3", "2), -1"), False),
        (RUST.replace("fn t() {", "fn t() { return;"), False),
        (RUST.replace("#[test]", "#[test]\n    #[ignore]"), False),
    ],
)
def test_rust_tests_in_the_source_must_stay(new: str, kept: bool) -> None:
    assert keeps_rust_tests(RUST, new) == kept
    assert keeps_rust_tests(DOCUMENTED + RUST, DOCUMENTED + new) == kept
    assert not keeps_rust_tests(DOCUMENTED + RUST, DOCUMENTED.replace("3", "4") + new)


def test_doctests_must_stay() -> None:
    old = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a - b\n'
    assert keeps_doctests(old, old.replace("a - b", "a + b"))
    assert keeps_doctests(old, old.replace("    3\n", "    3\n    >>> add(1, 1)\n    2\n"))
    assert not keeps_doctests(old, old.replace("    3\n", "    -1\n"))
    assert not keeps_doctests(old, old.replace(">>> add(1, 2)", ""))
    deciding = find_deciding(PYTEST, ["calc.py::calc.add"], ".", originals({"calc.py": old}))
    assert (deciding.doctested, deciding.paths & {"calc.py"}) == ({"calc.py"}, set())


# --- ending early


@pytest.mark.parametrize(
    "line",
    [
        "import sys; sys.exit(0)",
        "    raise SystemExit",
        "from os import _exit as leave",
        "from sys import exit",
        'getattr(os, "_exit")(0)',
        "exit()",
        "quit(0)",
        "leave = sys.exit",
        "os.execvp('true', ['true'])",
        "process.exit(0)",
        "process.exitCode = 0",
        'process["exit"]()',
        "os.Exit(0)",
        "std::process::exit(0);",
        "  exit(0);",
        "System.exit(0);",
        "exit 0",
        "exit!",
    ],
)
def test_a_new_end_with_success_is_seen(line: str) -> None:
    old = "def total(items):\n    return 1\n"
    assert added_exit(old, f"{old}{line}\n").endswith(" in line 3")
    assert not added_exit(f"{old}{line}\n", f"{line}\n{old}")
    assert added_exit(f"{old}{line}\n", f"{line}\n{old}{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "sys.exit(1)",
        "process.exit(2)",
        "exit 1",
        "exit_price = 3",
        "# on exit, nothing",
        "shop.exit(door)",
        "self.quit()",
        "atexit.register(close)",
    ],
)
def test_what_is_no_such_end_is_let_pass(line: str) -> None:
    assert added_exit("", f"{line}\n") == ""
