"""Opens an unfinished run of `fix` again, with what is to be different from now on."""

from collections.abc import Callable
from pathlib import Path

from agent.errors import AgentError, SessionError, UsageError
from agent.outcome import CANCELLED, RESUMABLE
from agent.request import FixRequest
from agent.session import Session
from agent.sessions import find_session
from agent.workplace import find_repository


def reopened(
    path: Path | None, name: str, state: Path, change: Callable[[FixRequest], FixRequest]
) -> tuple[Session, FixRequest]:
    """Open an unfinished session and make its request what it is to be from now on.

    Raises:
        AgentError: there is none, or it is not to be gone on with.
    """
    repository = None if name and path is None else find_repository(path or Path())
    session = Session.open(find_session(state, name, repository))
    try:
        if session.start.get("kind", "fix") != "fix":
            raise UsageError(f"{session.id} is a talk; see `qwen-agent --resume {session.id}`")
        if session.facts.get("end", {}).get("exit_code", CANCELLED) not in RESUMABLE:
            raise UsageError(f"session {session.id} has ended; there is nothing to resume")
        if repository is not None and session.start.get("repository") != str(repository):
            raise UsageError(f"session {session.id} is not one of {repository}")
        recorded = session.facts.get("request", session.start)
        old = FixRequest.from_record(recorded["request"])
        request = change(old)
        if request != old:
            session.record("request", request=request.to_record())
    except (KeyError, TypeError, ValueError) as error:
        session.close()
        raise SessionError(f"session {session.id} is of another version of qwen-agent") from error
    except AgentError:
        session.close()
        raise
    return session, request
