"""What an attempt of the model works with, and what that is made from; it is made in `compose.py`.

What all models have in common is here: how the tools see the files, and who approves of a call.
"""

import math
from dataclasses import dataclass, field, replace

from agent.approver import Approver
from agent.checks import Checks
from agent.effects import effects_on
from agent.journal import read
from agent.parts import Parts
from agent.past import Past
from agent.reach import Reach, workspace_of
from agent.session import JOURNAL, Session
from agent.settings import Config
from agent.workplace import Workplace
from inference.chat import ChatModel
from inference.messages import ReplyOptions, ToolCall
from sandbox.base import View
from sandbox.workspace import Workspace
from tools.base import Tool
from tools.editor_forms import FULL
from tools.jobs import Jobs
from tools.registry import Registry
from tools.test_report import TestReport
from tools.todo import Todo


@dataclass(frozen=True)
class Materials:
    """What a bench is made from."""

    place: Workplace
    session: Session
    chat: ChatModel
    options: ReplyOptions
    config: Config
    deadline_s: float = math.inf
    """When the model must stop, on the monotonic clock."""
    server_tools: tuple[Tool, ...] = ()
    """Those of MCP servers, after all others; nano gets none."""
    reach: Reach = field(default_factory=Reach)
    """What a front end puts between the tools and what they work on."""


@dataclass(frozen=True)
class Bench:
    """The parts of an attempt, and what of them the attempt itself must be able to reach."""

    parts: Parts
    checks: Checks | None = None
    """Told when tests begin to decide about `finish`; nano has no checks."""
    jobs: Jobs | None = None
    """Closed before the files are judged or restored."""
    todo: Todo | None = None
    past: Past | None = None
    files: Workspace | None = None
    """What the model edits, if that is not the disk alone."""

    def go_on(self, session: Session) -> None:
        """Take up again what an earlier process knew, where an attempt goes on."""
        if self.past is not None and session.num_steps:
            self.past.recall(read(session.folder / JOURNAL))
        calls = [call for message in session.messages for call in message.tool_calls]
        lists = [call for call in calls if isinstance(call, ToolCall) and call.name == Todo.name]
        if lists and self.todo is not None:
            Registry([self.todo]).call(Todo.name, lists[-1].arguments)

    def expect(self, before: TestReport, targets: frozenset[str], files: str) -> None:
        """From here on the tests decide when the work is done; `before` ran on `files`."""
        if self.checks is not None:
            self.checks.expect(before, targets, files)

    def close(self) -> tuple[str, ...]:
        """End what still runs in the background; return what that was."""
        return tuple(job.line for job in self.jobs.close()) if self.jobs is not None else ()


def tool_view(place: Workplace) -> View:
    """Give what the tools of the model see: the project's environment, and no scratch folder."""
    environment = place.environment
    return replace(
        place.view,
        read_only=(*place.view.read_only, *environment.read_only),
        path=environment.path,
        environment={**place.view.environment, **environment.variables},
        scratch=None,
    )


def approver(config: Config, view: View) -> Approver:
    """Let rules speak of one path, from the top of the repository, however a call writes it."""
    return Approver(config.approval, effects=effects_on(workspace_of(view), view, FULL))
