"""Puts together what an attempt of the model works with: its tools, and what joins their calls.

Alone, besides `cli.py`, in choosing concrete classes. nano knows no tools and no words but those it
was trained on; every other model gets all there is.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agent.approval import Effects
from agent.approver import Approver
from agent.checks import Checks
from agent.config import skills_folder, snapshots_folder
from agent.explore import Explore, Fork
from agent.hooks import Hooks
from agent.memory import Memory
from agent.models import NANO, resolve
from agent.outputs import OUTPUTS, KeptOutputs
from agent.parts import Parts
from agent.request import FixRequest
from agent.session import Session
from agent.settings import Config
from agent.spotless import Spotless
from agent.whereabouts import Whereabouts
from agent.workplace import Workplace
from inference.chat import ChatModel
from inference.messages import ReplyOptions, SamplingOptions, ToolCall
from sandbox.base import Cancel, Sandbox, View
from sandbox.checkpoint import Checkpoint
from sandbox.errors import PathRefused
from sandbox.limits import MIB
from sandbox.workspace import Workspace
from tools.background import BackgroundBash
from tools.base import Tool
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.editor_forms import FOR_NANO, FULL
from tools.finish import Finish
from tools.jobs import Jobs
from tools.outline import Outline
from tools.registry import Registry
from tools.run_tests import RunTests
from tools.runners import run_tests_once
from tools.search import Search, find_ripgrep
from tools.skill import Skill, find_skills
from tools.test_report import TestReport
from tools.todo import Todo

ChatFactory = Callable[[FixRequest], ChatModel]

SAMPLED = SamplingOptions(temperature=0.7, top_p=0.95, top_k=20)
"""For the attempts after the first, which must differ from it."""
OUTPUT_BYTES = 4 * MIB
"""Of one command of the model: what it is not shown is kept in a file."""


@dataclass(frozen=True)
class Bench:
    """The parts of an attempt, and what of them the attempt itself must be able to reach."""

    parts: Parts
    checks: Checks | None = None
    """Told when tests begin to decide about `finish`; nano has no checks."""
    jobs: Jobs | None = None
    """Closed before the files are judged or restored."""
    todo: Todo | None = None

    def go_on(self, session: Session) -> None:
        """Take the todo list up again where an attempt goes on that was cut short."""
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


def make_bench(
    place: Workplace,
    session: Session,
    chat: ChatModel,
    options: ReplyOptions,
    config: Config,
    deadline_s: float,
) -> Bench:
    """Put together what one attempt of the model works with."""
    make = _nano_bench if chat.name == NANO else _full_bench
    return make(place, session, chat, options, config, deadline_s)


def _nano_bench(
    place: Workplace,
    session: Session,
    chat: ChatModel,
    options: ReplyOptions,
    config: Config,
    deadline_s: float,
) -> Bench:
    view = _tool_view(place)
    workspace = Workspace(view.source, view.workspace, view.folder)
    tools = Registry(
        [
            Bash(place.sandbox, view, place.command_limits),
            StrReplaceEditor(workspace, FOR_NANO),
            Search(workspace, place.sandbox, view, find_ripgrep(view)),
            RunTests(
                place.command, place.environment, place.view, place.sandbox, place.test_limits
            ),
            Finish(),
        ]
    )
    plain = replace(config, context=replace(config.context, compact_at=1.0))
    recorder = Recorder(place.checkpoint, place.base)
    approve = Approver(config.approval, effects=_effects(workspace, view))
    return Bench(Parts(chat, tools, options, plain, recorder, deadline_s, approve=approve))


def _full_bench(
    place: Workplace,
    session: Session,
    chat: ChatModel,
    options: ReplyOptions,
    config: Config,
    deadline_s: float,
) -> Bench:
    # 1. What commands and tools see.
    assert place.view.scratch is not None, "a workplace has one"
    outputs = KeptOutputs(place.view.scratch.with_name(OUTPUTS))
    sandbox, view = place.sandbox, _tool_view(place)
    view = replace(view, read_only=(*view.read_only, outputs.folder))
    workspace = Workspace(view.source, view.workspace, view.folder)
    limits = replace(place.command_limits, output_bytes=OUTPUT_BYTES)
    # 2. The tools, in the order the model sees them.
    search = Search(workspace, sandbox, view, find_ripgrep(view))
    outline = Outline(workspace, count_tokens=chat.count_tokens)
    editor = StrReplaceEditor(workspace, FULL, lambda: session.num_steps)
    jobs, todo = Jobs(sandbox, view, limits), Todo()
    spotless = Spotless(sandbox, place.checkpoint, lambda: bool(jobs.running()))
    test_limits = replace(place.test_limits, output_bytes=OUTPUT_BYTES)
    reading = Registry([StrReplaceEditor(workspace, FULL), search, outline])
    fork = Fork(session, chat, options, config, lambda: parts.specs, reading, workspace)
    skills = find_skills(skills_folder())
    offered: list[Tool] = [
        BackgroundBash(Bash(sandbox, view, limits), jobs),
        editor,
        search,
        outline,
        RunTests(place.command, place.environment, place.view, spotless, test_limits, is_full=True),
        Explore(fork),
        todo,
        *([Skill(skills)] if skills else []),
        Finish(),
    ]
    # 3. What joins their calls.
    recorder = Recorder(place.checkpoint, place.base)
    checks = Checks(
        place.command,
        workspace,
        _some_tests(place, spotless, deadline_s),
        lambda: recorder(session.checkpoint),
        todo.open_items,
        config.verify,
    )
    memory = Memory(Workspace(view.source, view.workspace), view.folder)
    hooks = Hooks(config.hooks, sandbox, view, place.command_limits)
    parts = Parts(
        chat,
        Registry(offered),
        options,
        config,
        recorder,
        deadline_s,
        approve=Approver(config.approval, effects=_effects(workspace, view)),
        before_call=(hooks.before,),
        after_call=(outputs, Whereabouts(view), hooks.after, checks, memory),
        on_compacted=(memory.forget, editor.forget),
        opening=memory.opening,
        open_items=lambda: "\n".join(todo.open_items()),
    )
    return Bench(parts, checks, jobs, todo)


def _tool_view(place: Workplace) -> View:
    """What the tools of the model see: the project's environment, and no scratch folder."""
    environment = place.environment
    return replace(
        place.view,
        read_only=(*place.view.read_only, *environment.read_only),
        path=environment.path,
        environment={**place.view.environment, **environment.variables},
        scratch=None,
    )


def _effects(workspace: Workspace, view: View) -> Effects:
    """Let rules speak of one path, from the workspace, however a call writes it."""

    def path(text: str) -> str:
        try:
            return str(view.folder / workspace.resolve(text))
        except PathRefused:
            return text  # the tool refuses it too

    return Effects(path=path)


def _some_tests(
    place: Workplace, sandbox: Sandbox, deadline_s: float
) -> Callable[[Sequence[str], float, Cancel], TestReport]:
    def run(ids: Sequence[str], limit_s: float, cancel: Cancel) -> TestReport:
        limits = place.test_limits.until(min(deadline_s, time.monotonic() + limit_s))
        return run_tests_once(
            place.command, place.environment, place.view, sandbox, limits, cancel, ids
        )

    return run


def reply_options(chat: ChatModel, number: int, request: FixRequest) -> ReplyOptions:
    """Choose how attempt `number` samples: the first as the model's preset says, then warmer.

    At a temperature that was asked for all are alike, and differ by their seeds.
    """
    seed = request.seed + number - 1
    sampling = replace(SAMPLED, seed=seed) if number > 1 else None
    if request.temperature is not None:
        sampling = replace(SAMPLED, temperature=request.temperature, seed=seed)
    return ReplyOptions(
        sampling=sampling,
        seed=seed,
        max_new_tokens=request.config.model.max_new_tokens,
        thinking=chat.name != NANO,
    )


class Recorder:
    """Saves the workspace when it changed; the same files have the same name however reached."""

    def __init__(self, checkpoint: Checkpoint, base: str) -> None:
        self._checkpoint = checkpoint
        self._base = base
        self._names = {self._digest(base): base}

    def __call__(self, before: str) -> str:
        """Return the name of the files as they are, which were `before` at the last call."""
        if not self._checkpoint.changed(before):
            return before
        commit = self._checkpoint.save("step")
        return self._names.setdefault(self._digest(commit), commit)

    def _digest(self, commit: str) -> str:
        patch = self._checkpoint.diff(self._base, commit)
        return hashlib.sha256(patch.encode("utf-8", "surrogateescape")).hexdigest()


def load_chat(request: FixRequest) -> ChatModel:
    """Load the model that the request names.

    Raises:
        ModelUnavailable: it cannot be had.
    """
    from inference.local import open_chat  # torch: seconds, and only now

    # nano reads a prompt in the time that a process takes to start, or a file to be written.
    is_small = request.model == NANO
    disk_bytes = request.config.cache.disk_bytes
    return open_chat(
        resolve(request.model),
        reuse=request.reuse,
        thinking_history=request.config.model.thinking_history,
        host=not is_small,
        stall_s=request.config.model.stall_s,
        store=None if is_small or not disk_bytes else (snapshots_folder(), disk_bytes),
    )
