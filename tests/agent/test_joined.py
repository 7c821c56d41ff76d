"""What joins a turn before and after a call, and the whole of an output that was cut."""

from dataclasses import replace
from pathlib import Path

from agent.events import CallEnded, StopReason
from agent.fix import run_fix
from agent.outputs import KeptOutputs
from agent.request import FixRequest
from agent.wording import prompt
from inference.messages import ToolCall
from sandbox.base import Cancel
from tests.agent.fakes import FINISH, Say, ScriptedModel, bash, call, edit, make_repository
from tests.agent.stage import DONE, FILES, set_stage, show
from tools.base import ToolResult

REPAIR = edit("a.py", "one = 1", "one = 2")


def test_a_call_that_somebody_objects_to_is_not_run(tmp_path: Path) -> None:
    asked: list[str] = []

    def second(call: ToolCall, cancel: Cancel) -> str | None:
        asked.append(call.name)
        return None

    objects = (lambda call, cancel: "Not today." if "edit" in call.name else None, second)
    stage = set_stage(tmp_path, [REPAIR, show("a"), DONE], before_call=objects)
    assert stage.play().reason is StopReason.END_TURN
    assert stage.texts == ["Not today.", "a", "Finished."]
    assert not stage.all(CallEnded)[0].ok
    assert asked == ["probe", "finish"]
    assert stage.files == {name: text.encode() for name, text in FILES.items()}


def test_results_pass_through_all_who_joined_in_order(tmp_path: Path) -> None:
    def adds(word: str) -> object:
        return lambda call, result, cancel: replace(result, text=f"{result.text} {word}")

    stage = set_stage(tmp_path, [show("a"), DONE], after_call=(adds("b"), adds("c")))
    stage.play()
    assert stage.texts == ["a b c", "Finished. b c"]


def test_a_finish_that_is_refused_does_not_end_the_turn(tmp_path: Path) -> None:
    def gate(call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        is_red = b"one = 1" in stage.files["a.py"]  # type: ignore[operator]
        return ToolResult("Not yet.", "refused", ok=False) if result.done and is_red else result

    stage = set_stage(tmp_path, [FINISH, REPAIR, FINISH], after_call=(gate,))
    assert stage.play().reason is StopReason.END_TURN
    assert stage.texts[0] == "Not yet."
    assert [event.ok for event in stage.all(CallEnded)] == [False, True, True]
    assert stage.session.is_finished
    budgets = [options.thinking_budget for options in stage.model.options]
    assert budgets[1] > budgets[0] == budgets[2]  # type: ignore[operator]


def test_a_finish_refused_again_and_again_ends_the_turn(tmp_path: Path) -> None:
    def gate(call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        return replace(result, text=f"Not yet. {len(numbers)}", ok=False, done=False)

    numbers: list[int] = []
    stage = set_stage(tmp_path, [FINISH], after_call=(gate,))
    ended = stage.play()
    assert ended.reason is StopReason.REFUSAL
    assert len(stage.texts) == 5
    assert not stage.session.is_finished


def test_a_stop_while_a_result_is_looked_at_records_none_and_the_call_is_not_run_again(
    tmp_path: Path,
) -> None:
    stopped: list[bool] = []

    def slow(call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        stopped.append(True)
        assert cancel()
        return result

    stage = set_stage(tmp_path, [show("a"), DONE], after_call=(slow,))
    assert stage.play(cancel=lambda: bool(stopped)).reason is StopReason.CANCELLED
    assert [m.role for m in stage.session.messages] == ["system", "user", "assistant"]
    assert stage.resume(after_call=()).reason is StopReason.END_TURN
    assert stage.texts[0] == prompt("interrupted")


def test_an_output_that_was_cut_is_kept_whole_and_named(tmp_path: Path) -> None:
    outputs = KeptOutputs(tmp_path / "outputs")
    script = [bash("seq 1 9000"), bash("echo short"), bash("seq 1 8000"), DONE]
    stage = set_stage(tmp_path, script, after_call=(outputs,))
    stage.play()
    first, second = sorted((tmp_path / "outputs").iterdir())
    assert first.read_text().split() == [str(n) for n in range(1, 9001)]
    assert second.read_text().endswith("\n8000")
    assert stage.texts[0].endswith(
        f"[All of it is in {first}; read parts with bash: sed -n '1,200p' or grep -n.]"
    )
    assert stage.texts[1] == "short"


def test_a_kept_output_can_be_read_by_a_command(tmp_path: Path) -> None:
    outputs = KeptOutputs(tmp_path / "outputs")
    read = bash(f"sed -n 4500p {tmp_path}/outputs/001-bash.txt")
    stage = set_stage(tmp_path, [bash("seq 1 9000"), read, DONE], after_call=(outputs,))
    stage.play()
    assert stage.texts[1] == "4500"


def test_a_session_that_goes_on_overwrites_no_output(tmp_path: Path) -> None:
    result = ToolResult("cut", "ran", full="whole")
    for text in ("one", "two"):
        kept = KeptOutputs(tmp_path / "outputs")
        kept(ToolCall("bash", {}), replace(result, full=text), lambda: False)
    assert [path.read_text() for path in sorted((tmp_path / "outputs").iterdir())] == ["one", "two"]


def test_the_opening_comes_before_the_first_prompt_alone(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [DONE], opening=lambda: "Read this first.")
    stage.play()
    stage.play("And now?")
    asked = [m.content for m in stage.session.messages if m.role == "user"]
    assert asked == ["Read this first.\n\nMend it.", "And now?"]


def test_a_call_of_an_unknown_tool_reaches_those_who_joined(tmp_path: Path) -> None:
    seen: list[bool] = []

    def look(call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        seen.append(result.ok)
        return result

    set_stage(tmp_path, [Say((call("nothing"),)), DONE], after_call=(look,)).play()
    assert seen == [False, True]


def test_in_the_sandbox_a_kept_output_can_be_read_and_not_written(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    file = f"{tmp_path}/state/sessions/*/outputs/001-bash.txt"
    script = [bash("seq 1 9000"), bash(f"sed -n 4500p {file}; echo x >> {file}"), FINISH]
    run = run_fix(
        FixRequest(repository),
        chat_factory=lambda _: ScriptedModel([script]),
        state=tmp_path / "state",
    )
    texts = [event.text for event in run if isinstance(event, CallEnded)]
    assert texts[1].startswith("4500\n")
    assert "ead-only" in texts[1]
