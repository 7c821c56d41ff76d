"""The door of the room: a view of the machine, a command, and what came of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from sandbox.limits import Limits

Cancel = Callable[[], bool]
"""Asked often; true once the person wants everything to stop."""

TooMuch = Literal["", "memory", "disk", "processes"]
"""What a command used too much of, or nothing."""


def never() -> bool:
    """Be the `Cancel` of a command that nobody will stop."""
    return False


@dataclass(frozen=True)
class View:
    """What a sandboxed command can see besides the system's own read-only files.

    `source` is the folder on disk, `workspace` where the command finds it. They differ when a
    copy stands in for the user's repository: paths in tracebacks and in virtual environments
    then stay those of the original.
    """

    source: Path
    workspace: Path
    writable: bool = True
    read_only: tuple[Path, ...] = ()
    """Further folders of the host (a virtual environment, a toolchain), seen where they are."""
    further: tuple[Path, ...] = ()
    """Those of `read_only` that the person named: tools read there, too (`further.py`)."""
    protected: tuple[tuple[Path, Path], ...] = ()
    """(on disk, in the sandbox) pairs bound read-only over the workspace: the `.git` folder."""
    guarded: tuple[PurePosixPath, ...] | None = None
    """Paths of the workspace that stay read-only (`protected.py`); None to look for them first."""
    obeyed: tuple[PurePosixPath, ...] = ()
    """Paths of the workspace that other programs obey although their names do not say so."""
    scratch: Path | None = None
    """A folder on disk, writable at its own path: for a result file that the host reads back."""
    network: Path | None = None
    """The socket of a `Proxy`, the one way out; None is no network at all."""
    path: tuple[Path, ...] = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
    """The PATH of the command, in order."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables added to the scrubbed environment (PATH, HOME, LANG, TERM, TMPDIR)."""
    folder: PurePosixPath = field(default_factory=PurePosixPath)
    """Where commands start, relative to the workspace."""
    talks_over: int | None = None
    """A descriptor of ours, a socket, that is the command's standard input and output; what it
    prints there is then not part of its result. None: no input, and all it prints is."""

    def variables(self, home: Path, temporary: Path) -> dict[str, str]:
        """Give the whole environment of a command: keys and tokens of the agent stay with it."""
        return {
            "PATH": os.pathsep.join(str(folder) for folder in self.path),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TMPDIR": str(temporary),
            **self.environment,
        }

    def start(self) -> PurePosixPath:
        """Give `folder`, or what a command has left of it: a link in its place leads nowhere."""
        for folder in (self.folder, *self.folder.parents):
            if self._has(folder):
                return folder
        return PurePosixPath()

    def _has(self, folder: PurePosixPath) -> bool:
        """Say whether a folder is there, and no link in its place or on the way to it."""
        parts = (self.source.joinpath(*folder.parts[: n + 1]) for n in range(len(folder.parts)))
        return (self.source / folder).is_dir() and not any(map(Path.is_symlink, parts))


@dataclass(frozen=True)
class CommandResult:
    """What one command did."""

    argv: tuple[str, ...]
    exit_code: int | None
    """None if it was killed at its time limit or on cancel; minus the signal if one ended it."""
    output: str
    """stdout and stderr as they came, undecodable bytes replaced, cut in the middle if long."""
    num_output_bytes: int
    """All that was printed, kept or not."""
    timed_out: bool
    cancelled: bool
    duration_s: float
    too_much: TooMuch = ""
    """What it was killed for using too much of; the end of the output says how much."""
    notices: tuple[str, ...] = ()
    """What it left in the workspace that was put aside, a sentence each (`scan.py`)."""

    @property
    def truncated(self) -> bool:
        """Whether the middle of the output is missing."""
        return "bytes cut here]" in self.output and self.num_output_bytes > len(self.output)


class Sandbox(Protocol):
    """A place to run commands."""

    @property
    def level(self) -> str:
        """The isolation in force, in one word: see `choose.LEVELS`."""
        ...

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv` in the workspace of `view`; return once it and all its descendants are gone.

        A command that cannot be found is a result with exit code 127, not an exception.

        Raises:
            SandboxUnavailable: isolation could not be set up; the command did not run.
        """
        ...
