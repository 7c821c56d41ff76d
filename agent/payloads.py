"""Long texts of a journal, each in a file of its own named by its hash; the same text is kept once.

A file is whole or not there, and what is read is checked against its name. It knows no record.
"""

import hashlib
import os
import secrets
from pathlib import Path

from inference.whole_files import sync_folder

MAX_INLINE_BYTES = 16 * 1024
"""A line that is longer keeps its long texts here."""
MIN_CHARACTERS = 4 * 1024
"""A text of such a line that is moved."""
FOLDER = "payloads"
NAME_LENGTH = 64


class PayloadLost(Exception):
    """A text that is named is not there, or is another; whoever names it cannot be read."""


class Payloads:
    """The folder of one journal; made when there is something to put in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, text: str) -> str:
        """Keep a text, on disk when this returns; return its name.

        Raises:
            OSError: the disk is full or the folder went away.
        """
        content = _bytes(text)
        name = hashlib.sha256(content).hexdigest()
        path = self._folder / name
        if path.exists():
            return name
        self._folder.mkdir(mode=0o700, exist_ok=True)
        fresh = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with fresh.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
        return name

    def get(self, name: str) -> str:
        """Return the text of that name.

        Raises:
            PayloadLost: it is not there, cannot be read, or is not what was put.
        """
        if not (len(name) == NAME_LENGTH and name.isalnum()):
            raise PayloadLost(name)
        try:
            content = (self._folder / name).read_bytes()
        except OSError as error:
            raise PayloadLost(name) from error
        if hashlib.sha256(content).hexdigest() != name:
            raise PayloadLost(name)
        return content.decode("utf-8", "surrogatepass")


def _bytes(text: str) -> bytes:
    # A model or a file may say half a character: it is kept as it was said.
    return text.encode("utf-8", "surrogatepass")
