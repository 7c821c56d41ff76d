"""What an error that stops a run of `fix` comes to: an exit code and a sentence, nothing more."""

import traceback
from contextlib import suppress
from pathlib import Path

from agent.errors import KNOWN_ERRORS, RunCancelled, SessionError
from agent.outcome import CANCELLED, ERROR
from agent.patch import write_whole
from agent.session import Session
from sandbox.full_disk import is_full

GOES_ON = "make room, and `qwen-agent fix --resume` goes on from here"


def stopped_by(
    error: Exception, is_cancelled: bool, session: Session | None, state: Path
) -> tuple[int, str]:
    """Return the exit code and the sentence of a run that an error stops.

    Args:
        error: what no stage of the run could go on with.
        is_cancelled: whether the person has stopped it, which a child of ours may have met first.
        session: that of the run, if it had begun; the traceback of a bug of ours is kept there.
        state: the folder of all sessions.
    """
    folder = session.folder if session else state
    if not isinstance(error, (*KNOWN_ERRORS, OSError)):
        # The boundary: a bug of ours must not leave the user with a traceback alone.
        return ERROR, f"internal error: {error!r}{_kept_traceback(error, folder)}"
    if isinstance(error, OSError):
        code, sentence = ERROR, f"{error.filename or folder}: {error.strerror}"
    else:
        code, sentence = error.exit_code, str(error)
    if is_cancelled and not isinstance(error, RunCancelled | OSError):
        return CANCELLED, f"cancelled; {sentence}"
    if session and is_full(error):
        return ERROR, f"{sentence.rstrip('.')}; {GOES_ON}"
    return code, sentence


def _kept_traceback(error: Exception, folder: Path) -> str:
    """Save the traceback of an exception; return where, for the sentence."""
    path = folder / "traceback.txt"
    with suppress(SessionError):
        lines = traceback.format_exception(error)
        write_whole(path, "".join(lines).encode("utf-8", "replace"), mode=0o600)
        return f"; the traceback is in {path}"
    return ""
