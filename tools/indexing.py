"""From files to what an index keeps of them: in this process, or for many files on every core.

tree-sitter holds Python's lock while it parses, so that threads would not help. The processes are
fresh ones, end with the work, and read the files through the workspace like this one does.
"""

import math
import os
import signal
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.file_kinds import (
    HEAD_CHARACTERS,
    MAX_LINE_CHARACTERS,
    is_generated,
    is_test,
    says_generated,
)
from tools.grammars import NotParsed
from tools.languages import family_of
from tools.source_files import Stamp
from tools.symbols import MAX_BYTES, Definition, Symbols, read_symbols

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

NUM_FOR_PROCESSES = 800
"""Files from which on processes are quicker in spite of their start."""
BATCH_SIZE = 10
MAX_PROCESSES = 8

TEST_WEIGHT = 0.1
GENERATED_WEIGHT = 0.02


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """What is kept of one file."""

    stamp: Stamp
    family: str
    """Files of one family can refer to each other."""
    definitions: tuple[Definition, ...] = ()
    mentions: Mapping[str, float] = field(default_factory=dict)
    """The names it refers to, and how much."""
    members: Mapping[str, float] = field(default_factory=dict)
    """The same of names behind a dot."""
    weight: float = 0.0
    """How much a reader of the whole repository cares."""
    note: str = ""
    """Why it was not parsed."""


File = tuple[str, Stamp]


def index_files(workspace: Workspace, files: Sequence[File]) -> Generator[tuple[str, IndexedFile]]:
    """Index each file, in their order; what cannot be parsed has a note that says why."""
    num_processes = min(len(os.sched_getaffinity(0)), MAX_PROCESSES)
    if len(files) >= NUM_FOR_PROCESSES and num_processes > 1:
        try:
            pool = _open_pool(num_processes)
        except (ImportError, NotImplementedError, OSError):  # no semaphores in this container
            pass
        else:
            return _in_processes(pool, workspace, files)
    return ((path, _index(workspace, path, stamp)) for path, stamp in files)


def read_file(workspace: Workspace, path: str) -> Symbols:
    """Return the symbols of a file.

    Raises:
        NotParsed: it has none; the text says why.
        PathRefused: it leads out of the workspace, or is no regular file.
        FileNotFoundError, NotADirectoryError: it is not there.
    """
    try:
        return read_symbols(path, workspace.read(path))
    except PermissionError as error:
        raise NotParsed("may not be read") from error


def _open_pool(num_processes: int) -> "ProcessPoolExecutor":
    from concurrent.futures import ProcessPoolExecutor  # 50 ms, for large repositories alone
    from multiprocessing import get_context

    return ProcessPoolExecutor(num_processes, get_context("spawn"), _leave_interrupts)


def _in_processes(
    pool: "ProcessPoolExecutor", workspace: Workspace, files: Sequence[File]
) -> Generator[tuple[str, IndexedFile]]:
    try:
        batches = [files[n : n + BATCH_SIZE] for n in range(0, len(files), BATCH_SIZE)]
        futures = [pool.submit(_index_batch, workspace, batch) for batch in batches]
        for batch, future in zip(batches, futures, strict=True):
            try:
                yield from future.result()
            except BrokenExecutor:
                for path, stamp in batch:
                    yield path, IndexedFile(stamp, family_of(path), note="broke the parser")
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Let the parent alone be the one that Ctrl-C stops; it then ends these processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _index_batch(workspace: Workspace, files: Sequence[File]) -> list[tuple[str, IndexedFile]]:
    return [(path, _index(workspace, path, stamp)) for path, stamp in files]


def _index(workspace: Workspace, path: str, stamp: Stamp) -> IndexedFile:
    family = family_of(path)
    try:
        if stamp.num_bytes > MAX_BYTES:
            raise NotParsed(f"is larger than {MAX_BYTES // 1024} KB")
        symbols = read_file(workspace, path)
    except (NotParsed, PathRefused, OSError) as error:
        return IndexedFile(stamp, family, note=str(error))
    return IndexedFile(
        stamp,
        family,
        symbols.definitions,
        _weigh(one.name for one in symbols.references if not one.is_member),
        _weigh(one.name for one in symbols.references if one.is_member),
        _weight(path, symbols.source),
    )


def _weight(path: str, source: bytes) -> float:
    if is_generated(path) or says_generated(source[:HEAD_CHARACTERS].decode("utf-8", "replace")):
        return GENERATED_WEIGHT
    if max(map(len, source.split(b"\n"))) > MAX_LINE_CHARACTERS:
        return GENERATED_WEIGHT
    return TEST_WEIGHT if is_test(path) else 1.0


def _weigh(names: Iterable[str]) -> Mapping[str, float]:
    """Weigh each name: the tenth use tells less than the first."""
    return {name: math.sqrt(math.sqrt(count)) for name, count in Counter(names).items()}
