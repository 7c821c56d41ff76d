"""Where the host of a model is found, and who may be there: names, folders, the lock.

One model, device, kind of weights and version of this program have one identity, and one socket
named after it in a folder that only its user can enter. Nothing here starts or talks to a host.
"""

import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from functools import cache
from pathlib import Path

from inference.door import EngineSettings
from inference.errors import ModelUnavailable
from inference.user_folders import PROGRAM, cache_folder, state_folder

SOCKET_SUFFIX = ".sock"
GPUS = "CUDA_VISIBLE_DEVICES"
WEIGHT_FILES = ("*.safetensors", "*.gguf", "*.json", "*.jinja")
_PEER = struct.Struct("iII")


@dataclass(frozen=True)
class HostAddress:
    """The host of one identity."""

    identity: str
    folder: Path
    """Private to the user: socket and lock."""
    log: Path

    def connect(self) -> socket.socket | None:
        """Return a connection to the host; None if there is none, or only what it left behind."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _entered(self.folder) as here:
                connection.connect(f"{here}/{self.identity}{SOCKET_SUFFIX}")
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        return connection

    def listen(self) -> socket.socket:
        """Return a new listening socket in the place of one that was left behind.

        Only under the lock, and only after `connect` has found nobody.

        Raises:
            ModelUnavailable: its name cannot be had.
        """
        name = self.identity + SOCKET_SUFFIX
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with usable("socket", self.folder / name), _entered(self.folder) as here:
                path = Path(here, name)
                path.unlink(missing_ok=True)
                listener.bind(str(path))
                path.chmod(0o600)
                listener.listen(64)
        except BaseException:
            listener.close()
            raise
        return listener

    def remove_socket(self) -> None:
        """Take the name of the socket away; under the lock, by the host that listens on it."""
        with _entered(self.folder) as here:
            Path(here, self.identity + SOCKET_SUFFIX).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who starts or ends this host.

        Raises:
            ModelUnavailable: the lock cannot be opened.
        """
        name = f"{self.identity}.lock"
        with usable("lock", self.folder / name), _entered(self.folder) as here:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(f"{here}/{name}", flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def address_of(
    settings: EngineSettings, environment: Mapping[str, str] = os.environ
) -> HostAddress:
    """Return where the host of these settings is.

    Raises:
        ModelUnavailable: no folder can be had that is private to the user.
    """
    identity, folder = identity_of(settings, environment), runtime_folder(environment)
    try:
        logs = _private(state_folder(environment))
    except ModelUnavailable:  # a read-only disk; what the host says is worth less than the host
        logs = folder
    return HostAddress(identity, folder, logs / f"host-{identity}.log")


def addresses(environment: Mapping[str, str] = os.environ) -> Iterator[HostAddress]:
    """Yield where hosts of this user are, or were before they were killed."""
    folder, logs = runtime_folder(environment), state_folder(environment)
    for path in sorted(folder.glob(f"*{SOCKET_SUFFIX}")):
        yield HostAddress(path.stem, folder, logs / f"host-{path.stem}.log")


def identity_of(settings: EngineSettings, environment: Mapping[str, str] = os.environ) -> str:
    """Return what front ends must agree in to share a host.

    Of a folder that is the state of its files too: weights that were trained again are others. The
    size of the cache is not part of it, nor how much is read at a time and what of the weights is
    kept off the GPU: whoever starts the host chooses that. Who was given other GPUs of the machine
    gets another host, on those.
    """
    source = Path(settings.source)
    folder = source.parent if source.is_file() else source
    files = sorted(file for pattern in WEIGHT_FILES for file in folder.glob(pattern))
    facts = [(file.name, *_size_and_time(file)) for file in files]
    chosen = replace(
        settings,
        cache_bytes=0,
        store_bytes=0,
        prefill_chunk=0,
        stall_s=0.0,
        embedding_on_cpu=False,
        num_cpu_expert_layers=0,
    )
    what = [
        astuple(chosen),
        facts,
        _program_version(),
        sys.prefix,
        environment.get(GPUS, ""),
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def runtime_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the sockets: private, and gone at the next boot where there is one."""
    given = Path(environment.get("XDG_RUNTIME_DIR", ""))
    # `sudo` and containers may leave the name of a folder that is another user's, or not there.
    if given.is_absolute() and given.is_dir() and given.stat().st_uid == os.getuid():
        return _private(given / PROGRAM)
    return _private(cache_folder(environment) / "run")


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end, as the kernel knows them."""
    answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _gid = _PEER.unpack(answer)
    return pid, uid


@contextmanager
def usable(what: str, path: Path) -> Iterator[None]:
    """Say in words, and with its real path, that a file of the host's cannot be made or opened.

    Raises:
        ModelUnavailable: that is so.
    """
    try:
        yield
    except OSError as error:
        raise ModelUnavailable(
            f"{path} cannot be the engine's {what} ({error.strerror}); remove what is there, "
            "and make sure that you may write there."
        ) from error


def _private(folder: Path) -> Path:
    """Return the folder, made if need be, when nobody else can enter it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid():
            if facts.st_mode & 0o077:
                folder.chmod(0o700)
            return folder
    except OSError as error:
        raise ModelUnavailable(
            f"{folder} cannot be used ({error.strerror}); the engine's socket needs it."
        ) from error
    raise ModelUnavailable(
        f"{folder} is not a folder of yours; the engine's socket needs one that nobody else can "
        "write to, remove it."
    )


@contextmanager
def _entered(folder: Path) -> Iterator[str]:
    """Return a short name of the folder: a socket's whole path may have 107 bytes at most."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        facts = file.stat()
    except OSError:  # a link into a cache that was pruned: the loader says so
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


@cache
def _program_version() -> str:
    """Return what changes whenever a line of the engine does: no host runs on with old code."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
