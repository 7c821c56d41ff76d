"""`search`: lines of the workspace that match a regular expression, by ripgrep in the sandbox.

Ignore files of the repository hold. Where there is no ripgrep, `grep` answers in the same form.
"""

import dataclasses
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import MIB, Limits
from sandbox.workspace import Workspace
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.readable import shown
from tools.truncate import clean

MAX_MATCHES = 60
MAX_CHARACTERS = 200
LIMITS = Limits(wall_s=30.0, output_bytes=8 * MIB)

_RG = (
    *("--no-config", "--no-messages", "--no-require-git", "--line-number", "--no-heading"),
    *("--with-filename", "--null", "--color", "never", "--sort", "path"),
    *("--max-columns", "1000", "--max-columns-preview"),
)
_GREP = ("grep", "-rnHIEsZ", "--color=never", "--exclude-dir=.git")


def find_ripgrep(view: View) -> Path | None:
    """Return where ripgrep is: on the command's own PATH, or installed beside this Python."""
    folders = [*view.path, Path(sysconfig.get_path("scripts"))]
    found = shutil.which("rg", path=os.pathsep.join(map(str, folders)))
    return Path(found) if found else None


class Search:
    """Finds lines in the workspace."""

    name = "search"
    description = "Find lines that match a regular expression, as path:line: text."
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "Regular expression."},
            "path": {"type": "string", "description": "File or directory to search in."},
            "glob": {"type": "string", "description": "Only these files, such as *.py."},
        },
        "required": ["pattern"],
    }

    def __init__(
        self, workspace: Workspace, sandbox: Sandbox, view: View, ripgrep: Path | None
    ) -> None:
        self._workspace = workspace
        self._sandbox = sandbox
        self._ripgrep = ripgrep
        outside = ripgrep is not None and ripgrep.parent not in view.path
        self._view = _with_folder(view, ripgrep.parent) if ripgrep and outside else view

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Search and return the first matches.

        Raises:
            ToolFailed: the pattern cannot be read, the path is not there, or it took too long.
            PathRefused: the path leaves the workspace.
        """
        pattern: str = arguments["pattern"]
        path = self._workspace.resolve(arguments.get("path") or ".")
        if not self._workspace.exists(str(path)):
            raise ToolFailed(f"{path} does not exist.")
        argv = self._command(pattern, path, arguments.get("glob"))
        result = self._sandbox.run(argv, self._view, LIMITS, cancel)
        matches = _matches(result.output)
        _check(result, matches)
        shown = matches[:MAX_MATCHES]
        if len(matches) > MAX_MATCHES:
            num_more = len(matches) - MAX_MATCHES
            shown.append(f"[{num_more} more matches; narrow the pattern or path]")
        found = "1 match" if len(matches) == 1 else f"{len(matches)} matches"
        return ToolResult("\n".join(shown) or "No match.", f"searched for {pattern} ({found})")

    def _command(self, pattern: str, path: PurePosixPath, glob: str | None) -> list[str]:
        where = str(path) if path.is_absolute() else f"./{path}"
        if self._ripgrep is not None:
            options = ["--glob", glob] if glob else []
            return [str(self._ripgrep), *_RG, *options, "-e", pattern, "--", where]
        options = [f"--include={glob}"] if glob else []
        return [*_GREP, *options, "-e", pattern, "--", where]


def _with_folder(view: View, folder: Path) -> View:
    return dataclasses.replace(view, read_only=(*view.read_only, folder))


def _matches(output: str) -> list[str]:
    """Turn `path NUL line:text` into what the model reads, in the order of paths."""
    found: list[tuple[str, int, str]] = []
    for row in output.split("\n"):
        path, nul, rest = row.partition("\0")
        number, colon, text = rest.partition(":")
        if nul and colon and number.isdecimal():
            found.append((str(PurePosixPath(path)), int(number), text))
    return [
        f"{path}:{number}: {shown(text).rstrip()[:MAX_CHARACTERS]}"
        for path, number, text in sorted(found, key=lambda match: match[:2])
    ]


def _check(result: CommandResult, matches: list[str]) -> None:
    """Tell the model of a search that did not work."""
    if result.timed_out:
        raise ToolFailed(f"The search took more than {LIMITS.wall_s:g} s; narrow the path.")
    if result.cancelled:
        raise ToolFailed("The search was cancelled.")
    if matches or result.exit_code in (0, 1):
        return
    rows = [row.strip() for row in clean(result.output).split("\n") if row.strip()]
    if not rows:
        raise ToolFailed(f"The search ended with exit code {result.exit_code}.")
    first = rows[0].removeprefix("rg: ")  # newer versions put their name in front
    # ripgrep's first line ends in a colon and its reason comes last.
    reason = next((row.removeprefix("error: ") for row in rows[1:] if row.startswith("error:")), "")
    raise ToolFailed(f"{first} {reason}".rstrip())
