"""What in a store's folder is the store's, and what is not; loads no torch.

A model's folder is named by the digest of the identity that lies in it, a node's file by its key.
What is a link, is of another kind or has another name was put there by somebody else: it is never
entered, read, counted or removed, only named.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from inference.identity import Identity
from inference.whole_files import opened

SUFFIX = ".safetensors"
IDENTITY_FILE = "identity.json"
NAMES_LOCK, PRUNE_LOCK = "names.lock", "prune.lock"
MAX_IDENTITY_BYTES = 1 << 16
_DIGEST = re.compile(r"[0-9a-f]{24}")
_NODE = re.compile(r"[0-9a-f]{32}\.safetensors")
_TEMPORARY = re.compile(r"(?:[0-9a-f]{32}|identity)\.[0-9a-f]{8}\.tmp")
_NOT_OURS = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""Of opening an identity: there is none, or a link or a socket in its place."""


def folders_in(store: Path) -> list[Path]:
    """The folders of all models; none where the store cannot be listed."""
    return [store / identity.digest for identity in identities(store)]


def identities(store: Path) -> list[Identity]:
    """The models that have a folder in a store; none where it cannot be listed."""
    found = []
    for folder in _named_as_ours(store):
        with suppress(OSError):
            if identity := read_identity(folder):
                found.append(identity)
    return found


def read_identity(folder: Path) -> Identity | None:
    """Return whose states lie in a folder; None where it is not the store's.

    Raises:
        OSError: it may be the store's, and cannot be read.
    """
    try:
        with opened(folder / IDENTITY_FILE) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            words = os.read(fd, MAX_IDENTITY_BYTES)
        identity = Identity(**json.loads(words))
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise
    except (ValueError, TypeError, RecursionError):  # damaged, or of another version
        return None
    return identity if identity.digest == folder.name else None


def nodes_in(folder: Path) -> list[Path]:
    """The files of one model's nodes, whatever is in them; none where it cannot be listed."""
    return _files_in(folder, _NODE)


def temporaries_in(store: Path) -> list[Path]:
    """What is being written in the folders of all models, or was when its process died."""
    return [path for folder in folders_in(store) for path in _files_in(folder, _TEMPORARY)]


def closed_in(store: Path) -> Iterator[tuple[Path, OSError]]:
    """Yield folders that look like a model's and cannot be read, with the reason."""
    for folder in _named_as_ours(store):
        try:
            if read_identity(folder):
                os.scandir(folder).close()
        except OSError as error:
            yield folder, error


def strangers_in(store: Path) -> Iterator[Path]:
    """Yield what is not the store's; a whole folder is one, what lies in it is not looked at."""
    closed = {folder for folder, _ in closed_in(store)}
    ours = {*folders_in(store), *closed}
    for entry in _listed(store):
        path = Path(entry.path)
        if entry.name in (NAMES_LOCK, PRUNE_LOCK) and entry.is_file(follow_symlinks=False):
            continue
        if path not in ours:
            yield path
    for folder in sorted(ours - closed):
        known = {*nodes_in(folder), *_files_in(folder, _TEMPORARY), folder / IDENTITY_FILE}
        yield from (path for one in _listed(folder) if (path := Path(one.path)) not in known)


def _named_as_ours(store: Path) -> list[Path]:
    return [
        Path(entry.path)
        for entry in _listed(store)
        if _DIGEST.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    ]


def _files_in(folder: Path, name: re.Pattern[str]) -> list[Path]:
    with suppress(OSError):
        if stat.S_ISDIR(folder.lstat().st_mode):
            return [
                Path(entry.path)
                for entry in _listed(folder)
                if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            ]
    return []


def _listed(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
