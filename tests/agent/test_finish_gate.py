"""When a model may finish: the gate with real reports, files that are a word, and a list."""

from dataclasses import replace

import pytest

from agent.finish_gate import FinishGate
from agent.settings import VerifyConfig
from inference.messages import ToolCall
from sandbox.base import Cancel, never
from tools.base import ToolResult
from tools.finish import Finish
from tools.test_report import TestCase, TestReport

COMMAND = ("python", "-m", "pytest")
GREEN = TestCase("test_a.py::test_green", "passed")
RED = TestCase("test_a.py::test_red", "failed", "", "E   assert 1 == 2")
OLD = TestCase("test_a.py::test_old", "failed", "", "E   from long ago")


def report(*cases: TestCase) -> TestReport:
    code = int(any(case.outcome == "failed" for case in cases))
    return TestReport(COMMAND, code, cases, "", timed_out=False, duration_s=1.0, parsed=True)


def green(case: TestCase) -> TestCase:
    return TestCase(case.id, "passed")


BEFORE = report(GREEN, RED, OLD)
MENDED = report(GREEN, green(RED), OLD)


class Bench:
    """A gate whose files, tests and list are set by hand."""

    def __init__(self, config: VerifyConfig | None = None) -> None:
        self.files = "as they were"
        self.now = BEFORE
        self.items: list[str] = []
        self.num_runs = 0
        self.gate = FinishGate(
            self._run, lambda: self.files, lambda: self.items, config or VerifyConfig()
        )

    def _run(self, cancel: Cancel) -> TestReport:
        self.num_runs += 1
        return replace(self.now, exit_code=None) if cancel() else self.now

    def edit(self, now: TestReport) -> None:
        self.files, self.now = f"{self.files}, edited", now

    def finish(self, summary: str = "Mended.", cancel: Cancel = never) -> ToolResult:
        call = ToolCall("finish", {"summary": summary})
        return self.gate(call, Finish().run(call.arguments), cancel)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.gate.expect(BEFORE, frozenset({RED.id}))
    return bench


def test_green_tests_and_no_open_item_let_it_finish(bench: Bench) -> None:
    bench.edit(MENDED)
    assert bench.finish() == ToolResult("Finished.", "Mended.", done=True)
    assert bench.num_runs == 1


def test_what_was_to_be_mended_and_is_red_refuses(bench: Bench) -> None:
    bench.edit(BEFORE)
    result = bench.finish()
    assert not result.done
    assert not result.ok
    assert result.text == (
        "Not finished: Still not green, 1 of 1: test_a.py::test_red.\n"
        "2 failed, 1 passed.\nFAILED test_a.py::test_red\nE   assert 1 == 2\n"
        "Go on with the work. If you cannot, call finish with a summary that begins with "
        '"blocked:" and says why.'
    )


def test_what_was_green_and_is_red_refuses(bench: Bench) -> None:
    bench.edit(report(replace(RED, id=GREEN.id), green(RED), OLD))
    assert "Green before, and now red, skipped or gone: test_a.py::test_green." in (
        bench.finish().text
    )


def test_a_finish_without_a_change_is_judged_by_the_run_before_the_work(bench: Bench) -> None:
    assert not bench.finish().done
    assert bench.num_runs == 0


def test_a_run_that_is_known_is_not_made_again(bench: Bench) -> None:
    bench.edit(MENDED)
    bench.gate.saw(MENDED)
    assert bench.finish().done
    assert bench.num_runs == 0
    bench.edit(BEFORE)
    assert not bench.finish().done
    assert not bench.finish().done
    assert bench.num_runs == 1


def test_a_model_that_insists_with_nothing_changed_is_let_through(bench: Bench) -> None:
    bench.edit(BEFORE)
    assert [bench.finish().done for _ in range(3)] == [False, False, True]


def test_a_change_starts_the_count_again(bench: Bench) -> None:
    for _ in range(4):
        bench.edit(BEFORE)
        assert [bench.finish().done for _ in range(2)] == [False, False]


def test_a_step_that_was_done_starts_the_count_again(bench: Bench) -> None:
    bench.edit(MENDED)
    bench.items = ["a", "b"]
    assert [bench.finish().done for _ in range(2)] == [False, False]
    bench.items = ["b"]
    assert [bench.finish().done for _ in range(3)] == [False, False, True]


def test_a_model_that_cannot_go_on_says_so(bench: Bench) -> None:
    bench.edit(BEFORE)
    result = bench.finish("Blocked: the test needs a network.")
    assert result.done
    assert result.summary == "Blocked: the test needs a network."
    assert bench.num_runs == 0


def test_open_items_refuse_before_any_test_runs(bench: Bench) -> None:
    bench.edit(MENDED)
    bench.items = [f"step {n}" for n in range(7)]
    text = bench.finish().text
    assert text.startswith("Not finished: 7 items are open in your todo list.\n- step 0\n")
    assert "- step 4\n[2 more]\n" in text
    assert bench.num_runs == 0
    bench.items = ["step 6"]
    assert bench.finish().text.startswith(
        "Not finished: 1 item is open in your todo list.\n- step 6\n"
    )


def test_without_a_run_before_the_work_a_turn_that_changes_nothing_may_end() -> None:
    bench = Bench()
    bench.gate.expect(None)
    assert bench.finish().done
    bench.edit(report(GREEN, RED))
    assert "Red now: test_a.py::test_red." in bench.finish().text
    bench.edit(report(GREEN))
    assert bench.finish().done


def test_nothing_is_expected_of_tests_until_somebody_says_so() -> None:
    bench = Bench()
    bench.edit(BEFORE)
    assert bench.finish().done
    assert bench.num_runs == 0


def test_both_checks_can_be_turned_off() -> None:
    bench = Bench(VerifyConfig(finish_tests=False, finish_todo=False))
    bench.gate.expect(BEFORE, frozenset({RED.id}))
    bench.items = ["open"]
    bench.edit(BEFORE)
    assert bench.finish().done


def test_tests_that_hang_refuse_and_are_not_run_again(bench: Bench) -> None:
    bench.edit(replace(BEFORE, exit_code=None, timed_out=True, duration_s=600.0))
    assert "The tests did not end within 600 s." in bench.finish().text
    assert not bench.finish().done
    assert bench.num_runs == 1


def test_a_stopped_run_is_no_verdict(bench: Bench) -> None:
    bench.edit(BEFORE)
    assert bench.finish(cancel=lambda: True).done
    assert not bench.finish().done


def test_other_results_pass_untouched(bench: Bench) -> None:
    result = ToolResult("text", "summary")
    assert bench.gate(ToolCall("bash", {"command": "ls"}), result, never) is result
    assert bench.num_runs == 0
