"""`AGENTS.md` of the repository, before the model's eyes when it matters, and once.

The one at the root goes with the first prompt; one in a folder below goes inside the first result
that shows something of that folder, the nearest one wins. It is text of the repository, as little
trusted as its code: it is marked as advice, and never part of the system message. Files are read
through the workspace, which no link leads out of.
"""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath

from agent.steering import harmless
from agent.wording import prompt
from inference.messages import ToolCall
from sandbox.base import Cancel
from sandbox.errors import PathRefused
from sandbox.workspace import HERE, Workspace
from tools.base import ToolResult
from tools.readable import beware, shown
from tools.truncate import cut_middle

NAMES = ("AGENTS.md", "QWEN.md", "CLAUDE.md")
"""The first that a folder has is read; the others are for other programs."""
MAX_CHARACTERS = 8_000
MAX_AT_ONCE = 2
"""Pieces of advice in one result; a search may show many folders."""
_HIT = re.compile(r"(?m)^([^\s:][^:\n]*):\d+[:-]")


class Memory:
    """Knows which advice the model was given; an `AfterCall`."""

    def __init__(self, repository: Workspace, folder: PurePosixPath = HERE) -> None:
        """Read below `repository`; paths in calls are relative to `folder` in it."""
        self._repository = repository
        self._folder = folder
        self._given: set[PurePosixPath] = set()

    def opening(self) -> str:
        """Return the advice for the folder that the task is about, and that of the root."""
        folders = dict.fromkeys([HERE, self._nearest(self._folder)])
        texts = [self._advice(folder) for folder in folders if folder is not None]
        return "\n\n".join(filter(None, texts))

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Add the advice of the folders that a result shows for the first time."""
        if not result.ok:
            return result
        folders = dict.fromkeys(self._nearest(folder) for folder in self._shown(call, result))
        new = [one for one in folders if one is not None and self._is_new(one)][:MAX_AT_ONCE]
        if not new:
            return result
        self._given.update(new)
        texts = [result.text, *map(self._advice, new)]
        return replace(result, text="\n\n".join(filter(None, texts)))

    def forget(self) -> None:
        """Give the advice again when its folder is shown again: older results are gone."""
        self._given.clear()

    def _is_new(self, folder: PurePosixPath) -> bool:
        """Say whether advice is due: what the prompt holds stays there."""
        opened = (HERE, self._nearest(self._folder))
        return folder not in opened and folder not in self._given

    def _shown(self, call: ToolCall, result: ToolResult) -> list[PurePosixPath]:
        """Return the folders of the files that a call names or found."""
        paths = [call.arguments["path"]] if isinstance(call.arguments.get("path"), str) else []
        if call.name == "search":
            paths = _HIT.findall(result.text)
        folders: list[PurePosixPath] = []
        for path in dict.fromkeys(paths):
            with suppress(PathRefused):
                found = self._repository.resolve(str(self._folder / path))
                is_folder = self._repository.is_folder(str(found))
                folders.append(found if is_folder else found.parent)
        return folders

    def _nearest(self, folder: PurePosixPath) -> PurePosixPath | None:
        """Return the nearest folder around that has advice; None if no one has."""
        around = (folder, *folder.parents)
        return next((one for one in around if self._file(one) is not None), None)

    def _file(self, folder: PurePosixPath) -> str | None:
        for name in NAMES:
            with suppress(PathRefused, OSError):
                if self._repository.exists(str(folder / name)):
                    return str(folder / name)
        return None

    def _advice(self, folder: PurePosixPath) -> str:
        path = self._file(folder)
        if path is None:
            return ""
        try:
            text = self._repository.read(path).decode("utf-8", "replace")
        except (PathRefused, OSError):
            return ""
        text = f"{beware(text)}\n{shown(text)}"
        text = harmless(re.sub("(?i)</advice", "<advice", text)).strip()
        return prompt("memory", path=path, text=cut_middle(text, MAX_CHARACTERS)) if text else ""
