"""Puts the parts of a run together: alone, besides `cli.py`, in choosing concrete classes.

A `Workplace` is where the model works: a copy of the user's repository that sandboxed commands see
at the repository's own path. The user's files are read to make the copy, and not touched again
until a repair is applied.
"""

import hashlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from agent.config import snapshots_folder
from agent.deciding_files import TEST_FOLDERS
from agent.errors import UsageError
from agent.memory import Memory
from agent.models import NANO, resolve
from agent.outputs import OUTPUTS, KeptOutputs
from agent.parts import Parts
from agent.request import FixRequest
from agent.session import Session, remove
from agent.settings import Config
from inference.chat import ChatModel
from inference.messages import ReplyOptions, SamplingOptions
from sandbox.base import Cancel, Sandbox, View
from sandbox.checkpoint import Checkpoint
from sandbox.choose import choose
from sandbox.limits import MIB, Limits
from sandbox.tree import copy_tree
from sandbox.workspace import Workspace
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.editor_forms import FOR_NANO, FULL
from tools.errors import ProjectError
from tools.finish import Finish
from tools.project import Environment, check_environment, detect_environment, detect_test_command
from tools.registry import Registry
from tools.run_tests import RunTests
from tools.runners import run_tests_once
from tools.search import Search, find_ripgrep
from tools.test_report import TestReport

ChatFactory = Callable[[FixRequest], ChatModel]

SAMPLED = SamplingOptions(temperature=0.7, top_p=0.95, top_k=20)
"""For the attempts after the first, which must differ from it."""
OUTPUT_BYTES = 4 * MIB
"""Of one command of the model: what it is not shown is kept in a file."""


@dataclass(frozen=True)
class Workplace:
    """The copy the model works on, and what tests and commands need around it."""

    command: tuple[str, ...]
    """How the tests are run."""
    environment: Environment
    view: View
    sandbox: Sandbox
    test_limits: Limits
    command_limits: Limits
    checkpoint: Checkpoint
    base: str
    """The checkpoint of the files as the user has them."""

    def run_tests(self, cancel: Cancel, end_s: float = math.inf) -> TestReport:
        """Run all tests on the copy as it is, to `end_s` on the monotonic clock at the latest."""
        limits = self.test_limits.until(end_s)
        return run_tests_once(
            self.command, self.environment, self.view, self.sandbox, limits, cancel
        )


def find_repository(path: Path) -> Path:
    """Return the root of the git repository that holds `path`; git itself is not run.

    Raises:
        UsageError: there is none.
    """
    try:
        start = path.expanduser().resolve(strict=True)
    except OSError as error:
        raise UsageError(f"{path} does not exist") from error
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    raise UsageError(f"{start} is not in a git repository; run `git init` there first")


def check_writable(repository: Path) -> None:
    """Make sure that a repair could be applied.

    Raises:
        UsageError: it could not.
    """
    if not os.access(repository, os.W_OK | os.X_OK):
        raise UsageError(f"{repository} is read-only; use --dry-run to get the repair as a patch")


def open_workplace(request: FixRequest, repository: Path, session: Session) -> Workplace:
    """Copy the repository into the session, or find the copy that an earlier process made.

    Raises:
        SandboxUnavailable: commands could not be contained.
        ProjectError: nothing says how the tests are run.
    """
    sandbox = choose(request.sandbox)
    tree, shadow = session.folder / "tree", session.folder / "checkpoints"
    if "prepared" in session.facts:
        skipped = tuple(Path(name) for name in session.facts["prepared"]["skipped"])
        checkpoint = Checkpoint.open(shadow, tree)
    else:
        remove(tree)
        remove(shadow)
        skipped = copy_tree(repository, tree)
        checkpoint = Checkpoint.create(shadow, tree)
        names = [str(path) for path in skipped]
        session.record("prepared", base=checkpoint.save("base"), skipped=names)
    project, command = find_project(request, repository)
    environment = detect_environment(project, request.python or _outer_python(project, repository))
    check_environment(command, environment)
    view = _view(repository, tree, session.folder, skipped, sandbox)
    return Workplace(
        command=command,
        environment=environment,
        view=replace(view, folder=PurePosixPath(project.relative_to(repository))),
        sandbox=sandbox,
        test_limits=Limits(wall_s=request.config.sandbox.tests_s),
        command_limits=environment.widened(Limits(wall_s=request.config.sandbox.command_s)),
        checkpoint=checkpoint,
        base=session.facts["prepared"]["base"],
    )


def find_project(request: FixRequest, repository: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the project to mend, and how its tests are run there.

    A command that was given runs in the folder that was named. One that is found out runs in the
    nearest folder around it that says how; a package and a folder of tests are parts of a project.

    Raises:
        ProjectError: no folder says how.
    """
    named = request.path.expanduser().resolve()
    named = named if named.is_dir() else named.parent
    if request.test_command:
        return named, request.test_command
    around = [folder for folder in (named, *named.parents) if folder.is_relative_to(repository)]
    for folder in around[:-1]:
        if folder.name not in TEST_FOLDERS and not (folder / "__init__.py").is_file():
            with suppress(ProjectError):
                return folder, detect_test_command(folder)
    return repository, detect_test_command(repository)


def _outer_python(project: Path, repository: Path) -> Path | None:
    """The environment at the top of the repository, if the project in it has none of its own."""
    names = (".venv", "venv")
    for folder in (project, *project.parents):
        found = [folder / name for name in names if (folder / name / "bin" / "python").exists()]
        if folder == repository or found:
            return found[0] if found and folder != project else None
    return None


def make_parts(
    place: Workplace,
    chat: ChatModel,
    options: ReplyOptions,
    config: Config,
    deadline_s: float,
    step: Callable[[], int],
) -> Parts:
    """Put together what one attempt of the model works with; `step` numbers its replies."""
    environment, sandbox = place.environment, place.sandbox
    assert place.view.scratch is not None, "a workplace has one"
    outputs = KeptOutputs(place.view.scratch.with_name(OUTPUTS))
    view = replace(
        place.view,
        read_only=(*place.view.read_only, *environment.read_only, outputs.folder),
        path=environment.path,
        environment={**place.view.environment, **environment.variables},
        scratch=None,
    )
    workspace = Workspace(view.source, view.workspace, view.folder)
    # The order is part of what the model was trained on: it never changes.
    tools = Registry(
        [
            Bash(sandbox, view, replace(place.command_limits, output_bytes=OUTPUT_BYTES)),
            StrReplaceEditor(workspace, FOR_NANO if chat.name == NANO else FULL, step),
            Search(workspace, sandbox, view, find_ripgrep(view)),
            RunTests(place.command, environment, place.view, sandbox, place.test_limits),
            Finish(),
        ]
    )
    recorder = _Recorder(place.checkpoint, place.base)
    if chat.name == NANO:  # it knows no words but those it was trained on
        plain = replace(config, context=replace(config.context, compact_at=1.0))
        return Parts(chat, tools, options, plain, recorder, deadline_s)
    memory = Memory(Workspace(view.source, view.workspace), view.folder)
    return Parts(
        chat,
        tools,
        options,
        config,
        recorder,
        deadline_s,
        after_call=(outputs, memory),
        on_compacted=(memory.forget,),
        opening=memory.opening,
    )


def reply_options(chat: ChatModel, number: int, request: FixRequest) -> ReplyOptions:
    """Choose how attempt `number` samples: the first as the model's preset says, then warmer."""
    seed = request.seed + number - 1
    return ReplyOptions(
        sampling=replace(SAMPLED, seed=seed) if number > 1 else None,
        seed=seed,
        max_new_tokens=request.config.model.max_new_tokens,
        thinking=chat.name != NANO,
    )


class _Recorder:
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


def _view(
    repository: Path, tree: Path, folder: Path, skipped: tuple[Path, ...], sandbox: Sandbox
) -> View:
    """Show the copy where the repository is, with what was not copied beside it."""
    scratch = folder / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    git = repository / ".git"
    return View(
        source=tree,
        # Without mounts a command sees the copy only where it is.
        workspace=tree if sandbox.level == "direct" else repository,
        read_only=(*skipped, *_git_elsewhere(git)),
        protected=((git, git),),
        scratch=scratch,
    )


def _git_elsewhere(git: Path) -> tuple[Path, ...]:
    """Return the real git folder of a worktree or submodule, whose `.git` is a file."""
    if git.is_dir():
        return ()
    words = git.read_text(encoding="utf-8", errors="replace").removeprefix("gitdir:").strip()
    folder = (git.parent / words).resolve()
    # Of a worktree, the objects are two levels up: `main/.git/worktrees/name`.
    shared = folder.parent.parent if folder.parent.name == "worktrees" else folder
    return (shared,) if (shared / "objects").is_dir() else ()


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
        store=None if is_small or not disk_bytes else (snapshots_folder(), disk_bytes),
    )
