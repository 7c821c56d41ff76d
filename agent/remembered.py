"""What a person allowed or refused for always: one small file a repository.

An entry is the hash of what would run. A command that starts a script of the repository is
remembered with the content of that script, so a changed script is asked about again.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from agent.rules import EDITOR
from agent.shell_words import read_script
from inference.messages import ToolCall

MAX_ENTRIES = 1_000
ReadFile = Callable[[str], bytes | None]
"""The content of a file named from the workspace; None where there is no such file in it."""


def key_of(call: ToolCall, read: ReadFile) -> str:
    """Hash what a call would do: of bash the command and the scripts it names, else all of it."""
    digest = hashlib.blake2b(digest_size=16)
    arguments = dict(call.arguments)
    if call.name == EDITOR:  # for always means: this file
        arguments = {"path": arguments.get("path")}
    digest.update(json.dumps([call.name, arguments], sort_keys=True, default=str).encode())
    if call.name == "bash":
        for words in read_script(str(arguments.get("command", ""))).commands:
            for word in words:
                content = read(word)
                digest.update(b"\0" + (content if content is not None else b""))
    return digest.hexdigest()


class Remembered:
    """The keys of one repository; a file that cannot be read is as if nothing was allowed."""

    def __init__(self, state: Path, repository: Path) -> None:
        name = hashlib.blake2b(os.fsencode(repository), digest_size=16).hexdigest()
        self._file = state / "approvals" / f"{name}.json"
        self._keys = self._read()

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str) -> None:
        """Remember a key; the oldest go when there are too many.

        Raises:
            OSError: it cannot be written down.
        """
        self._keys = list(dict.fromkeys([*self._read(), key]))[-MAX_ENTRIES:]
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=self._file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(self._keys, file)
            Path(temporary).replace(self._file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _read(self) -> list[str]:
        with suppress(OSError, ValueError):
            keys = json.loads(self._file.read_bytes())
            if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
                return keys
        return []
