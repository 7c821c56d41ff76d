"""How the tools of a talk reach its files and commands: by themselves, or through a front end.

An editor holds texts that are not on disk yet, and shows what a command prints while it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agent.known_files import KnownFiles
from sandbox.base import Sandbox, View
from sandbox.further import WithFurther
from sandbox.workspace import Workspace


def workspace_of(view: View) -> Workspace:
    """Give the files of a view, named from the folder of the project."""
    return WithFurther(view.source, view.workspace, view.folder, view.obeyed, view.further)


def on_disk(view: View, _known: KnownFiles) -> Workspace:
    """Take the files as they are on disk."""
    return workspace_of(view)


def as_it_is(sandbox: Sandbox) -> Sandbox:
    """Put nothing between a sandbox and its commands."""
    return sandbox


@dataclass(frozen=True)
class Reach:
    """What a front end puts in between; nothing, if it is not said."""

    files: Callable[[View, KnownFiles], Workspace] = on_disk
    """Opens what the model views and edits."""
    commands: Callable[[Sandbox], Sandbox] = as_it_is
    """Gives the sandbox for what the model runs itself: its commands, and the tests it asks for."""
    bare: Callable[[Sandbox], Sandbox] = as_it_is
    """Gives what runs a command at last, below all that looks after the files."""
