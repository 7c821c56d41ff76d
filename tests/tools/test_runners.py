"""Real runs of pytest, unittest and plain commands in the real sandbox, and how they are read."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pytest

from sandbox.base import CommandResult, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import Limits
from tests.plain import plain_python
from tools import unittest_driver
from tools.project import Environment, detect_environment
from tools.result_files import read_junit, read_unittest
from tools.runners import run_tests_once, runner_for
from tools.scrub import Scrubber
from tools.tally import Tally
from tools.test_report import TestReport

PYTEST = ("python", "-m", "pytest")

Run = Callable[..., TestReport]


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    return Bubblewrap()


@pytest.fixture
def run(tmp_path: Path, sandbox: Bubblewrap) -> Run:
    """Run `command` on these files, in a folder of their own."""
    root = tmp_path / "project"
    root.mkdir()

    def run_files(
        files: Mapping[str, str],
        *command: str,
        only: tuple[str, ...] = (),
        wall_s: float = 120,
    ) -> TestReport:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        environment = detect_environment(root, plain_python())
        limits = Limits(wall_s=wall_s)
        return run_tests_once(
            command or PYTEST, environment, View(root, root), sandbox, limits, only=only
        )

    return run_files


ODD_NAMES = """
import pytest, unittest

@pytest.mark.parametrize("p", ["a b", "x[1]::y", "é☃", "-k", "."])
def test_p(p): assert p != "x[1]::y"

class TestOuter:
    class TestInner:
        def test_deep(self): pass

class TestCases(unittest.TestCase):
    def test_parts(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertEqual(i, 1)

def test_ünïcode(): pass
"""


def test_ids_are_those_that_pytest_takes_back(run: Run) -> None:
    report = run({"tests/v1.2/test_odd.py": ODD_NAMES, "test_top.py": "def test_top(): pass\n"})

    file = "tests/v1.2/test_odd.py"
    assert report.green == {
        "test_top.py::test_top",
        f"{file}::test_p[a b]",
        f"{file}::test_p[\\xe9\\u2603]",
        f"{file}::test_p[-k]",
        f"{file}::test_p[.]",
        f"{file}::TestOuter::TestInner::test_deep",
        f"{file}::test_ünïcode",
    }
    assert report.red == {f"{file}::test_p[x[1]::y]", f"{file}::TestCases::test_parts"}
    assert report.parsed
    assert not report.ok
    asked = (f"{file}::test_p[x[1]::y]", f"{file}::test_p[a b]", f"{file}::test_ünïcode")
    again = run({}, "python", "-m", "pytest", "-v", "tests", only=asked)
    assert {case.id for case in again.cases} == set(asked)


def test_an_inherited_test_is_named_by_the_file_it_runs_in(run: Run) -> None:
    report = run(
        {
            "base.py": "class Base:\n    def test_it(self): assert self.value\n",
            "tests/test_one.py": "from base import Base\nclass TestOne(Base):\n    value = 1\n",
            "tests/test_two.py": "from base import Base\nclass TestTwo(Base):\n    value = 0\n",
        }
    )
    assert report.green == {"tests/test_one.py::TestOne::test_it"}
    assert report.red == {"tests/test_two.py::TestTwo::test_it"}


def test_outcomes_of_every_kind_are_told_apart(run: Run) -> None:
    report = run(
        {
            "test_kinds.py": """
import pytest
@pytest.fixture
def broken(): raise RuntimeError("no")
@pytest.fixture
def breaks_later():
    yield
    raise RuntimeError("later")
def test_setup(broken): pass
def test_both(breaks_later): assert 0
def test_teardown(breaks_later): pass
@pytest.mark.skip
def test_skip(): pass
@pytest.mark.xfail
def test_known(): assert 0
@pytest.mark.xfail(strict=True)
def test_surprise(): pass
""",
            "test_unloadable.py": "import absent\n",
        }
    )
    outcomes = {case.id.removeprefix("test_kinds.py::"): case.outcome for case in report.cases}
    assert outcomes == {
        "test_unloadable.py": "error",
        "test_setup": "error",
        "test_both": "failed",
        "test_teardown": "error",
        "test_skip": "skipped",
        "test_known": "skipped",
        "test_surprise": "failed",
    }
    both = next(case for case in report.cases if case.id.endswith("test_both"))
    assert "assert 0" in both.details
    assert "later" in both.details


def test_other_tests_still_run_when_one_file_cannot_be_loaded(run: Run) -> None:
    report = run({"test_a.py": "import absent\n", "test_b.py": "def test_b(): pass\n"})
    assert report.red == {"test_a.py"}
    assert report.green == {"test_b.py::test_b"}


@pytest.mark.parametrize(
    "line",
    [
        "import os; os._exit(0)",
        "import os; print('5 passed in 0.01s'); os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import os; os._exit(5)",
    ],
)
@pytest.mark.parametrize(
    "place", ["source.py", pytest.param("conftest.py", marks=pytest.mark.slow)]
)
def test_a_run_that_dies_early_is_never_green(run: Run, line: str, place: str) -> None:
    test = "import source\ndef test_it(): pass\n"
    report = run({"source.py": "", "test_it.py": test, place: line + "\n"})
    assert not report.ok
    assert not report.parsed
    assert not report.green


@pytest.mark.parametrize("code", ["sys.exit(0)", "raise SystemExit(0)", "pytest.exit('', 0)"])
@pytest.mark.parametrize(
    "place", ["source.py", pytest.param("conftest.py", marks=pytest.mark.slow)]
)
def test_leaving_at_import_is_never_green(run: Run, code: str, place: str) -> None:
    test = "import source\ndef test_it(): pass\n"
    report = run({"source.py": "", "test_it.py": test, place: f"import sys, pytest\n{code}\n"})
    assert not report.ok
    assert not report.green


def test_a_printed_result_counts_for_nothing(run: Run) -> None:
    line = "<testsuites><testsuite><testcase name='a'/></testsuite></testsuites>"
    test = f'import sys\nsys.__stdout__.write("{line}\\n5 passed\\n")\ndef test_it(): assert 0\n'
    report = run({"test_it.py": test})
    assert report.red == {"test_it.py::test_it"}


def test_options_of_the_project_do_not_hide_the_result(run: Run) -> None:
    ini = "[pytest]\naddopts = -x -v --tb=long --ff --junitxml=own.xml -p no:junitprefix\n"
    tests = "def test_a(): assert 0\ndef test_b(): assert 0\ndef test_c(): pass\n"
    report = run({"pytest.ini": ini, "test_it.py": tests})
    assert len(report.red) == 2
    assert len(report.green) == 1


def test_a_hang_is_a_time_out_and_not_a_result(run: Run) -> None:
    report = run(
        {"test_it.py": "import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\n"},
        wall_s=2,
    )
    assert report.timed_out
    assert report.duration_s == 2
    assert not report.cases
    assert not report.ok
    assert not report.no_tests


def test_no_tests_is_its_own_answer(run: Run) -> None:
    report = run({"source.py": ""})
    assert report.exit_code == 5
    assert report.no_tests
    assert not report.ok


def test_a_missing_command_is_its_own_answer(run: Run) -> None:
    report = run({}, "no-such-program", "--all")
    assert report.missing_command
    assert not report.no_tests
    assert not report.ok


def test_all_skipped_is_not_green(run: Run) -> None:
    report = run({"test_it.py": "import pytest\n@pytest.mark.skip\ndef test_a(): pass\n"})
    assert report.exit_code == 0
    assert not report.ok


def test_the_bare_name_runs_the_pytest_of_the_project(run: Run) -> None:
    files = {"test_it.py": "import sys\ndef test_a(): assert sys.prefix == sys.argv[0]\n"}
    report = run(files, "pytest", "-k", "test_a", "test_it.py", only=("test_it.py::test_a",))
    assert str(plain_python().parent.parent) in report.cases[0].message


def test_uv_run_means_the_project_environment(run: Run) -> None:
    files = {"test_it.py": "def test_a(): pass\n"}
    assert run(files, "uv", "run", "--frozen", "pytest", "-q").ok
    assert run(files, "poetry", "run", "python", "-m", "pytest", "--", "test_it.py").ok


def test_a_repository_with_rooms_of_our_names_imports_its_own(run: Run) -> None:
    report = run(
        {
            "agent/__init__.py": "NAME = 'theirs'\n",
            "tools/__init__.py": "NAME = 'theirs'\n",
            "tests/test_it.py": (
                "import agent, tools\ndef test_a(): assert agent.NAME == tools.NAME == 'theirs'\n"
            ),
        }
    )
    assert report.ok


UNITTESTS = """
import unittest
class Things(unittest.TestCase):
    def test_good(self): print("OK")
    def test_bad(self): self.assertEqual(1, 2)
    def test_broken(self): raise KeyError("k")
    @unittest.skip("later")
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_known(self): self.fail()
    @unittest.expectedFailure
    def test_surprise(self): pass
    def test_parts(self):
        for i in range(3):
            with self.subTest(i=i): self.assertEqual(i, 1)
"""


def test_unittest_reports_every_test_and_its_sub_tests(run: Run) -> None:
    files = {"tests/__init__.py": "", "tests/test_things.py": UNITTESTS, "test_x.py": "import nope"}
    report = run(files, "python", "-W", "ignore", "-m", "unittest", "-v")
    name = "tests.test_things.Things.test_"
    outcomes = {case.id.removeprefix(name): case.outcome for case in report.cases}
    assert outcomes == {
        "good": "passed",
        "bad": "failed",
        "broken": "error",
        "skipped": "skipped",
        "known": "skipped",
        "surprise": "failed",
        "parts": "failed",
        "unittest.loader._FailedTest.test_x": "error",
    }
    parts = next(case for case in report.cases if case.id.endswith("parts"))
    assert "(i=0)" in parts.details
    assert "(i=2)" in parts.details
    assert 'File "tests/test_things.py"' in parts.details
    part = run({}, "python", "-m", "unittest", only=(f"{name}good", f"{name}skipped"))
    assert part.ok
    assert len(part.cases) == 2


def test_the_driver_records_and_chooses_in_any_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_driven.py").write_text(UNITTESTS)
    settings = tmp_path / "settings.json"
    result = tmp_path / "result.json"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    cases = {"": (1, 7), "test_driven.Things.test_good": (0, 1), "absent": (5, 0)}
    for name, (exit_code, num_cases) in cases.items():
        only = [name] if name else []
        settings.write_text(json.dumps({"result": str(result), "token": "word", "only": only}))
        monkeypatch.setattr(sys, "argv", ["driver.py", "test_driven"])
        assert unittest_driver.main(settings) == exit_code
        assert not settings.exists()
        found = read_unittest(result, "word")
        assert found is not None
        assert len(found) == num_cases
        assert read_unittest(result, "another") is None


@pytest.mark.parametrize("line", ["import sys; sys.exit(0)", "import os; os._exit(0)"])
def test_unittest_that_leaves_early_is_never_green(run: Run, line: str) -> None:
    test = "import unittest, source\nclass T(unittest.TestCase):\n    def test_a(self): pass\n"
    report = run({"source.py": line, "test_it.py": test}, "python", "-m", "unittest")
    assert not report.ok
    assert not report.green


def test_unittest_without_tests(run: Run) -> None:
    report = run({"source.py": ""}, "python", "-m", "unittest")
    assert report.no_tests
    assert not report.ok


TWO_FOLDERS = {
    "tests/test_a.py": "import unittest\nclass T(unittest.TestCase):\n    def test_x(self): pass\n",
    "more/test_a.py": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_x(self): self.fail()\n    def test_y(self): pass\n",
    "more/test_gone.py": "import absent\n",
}
BOTH = "python -m unittest discover -s more && python -m unittest discover -s tests"


def test_folders_of_unittests_are_all_run_and_told_apart(run: Run) -> None:
    report = run(TWO_FOLDERS, "sh", "-c", BOTH)
    gone = "more/unittest.loader._FailedTest.test_gone"
    assert report.red == {"more/test_a.T.test_x", gone}
    assert report.green == {"tests/test_a.T.test_x", "more/test_a.T.test_y"}
    assert (report.exit_code, report.parsed) == (1, True)
    part = run({}, "sh", "-c", BOTH, only=("tests/test_a.T.test_x", "more/test_a.T.test_y"))
    assert part.ok
    assert len(part.cases) == 2
    assert run({}, "sh", "-c", BOTH, only=("tests/test_a.T.test_x",)).ok
    assert run({}, "sh", "-c", f"{BOTH}; true").by_exit_code


def test_one_folder_that_hangs_is_a_time_out_of_all(run: Run) -> None:
    files = {**TWO_FOLDERS, "more/test_gone.py": "import time\ntime.sleep(60)\n"}
    report = run(files, "sh", "-c", BOTH, wall_s=2)
    assert report.timed_out
    assert report.exit_code is None
    assert not report.ok


SNOOPS = """
import json, os, pathlib, sys
seen = [*sys.argv, *os.environ.values(), *sys.path]
seen.append(pathlib.Path("/proc/self/cmdline").read_text())
found = [word for word in seen if "junit" in word or "unittest.json" in word or "token" in word]
folders = {str(pathlib.Path(word).parent) for word in sys.argv} | {"/proc/self/cwd/.."}
for folder in folders:
    for path in pathlib.Path(folder).glob("**/*.json"):
        found += [str(path)] if "token" in path.read_text() else []
"""


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_code_under_test_is_not_told_where_the_result_goes(run: Run, runner: str) -> None:
    test = "import unittest\nfrom snoop import found\nclass T(unittest.TestCase):\n"
    test += "    def test_it(self): self.assertEqual(found, [])\n"
    report = run({"snoop.py": SNOOPS, "test_it.py": test}, "python", "-m", runner)
    assert report.ok, report.cases


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_a_result_that_was_put_in_the_place_is_none(run: Run, runner: str) -> None:
    source = (
        "import glob, os\nfor folder in glob.glob('/tmp/**/tests-*', recursive=True):\n"
        "    for name, text in (('junit.xml', JUNIT), ('unittest.json', CASES)):\n"
        "        open(os.path.join(folder, name), 'w').write(text)\nos._exit(0)\n"
    )
    case = {"outcome": "passed", "message": "", "details": ""}
    cases = json.dumps({"complete": True, "cases": {"a": case}})
    texts = f"JUNIT = {WHOLE!r}\nCASES = {cases!r}\n"
    report = run(
        {"source.py": texts + source, "test_it.py": "import source\n"}, "python", "-m", runner
    )
    assert not report.parsed
    assert not report.green


def test_the_settings_of_the_project_for_its_own_xml_change_nothing(run: Run) -> None:
    ini = "[pytest]\naddopts = -p no:junitxml\n"
    report = run({"pytest.ini": ini, "test_it.py": "def test_a(): pass\n"})
    assert report.ok
    ini = "[pytest]\naddopts = --junitxml=own.xml\njunit_log_passing_tests = False\n"
    test = "import os\ndef test_a(): assert not os.path.exists('own.xml')\n"
    for _ in range(2):
        assert run({"pytest.ini": ini, "test_it.py": test}).ok


def test_a_command_starts_in_the_folder_of_the_view(tmp_path: Path, sandbox: Bubblewrap) -> None:
    folder = tmp_path / "py"
    folder.mkdir()
    (folder / "calc.py").write_text("ONE = 1\n")
    (folder / "test_calc.py").write_text("import calc\ndef test_one(): assert calc.ONE == 2\n")
    environment = detect_environment(folder, plain_python())
    view = View(tmp_path, tmp_path, folder=PurePosixPath("py"))
    report = run_tests_once(PYTEST, environment, view, sandbox, Limits())
    assert report.red == {"test_calc.py::test_one"}
    assert report.cases[0].details.startswith("test_calc.py:2: in test_one")


@pytest.mark.parametrize(
    ("printed", "num_ran"),
    [
        (
            "test result: ok. 3 passed; 1 failed; 2 ignored; 0 measured\n"
            "test result: ok. 2 passed; 0 failed;",
            6,
        ),
        (
            "TAP version 13\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP\n"
            "# tests 3\n# pass 1\n# fail 1\n",
            2,
        ),
        ("\u2139 tests 4\n\u2139 pass 3\n\u2139 fail 1\n", 4),
        ("ok 1 - a\nok 2\nnot ok 3 - c # TODO\n", 2),
        ("Tests:       1 failed, 2 skipped, 3 passed, 6 total\n", 4),
        ("      Tests  1 failed | 2 passed (3)\n", 3),
        ("\x1b[32m  5 passing\x1b[0m (8ms)\n  1 pending\n  1 failing\n", 6),
        ("=== 1 failed, 2 passed, 1 skipped in 0.12s ===\n", 3),
        ("Ran 7 tests in 0.001s\n", 7),
        ("ok  \tshop\t0.01s\n?   \tshop/x\t[no test files]\nFAIL\tshop/b\t0.2s\nFAIL\n", 2),
        ("--- FAIL: TestA (0.00s)\n    a_test.go:7: no\nFAIL\nFAIL\tshop\t0.2s\nFAIL\n", 1),
        ("=== RUN   TestA\n--- PASS: TestA (0.00s)\nPASS\nok  \tshop\t0.01s\n", 2),
        ("=== RUN   TestA\n--- FAIL: TestA (0.00s)\nFAIL\nFAIL\tshop\t0.01s\n", 2),
        ("ok  \tshop\t0.01s [no tests to run]\n", None),
        ("5 passed\nall good\n", None),
        ("", None),
    ],
)
def test_the_summaries_of_runners_are_counted(printed: str, num_ran: int | None) -> None:
    for size in (1, 7, 10_000):
        tally = Tally()
        data = printed.encode()
        for start in range(0, len(data), size):
            tally.feed(data[start : start + size])
        assert tally.num_ran == num_ran
        assert tally.num_ran == num_ran


def test_a_command_is_counted_however_much_it_prints(run: Run) -> None:
    summary = "echo 'test result: ok. 2 passed; 0 failed;'"
    noise = (
        "i=0; while [ $i -lt 3000 ]; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done"
    )
    report = run({}, "sh", "-c", f"{noise}; {summary}; {noise}")
    assert (report.num_ran, report.ok) == (2, True)


def test_any_other_command_is_known_by_its_exit_code(run: Run) -> None:
    good = run({}, "sh", "-c", "echo '3 failed'")
    bad = run({}, "sh", "-c", "echo '3 passed'; exit 3")
    assert good.ok
    assert good.by_exit_code
    assert not bad.ok
    assert bad.red == {"sh -c 'echo '\"'\"'3 passed'\"'\"'; exit 3'"}
    assert run({}, "python", "-c", "import pytest").ok


def test_two_runs_read_the_same(run: Run) -> None:
    files = {
        "test_it.py": (
            "import json\ndef test_a(): json.loads('{')\n"
            "def test_b(tmp_path): assert not tmp_path\n"
        ),
        "test_bad.py": "import importlib\nimportlib.import_module('absent')\n",
    }
    first, second = run(files), run(files)
    assert first.cases == second.cases
    assert first.output == second.output
    text = first.output + "".join(case.details for case in first.cases)
    for folder in (
        str(plain_python().parent.parent),
        sys.base_prefix,
        os.environ.get("HOME", "/root"),
    ):
        assert f"{folder}/" not in text
    assert (
        "importlib/__init__"
        not in next(case for case in first.cases if case.id == "test_bad.py").details
    )


# --- result files that something else wrote ------------------------------------------------

WHOLE = (
    '<testsuites><testsuite tests="1"><testcase classname="t" name="a"/></testsuite></testsuites>'
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        WHOLE[:-3],
        "<html><body/></html>",
        '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + WHOLE,
        "\xff\xfe",
    ],
)
def test_a_junit_file_that_is_not_whole_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(text.encode("latin-1"))
    assert read_junit(path, tmp_path) is None


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    signed = tmp_path / "signed.xml"
    signed.write_text(WHOLE + "<!--word-->")
    assert read_junit(signed, tmp_path, "word") is not None
    assert read_junit(signed, tmp_path, "another") is None
    whole = tmp_path / "whole.xml"
    whole.write_text(WHOLE)
    assert read_junit(whole, tmp_path) is not None
    link = tmp_path / "link.xml"
    link.symlink_to(whole)
    pipe = tmp_path / "pipe.xml"
    os.mkfifo(pipe)
    huge = tmp_path / "huge.xml"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    for path in (link, pipe, huge, tmp_path / "absent.xml", tmp_path):
        assert read_junit(path, tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"complete": true, "cases": {}}',
        '{"complete": "word", "cases": {"a": {"outcome": "fine", "message": "", "details": ""}}}',
        '{"complete": "word", "cases": {"a": []}}',
        '{"complete": "word", "cases": {"a": {"outcome": [], "message": "", "details": ""}}}',
        "[" * 100_000,
    ],
)
def test_a_unittest_file_of_another_shape_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "unittest.json"
    path.write_text(text)
    assert read_unittest(path, "word") is None


def test_a_class_name_alone_finds_its_file(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "test_c.py").write_text("")
    case = '<testcase classname="{}" name="{}"/>'
    cases = [("a.b.test_c.TestD", "test_e"), ("x.y", "test_z"), ("", "a.b.test_c"), ("", "gone")]
    path = tmp_path / "junit.xml"
    body = "".join(case.format(*names) for names in cases)
    path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    found = read_junit(path, tmp_path)
    assert found is not None
    assert [one.id for one in found] == [
        "a/b/test_c.py::TestD::test_e",
        "x.y::test_z",
        "a/b/test_c.py",
        "gone",
    ]


# --- commands, without running them ----------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "runner"),
    [
        ("pytest -x", "PytestRunner"),
        ("/opt/env/bin/pytest", "PytestRunner"),
        ("python3.12 -X dev -m pytest tests", "PytestRunner"),
        ("pipenv run pytest", "PytestRunner"),
        ("python -m unittest discover", "UnittestRunner"),
        ("python -m tox pytest", "GenericRunner"),
        ("python pytest", "GenericRunner"),
        ("tox -- pytest", "GenericRunner"),
        ("uv run", "GenericRunner"),
    ],
)
def test_the_runner_is_chosen_by_what_the_command_starts(command: str, runner: str) -> None:
    assert type(runner_for(tuple(command.split()), Path("/nonexistent"))).__name__ == runner


class Recorder:
    """A sandbox that keeps what it is asked to run and runs nothing."""

    level = "direct"

    def __init__(self) -> None:
        self.argv: tuple[str, ...] = ()

    def run(self, argv: tuple[str, ...], *_: object, **__: object) -> CommandResult:
        self.argv = argv
        return CommandResult(argv, None, "", 0, False, True, 0.1)


def test_ids_stand_in_the_place_of_paths_and_options_stay(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "slow").mkdir()
    recorder = Recorder()
    command = ("pytest", "-q", "tests", "-m", "slow", "--ignore=slow", "-k", "tests", "--", "tests")
    report = run_tests_once(
        command,
        Environment(Path("/opt/none/bin/python")),
        View(tmp_path, tmp_path),
        recorder,
        Limits(),
        only=("tests/test_a.py::test_b",),
    )
    words = recorder.argv
    assert words[:3] == ("/opt/none/bin/python", "-m", "pytest")
    assert words[-1] == "tests/test_a.py::test_b"
    assert "--" not in words
    kept = words[words.index("-q") : words.index("-q") + 6]
    assert kept == ("-q", "-m", "slow", "--ignore=slow", "-k", "tests")
    assert report.exit_code is None
    assert not report.parsed


def test_texts_are_made_relative_and_free_of_times(tmp_path: Path) -> None:
    view = View(Path("/state/copy"), Path("/home/me/shop"))
    clean = Scrubber(view, Path("/tmp/scratch1"), (Path("/opt/node"),))
    text = (
        "\x1b[31m/home/me/shop/a.py\x1b[0m:1: in /home/me/shop\n"
        "/home/me/shop-two/b.py\n"
        "../../../usr/lib/python3.11/json/__init__.py:3: in x\n"
        "../other/c.py:4: in y\n"
        "/opt/node/bin/npm /tmp/scratch1/junit.xml /state/copy/d.py\n"
        "==== 3 passed in 0.12s ====\nRan 3 tests in 0.001s\n--- FAIL: TestX (0.00s)\n"
        "ok  \tpkg\t0.004s\n  duration_ms: 1.5\n\u202ereversed"
    )
    assert clean.output(text) == (
        "a.py:1: in .\n"
        "/home/me/shop-two/b.py\n"
        "<python>/json/__init__.py:3: in x\n"
        "/home/me/other/c.py:4: in y\n"
        "<tools>/bin/npm junit.xml d.py\n"
        "==== 3 passed ====\nRan 3 tests\n--- FAIL: TestX\n"
        "ok  \tpkg\n\n<U+202E>reversed"
    )
