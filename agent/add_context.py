"""Gives a run its repository context: packed once, recorded in the session, the same on resume."""

from pathlib import Path

from agent.errors import RunCancelled, UsageError
from agent.models import NANO
from agent.repository_context import (
    RepositoryContext,
    choice_file,
    pack_repository,
    read_choice,
    write_choice,
)
from agent.request import FixRequest
from agent.session import Session
from agent.workplace import Workplace, find_repository
from inference.chat import ChatModel
from sandbox.base import Cancel
from tools.git_files import list_files


def check_takes_context(request: FixRequest, model: str) -> None:
    """Make sure that the model may be given the context that is asked for.

    Raises:
        UsageError: it may not.
    """
    if request.config.context.kind == "repo" and model == NANO:
        raise UsageError(
            "nano takes no --context repo: it only knows the prompts it was trained on; "
            "leave it out or choose another --model"
        )


def add_context(
    request: FixRequest,
    session: Session,
    place: Workplace,
    chat: ChatModel,
    state: Path,
    cancel: Cancel,
) -> RepositoryContext | None:
    """Pack the repository as it is before the repair; None if not asked for, or there already.

    Raises:
        UsageError: the model takes none.
        ProjectError: git cannot read the repository.
        SessionError: the disk is full.
        RunCancelled: the person stopped it.
    """
    config = request.config.context
    if config.kind == "none" or "context" in session.facts:
        return None
    check_takes_context(request, chat.name)
    repository = find_repository(request.path)
    max_tokens = min(config.max_tokens, int(chat.context_tokens * config.window_share))
    place.checkpoint.restore(place.base)
    files = list_files(place.sandbox, place.view, repository / ".git", cancel)
    if cancel():
        raise RunCancelled("cancelled; nothing was changed")
    memory = choice_file(state, repository, chat.name, max_tokens)
    context = pack_repository(
        place.view.source, files, chat.count_tokens, max_tokens, read_choice(memory)
    )
    session.record("context", sections=context.sections)
    write_choice(memory, context.entries)
    return context
