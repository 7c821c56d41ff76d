"""The disk tier of the prefix cache: a folder of nodes, shared by all processes of a user.

`folder/<digest of the identity>/<key>.safetensors`, and an `identity.json` beside them. Files
appear whole, under their name, or not at all, and are never changed in place: readers need no
lock. Whatever goes wrong here costs time, never a wrong token and never a turn, so failures are
notices. Which files are the store's is `store_folder.py`, what one holds `store_file.py`, what goes
first `store_index.py`; `writer.py` keeps the writing off the turn.
"""

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

from inference.errors import DamagedState
from inference.identity import Identity
from inference.packed import ROOT, Packed
from inference.store_file import Head, NewerFormat, compose, read_edge, read_head, read_node
from inference.store_folder import (
    IDENTITY_FILE,
    NAMES_LOCK,
    PRUNE_LOCK,
    SUFFIX,
    folders_in,
    nodes_in,
    read_identity,
    temporaries_in,
)
from inference.store_index import Eviction, Found, first_to_go, scan
from inference.whole_files import (
    locked,
    make_private,
    opened,
    regular,
    remove_abandoned,
    remove_if_same,
    write_whole,
)

T = TypeVar("T")
Verdict = Literal["whole", "damaged", "newer", "unreadable"]


@dataclass(frozen=True)
class Entry:
    """What is known of a stored node without reading its tensors."""

    key: str
    parent: str
    num_before: int
    edge: tuple[int, ...]
    has_state: bool
    nbytes: int
    last_used: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Report:
    """What `verify` says of a file; `problem` is "" where it is whole."""

    key: str
    nbytes: int
    verdict: Verdict
    problem: str


class Store:
    """The stored nodes of one model; the budget is for those of all models in `folder`.

    `on_notice` is called from whatever thread meets a problem.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        budget_bytes: int,
        on_notice: Callable[[str], None],
    ) -> None:
        self.folder, self.identity, self.budget_bytes = folder, identity, budget_bytes
        self.on_notice = on_notice
        self._own = folder / identity.digest
        self._lock = folder / NAMES_LOCK
        self._known: dict[Path, Found] = {}
        self._passed_over: set[Path] = set()
        self._told: set[str] = set()
        with suppress(OSError):  # not there yet, or not to be written to: `put` says so
            remove_abandoned(temporaries_in(folder), self._lock)

    def __contains__(self, key: str) -> bool:
        path = self._path(key)
        return path not in self._passed_over and _nbytes(path) > 0

    @property
    def nbytes(self) -> int:
        """Bytes of the files of all models."""
        folders = folders_in(self.folder)
        return sum(_nbytes(path) for folder in folders for path in nodes_in(folder))

    def entries(self) -> list[Entry]:
        """Return the nodes that can be reached from the root, parents first."""
        below: dict[str, list[Entry]] = {}
        for path in nodes_in(self._own):
            entry = self._read(path, _entry)
            if entry is not None:
                below.setdefault(entry.parent, []).append(entry)
        reached = [entry for entry in below.get(ROOT, []) if entry.num_before == 0]
        for entry in reached:  # it grows as we go
            end = entry.num_before + len(entry.edge)
            reached += [child for child in below.get(entry.key, []) if child.num_before == end]
        return reached

    def get(self, key: str, *, state: bool = True) -> Packed | None:
        """Return a node after verifying it, or None and a notice; a missing file is only a miss.

        Without `state` its states and logits are neither read nor verified, nor counts that as a
        use of them. The tensors look into the file: copy what is to be kept. That a node continues
        its parent `check_chain` tells.
        """
        packed = self._read(self._path(key), lambda fd, head: read_node(fd, head, state=state))
        if packed is not None and state:
            self.touch(key)
        return packed

    def put(self, packed: Packed) -> bool:
        """Store a node, others going if the budget asks for it; False and a notice if it cannot be.

        What is stored already is only marked as used. A parent may come after its child.
        """
        path = self._path(packed.key)
        try:
            if self._holds(path, packed):
                self.touch(packed.key)
                return True
            self._prepare()
            parts = compose(packed, self.identity.digest)
            if not self._make_room(path, packed.parent, sum(part.nbytes for part in parts)):
                return False
            write_whole(path, parts, self._lock)
        except OSError as error:
            self._tell_once(
                "write",
                f"The state of this conversation cannot be stored in {self.folder} "
                f"({_why(error)}); after a restart its tokens are read again.",
            )
            return False
        self._told.clear()
        self._passed_over.discard(path)
        return True

    def drop_state(self, key: str) -> bool:
        """Rewrite a node without its states and logits, for the nodes that build on its KV."""
        return self._drop_state(self._path(key))

    def remove(self, key: str) -> None:
        """Remove a node, if it is there."""
        path = self._path(key)
        try:
            if regular(path):
                path.unlink(missing_ok=True)
        except OSError as error:
            self._tell_once("remove", f"The stored state {path} cannot be removed ({_why(error)}).")

    def touch(self, key: str) -> None:
        """Mark a node as used now."""
        with suppress(OSError):  # gone, or read-only, and then nothing is ever evicted
            if regular(path := self._path(key)):
                os.utime(path)

    def prune(self, budget_bytes: int) -> int:
        """Let go of what is worth least until all models' files fit; return the bytes freed."""
        return self._prune(budget_bytes, spared=frozenset())

    def verify(self) -> Iterator[Report]:
        """Read every file of this model whole and say whether it is as it was written."""
        for path in nodes_in(self._own):
            verdict: Verdict = "whole"
            problem = ""
            try:
                with opened(path) as fd:
                    read_node(fd, read_head(fd, path))
            except FileNotFoundError:
                continue
            except NewerFormat as error:
                verdict, problem = "newer", str(error)
            except DamagedState as error:
                verdict, problem = "damaged", str(error)
            except OSError as error:
                verdict = "unreadable"
                problem = f"the stored state {path.stem[:8]} cannot be read ({_why(error)})"
            yield Report(path.stem, _nbytes(path), verdict, problem)

    def _path(self, key: str) -> Path:
        assert len(key) == 32, "a key is what line_key returns"
        return self._own / f"{key}{SUFFIX}"

    def _read(self, path: Path, read: Callable[[int, Head], T]) -> T | None:
        """Read from a node; what is wrong with it is said once, and it is not met again."""
        if path in self._passed_over:
            return None
        try:
            with opened(path) as fd:
                status = os.fstat(fd)
                try:
                    return read(fd, read_head(fd, path))
                except NewerFormat as error:
                    self._passed_over.add(path)
                    self.on_notice(f"{_sentence(error)}; it is left as it is.")
                except DamagedState as error:
                    self._discard(path, status)
                    self.on_notice(f"{_sentence(error)}; its tokens are read again.")
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell_once("read", f"The stored state {path} cannot be read ({_why(error)}).")
        return None

    def _discard(self, path: Path, status: os.stat_result) -> None:
        """Remove a damaged file; what is none, or may not be removed, is not looked at again."""
        with suppress(OSError):
            if stat.S_ISREG(status.st_mode):
                remove_if_same(path, status, self._lock)
                return
        self._passed_over.add(path)

    def _prepare(self) -> None:
        """Make the folders, and say in them whose they are."""
        make_private(self.folder)
        if self._own.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "its folder for this model is a link")
        make_private(self._own)
        if read_identity(self._own) != self.identity:
            words = json.dumps(asdict(self.identity), indent=1).encode()
            write_whole(self._own / IDENTITY_FILE, [words], self._lock)

    def _holds(self, path: Path, packed: Packed) -> bool:
        """Whether a file is there that has all that `packed` has."""
        if path in self._passed_over or not regular(path):
            return False
        head = self._read(path, lambda _fd, head: head)
        if head is None:
            return False
        has_logits = "logits" in head.slots or packed.logits is None
        return has_logits and (head.has_state or packed.linear is None)

    def _make_room(self, path: Path, parent: str, nbytes: int) -> bool:
        """Let others go until a file fits the budget; those it builds on stay."""
        allowed = self.budget_bytes - nbytes + _nbytes(path)
        if self.nbytes <= allowed:
            return True
        spared = {path}
        while parent != ROOT and (above := self._path(parent)) not in spared:
            spared.add(above)
            head = self._read(above, lambda _fd, head: head)
            parent = head.parent if head else ROOT
        self._prune(allowed, frozenset(spared))
        if self.nbytes <= allowed:
            return True
        self._tell_once(
            "budget",
            f"This conversation no longer fits the {self.budget_bytes:,} bytes for stored states "
            f"in {self.folder}; after a restart its newest tokens are read again.",
        )
        return False

    def _prune(self, budget_bytes: int, spared: frozenset[Path]) -> int:
        freed = 0
        try:
            with locked(self.folder / PRUNE_LOCK):
                folders = folders_in(self.folder)
                found = [one for folder in folders for one in scan(folder, self._known)]
                self._known = {one.path: one for one in found}
                excess = sum(one.nbytes for one in found) - budget_bytes
                for eviction in first_to_go(found, time.time(), spared):
                    if freed >= excess:
                        break
                    freed += self._evict(eviction)
        except FileNotFoundError:  # there is no folder yet, or no longer: nothing to let go of
            return freed
        except OSError as error:
            self._tell_once(
                "prune", f"Stored states in {self.folder} cannot be pruned ({_why(error)})."
            )
        return freed

    def _evict(self, eviction: Eviction) -> int:
        """Carry it out; return the bytes freed, none where others changed the file meanwhile.

        Raises:
            OSError: a file cannot be removed, and then nothing that it builds on may be.
        """
        path = eviction.found.path
        if eviction.whole:
            nbytes = _nbytes(path) or eviction.found.nbytes  # its states may have gone before it
            path.unlink(missing_ok=True)
            return nbytes
        return eviction.found.nbytes - _nbytes(path) if self._drop_state(path) else 0

    def _drop_state(self, path: Path) -> bool:
        def rewrite(fd: int, head: Head) -> bool:
            if not head.state_nbytes and not head.has_state:
                return True
            parts = compose(read_node(fd, head, state=False), head.identity)
            try:
                return write_whole(path, parts, self._lock, replaces=os.fstat(fd))
            except OSError as error:
                self._tell_once(
                    "write", f"The stored state {path} cannot be made smaller ({_why(error)})."
                )
                return False

        return bool(self._read(path, rewrite))

    def _tell_once(self, kind: str, sentence: str) -> None:
        """Say what goes wrong the first time; again only after something has been stored."""
        if kind not in self._told:
            self._told.add(kind)
            self.on_notice(sentence)


def _entry(fd: int, head: Head) -> Entry:
    return Entry(
        key=head.key,
        parent=head.parent,
        num_before=head.num_before,
        edge=read_edge(fd, head),
        has_state=head.has_state,
        nbytes=head.nbytes,
        last_used=os.fstat(fd).st_mtime,
    )


def _nbytes(path: Path) -> int:
    """Size of a file, 0 if it is gone, out of reach or none."""
    status = regular(path)
    return status.st_size if status else 0


def _sentence(error: DamagedState) -> str:
    text = str(error)
    return text[0].upper() + text[1:]


def _why(error: OSError) -> str:
    return "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
