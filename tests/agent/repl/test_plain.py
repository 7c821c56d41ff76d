"""A talk in plain lines at a real terminal, and what signals do to it."""

import signal
from pathlib import Path

import pytest

from tests.agent.repl.conftest import DONE, Open, bash
from tests.sandbox.conftest import processes_with

READY = "/help lists commands"


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_a_turn_and_another_signal_the_talk(
    open_session: Open, nap: str, number: signal.Signals
) -> None:
    sleeps = bash(f"sleep {nap}")

    def sleepers() -> list[str]:
        return [line for line in processes_with(nap) if line.startswith("sleep")]

    terminal = open_session(sleeps, sleeps, words=("--plain", "--mode", "auto"), shows=READY)
    terminal.enter("Go.")
    terminal.wait_until(lambda: bool(sleepers()), "begun")
    terminal.press("ctrl-c")
    terminal.wait_for("The turn ended: cancelled")
    assert not sleepers()
    terminal.enter("Go on.")
    terminal.wait_until(lambda: bool(sleepers()), "begun")
    terminal.process.kill(number)
    assert terminal.wait_for_end() == 128 + number
    assert not sleepers()
    assert terminal.scrolled.count("The turn ended: cancelled") == 2


@pytest.mark.slow
@pytest.mark.parametrize("by_key", [True, False])
def test_ctrl_d_or_a_signal_at_a_question_is_a_no_and_ends_the_talk(
    open_session: Open, repository: Path, by_key: bool
) -> None:
    terminal = open_session(bash("touch made"), DONE, words=("--plain",), shows=READY)
    terminal.enter("Go.")
    terminal.wait_for("Allow this?")
    if by_key:
        terminal.press("ctrl-d")
    else:
        terminal.process.kill(signal.SIGTERM)
    assert terminal.wait_for_end() == (0 if by_key else 128 + signal.SIGTERM)
    assert not (repository / "made").exists()
