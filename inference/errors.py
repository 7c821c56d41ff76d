"""What can go wrong between messages and replies.

InferenceError
├── ModelUnavailable    no such model, offline, damaged weights, unknown family (exit code 7)
├── ContextOverflow     the conversation no longer fits the window
└── Cancelled           the person stopped a prefill or a reply; the state stays good
"""


class InferenceError(Exception):
    """Something the engine cannot do; the text is one sentence for the user."""

    exit_code = 1


class ModelUnavailable(InferenceError):
    """The model cannot be had: not found, not downloadable, damaged or of an unknown family."""

    exit_code = 7


class ContextOverflow(InferenceError):
    """The conversation is longer than the model's window."""

    exit_code = 5


class Cancelled(InferenceError):
    """The person stopped it; what was prefilled stays in the state and is reused."""

    exit_code = 130
