"""A workspace to attack from, as root or as an ordinary user, and what must be the same afterwards.

The ordinary user is made for the test: an agent of its own, in a process that has given up root,
takes commands as lines of JSON.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.base import CommandResult

UID = 64999
SECRET = "canary-5f0c9a"
"""In the environment of the agents, and to be found in no command's."""
WITHOUT = tuple(filter(None, os.environ.get("SANDBOX_WITHOUT", "").split(",")))
"""The layers left out, so that the attacks can show that they notice (evals/bench/layers.py)."""
REPOSITORY = Path(__file__).parents[2]

AGENT = """
import dataclasses, json, sys, time
sys.path.append(sys.argv[1])
from pathlib import Path
from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import Limits
sandbox = Bubblewrap(without=sys.argv[2:])
print(json.dumps(sandbox.level), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    folder = Path(order["folder"])
    end = time.monotonic() + order["cancel_after_s"]
    result = sandbox.run(
        order["argv"],
        View(folder, folder, environment=order["environment"]),
        Limits(**order["limits"]),
        cancel=lambda: time.monotonic() > end,
    )
    print(json.dumps(dataclasses.asdict(result)), flush=True)
"""
FOREVER_S = 1e9


class Agent:
    """A process that runs commands in its sandbox: this user's, or one of an ordinary user."""

    def __init__(self, user: int | None, environment: Mapping[str, str]) -> None:
        words = [python_for(user), "-c", AGENT, str(REPOSITORY), *WITHOUT]
        whom: dict[str, Any] = {}
        if user is not None:
            whom = {"user": user, "group": user, "extra_groups": []}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **environment}, **whom,
        )  # fmt: skip
        self.pid = self._process.pid
        self.level = self._answer()

    def run(self, order: Mapping[str, Any]) -> CommandResult:
        """Run one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return CommandResult(**{**answer, "argv": tuple(answer["argv"])})

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the agent died with {self._process.wait()}"
        return json.loads(line)


def python_for(user: int | None) -> str:
    """Give a Python that this user can run; the tests' own may lie in a closed home."""
    if user is None:
        return sys.executable
    test = [sys.executable, "-I", "-c", ""]
    try:
        subprocess.run(test, user=user, group=user, extra_groups=[], check=True)
    except (OSError, subprocess.CalledProcessError):
        return shutil.which("python3", path="/usr/bin:/bin") or "/usr/bin/python3"
    return sys.executable


@dataclass
class Place:
    """A workspace in a home that holds something precious."""

    agent: Agent
    home: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    """In the environment of every command, and so of whatever it leaves running."""

    def __post_init__(self) -> None:
        for folder in (self.workspace, self.canary.parent):
            folder.mkdir()
        (self.workspace / ".git" / "hooks").mkdir(parents=True)
        (self.workspace / ".git" / "config").write_text("[core]\n")
        self.canary.write_text("treasure\n")
        self.canary.chmod(0o666)  # not even permissions protect it
        self.before = self.canary.stat()

    @property
    def workspace(self) -> Path:
        """Where commands run."""
        return self.home / "workspace"

    @property
    def canary(self) -> Path:
        """What must not change."""
        return self.home / "precious" / "canary"

    def run(
        self, argv: Sequence[str], cancel_after_s: float = FOREVER_S, **limits: float
    ) -> CommandResult:
        """Run a command in the sandbox."""
        return self.agent.run(
            {
                "argv": list(argv),
                "folder": str(self.workspace),
                "environment": {"MARK": self.mark},
                "limits": {"wall_s": 60, **limits},
                "cancel_after_s": cancel_after_s,
            }
        )

    def shell(self, script: str) -> str:
        """Run a script of bash, and give what it printed."""
        return self.run(["bash", "-c", script]).output

    def python(self, script: str) -> str:
        """Run Python with `libc` at hand, and give what it printed."""
        head = "import ctypes, errno, os, socket, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        return self.run(["/usr/bin/python3", "-c", head + script]).output

    def survivors(self) -> list[int]:
        """Give the ids of what is still running of the commands of this place."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            except OSError:  # it ended while we looked, or it is another user's
                continue
            if self.mark.encode() in words:
                found.append(int(process.name))
        return found

    def check(self) -> None:
        """Nothing is left running, and what is precious is as it was."""
        survivors = self.survivors()
        for pid in survivors:  # where a layer is left out, there may be some
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        assert survivors == []
        after = self.canary.stat()
        assert self.canary.read_text() == "treasure\n"
        unchanged = ("st_mode", "st_uid", "st_nlink", "st_mtime_ns")
        for name in unchanged:
            assert getattr(after, name) == getattr(self.before, name), name
        assert [path.name for path in self.canary.parent.iterdir()] == ["canary"]
        assert self.run(["echo", "alive"]).output == "alive\n"
