"""An append-only file of JSON lines that survives a kill at any moment; knows no meaning of a line.

Each event is one `os.write` of one ASCII line with a checksum, and reaches the disk before the
call returns. A line cut short by a crash is the last one, and opening the file cuts it off. A bad
line anywhere else means that something else wrote here: nothing is guessed.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import SessionError

Record = dict[str, Any]


class Journal:
    """The open file; one process at a time."""

    def __init__(self, descriptor: int, path: Path, num_records: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._num_records = num_records

    @classmethod
    def create(cls, path: Path) -> "Journal":
        """Start an empty journal.

        Raises:
            SessionError: the file exists or cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise SessionError(f"{path} cannot be created: {error.strerror}") from error
        _lock(descriptor, path)
        return cls(descriptor, path, 0)

    @classmethod
    def open(cls, path: Path) -> tuple["Journal", tuple[Record, ...]]:
        """Open an existing journal to go on with it, and return what is in it.

        Raises:
            SessionError: another process has it, or a line other than the last is damaged.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise SessionError(f"{path} cannot be opened: {error.strerror}") from error
        _lock(descriptor, path)
        try:
            records, num_bytes = parse(path.read_bytes(), path)
            os.ftruncate(descriptor, num_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, path, len(records)), records

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record so that it is on disk when this returns.

        Raises:
            SessionError: the disk is full or the file went away.
        """
        line = _line({"seq": self._num_records, **record})
        try:
            start = os.lseek(self._descriptor, 0, os.SEEK_END)
            if os.write(self._descriptor, line) < len(line):
                os.ftruncate(self._descriptor, start)
                raise SessionError(f"{self._path} cannot be written: the disk is full")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SessionError(f"{self._path} cannot be written: {error.strerror}") from error
        self._num_records += 1

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


def read(path: Path) -> tuple[Record, ...]:
    """Return the records of a journal that may be in use, changing nothing.

    Raises:
        SessionError: it cannot be read or is damaged.
    """
    try:
        return parse(path.read_bytes(), path)[0]
    except OSError as error:
        raise SessionError(f"{path} cannot be read: {error.strerror}") from error


def parse(content: bytes, path: Path) -> tuple[tuple[Record, ...], int]:
    """Return the whole records at the start of `content` and how many bytes they take."""
    records: list[Record] = []
    position = 0
    while (end := content.find(b"\n", position)) >= 0:
        record = _record(content[position : end + 1])
        if record is None or record.get("seq") != len(records):
            if content.find(b"\n", end + 1) >= 0:
                raise SessionError(f"{path} is damaged at line {len(records) + 1}")
            break
        records.append(record)
        position = end + 1
    return tuple(records), position


def _line(record: Mapping[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=True, separators=(",", ":"))
    return f'{body[:-1]},"crc":{zlib.crc32(body.encode())}}}\n'.encode()


def _record(line: bytes) -> Record | None:
    """Return what the line says, or None if it is not what was written."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    record.pop("crc", None)
    return record if _line(record) == line else None


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SessionError(f"{path.parent.name} is in use by another qwen-agent") from error
