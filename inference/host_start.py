"""Finds the host of a model or starts it: two front ends that come at once get the same one."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from inference.door import EngineSettings
from inference.errors import ModelUnavailable
from inference.host_address import HostAddress, peer, usable

IDLE_LIMIT_S = 15 * 60.0
"""How long a host stays without a front end, unless the caller says otherwise."""

START_S = 60.0
"""How long a new process may take to begin; the model is loaded after that."""

MAX_LOG_BYTES = 2**20

KEPT_NAMES = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),  # to download a model
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
KEPT_PREFIXES = ("XDG_", "HF_", "TORCH", "PYTORCH_", "OMP_", "MKL_", "KMP_", "CUDA", "NVIDIA_")
"""What loading and running a model reads. Whatever else the user has set, a key of some service
perhaps, is not left lying in a process that lives on."""


def find_or_start(
    settings: EngineSettings,
    address: HostAddress,
    idle_limit_s: float = IDLE_LIMIT_S,
    environment: Mapping[str, str] = os.environ,
) -> tuple[socket.socket, bool]:
    """Return a connection to the host, and whether it was started for it.

    Raises:
        ModelUnavailable: it cannot be started.
    """
    connection = address.connect()
    if connection is not None:
        return _checked(connection), False
    with address.locked():
        connection = address.connect()  # somebody else may have been quicker
        if connection is not None:
            return _checked(connection), False
        with closing(address.listen()) as listener:
            _start(settings, address, idle_limit_s, environment, listener)
        connection = address.connect()
    if connection is None:
        raise ModelUnavailable(f"The engine ended as it started; its log is {address.log}.")
    return _checked(connection), True


def host_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the environment that the host gets."""
    kept = {
        name: value
        for name, value in environment.items()
        if name.upper() in KEPT_NAMES or name.startswith((*KEPT_PREFIXES, "LC_"))
    }
    return {**kept, "PYTHONPATH": str(Path(__file__).parent.parent)}


def _start(
    settings: EngineSettings,
    address: HostAddress,
    idle_limit_s: float,
    environment: Mapping[str, str],
    listener: socket.socket,
) -> None:
    """Start a process that outlives this one and holds nothing of it but the socket."""
    launch = {
        "listener": listener.fileno(),
        "identity": address.identity,
        "folder": str(address.folder),
        "log": str(address.log),
        "settings": asdict(settings),
        "idle_limit_s": idle_limit_s,
    }
    with _opened_log(address.log) as log:
        first = subprocess.Popen(
            [sys.executable, "-P", "-m", "inference.host", json.dumps(launch)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=host_environment(environment),
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )
    # The first process ends as soon as the second, which is the host, is there.
    with first:
        try:
            status = first.wait(START_S)
        except subprocess.TimeoutExpired:
            first.kill()
            status = -1
    if status != 0:
        raise ModelUnavailable(f"The engine could not be started; its log is {address.log}.")


@contextmanager
def _opened_log(path: Path) -> Iterator[int]:
    """Open the log for the host; a long one is begun anew.

    Raises:
        ModelUnavailable: it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with usable("log", path):
        log = os.open(path, flags, 0o600)
    try:
        if os.fstat(log).st_size > MAX_LOG_BYTES:
            os.ftruncate(log, 0)
        yield log
    finally:
        os.close(log)


def _checked(connection: socket.socket) -> socket.socket:
    """Return the connection if it is one to a process of this user."""
    _, user = peer(connection)
    if user != os.getuid():
        connection.close()
        raise ModelUnavailable(f"The engine's socket is held by user {user}; it is not used.")
    return connection
