"""What can go wrong between messages and replies.

InferenceError
├── ModelUnavailable    no such model, offline, damaged weights, unknown family (exit code 7)
│   ├── TooLarge        the weights do not fit the memory; another plan may
│   ├── EngineGone      the engine's process ended in mid-work; the next request starts a new one
│   │   └── OutOfMemory     because the memory was not enough
│   └── NoSuchModel     the hub knows no model of that name (2)
├── ContextOverflow     the conversation no longer fits the window
├── PictureUnreadable   a picture cannot be read, or the model sees none (exit code 2)
├── Cancelled           the person stopped a prefill or a reply; the state stays good
└── DamagedState        a stored state is not what it should be; it is passed over, never used

Errors of other libraries become part of one of these sentences by `first_line`.
"""


class InferenceError(Exception):
    """Something the engine cannot do; the text is one sentence for the user."""

    exit_code = 1


class ModelUnavailable(InferenceError):
    """The model cannot be had: not found, not downloadable, damaged or of an unknown family."""

    exit_code = 7


class TooLarge(ModelUnavailable):
    """The weights do not fit the memory as they were to be loaded; a plan that needs less may."""


class EngineGone(ModelUnavailable):
    """The engine's process ended in mid-work; the conversation goes on with a new one."""


class OutOfMemory(EngineGone):
    """It ended because the memory was not enough; a plan that needs less may do."""


class NoSuchModel(ModelUnavailable):
    """A name that the hub does not know: mistyped, most likely."""

    exit_code = 2


class ContextOverflow(InferenceError):
    """The conversation is longer than the model's window."""

    exit_code = 5


class PictureUnreadable(InferenceError):
    """A file is no picture that can be shown, has changed since, or the model sees no pictures."""

    exit_code = 2


class Cancelled(InferenceError):
    """The person stopped it; what was prefilled stays in the state and is reused."""

    exit_code = 130


class DamagedState(InferenceError):
    """A state on disk is damaged, foreign or of a newer format: the tokens are read again."""


def first_line(error: Exception) -> str:
    """Return the beginning of what any error says, to be part of a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.rstrip(".:")


def kind_and_line(error: Exception) -> str:
    """Return the same with the kind of error before it, for one that nobody has foreseen."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
