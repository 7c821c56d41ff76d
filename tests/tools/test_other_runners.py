"""Runners of other languages: the words they are given, and what is read of them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import Limits
from tests.repositories import write_files
from tools.jest import JestRunner, read_json
from tools.plain_runners import CargoRunner, GoRunner
from tools.printed_results import read_cargo, read_go
from tools.project import Environment, detect_environment, detect_test_command
from tools.run_tests import describe
from tools.runner import Runner
from tools.runners import run_tests_once, runner_for
from tools.test_report import TestCase, TestReport, command_id

NOWHERE = Environment(None)

CARGO_OUTPUT = """\
   Compiling cg v0.1.0 (/w)
     Running unittests src/lib.rs (target/debug/deps/cg-cf43)

running 4 tests
test tests::fine ... ok
test tests::later ... ignored
test tests::it_works ... FAILED
test tests::panics - should panic ... ok

failures:

---- tests::it_works stdout ----
hello

thread 'tests::it_works' panicked at src/lib.rs:4:44:
assertion `left == right` failed
  left: 0
 right: 4
stack backtrace:
   0: __rustc::rust_begin_unwind

failures:
    tests::it_works

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out
     Running tests/outer.rs (target/debug/deps/outer-4f54)

running 1 test
test outer ... ok
   Doc-tests cg

running 1 test
test src/lib.rs - add (line 3) ... ok
"""

GO_OUTPUT = """\
# example.com/shop/bad [example.com/shop/bad.test]
bad/bad_test.go:3:28: undefined: undefined
FAIL\texample.com/shop/bad [build failed]
=== RUN   TestTotal
=== RUN   TestTotal/one_two
    cart_test.go:3: got -1
=== RUN   TestTotal/zero
--- FAIL: TestTotal (0.00s)
    --- FAIL: TestTotal/one_two (0.00s)
    --- PASS: TestTotal/zero (0.00s)
=== RUN   TestFine
noise
--- PASS: TestFine (0.00s)
=== RUN   TestLater
    cart_test.go:5: not yet
--- SKIP: TestLater (0.00s)
FAIL
FAIL\texample.com/shop/cart\t0.015s
?   \texample.com/shop/doc\t[no test files]
ok  \texample.com/shop/tax\t0.002s
FAIL
"""


def outcomes(cases: object) -> dict[str, str]:
    return {case.id: case.outcome for case in cases}  # type: ignore[attr-defined]


def test_what_cargo_prints_is_told_by_binary() -> None:
    cases = read_cargo(CARGO_OUTPUT)
    assert outcomes(cases) == {
        "src/lib.rs::tests::fine": "passed",
        "src/lib.rs::tests::later": "skipped",
        "src/lib.rs::tests::it_works": "failed",
        "src/lib.rs::tests::panics": "passed",
        "tests/outer.rs::outer": "passed",
        "doc cg::src/lib.rs - add (line 3)": "passed",
    }
    (red,) = (case for case in cases if case.outcome == "failed")
    assert red.details.startswith("hello\n\nthread 'tests::it_works' panicked")
    assert "backtrace" not in red.details


def test_what_go_prints_is_told_by_package() -> None:
    cases = read_go(GO_OUTPUT)
    assert outcomes(cases) == {
        "example.com/shop/bad": "error",
        "example.com/shop/cart::TestTotal": "failed",
        "example.com/shop/cart::TestTotal/one_two": "failed",
        "example.com/shop/cart::TestTotal/zero": "passed",
        "example.com/shop/cart::TestFine": "passed",
        "example.com/shop/cart::TestLater": "skipped",
    }
    details = {case.id: case.details for case in cases}
    assert details["example.com/shop/bad"] == "bad/bad_test.go:3:28: undefined: undefined"
    assert details["example.com/shop/cart::TestTotal/one_two"] == "cart_test.go:3: got -1"


@pytest.mark.parametrize("text", ["", "\n" * 9, "FAIL\tx", "--- FAIL: A (0s)", "---- x ----"])
def test_odd_output_tells_nothing_and_breaks_nothing(text: str) -> None:
    assert read_go(text) == read_cargo(text) == ()


def test_the_failing_ones_are_named_first_where_the_exit_code_decides() -> None:
    command = ("go", "test", "./...")
    case = TestCase(command_id(command), "failed")
    text = describe(TestReport(command, 1, (case,), "", False, 1.0, True, told=read_go(GO_OUTPUT)))
    assert text.startswith("3 failed, 2 passed.\n\nERROR example.com/shop/bad\n")
    assert text.endswith("[exit code 1]")


JEST_RESULT = {
    "testResults": [
        {
            "name": "/w/t/sum.test.js",
            "status": "failed",
            "message": "",
            "assertionResults": [
                {
                    "ancestorTitles": ["sum"],
                    "title": "adds 1",
                    "status": "failed",
                    "failureMessages": [
                        "Error: \u001b[31mexpect\u001b[39m 3\n    at toBe (/w/t/sum.test.js:2:6)\n"
                        "    at run (/w/node_modules/jest-circus/run.js:1:2)"
                    ],
                },
                {"ancestorTitles": ["sum"], "title": "zero", "status": "passed"},
                {"ancestorTitles": [], "title": "later", "status": "pending"},
            ],
        },
        {
            "name": "/w/t/bad.test.js",
            "status": "failed",
            "message": "  Test suite failed to run\n\n    Cannot find module './absent'",
            "assertionResults": [],
        },
    ]
}


def test_the_json_of_jest_and_vitest_is_read_by_file_and_titles() -> None:
    cases = read_json(json.dumps(JEST_RESULT), Path("/w"))
    assert outcomes(cases) == {
        "t/sum.test.js::sum > adds 1": "failed",
        "t/sum.test.js::sum > zero": "passed",
        "t/sum.test.js::later": "skipped",
        "t/bad.test.js": "error",
    }
    assert cases is not None
    assert cases[0].message == "Error: expect 3"
    assert "node_modules" not in cases[0].details


NOT_WHOLE = ("", "[]", "{}", '{"testResults": [{}]}', '{"testResults": 3}', "[" * 9999)


@pytest.mark.parametrize("text", NOT_WHOLE)
def test_a_result_that_is_not_whole_is_none(text: str) -> None:
    assert read_json(text, Path("/w")) is None


@pytest.mark.parametrize(
    ("script", "command", "runner"),
    [
        ("jest", "npm test", JestRunner),
        ("NODE_ENV=test jest --coverage", "npm test", JestRunner),
        ("vitest", "pnpm test", JestRunner),
        ("jest && eslint .", "npm test", None),
        ("node --test", "npm test", None),
        ("vitest bench", "npm test", None),
        ("", "npx jest src", JestRunner),
        ("", "npx vitest run", JestRunner),
        ("", "cargo test --workspace", CargoRunner),
        ("", "cargo build", None),
        ("", "go test ./...", GoRunner),
        ("", "go vet", None),
    ],
)
def test_who_runs_the_tests_is_seen_in_the_script(
    tmp_path: Path, script: str, command: str, runner: type[Runner] | None
) -> None:
    write_files(tmp_path, {"package.json": json.dumps({"scripts": {"test": script}})})
    found = type(runner_for(tuple(command.split()), tmp_path))
    assert found.__name__ == (runner.__name__ if runner else "GenericRunner")


def words(runner: Runner, folder: Path, command: str, *only: str) -> str:
    view = View(folder, folder)
    return " ".join(runner.prepare(tuple(command.split()), NOWHERE, view, Path("/s"), only).argv)


def test_single_tests_are_chosen_in_each_runners_own_words(tmp_path: Path) -> None:
    write_files(tmp_path, {"package.json": '{"scripts": {"test": "jest"}}'})
    assert words(JestRunner(), tmp_path, "npm test", "t/a.js::sum > a (b)", "t/a.js::c") == (
        "npm test -- --json --outputFile=/s/tests.json --watchAll=false "
        r"--testNamePattern=^(sum a \(b\)|c)$ --runTestsByPath t/a.js"
    )
    assert "testNamePattern" not in words(JestRunner(), tmp_path, "npm test", "t/a.js", "b.js::c")
    assert words(CargoRunner(), tmp_path, "cargo test", "src/lib.rs::tests::a") == (
        "cargo test --no-fail-fast -- --exact tests::a"
    )
    assert words(
        GoRunner(), tmp_path, "go test -race ./...", "x/cart::TestA/b", "x/cart::TestC"
    ) == ("go test -v -race -run=^(TestA|TestC)$ x/cart")
    assert words(GoRunner(), tmp_path, "go test ./...") == "go test -v ./..."


CARGO = {
    "Cargo.toml": '[package]\nname = "cg"\nversion = "0.1.0"\nedition = "2021"\n',
    "src/lib.rs": "pub fn add(a: u64, b: u64) -> u64 { a * b }\n"
    "#[cfg(test)]\nmod tests {\n    #[test]\n    fn adds() { assert_eq!(super::add(1, 2), 3); }\n"
    "    #[test]\n    fn twos() { assert_eq!(super::add(2, 2), 4); }\n}\n",
}
GO = {
    "go.mod": "module example.com/shop\n",
    "cart.go": "package shop\n\nfunc Add(a, b int) int { return a * b }\n",
    "cart_test.go": 'package shop\n\nimport "testing"\n\n'
    "func TestAdd(t *testing.T) {\n\tif Add(1, 2) != 3 {\n\t\tt.Error(Add(1, 2))\n\t}\n}\n\n"
    "func TestTwos(t *testing.T) {\n\tif Add(2, 2) != 4 {\n\t\tt.Error(Add(2, 2))\n\t}\n}\n",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "files", "red"),
    [("cargo", CARGO, "src/lib.rs::tests::adds"), ("go", GO, "example.com/shop::TestAdd")],
)
def test_a_real_run_names_what_is_red_and_runs_it_alone(
    tmp_path: Path, program: str, files: dict[str, str], red: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    root = tmp_path / "project"
    write_files(root, files)
    run = runs_in(root)
    assert outcomes(run(()).told)[red] == "failed"
    assert list(outcomes(run((red,)).told)) == [red]


def runs_in(root: Path):  # type: ignore[no-untyped-def]
    command, environment = detect_test_command(root), detect_environment(root)
    view, sandbox, limits = View(root, root), Bubblewrap(), Limits(wall_s=120)
    return lambda only: run_tests_once(command, environment, view, sandbox, limits, only=only)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["jest@29.7.0", "vitest@2.1.9"])
def test_a_real_jest_or_vitest_is_read_test_by_test(tmp_path: Path, runner: str) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    root = tmp_path / "project"
    imports = 'import { test, expect } from "vitest";\n' if "vitest" in runner else ""
    name = runner.partition("@")[0]
    write_files(
        root,
        {
            "package.json": json.dumps({"private": True, "scripts": {"test": name}}),
            "sum.test.mjs" if imports else "sum.test.js": imports
            + 'test("adds", () => { expect(1 * 2).toBe(3); });\n'
            + 'test("twos", () => { expect(2 * 2).toBe(4); });\n',
        },
    )
    words = ["npm", "install", "--silent", "--no-audit", "--no-fund", runner]
    done = subprocess.run(words, cwd=root, capture_output=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {runner} here")
    run = runs_in(root)
    report = run(())
    file = "sum.test.mjs" if imports else "sum.test.js"
    assert report.parsed
    assert outcomes(report.cases) == {f"{file}::adds": "failed", f"{file}::twos": "passed"}
    chosen = run((f"{file}::twos",))
    assert chosen.green == {f"{file}::twos"}
    assert not chosen.red
