"""Commands of the user's own settings, run in the sandbox beside the model's calls.

    [hooks]
    before_tool = ["./policy.sh"]     # a failure refuses the call; what it prints is the reason
    after_edit = ["ruff format"]      # what it does to the file is shown, and why it failed
    before_finish = ["make lint"]     # a failure refuses the finish

Each is told of the call in QWEN_AGENT_TOOL, QWEN_AGENT_PATH and QWEN_AGENT_ARGUMENTS (JSON). The
repository's own settings can name none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.errors import HookBroken
from agent.settings import HooksConfig
from inference.messages import ToolCall
from sandbox.base import Cancel, CommandResult, Sandbox, View
from sandbox.errors import PathRefused
from sandbox.limits import Limits
from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.diff import files_of
from tools.editor import StrReplaceEditor
from tools.readable import readable
from tools.textfile import NotText, TextFile, unified_diff
from tools.truncate import cut_middle

MAX_CHARACTERS = 2_000
NOT_STARTED = (126, 127)
"""What a shell ends with where the program is missing or none."""
MAX_ARGUMENT_BYTES = 32 * 1024
"""Of the path or of all arguments of a call in one variable; a longer one is left out."""


class Hooks:
    """Runs the hooks of a session; `before` and `after` are what the loop calls."""

    def __init__(
        self,
        config: HooksConfig,
        sandbox: Sandbox,
        view: View,
        limits: Limits,
        editor: StrReplaceEditor,
    ) -> None:
        """Take what runs the hooks, and the editor, which has to know what they did to a file."""
        self._config = config
        self._sandbox = sandbox
        self._view = view
        self._limits = limits
        self._editor = editor
        self._workspace = Workspace(view.source, view.workspace, view.folder)

    def before(self, call: ToolCall, cancel: Cancel) -> str | None:
        """Return why a call may not run.

        Raises:
            HookBroken: a hook could not be asked.
        """
        commands = list(self._config.before_tool)
        if call.name == "finish":
            commands += self._config.before_finish
        failure = self._first_failure(commands, call, cancel)
        if failure is None:
            return None
        command, done = failure
        if done.timed_out or done.exit_code in NOT_STARTED:
            raise HookBroken(
                f"the hook `{command}` of your settings {_cause(done)}, so no call can run; "
                "mend it or take it out of [hooks]"
            )
        return _told(command, done)

    def after(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Add what a hook says of an edit, and show what it did to the file."""
        if not (result.ok and result.diff and self._config.after_edit):
            return result
        path = str(self._workspace.real(call.arguments["path"]))
        before = self._content(path)
        failure = self._first_failure(self._config.after_edit, call, cancel)
        after = self._content(path)
        if before is not None and before != after:
            result = self._changed(path, result, before, after)
        return replace(result, text=f"{result.text}\n\n{_told(*failure)}") if failure else result

    def _content(self, path: str) -> bytes | None:
        """Return what is in a file; None where there is none that can be read."""
        try:
            return self._workspace.read(path)
        except (OSError, PathRefused):
            return None

    def _changed(
        self, path: str, result: ToolResult, before: bytes, after: bytes | None
    ) -> ToolResult:
        """Show the lines that a hook changed, and make one edit of the model's and the hook's."""
        if after is None:
            return replace(result, text=f"{result.text}\n\nThe user's hook then removed {path}.")
        try:
            lines = self._editor.take_up(path, before, after)
            diff = _joined(path, result.diff or "", before, after)
        except NotText:
            return replace(
                result, text=f"{result.text}\n\n{path} is no text after the user's hook."
            )
        text = f"{result.text}\n\nThe user's hook then changed the file. It is now:\n{lines}"
        return replace(result, text=text, diff=diff)

    def _first_failure(
        self, commands: Sequence[str], call: ToolCall, cancel: Cancel
    ) -> tuple[str, CommandResult] | None:
        for command in commands:
            view = replace(self._view, environment={**self._view.environment, **_variables(call)})
            done = self._sandbox.run(["sh", "-c", command], view, self._limits, cancel)
            if done.exit_code != 0:
                return command, done
        return None


def _told(command: str, done: CommandResult) -> str:
    """Tell the model."""
    output = cut_middle(readable(done.output).strip("\n"), MAX_CHARACTERS)
    how = "timed out" if done.timed_out else f"exit code {done.exit_code}"
    return f"The user's hook `{command}` failed ({how}).\n{output}".rstrip()


def _cause(done: CommandResult) -> str:
    """Tell the user why a hook gave no answer."""
    if done.timed_out:
        return f"did not end within {done.duration_s:.0f} s"
    return f"could not be started ({' '.join(readable(done.output).split())})"


def _variables(call: ToolCall) -> Mapping[str, str]:
    arguments = json.dumps(dict(call.arguments), default=str)
    told = {
        "QWEN_AGENT_TOOL": call.name,
        "QWEN_AGENT_PATH": str(call.arguments.get("path", "")),
        "QWEN_AGENT_ARGUMENTS": arguments,
    }
    short = {name: value for name, value in told.items() if len(value) <= MAX_ARGUMENT_BYTES}
    return {name: value.replace("\0", "") for name, value in short.items()}


def _joined(path: str, diff: str, before: bytes, after: bytes) -> str:
    """Return the diff from what there was before the edit to what there is after the hook."""
    (edit,) = files_of(diff)
    old = None if diff.startswith("--- /dev/null") else edit.before(TextFile.decode(before).text)
    return unified_diff(path, old, TextFile.decode(after).text)
