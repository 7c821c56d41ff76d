"""What `inference/store.py` keeps on disk, read for people; prints nothing.

torch is imported when there are files to read, not when this file is: the store needs it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import AgentError, UsageError
from inference.identity import Identity
from inference.store_folder import (
    IDENTITY_FILE,
    SUFFIX,
    closed_in,
    folders_in,
    identities,
    nodes_in,
    strangers_in,
)
from inference.whole_files import regular

if TYPE_CHECKING:
    from inference.store import Store, Verdict
    from inference.store_index import Found

DAY_S = 86_400.0

Notice = Callable[[str], None]


@dataclass(frozen=True)
class StoredNode:
    """One file: the tokens after those of its parent, and perhaps the state at their end."""

    key: str
    parent: str
    num_before: int
    num_tokens: int
    """Of the whole line, `num_before` included."""
    nbytes: int
    state_nbytes: int
    last_used: float
    """Seconds since the epoch."""
    resumable: bool
    """Whether a conversation can go on from here; if not, only from a later node."""
    depth: int
    """How many forks lie above it."""


@dataclass(frozen=True)
class StoredModel:
    """All nodes that belong to one model as it was run."""

    digest: str
    identity: dict[str, str]
    nbytes: int
    nodes: tuple[StoredNode, ...]
    """Those that can be reached from the root, parents first, line by line."""
    stranded: tuple[StoredNode, ...]
    """Whole files whose parents are gone: they help nobody, and go first."""
    unreadable: tuple[str, ...]
    """Names of files that are damaged or of a newer format."""

    @property
    def name(self) -> str:
        """The beginning of the digest: what tells models apart in a list."""
        return self.digest[:8]


@dataclass(frozen=True)
class Checked:
    """What came of reading one file whole."""

    model: str
    key: str
    verdict: "Verdict"
    problem: str
    """Empty if it is as it was written."""
    removed: bool


def read_stored(folder: Path) -> tuple[StoredModel, ...]:
    """Return what is kept below the folder, changing nothing."""
    if is_empty(folder):
        return ()
    models = (_model(folder, identity) for identity in identities(folder))
    return tuple(model for model in models if model.nbytes)


def is_empty(folder: Path) -> bool:
    """Tell whether no state is kept there; cheap."""
    return not any(nodes_in(model) for model in folders_in(folder))


def closed_to_us(folder: Path) -> list[str]:
    """Say which parts of it cannot be read, a sentence each; cheap.

    Raises:
        UsageError: it is no folder.
        AgentError: none of it can be read.
    """
    try:
        os.scandir(folder).close()
    except FileNotFoundError:  # nothing has been kept yet
        return []
    except NotADirectoryError as error:
        above = (folder, *folder.parents)
        file = next((path for path in above if path.exists() and not path.is_dir()), folder)
        raise UsageError(
            f"{file} is no folder, so no states can be kept in {folder}; move it away, "
            "or set XDG_CACHE_HOME to a folder"
        ) from error
    except OSError as error:
        raise AgentError(
            f"{folder} cannot be read ({error.strerror}); see whose it is with `ls -ld`"
        ) from error
    return [
        f"{path} cannot be read ({error.strerror}); what it holds is left out."
        for path, error in closed_in(folder)
    ]


def line_of(model: StoredModel, node: StoredNode) -> tuple[StoredNode, ...]:
    """Return the nodes from the root to this one, itself included, as far as they are there."""
    by_key = {other.key: other for other in (*model.nodes, *model.stranded)}
    line = [node]
    while (above := by_key.get(line[-1].parent)) is not None and len(line) <= len(by_key):
        line.append(above)
    return tuple(reversed(line))


def prune_to(folder: Path, budget_bytes: int, on_notice: Notice) -> int:
    """Let go of what is worth least until all fits; return the bytes freed."""
    store = next(_stores(folder, budget_bytes, on_notice), None)
    freed = store.prune(budget_bytes) if store else 0  # the budget is one for all models
    if budget_bytes == 0:
        _remove_empty(folder)
    return freed


def prune_older(folder: Path, age_s: float, now: float, on_notice: Notice) -> int:
    """Remove the nodes last used so long ago, unless a newer one builds on them."""
    freed = 0
    stores = {store.identity.digest: store for store in _stores(folder, 0, on_notice)}
    for model in read_stored(folder):
        needed = set[str]()
        for node in sorted((*model.nodes, *model.stranded), key=lambda n: -n.num_tokens):
            if node.key in needed or now - node.last_used < age_s:
                needed.add(node.parent)
            else:
                store = stores[model.digest]
                store.remove(node.key)
                freed += 0 if node.key in store else node.nbytes
    return freed


def verify_stored(folder: Path) -> Iterator[Checked]:
    """Read every file whole; damaged ones are removed, those of a newer version stay."""
    for store in _stores(folder, 0, lambda _sentence: None):
        for report in store.verify():
            if report.verdict == "damaged":
                # Read as a conversation would read it, it goes if it is damaged, and only then.
                store.get(report.key)
            digest = store.identity.digest
            removed = not regular(folder / digest / f"{report.key}{SUFFIX}")
            yield Checked(digest[:8], report.key, report.verdict, report.problem, removed)


def strangers(folder: Path) -> list[str]:
    """Return what lies there and is not the store's, as paths below the folder."""
    return [str(path.relative_to(folder)) for path in strangers_in(folder)]


def _stores(folder: Path, budget_bytes: int, on_notice: Notice) -> Iterator["Store"]:
    if is_empty(folder):
        return
    from inference.store import Store

    for identity in identities(folder):
        yield Store(folder, identity, budget_bytes, on_notice)


def _model(folder: Path, identity: Identity) -> StoredModel:
    from inference.store_index import scan

    found = list(scan(folder / identity.digest, {}))
    nodes = {node.key: node for node in map(_node, found) if node is not None}
    reached = tuple(_in_lines(nodes))
    keys = {node.key for node in reached}
    return StoredModel(
        digest=identity.digest,
        identity=asdict(identity),
        nbytes=sum(one.nbytes for one in found),
        nodes=reached,
        stranded=tuple(node for node in nodes.values() if node.key not in keys),
        unreadable=tuple(sorted(one.path.name for one in found if one.head is None)),
    )


def _node(found: "Found") -> StoredNode | None:
    head = found.head
    if head is None:
        return None
    return StoredNode(
        key=head.key,
        parent=head.parent,
        num_before=head.num_before,
        num_tokens=head.num_tokens,
        nbytes=found.nbytes,
        state_nbytes=head.state_nbytes,
        last_used=found.last_used,
        resumable=head.has_state,
        depth=0,
    )


def _in_lines(nodes: dict[str, StoredNode]) -> Iterator[StoredNode]:
    """Yield what can be reached from the root, each line to its end before the next begins."""
    from inference.packed import ROOT

    below: dict[tuple[str, int], list[StoredNode]] = {}
    for node in sorted(nodes.values(), key=lambda n: n.last_used):
        below.setdefault((node.parent, node.num_before), []).append(node)
    waiting = [replace(node, depth=0) for node in below.get((ROOT, 0), [])]
    while waiting:
        node = waiting.pop()
        yield node
        children = below.get((node.key, node.num_tokens), [])
        depth = node.depth + (len(children) > 1)
        waiting += [replace(child, depth=depth) for child in children]


def _remove_empty(folder: Path) -> None:
    """Remove the folders of models that have nothing left."""
    for model in folders_in(folder):
        with contextlib.suppress(OSError):  # another process has begun to write there
            if [path.name for path in model.iterdir()] == [IDENTITY_FILE]:
                (model / IDENTITY_FILE).unlink()
                model.rmdir()
