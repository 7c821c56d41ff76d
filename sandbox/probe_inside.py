"""What `probe.py` runs in a sandbox: it tries what every layer should stop, and prints what it did.

Run as `python -I -S -c SOURCE FACTS`; it imports nothing of this project. FACTS is JSON: what of
the host to look for. Nothing is harmed where a layer is missing: files of the kernel are opened and
never written, the one file that is written to is a canary, and only harmless calls are made.
"""

import contextlib
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KERNEL_SETTING = "/proc/sys/kernel/core_pattern"
"""Of the whole machine: who writes it runs a command as root, outside."""
KEYCTL, PTRACE = {"x86_64": (250, 101), "aarch64": (219, 117)}.get(platform.machine(), (0, 0))
IO_URING_SETUP = 425
AF_VSOCK = 40
CAPABILITY_VERSION_3 = 0x20080522
PR_GET_NO_NEW_PRIVS = 39
PTRACE_DETACH = 17
REFUSED = (errno.EPERM, errno.ENOSYS, errno.EACCES)
WAIT_S = 1.0
"""For an answer from the network; within the machine it takes none."""


def view(facts: Any) -> str:
    """Look for what the user has beside the workspace."""
    canary = Path(facts["canary"])
    with contextlib.suppress(OSError):
        if facts["secret"] in canary.read_text():
            return "a file outside the workspace can be read"
    with contextlib.suppress(OSError):  # in a sandbox with an own /tmp this makes another file
        canary.write_text("written from inside\n")
    with contextlib.suppress(OSError):
        Path("/etc/shadow").read_bytes()
        return "/etc/shadow can be read"
    return ""


def capabilities(facts: Any) -> str:
    """Look for rights that the process has or may get back."""
    libc = ctypes.CDLL(None, use_errno=True)
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, in two halves
    libc.capget((ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), rights)
    if any(rights):
        return "the command has capabilities"
    forbidden = libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
    return "" if forbidden else "a setuid program gives new rights"


def network(facts: Any) -> str:
    """Call the host, by the address of a server that waits there."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", facts["port"]), WAIT_S).close()
        return "a server of the host answers"
    with contextlib.suppress(OSError):
        others = [name for _, name in socket.if_nameindex() if name != "lo"]
        return f"there is a network, {others[0]}" if others else ""
    return ""


def processes(facts: Any) -> str:
    """Look for the process that asked."""
    pid = facts["pid"]
    with contextlib.suppress(OSError):
        if f" {facts['started']} " in Path(f"/proc/{pid}/stat").read_text():
            return "processes of the host can be seen"
    if not Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return "processes of the host can be signalled"
    return ""


def proc(facts: Any) -> str:
    """Open a setting of the kernel to write to."""
    return "settings of the kernel can be written" if _open_error() is None else ""


def environment(facts: Any) -> str:
    """Look for variables of the one who asked, here and in every process that can be read."""
    texts = [b"\0".join(f"{name}=".encode() for name in os.environ)]
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            texts.append(path.read_bytes())
    names = {entry.partition(b"=")[0].decode() for text in texts for entry in text.split(b"\0")}
    leaked = sorted(names & set(facts["variables"]))
    return f"{leaked[0]} can be read" if leaked else ""


def git(facts: Any) -> str:
    """Write where git looks for what it executes."""
    if not Path(".git").is_dir():
        return "no folder of the workspace can be kept read-only"
    with contextlib.suppress(OSError):
        Path(".git/hooks/pre-commit").write_text("exit 1\n")
        return "`.git` can be written"
    return ""


def seccomp(facts: Any) -> str:
    """Make calls that no test needs: keyctl, ptrace on nobody, io_uring, a socket of the host's."""
    with contextlib.suppress(OSError):
        socket.socket(AF_VSOCK, socket.SOCK_STREAM).close()
        return "sockets that no namespace contains can be made"
    calls = (("keyctl", KEYCTL, (0, -3)), ("io_uring", IO_URING_SETUP, (0, 0)))
    for name, number, arguments in calls:
        if _errno(number, *arguments) not in REFUSED:
            return f"{name} can be called"
    if _errno(PTRACE, PTRACE_DETACH, 0, 0, 0) not in REFUSED:  # of no process: ESRCH at most
        return "ptrace can be called"
    return ""


def uid(facts: Any) -> str:
    """Tell the machine's root from anybody else: to root the setting above is merely read-only."""
    is_root = os.getuid() == 0 or _open_error() in (None, errno.EROFS)
    return "commands are root on the machine, without its capabilities" if is_root else ""


def limits(facts: Any) -> str:
    """Use more than was allowed."""
    with contextlib.suppress(MemoryError):
        if len(bytearray(facts["memory_bytes"])):
            return "memory is not limited"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with contextlib.suppress(OSError), Path("large").open("wb") as file:
        file.truncate(facts["file_bytes"] + 1)
        return "the size of files is not limited"
    return "" if resource.getrlimit(resource.RLIMIT_CPU)[0] > 0 else "time is not limited"


def sweep(facts: Any) -> str:
    """Leave a process behind, in a session of its own; the host sees whether it stays."""
    started, started_in = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/bin/sleep", ["sleep", facts["sleep_s"]])
        os._exit(0)
    os.close(started_in)
    os.read(started, 1)  # ends when all who hold the other end have become something else
    return ""


LAYERS: tuple[Callable[[Any], str], ...] = (
    *(view, capabilities, network, processes, proc, environment, git, seccomp, uid, limits, sweep),
)


def _open_error() -> int | None:
    """Say why the setting cannot be opened to write; None if it can."""
    try:
        os.close(os.open(KERNEL_SETTING, os.O_WRONLY))
    except OSError as error:
        return error.errno
    return None


def _errno(number: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(argument) for argument in arguments]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) < 0 else 0


def main() -> None:
    """Try every layer, each whatever came of the others."""
    facts = json.loads(sys.argv[1])
    for layer in LAYERS:
        try:
            complaint = layer(facts)
        except Exception as error:  # whatever it is, it is the answer
            complaint = f"it cannot be tried: {error}"
        print(json.dumps([layer.__name__, complaint]), flush=True)


if __name__ == "__main__":
    main()
