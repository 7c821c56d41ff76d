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
from agent.explore import Explore, Fork
from agent.loop import Parts, tool_specs
from agent.models import NANO, resolve
from agent.request import FixRequest
from agent.session import Session, remove
from agent.settings import Config
from inference.chat import ChatModel
from inference.messages import ReplyOptions, SamplingOptions
from sandbox.base import Cancel, Sandbox, View
from sandbox.checkpoint import Checkpoint
from sandbox.choose import choose
from sandbox.limits import Limits
from sandbox.tree import copy_tree
from sandbox.workspace import Workspace
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.errors import ProjectError
from tools.finish import Finish
from tools.project import Environment, check_environment, detect_environment, detect_test_command
from tools.registry import Registry
from tools.run_tests import RunTests
from tools.runners import run_tests_once
from tools.search import Search, find_ripgrep
from tools.test_report import TestReport

ChatFactory = Callable[[FixRequest], ChatModel]

ATTEMPTS = "attempts"
"""The folder of a session that holds the copies of later attempts while they work."""
SAMPLED = SamplingOptions(temperature=0.7, top_p=0.95, top_k=20)
"""For the attempts after the first, which must differ from it."""


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
        command_limits=Limits(wall_s=request.config.sandbox.command_s),
        checkpoint=checkpoint,
        base=session.facts["prepared"]["base"],
    )


def own_workplace(place: Workplace, number: int, session: Session, commit: str) -> Workplace:
    """Give attempt `number` a copy of its own, with the files of `commit`; the first has one."""
    if number > 1:
        tree = session.folder / ATTEMPTS / str(number)
        if not tree.exists():
            copy_tree(place.view.source, tree)
        seen_at = tree if place.sandbox.level == "direct" else place.view.workspace
        place = replace(
            place,
            view=replace(place.view, source=tree, workspace=seen_at),
            checkpoint=Checkpoint.open(place.checkpoint.git_dir, tree),
        )
    place.checkpoint.restore(commit)
    return place


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
    session: Session,
    chat: ChatModel,
    options: ReplyOptions,
    config: Config,
    deadline_s: float,
) -> Parts:
    """Put together what one attempt of the model works with."""
    environment, sandbox = place.environment, place.sandbox
    view = replace(
        place.view,
        read_only=(*place.view.read_only, *environment.read_only),
        path=environment.path,
        environment={**place.view.environment, **environment.variables},
        scratch=None,
    )
    workspace = Workspace(view.source, view.workspace, view.folder)
    search = Search(workspace, sandbox, view, find_ripgrep(view))
    reading = Registry([StrReplaceEditor(workspace), search])
    fork = Fork(session, chat, options, config, lambda: tool_specs(tools), reading, workspace)
    # The order is part of what nano was trained on, which knows these five: it never changes.
    tools = Registry(
        [
            Bash(sandbox, view, place.command_limits),
            StrReplaceEditor(workspace),
            search,
            RunTests(place.command, environment, place.view, sandbox, place.test_limits),
            Finish(),
            *([] if chat.name == NANO else [Explore(fork)]),
        ]
    )
    return Parts(chat, tools, options, config, _Recorder(place.checkpoint, place.base), deadline_s)


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
