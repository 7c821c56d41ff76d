"""A run on disk: what is written when, so that a kill at any moment loses one task's work at most.

    head.json               what was run, under which conditions
    tasks.jsonl             the tasks, secrets included; no command of a model can see this folder
    records.jsonl           one line a task that is done
    trajectories/TASK.jsonl what was said in it, with the cost of every reply
    work/                   tasks in hand; thrown away when the run is gone on with

The first line of every .jsonl file is the head. A trajectory is whole before its record is written,
and a record is one line that is on disk before the next task counts as done.
"""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.errors import UsageError
from agent.patch import write_whole
from evals.records import Head, Record
from evals.solver import Line
from evals.task import Task
from evals.worker import Done
from sandbox.remove import remove_tree

HEAD, TASKS, RECORDS = "head.json", "tasks.jsonl", "records.jsonl"
TRAJECTORIES, WORK = "trajectories", "work"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""Of a task, which becomes the name of a file."""


class RunFolder:
    """The folder of one run, open for one runner at a time."""

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self.head = head
        self._descriptor = -1

    @property
    def work(self) -> Path:
        """Where workers on this machine lay out their tasks."""
        return self.path / WORK

    # ---- writing

    @contextmanager
    def opened(self) -> Iterator[tuple[Record, ...]]:
        """Be the only runner here; gives the records that are whole already.

        Raises:
            UsageError: another runner has it.
        """
        flags = os.O_RDWR | os.O_APPEND
        self._descriptor = os.open(self.path / RECORDS, flags)
        try:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path} is being run by another qwen-agent") from None
            records = self._mended()
            remove_tree(self.work)
            self.work.mkdir(mode=0o700)
            (self.path / TRAJECTORIES).mkdir(mode=0o700, exist_ok=True)
            yield records
        finally:
            os.close(self._descriptor)
        remove_tree(self.work)

    def add(self, done: Done) -> None:
        """Keep what came of a task; it is on disk when this returns."""
        path = trajectory_of(self.path, done.record.task)
        write_whole(path, _jsonl(self.head, done.trajectory), mode=0o600)
        self._append(done.record.model_dump_json().encode() + b"\n")

    def _append(self, line: bytes) -> None:
        if os.write(self._descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / RECORDS))
        os.fsync(self._descriptor)

    def _mended(self) -> tuple[Record, ...]:
        """Cut off what a kill left half written; return what is whole."""
        records, num_bytes = _read_records(self.path / RECORDS)
        os.ftruncate(self._descriptor, num_bytes)
        if not num_bytes:
            self._append(self.head.model_dump_json().encode() + b"\n")
        return records


def create(path: Path, head: Head, tasks: Sequence[Task]) -> RunFolder:
    """Begin a run in a folder that is not there, or is empty but for what a kill left here.

    Raises:
        UsageError: something else is in it, it cannot be made, or a task cannot be a file's name.
    """
    _check_names([task.id for task in tasks])
    check_free(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from error
    write_whole(path / TASKS, _jsonl(head, [asdict(task) for task in tasks]), mode=0o600)
    write_whole(path / RECORDS, _jsonl(head, ()), mode=0o600)
    # Last: with its head a run is there.
    write_whole(path / HEAD, head.model_dump_json(indent=2).encode() + b"\n", mode=0o600)
    return RunFolder(path, head)


def check_free(path: Path) -> None:
    """Check that a run may begin in a folder, before much is done for its tasks.

    Raises:
        UsageError: something else is in it.
    """
    if path.exists() and any(file.name not in (TASKS, RECORDS) for file in path.iterdir()):
        raise UsageError(f"{path} holds something else than a run; name a new folder for --out")


def find(path: Path) -> RunFolder | None:
    """Return the run in a folder; None if there is none.

    Raises:
        UsageError: it cannot be read.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is no folder; name a new one")
    try:
        return RunFolder(path, Head.model_validate_json((path / HEAD).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise UsageError(f"{path / HEAD} cannot be read as the head of a run") from error


def tasks_of(folder: RunFolder) -> tuple[Task, ...]:
    """Return the tasks of a run, in the order of its suite.

    Raises:
        UsageError: their file is not what was written.
    """
    file = folder.path / TASKS
    try:
        return tuple(Task(**line) for line in _lines_in(file))
    except TypeError as error:
        raise UsageError(f"{file} is damaged; the run cannot be used") from error


def records_of(folder: RunFolder) -> tuple[Record, ...]:
    """Return the whole records of a run, in the order of its suite; it may be going on.

    Raises:
        UsageError: its files are not what was written.
    """
    records, _ = _read_records(folder.path / RECORDS)
    by_task = {record.task: record for record in records}
    return tuple(by_task[task.id] for task in tasks_of(folder) if task.id in by_task)


def trajectory_of(path: Path, task: str) -> Path:
    """Return where the trajectory of a task is."""
    return path / TRAJECTORIES / f"{task}.jsonl"


def lines_of(folder: RunFolder, task: str) -> tuple[Line, ...]:
    """Return the trajectory of a task, without the head.

    Raises:
        UsageError: its file is not what was written.
    """
    return tuple(_lines_in(trajectory_of(folder.path, task)))


def _lines_in(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file after its head."""
    try:
        _, *lines = file.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is missing or damaged; the run cannot be used") from error


def _check_names(names: Sequence[str]) -> None:
    wrong = next((name for name in names if not NAME.fullmatch(name)), None)
    if wrong is not None:
        raise UsageError(f"{wrong!r} cannot name a task: letters, digits, `.`, `_` and `-` only")
    if len(set(names)) < len(names):
        raise UsageError("two tasks of the suite have the same name")


def _read_records(path: Path) -> tuple[tuple[Record, ...], int]:
    """Return the records before a last line that is not whole, and how many bytes they are.

    Raises:
        UsageError: the file is missing, or a line in its midst is damaged: no kill does that.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    records: list[Record] = []
    num_bytes = 0
    for number, line in enumerate(lines):
        try:
            found = (Record if number else Head).model_validate_json(line)
        except ValidationError as error:
            if number + 1 < len(lines):
                raise UsageError(f"{path}:{number + 1} is damaged; mend or remove it") from error
            break
        if not line.endswith(b"\n"):
            break
        if isinstance(found, Record):
            records.append(found)
        num_bytes += len(line)
    return tuple(records), num_bytes


def _jsonl(head: Head, lines: Sequence[dict[str, Any]]) -> bytes:
    text = [head.model_dump_json(), *(json.dumps(line) for line in lines)]
    return "".join(f"{line}\n" for line in text).encode()
