"""What can go wrong while deciding.

AgentError               one sentence for the user, and the exit code of its class
├── UsageError           arguments or configuration that cannot be meant (2)
│   ├── ConfigError      a settings file, named with what is wrong in it (2)
│   └── GitFailed        git does not do with the user's repository what it was asked (2)
├── HookBroken           a hook of the user's settings cannot be run (6)
├── SessionError         the session on disk cannot be written or read (1)
│   └── SessionInUse     another process is in it (2)
├── NotApplied           the user's files changed meanwhile; the patch is kept (1)
├── WorkspaceBusy        another session writes to the same files (2)
└── RunCancelled         the person stopped the run (130)
"""

from inference.errors import InferenceError
from sandbox.errors import SandboxError
from tools.errors import ProjectError


class AgentError(Exception):
    """Something the agent cannot go on with; the text is one sentence for the user."""

    exit_code = 1


class UsageError(AgentError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class ConfigError(UsageError):
    """A settings file says something that cannot be meant."""


class GitFailed(UsageError):
    """Git refused, or is not there; the text is its own last line."""


class HookBroken(AgentError):
    """A hook that every call waits for cannot be run, so that no call can."""

    exit_code = 6


class SessionError(AgentError):
    """A session that cannot be written, read or found."""


class SessionInUse(SessionError):
    """Another process goes on with the session."""

    exit_code = 2


class NotApplied(AgentError):
    """The repair is good but the user's files changed while it was made."""


class WorkspaceBusy(AgentError):
    """Another session holds the lease of the workspace."""

    exit_code = 2


class RunCancelled(AgentError):
    """The person stopped the run; nothing was applied."""

    exit_code = 130


KNOWN_ERRORS = (AgentError, ProjectError, SandboxError, InferenceError)
"""Those of all rooms: their text is a sentence for the user, and their class has an exit code."""
