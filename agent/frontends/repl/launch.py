"""What a session at the screen begins with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.events import Event
from agent.frontends.repl.theme import Theme
from agent.frontends.repl.worker import Printed
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation
    from agent.frontends.repl.repl import Repl


@dataclass(frozen=True)
class Launch:
    """Its folders, its looks, and how its talks are opened."""

    root: Path
    """The folder whose files can be named."""
    history: Path
    commands: Path
    """The folder of the user's own commands."""
    theme: Theme
    is_vi: bool
    state: Path
    """Where sessions are kept."""
    begin: "Callable[[Repl, Cancel], Iterator[Event | Printed]]"
    """Opens the conversation, in the worker; it may ask for a model first."""
    resume: "Callable[[Repl, str], Conversation]"
    """Opens an earlier one, in the worker."""


def top_of(path: Path) -> Path:
    """Return the repository that holds a path, or the path: whether it may be, is seen later."""
    folders = (path, *path.parents)
    return next((folder for folder in folders if (folder / ".git").exists()), path)
