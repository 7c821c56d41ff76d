"""What can go wrong in the sandbox.

SandboxError
├── SandboxUnavailable   no isolation can be had on this machine (exit code 6)
├── LevelRefused         this level cannot be had for this workspace, a lower one may
├── CommandRefused       no kernel executes such a command; it did not run
├── SourceUnreadable     a file of the user's that the user may not read (exit code 2)
└── PathRefused          a path that leaves the workspace or is not a regular file
"""


class SandboxError(Exception):
    """Something the sandbox refuses or cannot do; the text is one sentence for the user."""

    exit_code = 1


class SandboxUnavailable(SandboxError):
    """No isolation can be had on this machine; nothing runs without it."""

    exit_code = 6


class LevelRefused(SandboxError):
    """A file system or kernel that cannot do what the highest level needs."""


class CommandRefused(SandboxError):
    """A word of a command is too long, or holds what no word can."""


class SourceUnreadable(SandboxError):
    """A file or folder to be copied that may not be read."""

    exit_code = 2


class PathRefused(SandboxError):
    """A path that leads out of the workspace, or to something that is no regular file."""

    exit_code = 6
