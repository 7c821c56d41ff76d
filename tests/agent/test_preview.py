"""What a person is asked about is what runs: nothing in it hides, and what is cut is told."""

from agent.approval import Ask, decide
from agent.preview import MAX_LINES, is_cut, preview
from agent.settings import ApprovalConfig
from inference.messages import ToolCall


def asked(command: str) -> str:
    decision = decide(ToolCall("bash", {"command": command}), ApprovalConfig(mode="ask"))
    assert isinstance(decision, Ask)
    assert decision.call.arguments["command"] == command  # and that is what runs
    return decision.preview


def test_a_plain_command_is_shown_as_it_is() -> None:
    assert asked("rm -rf 'a b'") == "rm -rf 'a b'"


def test_empty_lines_do_not_push_a_command_off_the_screen() -> None:
    text = asked("true" + "\n" * 500 + "rm -rf src")
    assert text == "true\n[499 empty lines]\nrm -rf src\n[514 bytes, 501 lines]"


def test_marks_and_controls_are_spelled() -> None:
    assert asked("rm \u202e\x1b[2Jx\r\x07").startswith("rm \\u202e\\x1b[2Jx\\r\\x07\n[")
    assert asked("rm \U000e0041").startswith("rm \\U000e0041\n[")
    assert asked("rm caf\u00e9") == "rm caf\u00e9"


def test_the_size_of_a_diff_is_not_told_as_if_it_were_the_files() -> None:
    diff = "@@ -1 +1 @@\n-one\n+two"
    assert preview(diff, is_diff=True) == diff
    many = preview("\n".join(f"+{number}" for number in range(1_000)), is_diff=True)
    assert "[... 960 more lines ...]" in many
    assert is_cut(many)
    assert not is_cut(preview(diff, is_diff=True))


def test_what_does_not_fit_is_told_in_lines_and_characters() -> None:
    lines = [f"rm file{number}" for number in range(1000)]
    shown = preview("\n".join(lines)).split("\n")
    assert len(shown) == MAX_LINES + 2
    assert shown[0] == "rm file0"
    assert shown[-2] == "rm file999"
    assert "[... 960 more lines ...]" in shown
    assert shown[-1].endswith("1,000 lines]")
    long = preview("echo " + "x" * 20_000 + "; rm -rf src")
    assert "[... 19617 more characters ...]" in long
    assert long.split("\n")[0].endswith("; rm -rf src")
    assert "20,017 bytes" in long
