"""The MCP servers of a run of `fix`: those of the user's settings, and only if that is asked for.

Nobody is there to be shown what a server says, so one is used only if the person has allowed
exactly that for always, in a talk about this repository.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from agent.approver import nobody_there
from agent.attempts import Task
from agent.best_of import Attempts, make_attempts
from agent.config import config_file
from agent.errors import UsageError
from agent.mcp_config import load_servers
from agent.models import NANO
from agent.remembered import Remembered
from agent.request import FixRequest
from agent.servers import Servers
from agent.session import Session
from agent.workplace import find_repository
from inference.chat import ChatModel
from sandbox.base import Cancel
from sandbox.choose import choose
from tools.mcp_server import McpServer

Named = tuple[McpServer, ...]


def servers_of(request: FixRequest) -> Named:
    """Return the servers that a run may use.

    Raises:
        UsageError, ConfigError: they cannot be used.
    """
    if request.mcp and request.attempts > 1:
        raise UsageError("--mcp goes with one attempt: a server sees the files of one only")
    return load_servers(config_file()) if request.mcp else ()


def attempts_with(
    servers: Named,
    task: Task,
    session: Session,
    chats: Sequence[ChatModel],
    state: Path,
    cancel: Cancel,
) -> Attempts:
    """Make the attempts of a task with the tools of servers; raises as `make_attempts` does."""
    named = () if chats[0].name == NANO else servers
    trusted = Remembered(state, find_repository(task.request.path))
    with closing(Servers(named, choose(task.request.sandbox))) as used:
        used.start(task.place.view)
        yield from used.offer(nobody_there, trusted, cancel)
        task = replace(task, server_tools=used.tools)
        return (yield from make_attempts(task, session, chats, cancel))
