"""What is checked around the calls of a model, as one object: its edits, and its finish.

`Verify` and `FinishGate` do the work; here they learn from the same runs of the tests.
"""

import math
from collections.abc import Callable, Sequence

from agent.edit_tests import EditTests, RunSome
from agent.finish_gate import FinishGate
from agent.settings import VerifyConfig
from agent.verify import Verify
from inference.messages import ToolCall
from sandbox.base import Cancel
from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.test_report import TestReport


class Checks:
    """Passes every result on, with what is known of an edit, or with why it is too early to end."""

    def __init__(
        self,
        command: Sequence[str],
        workspace: Workspace,
        run: RunSome,
        fingerprint: Callable[[], str],
        open_items: Callable[[], Sequence[str]],
        config: VerifyConfig,
    ) -> None:
        """Put the checks together.

        Args:
            command: how the tests are run.
            workspace: the files that are edited.
            run: runs some tests, or all.
            fingerprint: names the files as they are; the same name for the same files.
            open_items: the items of the todo list that are not done.
            config: what is checked.
        """
        self._tests = EditTests(command, workspace, run, config)
        self._verify = Verify(workspace, self._tests, config)
        self._gate = FinishGate(
            lambda cancel: run((), math.inf, cancel), fingerprint, open_items, config
        )

    def expect(
        self, before: TestReport | None, targets: frozenset[str] = frozenset(), files: str = ""
    ) -> None:
        """From here on the tests decide about `finish`: see `FinishGate.expect`."""
        self._gate.expect(before, targets, files)
        if before is not None:
            self._tests.expect(before, targets)

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Return the result to go on with.

        Raises:
            SandboxUnavailable: the tests cannot be run.
        """
        if result.report is not None:
            self._gate.saw(result.report)
            self._tests.saw(result.report)
        return self._gate(call, self._verify(call, result, cancel), cancel)
