"""`bash` with commands that run on while the model does other things: polled, and killed.

In the foreground it is `Bash` itself. The bundled model knows only that one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.base import Cancel, never
from tools.base import Arguments, ToolResult
from tools.bash import MAX_CHARACTERS, MAX_TIMEOUT_S, Bash, first_line
from tools.errors import ToolFailed
from tools.jobs import MAX_JOB_S, Job, Jobs, wait
from tools.readable import readable
from tools.truncate import cut_middle

START_S = 1.0
"""How long a fresh job is watched: many fail at once."""
POLL_S = 5.0
"""How long a job is waited for that somebody asks about."""


class BackgroundBash:
    """Runs commands for the model, some of them as jobs."""

    name = "bash"
    description = (
        "Run a shell command in the workspace; no network, nothing to type into. "
        "background=true starts it as a job and goes on; poll shows what a job printed since, "
        "kill ends it. Each command has a network of its own: call a server in the command that "
        "starts it, like `./serve & sleep 1; curl localhost:8000`."
    )
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout_s": {
                "type": "integer",
                "description": "Seconds; 120 if left out, 600 at most. With poll: how long to "
                "wait for the end, 5 if left out.",
            },
            "background": {"type": "boolean"},
            "poll": {"type": "integer", "description": "Number of a job, without command."},
            "kill": {"type": "integer", "description": "Number of a job, without command."},
        },
        "required": [],
    }

    def __init__(self, bash: Bash, jobs: Jobs) -> None:
        self._bash = bash
        self._jobs = jobs

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Run a command, start one, look at one or end one.

        Raises:
            ToolFailed: not one of these, or a job that is none.
            SandboxUnavailable: no isolation can be had; the command did not run.
        """
        given = [name for name in ("command", "poll", "kill") if name in arguments]
        timeout_s = arguments.get("timeout_s")
        if timeout_s is not None and timeout_s < 1:
            raise ToolFailed("timeout_s must be 1 or more.")
        match given:
            case ["command"] if arguments.get("background"):
                return self._start(arguments["command"], timeout_s or MAX_JOB_S, cancel)
            case ["command"]:
                return self._bash.run(arguments, cancel)
            case ["poll"]:
                job = self._jobs.find(arguments["poll"])
                wait(job, min(timeout_s or POLL_S, MAX_TIMEOUT_S), cancel)
                return ToolResult(_text(job), f"polled job {job.number} ({job.state()})")
            case ["kill"]:
                job = self._jobs.find(arguments["kill"])
                self._jobs.kill(job)
                return ToolResult(_text(job), f"killed job {job.number} ({job.state()})")
        raise ToolFailed("Give one of command, poll and kill.")

    def _start(self, command: str, timeout_s: float, cancel: Cancel) -> ToolResult:
        job = self._jobs.start(self._bash.words(command), command, timeout_s)
        wait(job, START_S, cancel)
        summary = f"started job {job.number}: {first_line(command)} ({job.state()})"
        return ToolResult(_text(job), summary)


def _text(job: Job) -> str:
    """Say what a job printed since it was last asked, and how it stands."""
    state = job.state()  # before the output, so that an ended job has all of it here
    output = cut_middle(readable(job.take_output()).strip("\n"), MAX_CHARACTERS)
    notices = job.result.notices if job.result is not None else ()
    rows = [output or "[no new output]", f"[job {job.number}: {state}]"]
    return "\n".join([*rows, *(f"[{notice}]" for notice in notices)])
