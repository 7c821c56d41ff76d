"""An append-only file of JSON lines that survives a kill at any moment; knows no meaning of a line.

Each record is one ASCII line with a number and a checksum. What is appended in one call is one
`os.write` that reaches the disk before the call returns. Lines cut short by a crash are the last
ones, and opening the file cuts them off: a line, or all that came with it. Any other line that
cannot be read is left where it is, passed over and counted; the numbers tell whether a record is
missing there, and what that means is for whoever knows the records.
Long texts lie beside the journal, in `payloads/`.
"""

import errno
import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import SessionError, SessionInUse
from agent.payloads import (
    FOLDER,
    MAX_INLINE_BYTES,
    MIN_CHARACTERS,
    PayloadLost,
    Payloads,
)
from inference.whole_files import sync_folder

Record = dict[str, Any]
Place = list[str | int]
"""Where in a record a text was, outermost key first, and the name of the text."""

BEGIN = b'{"seq":'
MOVED = "payloads"
"""The key of a record that lists the places of its long texts."""
WITH_NEXT = "with_next"
"""The key of a record that counts only if the one after it is there too."""


@dataclass(frozen=True)
class BadLine:
    """A line that is not what was written there."""

    number: int
    """Counted from 1."""
    after: int
    """The `seq` of the last good record before it; -1 if there is none."""


@dataclass(frozen=True)
class Contents:
    """What a journal holds."""

    records: tuple[Record, ...]
    """The good ones, in order, each with its `seq`; where that leaves out a number, one is lost."""
    bad: tuple[BadLine, ...]
    num_bytes: int
    """Of what is whole; what follows was cut short."""


class Journal:
    """The open file; one process at a time."""

    def __init__(self, descriptor: int, path: Path, next_seq: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._payloads = Payloads(path.with_name(FOLDER))
        self._next_seq = next_seq
        self.fault = ""
        """Why nothing more can be written; empty while it can."""

    @classmethod
    def create(cls, path: Path) -> "Journal":
        """Start an empty journal.

        Raises:
            SessionError: the file exists or cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            sync_folder(path.parent)
        except OSError as error:
            raise SessionError(f"{path} cannot be created: {error.strerror}") from error
        _lock(descriptor, path)
        return cls(descriptor, path, 0)

    @classmethod
    def open(cls, path: Path) -> tuple["Journal", Contents]:
        """Open an existing journal to go on with it, and return what is in it.

        Raises:
            SessionError: another process has it, or it cannot be read or written.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise SessionError(f"{path} cannot be opened: {error.strerror}") from error
        _lock(descriptor, path)
        try:
            contents = read_all(path)
            os.ftruncate(descriptor, contents.num_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        last = contents.records[-1]["seq"] if contents.records else -1
        return cls(descriptor, path, last + 1), contents

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records, all of them or none, so that they are on disk when this returns.

        After a failure nothing more is written: what is on disk stays a true beginning.

        Raises:
            SessionError: the disk is full, or the file went away.
        """
        if self.fault:
            raise SessionError(self.fault)
        try:
            numbered = [{"seq": seq, **one} for seq, one in enumerate(records, self._next_seq)]
            for record in numbered[:-1]:
                record[WITH_NEXT] = True
            self._write(b"".join(map(self._line_of, numbered)))
        except OSError as error:
            self.fault = (
                f"{self._path} cannot be written: {error.strerror}; "
                "nothing more is recorded in this session"
            )
            raise SessionError(self.fault) from error
        self._next_seq += len(records)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)

    def _write(self, lines: bytes) -> None:
        facts = os.fstat(self._descriptor)
        if not facts.st_nlink:
            raise OSError(errno.ENOENT, "it was deleted")
        try:
            if os.write(self._descriptor, lines) < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):  # then it is the torn tail that the next open cuts off
                os.ftruncate(self._descriptor, facts.st_size)
            raise

    def _line_of(self, record: Record) -> bytes:
        """Return the line of a record; long texts of a long one are in files after that."""
        line = _line(record)
        if len(line) <= MAX_INLINE_BYTES:
            return line
        places: list[Place] = []
        slim = self._without_long_texts(record, [], places)
        return _line({**slim, MOVED: places}) if places else line

    def _without_long_texts(self, value: Any, place: Place, places: list[Place]) -> Any:
        match value:
            case str() if len(value) >= MIN_CHARACTERS:
                places.append([*place, self._payloads.put(value)])
                return ""
            case dict():
                return {
                    key: self._without_long_texts(entry, [*place, key], places)
                    for key, entry in value.items()
                }
            case list() | tuple():
                return [
                    entry
                    if isinstance(entry, int)
                    else self._without_long_texts(entry, [*place, number], places)
                    for number, entry in enumerate(value)
                ]
            case _:
                return value


def read(path: Path) -> tuple[Record, ...]:
    """Return the good records of a journal that may be in use, changing nothing.

    Raises:
        SessionError: it cannot be read.
    """
    return read_all(path).records


def read_all(path: Path) -> Contents:
    """Return what a journal holds, good and bad, changing nothing; it may be in use.

    Raises:
        SessionError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return parse(file, Payloads(path.with_name(FOLDER)))
    except OSError as error:
        raise SessionError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def reserved(path: Path) -> Iterator[bool]:
    """Keep others out of a journal for a while; gives False if one has it.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = True
    except BlockingIOError:
        is_ours = False
    try:
        yield is_ours
    finally:
        os.close(descriptor)


def parse(lines: Iterable[bytes], payloads: Payloads) -> Contents:
    """Read lines, each with its end; the last may have none, and is then not looked at."""
    records: list[Record] = []
    bad: list[BadLine] = []
    last, num_bytes = -1, 0
    whole: tuple[int, int] | None = None
    """Records and bytes before those that count only with the next line."""
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        num_bytes += len(line)
        record = _record(line, payloads)
        if record is None:
            bad.append(BadLine(number, last))
            whole = None  # no crash leaves that; what there is counts
            # Half a record or a block of zeros may stand before a whole one.
            record = _record(line[line.rfind(BEGIN) :], payloads)
        if record is None:
            continue
        if record["seq"] <= last:
            bad.append(BadLine(number, last))
            continue
        last = record["seq"]
        if not record.pop(WITH_NEXT, False):
            whole = None
        elif whole is None:
            whole = len(records), num_bytes - len(line)
        records.append(record)
    num_records, num_bytes = whole or (len(records), num_bytes)
    return Contents(tuple(records[:num_records]), tuple(bad), num_bytes)


def _line(record: Mapping[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode()
    return b'%b,"crc":%d}\n' % (body[:-1], zlib.crc32(body))


def _record(line: bytes, payloads: Payloads) -> Record | None:
    """Return what the line says, or None if it is not what was written."""
    body, _, end = line.rpartition(b',"crc":')
    body += b"}"
    if end != b"%d}\n" % zlib.crc32(body):
        return None
    try:
        record = json.loads(body)
        for *place, key, name in record.pop(MOVED, ()):
            holder = record
            for step in place:
                holder = holder[step]
            holder[key] = payloads.get(name)
    except (ValueError, LookupError, TypeError, AttributeError, PayloadLost):
        return None  # another program's words with a checksum, or a text that is lost
    return record if isinstance(record.get("seq"), int) and "type" in record else None


def _lock(descriptor: int, path: Path) -> None:
    """Keep others out; the kernel lets them in when this process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        name = path.parent.name
        raise SessionInUse(
            f"session {name} is in use by another qwen-agent; leave it there first"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise SessionError(f"{path} cannot be locked: {error.strerror}") from error
