"""Does each layer of the sandbox hold here? A real command tries; it knows nothing of how it works.

One small command runs in the sandbox and tries what every layer should stop
(`probe_inside.py`). So the answer is about behaviour, on this machine, now.
"""

import json
import os
import secrets
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.base import Sandbox, View
from sandbox.bwrap import LAYERS
from sandbox.errors import SandboxError
from sandbox.limits import MIB, Limits

HOLDS = {
    **LAYERS,
    "processes": "only those of the sandbox are there",
    "uid": "a command is not the machine's root",
}
"""What is tried, and what is said where it holds; an ordinary user needs no further id for that."""
MENDS = {
    "uid": "run qwen-agent as an ordinary user, or as root on a kernel and a file system with "
    "id-mapped mounts (5.12 or newer; ext4, xfs, btrfs, tmpfs)",
    "git": "make namespaces work: a part of the workspace is read-only by a mount alone",
    "seccomp": "use a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or aarch64",
}
DOES_WITHOUT = {
    "namespaces": frozenset(("uid",)),
    "landlock": frozenset(("git", "uid")),
    "direct": frozenset(HOLDS),
}
"""What a level lacks and does not promise; all others promise every layer."""
REPORT = "run nothing that you do not trust here, and report it: see SECURITY.md"
LIMITS = Limits(wall_s=60, memory_bytes=1024 * MIB, file_bytes=MIB)
ENVIRONMENT_OF_A_COMMAND = frozenset(
    ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "")
)
INSIDE = Path(__file__).with_name("probe_inside.py")
BASE = Path(sys.base_prefix)
"""The installation of this Python, which reads the probe in the sandbox too."""


@dataclass(frozen=True)
class Layer:
    """One layer of the sandbox, as it was found."""

    name: str
    """A key of `HOLDS`."""
    works: bool
    why: str
    """What holds, or what a command could do."""
    mend: str
    """What to do about it; empty if it works."""

    def is_promised(self, level: str) -> bool:
        """Say whether a sandbox of this level must have it."""
        return self.name not in DOES_WITHOUT.get(level, ())


def probe_layers(sandbox: Sandbox) -> tuple[Layer, ...]:
    """Try every layer with one command.

    Raises:
        SandboxUnavailable: there is no sandbox after all.
        SandboxError: the command could not be tried in it.
    """
    with (
        tempfile.TemporaryDirectory(prefix="qwen-agent-probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        root = Path(name).resolve()
        complaints = _ask(sandbox, root, server.getsockname()[1])
    return tuple(_layer(layer, complaints.get(layer)) for layer in HOLDS)


def _ask(sandbox: Sandbox, root: Path, port: int) -> dict[str, str]:
    """Run the command; return its complaints, with those that only the host can have."""
    workspace, canary = root / "workspace", root / "canary"
    workspace.mkdir()
    if sandbox.level != "landlock":  # which refuses a workspace that it could not protect
        (workspace / ".git" / "hooks").mkdir(parents=True)
    secret = secrets.token_hex(8)
    canary.write_text(secret)
    sleep_s = str(100_000 + secrets.randbelow(900_000))
    facts = {
        "canary": str(canary),
        "secret": secret,
        "port": port,
        "pid": os.getpid(),
        "started": _start_time(),
        "variables": sorted(set(os.environ) - ENVIRONMENT_OF_A_COMMAND),
        "memory_bytes": 2 * LIMITS.memory_bytes,
        "file_bytes": LIMITS.file_bytes,
        "sleep_s": sleep_s,
    }
    python = BASE / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    command = (str(python), "-I", "-S", "-c", INSIDE.read_text(), json.dumps(facts))
    view = View(workspace, workspace, read_only=(BASE,))
    result = sandbox.run(command, view, LIMITS)
    complaints = dict(_answers(result.output))
    if not complaints:
        lines = result.output.strip().splitlines() or [f"exit code {result.exit_code}"]
        raise SandboxError(f"{python} did not start in the sandbox: {lines[-1]}")
    if canary.read_text() != secret:
        complaints["view"] = "a file outside the workspace was written"
    if _is_running(sleep_s):
        complaints["sweep"] = "a process of the command runs on"
    return complaints


def _answers(output: str) -> list[tuple[str, str]]:
    """Read the lines that are answers; a warning of some library may stand between them."""
    rows = [json.loads(line) for line in output.splitlines() if line.startswith('["')]
    return [(name, complaint) for name, complaint in rows]


def _layer(name: str, complaint: str | None) -> Layer:
    if complaint == "":
        return Layer(name, True, HOLDS[name], "")
    return Layer(name, False, complaint or "the probe did not come to it", MENDS.get(name, REPORT))


def _start_time() -> str:
    """Give what tells this process from another with the same number."""
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


def _is_running(word: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:  # it ended while we looked
            continue
    return False
