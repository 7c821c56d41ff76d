"""Commands of the user's own settings, run in the sandbox beside the model's calls.

    [hooks]
    before_tool = ["./policy.sh"]     # a failure refuses the call; what it prints is the reason
    after_edit = ["ruff check"]       # what it prints when it fails is added to the result
    before_finish = ["make lint"]     # a failure refuses the finish

Each is told of the call in QWEN_AGENT_TOOL, QWEN_AGENT_PATH and QWEN_AGENT_ARGUMENTS (JSON). The
repository's own settings can name none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.settings import HooksConfig
from inference.messages import ToolCall
from sandbox.base import Cancel, Sandbox, View
from sandbox.limits import Limits
from tools.base import ToolResult
from tools.readable import readable
from tools.truncate import cut_middle

MAX_CHARACTERS = 2_000
MAX_ARGUMENT_BYTES = 32 * 1024
"""Of all arguments of a call in one variable; a longer one is left out."""


class Hooks:
    """Runs the hooks of a session; `before` and `after` are what the loop calls."""

    def __init__(self, config: HooksConfig, sandbox: Sandbox, view: View, limits: Limits) -> None:
        self._config = config
        self._sandbox = sandbox
        self._view = view
        self._limits = limits

    def before(self, call: ToolCall, cancel: Cancel) -> str | None:
        """Return why a call may not run."""
        commands = list(self._config.before_tool)
        if call.name == "finish":
            commands += self._config.before_finish
        return self._first_failure(commands, call, cancel)

    def after(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Add what a hook says of an edit."""
        if not result.ok or result.diff is None:
            return result
        failure = self._first_failure(self._config.after_edit, call, cancel)
        return replace(result, text=f"{result.text}\n\n{failure}") if failure else result

    def _first_failure(self, commands: Sequence[str], call: ToolCall, cancel: Cancel) -> str | None:
        for command in commands:
            view = replace(self._view, environment={**self._view.environment, **_variables(call)})
            done = self._sandbox.run(["sh", "-c", command], view, self._limits, cancel)
            if done.exit_code != 0:
                output = cut_middle(readable(done.output).strip("\n"), MAX_CHARACTERS)
                how = "timed out" if done.timed_out else f"exit code {done.exit_code}"
                return f"The user's hook `{command}` failed ({how}).\n{output}".rstrip()
        return None


def _variables(call: ToolCall) -> Mapping[str, str]:
    arguments = json.dumps(dict(call.arguments), default=str)
    told = {"QWEN_AGENT_TOOL": call.name, "QWEN_AGENT_PATH": str(call.arguments.get("path", ""))}
    if len(arguments) <= MAX_ARGUMENT_BYTES:
        told["QWEN_AGENT_ARGUMENTS"] = arguments
    return {name: value.replace("\0", "") for name, value in told.items()}
