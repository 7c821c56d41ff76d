"""The files of a talk as the person sees them in the editor: what is not saved yet counts.

A text is asked of the editor when the model looks at a file, and given to the editor to write. All
that `Workspace` refuses is refused before. Where the editor has nothing to say, or nothing that can
be trusted to be newer than the disk, the disk alone is read and written. A file that is not on disk
is there if somebody has typed it and not saved it. Of further folders, too, the editor's text is
read; nothing is written there.
"""

import hashlib
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

from agent.known_files import KnownFiles
from sandbox.base import View
from sandbox.errors import PathRefused
from sandbox.further import WithFurther
from tools.textfile import NotText, TextFile

MARK = "\ufeff"


class Texts(Protocol):
    """The editor, asked by paths from the root.

    Each method raises RunCancelled where the person has stopped what it is asked for, or has left:
    nothing is read or written past the editor then.
    """

    def is_there(self) -> bool:
        """Say whether it can be asked now: it follows links, so nobody may be making any."""
        ...

    def read(self, path: Path) -> str | None:
        """Return the text of a file as it is shown; None if that cannot be known."""
        ...

    def write(self, path: Path, text: str) -> bool:
        """Let the file be this text, on disk too; say whether that was done."""
        ...


class BufferFiles(WithFurther):
    """A workspace behind an editor."""

    def __init__(self, view: View, known: KnownFiles, texts: Texts, folder: Path) -> None:
        """Open the files of `view`; the editor calls the folder of the project `folder`."""
        super().__init__(view.source, view.workspace, view.folder, view.obeyed, view.further)
        self._known = known
        self._texts = texts
        here = self.root / self.folder
        self._called = folder if folder.resolve() == here else here
        self._shared: dict[PurePosixPath, bytes] = {}
        """What of each file is on disk, as a digest, where the editor's text is built on that."""
        self._given: set[tuple[PurePosixPath, bytes]] = set()
        """What the editor has written for us, as digests."""

    def exists(self, path: str) -> bool:
        """Say whether something is there, on disk or typed and not saved; raises as `Workspace`."""
        if super().exists(path):
            return True
        with suppress(NotADirectoryError):
            return self._unsaved(path) is not None
        return False

    def read(self, path: str) -> bytes:
        """Give the content of a regular file as the editor has it; raises as `Workspace` does."""
        unsaved = self._unsaved(path)
        return super().read(path) if unsaved is None else unsaved

    def write_atomic(self, path: str, data: bytes) -> bytes:
        """Let the editor give a file this content, or do it here; raises as `Workspace` does.

        Returns what it holds then: an editor may format what it saves.
        """
        is_there = self._texts.is_there()
        with self._to_write(path) as (_, target, old):
            pass
        before = None if old is None else super().read(path)
        is_shared = before is None or self._shared.pop(target, None) == _digest(before)
        if not (is_there and is_shared and self._hand_over(target, data)):
            return super().write_atomic(path, data)
        written = self._saved(path, before, data)
        if written is None:
            return super().write_atomic(path, data)
        self._shared[target] = _digest(written)
        self._given.add((target, _digest(written)))
        return written

    def settle(self, path: str) -> bool:
        """Save what the editor alone holds of a file; say whether there was any."""
        unsaved = self._unsaved(path)
        if unsaved is not None:
            self.write_atomic(path, unsaved)
        return unsaved is not None

    def _unsaved(self, path: str) -> bytes | None:
        """Return what the editor has of a file that is newer than the disk; raises as `Workspace`.

        A file that is not on disk has that, if the editor has any text for it.
        """
        is_there = self._texts.is_there()
        target, data = self.real(path), self._on_disk(path)
        shared = self._shared.pop(target, None)
        if not is_there or (data is not None and text_of(data) is None):
            return None
        text = self._texts.read(self._called / target)
        if data is None:
            return self._typed(target, text or "")
        theirs = None if text is None else _in_the_form_of(data, text)
        if theirs is None:
            return None
        if theirs != data and not self._is_newer(target, data, theirs, shared):
            return None
        self._shared[target] = _digest(data)
        return None if theirs == data else theirs

    def _on_disk(self, path: str) -> bytes | None:
        """Return what is on disk, None if there is nothing; else raises as `Workspace.read`."""
        with suppress(FileNotFoundError):
            return super().read(path)
        return None

    def _typed(self, target: PurePosixPath, text: str) -> bytes | None:
        """Return a text that no file has; None if it is only left of one that is gone."""
        theirs = _in_the_form_of(text.encode(errors="replace"), text)
        if not theirs or any(self._was_once(target, one) for one in (theirs, theirs + b"\n")):
            return None
        return theirs

    def _hand_over(self, target: PurePosixPath, data: bytes) -> bool:
        """Let the editor write a file, if it can; say whether it has."""
        if text_of(data) is None:
            return False
        return self._texts.write(self._called / target, data.decode())

    def _is_newer(
        self, target: PurePosixPath, data: bytes, theirs: bytes, shared: bytes | None
    ) -> bool:
        """Say whether a person has typed it, and the editor did not only miss what a command did.

        If both have happened, the person has to decide: the editor asks them when they save.
        """
        if shared == _digest(data) or target.is_absolute():  # no command writes there
            return True
        is_same = self._known.is_as_at_prompt(str(self.folder / target), data)
        return is_same and not self._was_once(target, theirs)

    def _was_once(self, target: PurePosixPath, data: bytes) -> bool:
        """Say whether a file has held these bytes in the talk, by whoever wrote them."""
        name = str(self.folder / target)
        return (target, _digest(data)) in self._given or self._known.was_once(name, data)

    def _saved(self, path: str, before: bytes | None, data: bytes) -> bytes | None:
        """Return what the editor has made of a file; None if that is not what was asked for."""
        with suppress(OSError, PathRefused):
            now = super().read(path)
            if now == data:
                return now
            text = text_of(now)
            if now != before and text is not None and text != text_of(data):
                return now
        return None


def text_of(data: bytes) -> str | None:
    """Return the text of a file that an editor has in the same way: UTF-8, all lines ended alike.

    Of other files it may show what cannot be brought back to the same bytes.
    """
    try:
        file = TextFile.decode(data)
    except NotText:
        return None
    num_returns = file.raw.count("\r")
    is_even = not num_returns or num_returns == data.count(b"\r\n") == data.count(b"\n")
    is_plain = file.encoding == "utf-8" and file.is_known and not file.raw.startswith(MARK)
    return file.text if is_plain and is_even else None


def _in_the_form_of(data: bytes, text: str) -> bytes | None:
    """Return the bytes of an editor's text, with the line endings of `data`; None if it is none."""
    text = text.replace("\r\n", "\n")
    if data.endswith(b"\n") and text and not text.endswith("\n"):
        text += "\n"  # some editors do not count it to the text
    try:
        written = text.replace("\n", "\r\n" if b"\r\n" in data else "\n").encode()
    except UnicodeEncodeError:
        return None
    return None if text_of(written) is None else written


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
