"""No way of making tests green but mending the code: each trick is played, and judged for real."""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.deciding_files import decides_tests, named_in, shadows_runner
from agent.verdict import Verdict, compare, judge
from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.checkpoint import Checkpoint
from sandbox.limits import Limits
from tests.plain import plain_python
from tools.project import detect_environment
from tools.runners import run_tests_once
from tools.test_report import Outcome, TestCase, TestReport

PYTEST = ("python", "-m", "pytest")
LIMITS = Limits(wall_s=120)
"""Far more than any run here takes: on a busy machine a time-out would look like a verdict."""

BROKEN = "def add(a, b):\n    return a - b\n\ndef double(a):\n    return a * 2\n"
MENDED = BROKEN.replace("a - b", "a + b")
TESTS = """
from shop import add, double
from tests.helper import THREE

def test_add(): assert add(1, 2) == THREE
def test_double(): assert double(2) == 4
"""
FILES = {
    "shop.py": BROKEN,
    "tests/__init__.py": "",
    "tests/helper.py": "THREE = 3\n",
    "tests/test_shop.py": TESTS,
    "pytest.ini": "[pytest]\n",
    "check.sh": "#!/bin/sh\npython -c 'from shop import add; assert add(1, 2) == 3'\n",
}
ADD, DOUBLE = "tests/test_shop.py::test_add", "tests/test_shop.py::test_double"


class Project:
    """A repository with one bug, its checkpoint and its tests' word on the bug."""

    def __init__(
        self, folder: Path, sandbox: Bubblewrap, files: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.root = folder / "shop"
        self.write(files or FILES)
        for script in self.root.glob("check.sh"):
            script.chmod(0o755)
        self.checkpoint = Checkpoint.create(folder / "checkpoints", self.root)
        self.base = self.checkpoint.save("base")

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def test(self, command: Sequence[str] = PYTEST) -> TestReport:
        environment = detect_environment(self.root, plain_python())
        return run_tests_once(
            command, environment, View(self.root, self.root), self.sandbox, LIMITS
        )

    def judge(
        self,
        before: TestReport,
        targets: tuple[str, ...] = (),
        limits: Limits = LIMITS,
        end_s: float = math.inf,
    ) -> Verdict:
        return judge(
            before.command,
            detect_environment(self.root, plain_python()),
            View(self.root, self.root),
            self.sandbox,
            limits,
            self.checkpoint,
            self.base,
            before,
            self.folder,
            targets,
            end_s=end_s,
        )


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    return Bubblewrap()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, sandbox: Bubblewrap) -> TestReport:
    report = Project(tmp_path_factory.mktemp("before"), sandbox).test()
    assert report.red == {ADD}
    assert report.green == {DOUBLE}
    return report


@pytest.fixture
def project(tmp_path: Path, sandbox: Bubblewrap) -> Project:
    return Project(tmp_path, sandbox)


def test_a_mended_bug_is_fixed(project: Project, before: TestReport) -> None:
    project.write({"shop.py": MENDED, "notes.md": "done\n"})
    verdict = project.judge(before)
    assert verdict.fixed
    assert verdict.targets == {ADD}
    assert verdict.reason == f"{ADD} passes on a clean copy."
    assert verdict.left_out == ()
    assert {path.name for path in project.folder.iterdir()} == {"shop", "checkpoints"}


def test_nothing_changed_is_not_fixed(project: Project, before: TestReport) -> None:
    verdict = project.judge(before)
    assert not verdict.fixed
    assert verdict.still_red == {ADD}
    assert verdict.reason == f"Still not green, 1 of 1: {ADD}."


SKIP_ALL = "import pytest\ndef pytest_collection_modifyitems(items):\n    items.clear()\n"
FORGE = "def pytest_runtest_makereport(item, call):\n    call.excinfo = None\n"


@pytest.mark.parametrize(
    "files",
    [
        {"tests/test_shop.py": "def test_add(): pass\ndef test_double(): pass\n"},
        {"tests/helper.py": "THREE = -1\n"},
        {"conftest.py": SKIP_ALL},
        pytest.param({"tests/conftest.py": FORGE}, marks=pytest.mark.slow),
        {"pytest.ini": "[pytest]\naddopts = -k double\n"},
        {"pytest.toml": '[pytest]\naddopts = ["-k", "double"]\n'},
        pytest.param(
            {".pytest.ini": "[pytest]\naddopts = --deselect tests/test_shop.py::test_add\n"},
            marks=pytest.mark.slow,
        ),
        {"pytest.py": "print('5 passed')\n"},
        pytest.param({"_pytest/__init__.py": ""}, marks=pytest.mark.slow),
        pytest.param({"json.py": "import os; os._exit(0)\n"}, marks=pytest.mark.slow),
        {"sitecustomize.py": "import os; os._exit(0)\n"},
        {"x.dist-info/entry_points.txt": "[pytest11]\nx = forge\n", "forge.py": FORGE},
        {"shop.py": "import sys; sys.exit(0)\n"},
        pytest.param({"shop.py": "import os; os._exit(0)\n"}, marks=pytest.mark.slow),
        {"shop.py": "print('5 passed in 0.01s')\nimport os; os._exit(0)\n"},
        {"shop.py": "import pytest; pytest.exit('fine', 0)\n"},
        {"shop.py": "import pytest; pytest.skip('later', allow_module_level=True)\n"},
        {"shop.py": MENDED + "\ndouble = None\n"},
    ],
)
def test_a_trick_is_not_a_repair(
    project: Project, before: TestReport, files: dict[str, str]
) -> None:
    project.write(files)
    verdict = project.judge(before)
    assert not verdict.fixed
    assert verdict.still_red | verdict.turned_red or not verdict.report.parsed
    honest = set(files) - {"shop.py", "forge.py"}
    assert honest <= set(verdict.left_out)


def test_a_repair_counts_without_what_was_done_to_the_tests(
    project: Project, before: TestReport
) -> None:
    project.write(
        {"shop.py": MENDED, "conftest.py": SKIP_ALL, "tests/test_mine.py": "def test(): assert 0\n"}
    )
    (project.root / "tests" / "test_shop.py").unlink()
    verdict = project.judge(before)
    assert verdict.fixed
    assert verdict.left_out == ("conftest.py", "tests/test_mine.py", "tests/test_shop.py")
    assert verdict.reason.endswith(
        "Judged without the changes to conftest.py, tests/test_mine.py, tests/test_shop.py."
    )
    assert verdict.report.green == {ADD, DOUBLE}


def test_compiled_files_are_not_taken_for_their_sources(
    project: Project, before: TestReport
) -> None:
    project.write({"tests/__pycache__/test_shop.pyc": "planted", "pluggy.pyc": "planted"})
    assert not project.judge(before).fixed
    project.write({"shop.py": MENDED})
    assert project.judge(before).fixed


def test_links_do_not_lead_the_originals_astray(
    project: Project, before: TestReport, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (project.root / "tests").rename(outside)
    (outside / "test_shop.py").write_text("mine")
    (project.root / "tests").symlink_to(outside)
    (project.root / "pytest.ini").unlink()
    (project.root / "pytest.ini").symlink_to("/etc/passwd")
    project.write({"shop.py": MENDED})
    verdict = project.judge(before)
    assert verdict.fixed
    assert (outside / "test_shop.py").read_text() == "mine"
    assert (project.root / "tests").is_symlink()


def test_an_original_link_comes_back_as_a_link(tmp_path: Path, sandbox: Bubblewrap) -> None:
    project = Project(tmp_path, sandbox)
    (project.root / "tests" / "data").symlink_to("../shop.py")
    project.base = project.checkpoint.save("with a link")
    before = project.test()
    (project.root / "tests" / "data").unlink()
    project.write({"tests/data": "mine", "shop.py": MENDED})
    verdict = project.judge(before)
    assert verdict.fixed
    assert verdict.left_out == ("tests/data",)


def test_a_file_in_the_place_of_a_folder_of_tests(project: Project, before: TestReport) -> None:
    (project.root / "tests").rename(project.root / "old")
    project.write({"tests": "", "shop.py": MENDED})
    assert project.judge(before).fixed


def test_tests_that_hang_are_not_green(project: Project, before: TestReport) -> None:
    project.write({"shop.py": "import time\ntime.sleep(60)\n"})
    verdict = project.judge(before, limits=Limits(wall_s=1))
    assert not verdict.fixed
    assert verdict.reason == "The tests did not end within 1 s."


def test_only_the_named_targets_must_become_green(tmp_path: Path, sandbox: Bubblewrap) -> None:
    project = Project(tmp_path, sandbox)
    project.write({"tests/test_other.py": "def test_red(): assert 0\n"})
    project.base = project.checkpoint.save("with another red test")
    before = project.test()
    project.write({"shop.py": MENDED})
    verdict = project.judge(before, targets=(ADD,))
    assert verdict.fixed
    assert verdict.unrelated_red == {"tests/test_other.py::test_red"}
    assert "Red as before and not asked for: tests/test_other.py::test_red." in verdict.reason
    assert not project.judge(before).fixed


def test_a_test_that_the_repair_adds_is_not_run(project: Project, before: TestReport) -> None:
    added = "from shop import double\ndef test_three(): assert double(3) == 7\n"
    project.write({"shop.py": MENDED.replace("* 2", "* 2 + a % 2"), "tests/test_new.py": added})
    target = "tests/test_new.py::test_three"
    assert project.judge(before, (target,)).still_red == {target}


def test_a_test_red_by_accident_is_run_again(tmp_path: Path, sandbox: Bubblewrap) -> None:
    project = Project(tmp_path, sandbox)
    flaky = (
        "import pathlib\n"
        "def test_flaky():\n"
        "    seen = pathlib.Path('seen')\n"
        "    old = seen.exists()\n"
        "    seen.touch()\n"
        "    assert old\n"
    )
    project.write({"tests/test_flaky.py": flaky, "seen": ""})
    project.base = project.checkpoint.save("with a flaky test")
    before = project.test()
    (project.root / "seen").unlink()
    project.write({"shop.py": MENDED})
    verdict = project.judge(before)
    assert verdict.fixed
    assert "Red once and green when run again: tests/test_flaky.py::test_flaky." in verdict.reason


def test_any_command_is_judged_by_its_exit_code_on_the_clean_copy(project: Project) -> None:
    before = project.test(("make", "test"))
    assert before.red == {"make test"}  # there was no Makefile at first
    project.write({"Makefile": "test:\n\ttrue\n"})
    assert not project.judge(before).fixed
    before = project.test(("sh", "check.sh"))
    assert not project.judge(before).fixed
    project.write({"shop.py": MENDED})
    assert project.judge(before).fixed


def test_a_script_that_is_the_test_command_is_restored(project: Project) -> None:
    before = project.test(("./check.sh",))
    assert before.red
    project.write({"check.sh": "#!/bin/sh\nexit 0\n"})
    verdict = project.judge(before)
    assert not verdict.fixed
    assert verdict.left_out == ("check.sh",)


@pytest.mark.parametrize(
    "command", [PYTEST, ("python", "-m", "unittest", "discover", "-s", "tests", "-t", ".")]
)
def test_a_file_that_could_not_be_loaded_is_green_once_its_tests_are(
    tmp_path: Path, sandbox: Bubblewrap, command: tuple[str, ...]
) -> None:
    project = Project(tmp_path, sandbox)
    tests = (
        "import unittest\nfrom shop import {}\nclass T(unittest.TestCase):\n    def test_a(self):"
    )
    project.write(
        {
            "tests/test_shop.py": tests.format("absent") + " self.assertTrue(absent)\n",
            "tests/test_more.py": tests.format("double") + " self.assertTrue(double(1))\n",
        }
    )
    project.base = project.checkpoint.save("a name is missing")
    before = project.test(command)
    assert len(before.red) == 1
    project.write({"shop.py": BROKEN + "\nabsent = False\n"})
    assert not project.judge(before).fixed
    project.write({"shop.py": BROKEN + "\nabsent = True\n"})
    assert project.judge(before).fixed


def test_source_that_rewrites_the_runner_is_beyond_this_judge(
    project: Project, before: TestReport
) -> None:
    """The known limit: code under test and its runner are one process. Nothing red is seen."""
    forged = "import _pytest.python as p\np.Function.runtest = lambda self: None\n"
    project.write({"shop.py": forged + BROKEN})
    assert project.judge(before).fixed


# --- what no rule on names knows -----------------------------------------------------------------

CALC = "def total(items):\n    result = 0\n    for item in items:\n        result -= item\n"
CALC += "    return result\n"
GOOD = CALC.replace("-= item", "+= item")
CHECK = "from calc import total\n\ndef test_total():\n    assert total([1, 2, 3]) == 6\n"
SCRIPT = "from calc import total\nassert total([1, 2, 3]) == 6\n"
NOTHING = "def test_total(): pass\n"
EXAMPLE = '\ndef one():\n    """\n    >>> total([1])\n    1\n    """\n'
PLUGIN = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""


def judged(
    folder: Path,
    sandbox: Bubblewrap,
    files: dict[str, str],
    changes: dict[str, str],
    command: Sequence[str] = PYTEST,
) -> Verdict:
    """The verdict on `changes` to a repository of `files`, whose tests are red before."""
    project = Project(folder, sandbox, files)
    before = project.test(command)
    assert before.red
    project.write(changes)
    return project.judge(before)


@pytest.mark.parametrize(
    ("files", "changes"),
    [
        (
            {"pytest.ini": "[pytest]\npython_files = check_*.py\n", "check_calc.py": CHECK},
            {"check_calc.py": NOTHING},
        ),
        (
            {"pytest.ini": "[pytest]\ntestpaths=qa\npython_files=*.py", "qa/calc_checks.py": CHECK},
            {"qa/calc_checks.py": NOTHING},
        ),
        (
            {"pytest.ini": "[pytest]\naddopts=-p myplug", "myplug.py": "", "test_calc.py": CHECK},
            {"myplug.py": PLUGIN},
        ),
        (
            {"pytest.ini": "[pytest]\naddopts=-p myplug", "myplug.py": "", "test_calc.py": CHECK},
            {"myplug/__init__.py": PLUGIN},
        ),
        (
            {
                "testing_utils.py": "def check(a, b):\n    assert a == b\n",
                "test_calc.py": "from calc import total\nfrom testing_utils import check\n"
                "def test_total(): check(total([1]), 1)\n",
            },
            {"testing_utils.py": "def check(a, b): pass\n"},
        ),
        (
            {
                "fixtures/e.json": "6",
                "test_calc.py": "import json\nfrom calc import total\ndef test_total():\n"
                "    assert total([1, 2, 3]) == json.load(open('fixtures/e.json'))\n",
            },
            {"fixtures/e.json": "-6"},
        ),
        (
            {"pytest.ini": "[pytest]\naddopts = --doctest-modules\n", "calc.py": CALC + EXAMPLE},
            {"calc.py": CALC + EXAMPLE.replace("    1\n", "    -1\n")},
        ),
    ],
)  # fmt: skip
def test_what_the_tests_are_made_of_is_restored(
    tmp_path: Path, sandbox: Bubblewrap, files: dict[str, str], changes: dict[str, str]
) -> None:
    verdict = judged(tmp_path, sandbox, {"calc.py": CALC, **files}, changes)
    assert not verdict.fixed
    assert set(verdict.left_out) == set(changes)
    assert verdict.still_red


@pytest.mark.parametrize(
    ("command", "files", "changes"),
    [
        ("python3 check.py", {}, {"check.py": ""}),
        ("make test", {"Makefile": "test:\n\tpython3 check.py\n"}, {"check.py": ""}),
        (
            "make",
            {"Makefile": "test: all\nall:\n\tsh check.sh\n", "check.sh": "python3 check.py\n"},
            {"check.sh": "", "check.py": ""},
        ),
    ],
)
def test_the_script_behind_the_command_is_restored(
    tmp_path: Path,
    sandbox: Bubblewrap,
    command: str,
    files: dict[str, str],
    changes: dict[str, str],
) -> None:
    whole = {"calc.py": CALC, "check.py": SCRIPT, **files}
    verdict = judged(tmp_path, sandbox, whole, changes, command.split())
    assert not verdict.fixed
    assert set(verdict.left_out) == set(changes)
    project = Project(tmp_path / "again", sandbox, whole)
    before = project.test(command.split())
    project.write({"calc.py": GOOD, **changes})
    assert project.judge(before).fixed


@pytest.mark.parametrize(
    "line", ["import sys; sys.exit(0)", "raise SystemExit", "import os; os._exit(0)", "quit()"]
)
def test_ending_early_is_no_repair_where_the_exit_code_is_all(
    tmp_path: Path, sandbox: Bubblewrap, line: str
) -> None:
    files = {"calc.py": CALC, "check.py": SCRIPT}
    verdict = judged(
        tmp_path, sandbox, files, {"calc.py": f"{CALC}{line}\n"}, ("python3", "check.py")
    )
    assert not verdict.fixed
    assert verdict.report.exit_code == 0
    assert verdict.reason.startswith("calc.py newly ends the program (")
    assert "in line 6" in verdict.reason


def test_an_end_that_was_there_before_is_not_held_against_a_repair(
    tmp_path: Path, sandbox: Bubblewrap
) -> None:
    end = "\nif __name__ == '__main__':\n    import sys; sys.exit(0)\n"
    files = {"calc.py": CALC + end, "check.py": SCRIPT}
    changes = {"calc.py": GOOD + end}
    assert judged(tmp_path, sandbox, files, changes, ("python3", "check.py")).fixed


def test_a_command_that_counts_must_not_count_fewer(tmp_path: Path, sandbox: Bubblewrap) -> None:
    checks = "import calc\nnames = [name for name in dir(calc) if name.startswith('check_')]\n"
    checks += "bad = [name for name in names if not getattr(calc, name)()]\n"
    checks += "print(f'Tests: {len(bad)} failed, {len(names) - len(bad)} passed')\nexit(len(bad))\n"
    own = "def check_a(): return total([1]) == 1\ndef check_b(): return total([]) == 0\n"
    files = {"calc.py": CALC + own, "run.py": checks}
    verdict = judged(tmp_path, sandbox, files, {"calc.py": CALC}, ("python3", "run.py"))
    assert not verdict.fixed
    assert verdict.reason == "Tests are missing: 2 ran before the repair, 0 now."
    good = Project(tmp_path / "good", sandbox, files)
    before = good.test(("python3", "run.py"))
    good.write({"calc.py": GOOD + own})
    assert good.judge(before).fixed


def test_data_that_the_tests_name_is_spoken_of(tmp_path: Path, sandbox: Bubblewrap) -> None:
    check = "import json\nfrom calc import total\ndef test_total():\n"
    check += "    assert total([1]) == json.load(open('one.json'))\n"
    files = {"calc.py": CALC, "one.json": "1", "test_calc.py": check}
    verdict = judged(tmp_path, sandbox, files, {"one.json": "-1"})
    assert verdict.fixed
    assert "The tests name one.json, which the repair changes." in verdict.reason


def test_a_verdict_ends_with_the_time_of_the_run(project: Project, before: TestReport) -> None:
    project.write({"shop.py": "import time\ntime.sleep(60)\n"})
    verdict = project.judge(before, end_s=time.monotonic() + 1)
    assert not verdict.fixed
    assert verdict.report.timed_out
    assert verdict.report.duration_s <= 1


RUST = {
    "Cargo.toml": '[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n',
    "src/lib.rs": "pub fn add(a: i32, b: i32) -> i32 { a - b }\n#[cfg(test)]\nmod tests {\n"
    "    #[test]\n    fn t() { assert_eq!(super::add(1, 2), 3); }\n}\n",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo")
def test_a_rust_project_is_repaired_offline_and_its_tests_must_stay(
    tmp_path: Path, sandbox: Bubblewrap
) -> None:
    project = Project(tmp_path, sandbox, RUST)
    before = project.test(("cargo", "test"))
    assert (before.red, before.num_ran) == ({"cargo test"}, 1), before.output
    source = RUST["src/lib.rs"]
    project.write({"src/lib.rs": source.replace("a - b", "a + b").replace("2), 3", '2), 3, ""')})
    assert not project.judge(before).fixed
    project.write({"src/lib.rs": source.split("#[cfg")[0].replace("a - b", "a + b")})
    assert not project.judge(before).fixed
    project.write({"src/lib.rs": source.replace("a - b", "a + b")})
    verdict = project.judge(before)
    assert verdict.fixed, verdict.report.output
    assert verdict.report.num_ran == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
def test_a_node_project_is_not_mended_by_its_check_or_by_an_exit(
    tmp_path: Path, sandbox: Bubblewrap
) -> None:
    files = {
        "package.json": '{"scripts": {"test": "node check.js"}}',
        "check.js": "if (require('./sum')(1, 2) !== 3) throw new Error('wrong');\n",
        "sum.js": "module.exports = (a, b) => a - b;\n",
    }
    project = Project(tmp_path, sandbox, files)
    before = project.test(("npm", "test"))
    project.write({"check.js": ""})
    assert project.judge(before).left_out == ("check.js",)
    project.write({"check.js": files["check.js"], "sum.js": "process.exit(0);\n"})
    assert "newly ends the program" in project.judge(before).reason
    project.write({"sum.js": files["sum.js"].replace("a - b", "a + b")})
    assert project.judge(before).fixed


# --- the comparison alone ----------------------------------------------------------------------


def report(exit_code: int | None = 0, timed_out: bool = False, **cases: Outcome) -> TestReport:
    made = tuple(TestCase(name, outcome) for name, outcome in cases.items())
    return TestReport(PYTEST, exit_code, made, "", timed_out, 9.0, exit_code is not None)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (report(1, a="failed"), report(0, a="passed"), "a passes on a clean copy."),
        (
            report(1, a="failed", b="error"),
            report(0, a="passed", b="passed"),
            "All 2 red tests pass on a clean copy.",
        ),
        (report(1, a="failed"), report(0, a="skipped"), "Still not green, 1 of 1: a."),
        (
            report(1, a="failed", b="passed"),
            report(0, a="passed", b="skipped"),
            "Green before, and now red, skipped or gone: b.",
        ),
        (report(1, a="failed"), report(1, a="passed", c="failed"), "Red now: c."),
        (
            report(1, a="failed"),
            report(2, a="passed"),
            "The tests passed, but the test run failed (exit code 2).",
        ),
        (report(None, timed_out=True), report(0, a="passed"), "All tests pass on a clean copy."),
        (report(None, timed_out=True), report(0, a="skipped"), "No test passed."),
        (report(1, a="failed"), report(None), "The tests were stopped before their end."),
        (
            report(1, a="failed", b="failed", c="failed", d="failed", e="failed"),
            report(1, e="passed"),
            "Still not green, 4 of 5: a, b, c and 1 more.",
        ),
    ],
)
def test_the_reason_is_one_sentence(before: TestReport, after: TestReport, reason: str) -> None:
    verdict = compare(before, after)
    assert verdict.reason == reason
    assert verdict.fixed == ("clean copy" in reason)


@pytest.mark.parametrize(
    ("path", "decides"),
    [
        ("tests/data/x.json", True),
        ("src/pkg/test/base.py", True),
        ("src/__tests__/a.js", True),
        ("a.spec.ts", True),
        ("pkg/a_test.go", True),
        ("deep/down/conftest.py", True),
        ("Makefile", True),
        ("sub/package.json", True),
        ("vitest.config.mts", True),
        (".cargo/config.toml", True),
        ("lib/python/x.pth", True),
        ("src/x.egg-info/entry_points.txt", True),
        ("src/pkg/config.toml", False),
        ("src/pkg/attest.py", False),
        ("src/pkg/latest/core.py", False),
        ("README.md", False),
        ("run_tests.py", True),
        ("setup.py", False),
    ],
)
def test_what_decides_is_known_by_its_path(path: str, decides: bool) -> None:
    assert decides_tests(path) == decides


def test_a_command_names_scripts_but_no_programs() -> None:
    command = ("sh", "-c", "./ci/check.sh && python shop.py -c my.ini", "ci/../Runfile")
    named = named_in(command)
    assert {"ci/check.sh", "my.ini", "Runfile"} <= named
    assert "shop.py" not in named


@pytest.mark.parametrize(
    ("path", "shadows"),
    [
        ("pytest.py", True),
        ("src/unittest/__init__.py", True),
        ("pluggy.cpython-311-x86_64-linux-gnu.so", True),
        ("src/shop/json.py", False),
        ("json", False),
        ("shop.py", False),
        ("src", False),
    ],
)
def test_what_shadows_a_module_of_runners(path: str, shadows: bool) -> None:
    assert shadows_runner(path) == shadows
