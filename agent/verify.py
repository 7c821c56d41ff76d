"""Says with every edit what it broke: the syntax of the file, then the tests nearest to it.

The words come inside the result of the edit itself, where a model reads them before its next step.
It refuses nothing and takes nothing back.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from agent.edit_tests import EditTests
from agent.settings import VerifyConfig
from inference.messages import ToolCall
from sandbox.base import Cancel
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.diff import FileDiff, files_of
from tools.syntax import NotRead, introduced, reader_of
from tools.textfile import NotText, TextFile

MAX_CHARACTERS = 512 * 1024
"""A longer file was written by no hand."""
CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")
"""The comment in which a Python file names its encoding (PEP 263)."""
MAX_FAULTS = 3
"""Shown of one file: the first is often the cause of the rest."""


class Verify:
    """Adds to the result of an edit what is known of it at once."""

    def __init__(self, workspace: Workspace, tests: EditTests, config: VerifyConfig) -> None:
        self._workspace = workspace
        self._tests = tests
        self._config = config

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Return the result, with what it broke if it is that of an edit.

        Raises:
            SandboxUnavailable: the tests cannot be run.
        """
        if not (result.ok and result.diff) or cancel():
            return result
        files = files_of(result.diff)
        checks = [check for file in files for check in self._syntax_of(file)]
        faults = [words for words in checks if words]
        lines = faults or (["Syntax ok."] if checks else [])
        summary = "syntax error" if faults else ""
        if self._config.tests and not faults:
            said = self._tests.run([file.path for file in files], cancel)
            summary = said.split("\n", 1)[0].rstrip(".")
            lines = [" ".join([*lines, said])] if said else lines
        if not lines:
            return result
        return replace(
            result,
            text="\n".join([result.text, *lines]),
            summary=f"{result.summary}; {summary}" if summary else result.summary,
        )

    def _syntax_of(self, file: FileDiff) -> Iterator[str]:
        """Yield a line for each new fault, an empty one if all is well, none if nobody knows."""
        reader = reader_of(file.path) if self._config.syntax else None
        now = self._content_of(file.path)
        if reader is None or now is None:
            return
        text = now.text
        try:
            faults = introduced(reader, file.before(text), text)
            is_well = not faults and not reader(text) and _is_decoded(file.path, now)
        except NotRead:
            return
        yield from (f"{file.path}:{fault.line}: {fault.words}" for fault in faults[:MAX_FAULTS])
        if is_well:
            yield ""

    def _content_of(self, path: str) -> TextFile | None:
        try:
            file = TextFile.decode(self._workspace.read(path))
        except (OSError, PathRefused, NotText):
            return None
        return file if len(file.text) <= MAX_CHARACTERS else None


def _is_decoded(path: str, file: TextFile) -> bool:
    """Whether its language can read all of its bytes, as far as is known."""
    says_how = path.endswith(".py") and any(map(CODING.match, file.lines[:2]))
    return file.is_known or says_how
