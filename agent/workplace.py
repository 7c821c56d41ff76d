"""Where the model works: a copy of the repository for a run, the person's own files for a talk.

The commands of a run see the copy at the repository's path. The user's files are read to make it,
and not touched again until a repair is applied.
"""

import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from agent.config import snapshots_folder, state_folder
from agent.deciding_files import TEST_FOLDERS
from agent.errors import ConfigError, GitFailed, UsageError
from agent.left_alone import LeftAlone
from agent.request import FixRequest
from agent.session import Session
from agent.user_git import hooks_folders
from sandbox.base import Cancel, Sandbox, View
from sandbox.checkpoint import Checkpoint
from sandbox.choose import IN_PLACE, choose
from sandbox.limits import Limits
from sandbox.protected import protected_part
from sandbox.remove import remove_tree
from sandbox.scan import Watched
from sandbox.tree import copy_tree, is_environment
from tools.errors import ProjectError
from tools.project import Environment, check_environment, detect_environment, detect_test_command
from tools.runners import run_tests_once
from tools.test_report import TestReport

ATTEMPTS = "attempts"
"""The folder of a session that holds the copies of later attempts while they work."""
ASIDE = "aside"
"""The folder of a session for what a command made and may not leave in the workspace."""


@dataclass(frozen=True)
class Workplace:
    """The files the model works on, and what tests and commands need around them."""

    command: tuple[str, ...]
    """How the tests are run; empty where nothing says how."""
    environment: Environment
    view: View
    sandbox: Sandbox
    test_limits: Limits
    command_limits: Limits
    checkpoint: Checkpoint
    base: str
    """The checkpoint of the files as the user has them."""
    is_copy: bool = True
    """Whether nobody else writes there, so that all files may be put back at once."""

    def run_tests(self, cancel: Cancel, end_s: float = math.inf) -> TestReport:
        """Run all tests on the copy as it is, to `end_s` on the monotonic clock at the latest."""
        limits = self.test_limits.until(end_s)
        return run_tests_once(
            self.command, self.environment, self.view, self.sandbox, limits, cancel
        )


def find_repository(path: Path) -> Path:
    """Return the root of the git repository that holds `path`; git itself is not run.

    Raises:
        UsageError: there is none, or `path` is no folder.
    """
    try:
        start = path.expanduser().resolve(strict=True)
    except OSError as error:
        raise UsageError(f"{path} does not exist") from error
    if not start.is_dir():
        raise UsageError(f"{path} is a file; name a folder of a git repository")
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    raise UsageError(f"{start} is not in a git repository; run `git init` there first")


def check_writable(repository: Path) -> None:
    """Make sure that a repair could be applied.

    Raises:
        UsageError: it could not.
    """
    if not is_writable(repository):
        raise UsageError(f"{repository} is read-only; use --dry-run to get the repair as a patch")


def is_writable(repository: Path) -> bool:
    """Say whether files of it can be changed."""
    return os.access(repository, os.W_OK | os.X_OK)


def open_workplace(
    request: FixRequest, repository: Path, session: Session, network: Path | None = None
) -> Workplace:
    """Copy the repository into the session, or find the copy that an earlier process made.

    Commands have no network but what the socket `network` leads to.

    Raises:
        SandboxUnavailable: commands could not be contained.
        ProjectError: nothing says how the tests are run.
    """
    sandbox = Watched(choose(request.sandbox), session.folder / ASIDE)
    tree, shadow = session.folder / "tree", session.folder / "checkpoints"
    if "prepared" in session.facts:
        skipped = tuple(Path(name) for name in session.facts["prepared"]["skipped"])
        checkpoint = Checkpoint.open(shadow, tree)
    else:
        remove_tree(tree)
        remove_tree(shadow)
        skipped = _copy(repository, tree)
        checkpoint = Checkpoint.create(shadow, tree)
        names = [str(path) for path in skipped]
        session.record("prepared", base=checkpoint.save("base"), skipped=names)
    project = _project(request, repository)
    view = _view(repository, tree, session.folder, skipped, sandbox)
    view = replace(view, folder=project.below(repository), network=network)
    return _workplace(request, session, project, view, sandbox, checkpoint)


def open_own_files(
    request: FixRequest,
    repository: Path,
    session: Session,
    sandbox: Sandbox,
    network: Path | None = None,
) -> Workplace:
    """Let the model work on the person's own files; what it needs not know is how tests are run.

    Raises:
        ProjectError: the tests cannot be run as it was asked for.
        SandboxError: the files cannot be saved.
    """
    shadow, left_alone = session.folder / "checkpoints", LeftAlone(repository)
    if "prepared" in session.facts:
        checkpoint = Checkpoint.open(shadow, repository, left_alone)
    else:
        remove_tree(shadow)
        checkpoint = Checkpoint.create(shadow, repository, left_alone)
        session.record("prepared", base=checkpoint.save("base"), skipped=[])
    project = _project_if_any(request, repository)
    view = _view(repository, repository, session.folder, (), sandbox)
    view = replace(view, folder=project.below(repository), network=network)
    place = _workplace(request, session, project, view, sandbox, checkpoint)
    return replace(place, is_copy=False)


@dataclass(frozen=True)
class _Project:
    """The folder to work in, how its tests are run, and what they need around them."""

    folder: Path
    command: tuple[str, ...]
    environment: Environment

    def below(self, repository: Path) -> PurePosixPath:
        return PurePosixPath(self.folder.relative_to(repository))


def _project(request: FixRequest, repository: Path) -> _Project:
    folder, command = find_project(request, repository)
    python = request.python or _outer_python(folder, repository)
    environment = detect_environment(folder, python)
    check_environment(command, environment)
    return _Project(folder, command, environment)


def _project_if_any(request: FixRequest, repository: Path) -> _Project:
    """Find the project and its tests; no command where there are none, or what runs them is not."""
    try:
        return _project(request, repository)
    except ProjectError:
        if request.test_command or request.python:
            raise
    python = _outer_python(repository, repository)
    return _Project(repository, (), detect_environment(repository, python))


def _workplace(
    request: FixRequest,
    session: Session,
    project: _Project,
    view: View,
    sandbox: Sandbox,
    checkpoint: Checkpoint,
) -> Workplace:
    """Put together what was found and made, with the limits of the settings."""
    limits = request.config.sandbox
    return Workplace(
        command=project.command,
        environment=project.environment,
        view=view,
        sandbox=sandbox,
        test_limits=Limits(wall_s=limits.tests_s),
        command_limits=project.environment.widened(Limits(wall_s=limits.command_s)),
        checkpoint=checkpoint,
        base=session.facts["prepared"]["base"],
    )


def _copy(repository: Path, tree: Path) -> tuple[Path, ...]:
    """Copy all but what we keep ourselves, should that be in the repository."""
    ours: set[Path] = set()
    with suppress(ConfigError):  # without a home there are no such folders
        ours = {state_folder().resolve(), snapshots_folder().parent.resolve()}
    skipped = copy_tree(repository, tree, lambda path: path in ours or is_environment(path))
    return tuple(path for path in skipped if path not in ours)


def own_workplace(place: Workplace, number: int, folder: Path, own: Path, commit: str) -> Workplace:
    """Give attempt `number` a copy with the files of `commit`; the first has that of the run.

    Args:
        place: that of the run.
        number: of the attempt.
        folder: that of the run's session, for copies.
        own: that of the attempt's session, for what tests leave while they run.
        commit: what to begin with.
    """
    view, checkpoint = replace(place.view, scratch=_scratch(own)), place.checkpoint
    if number > 1:
        tree = folder / ATTEMPTS / str(number)
        if not tree.exists():
            copy_tree(view.source, tree, is_ours=True)
        seen_at = tree if place.sandbox.level in IN_PLACE else view.workspace
        view = replace(view, source=tree, workspace=seen_at)
        checkpoint = Checkpoint.open(checkpoint.git_dir, tree)
    checkpoint.restore(commit)
    return replace(place, view=view, checkpoint=checkpoint)


def project_folder(request: FixRequest, repository: Path) -> Path:
    """Return what paths of tools begin at in a talk: the project's folder, else the repository."""
    try:
        return find_project(request, repository)[0]
    except ProjectError:
        return repository


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


def _view(
    repository: Path, tree: Path, folder: Path, skipped: tuple[Path, ...], sandbox: Sandbox
) -> View:
    """Show the copy where the repository is, with what was not copied beside it."""
    git = repository / ".git"
    if git.is_symlink() and not (git / "objects").is_dir():
        raise UsageError(f"{git} is a link, and not to a git folder; remove it")
    return View(
        source=tree,
        # Without mounts a command sees the copy only where it is.
        workspace=tree if sandbox.level in IN_PLACE else repository,
        read_only=(*skipped, *_git_elsewhere(git)),
        protected=((git, git),),
        obeyed=_hooks(repository),
        scratch=_scratch(folder),
    )


def _scratch(folder: Path) -> Path:
    """Return the folder of a session for what tests leave while they run."""
    scratch = folder / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    return scratch


def _hooks(repository: Path) -> tuple[PurePosixPath, ...]:
    """Name where git takes hooks from, but what is protected by its name anyway."""
    try:
        return tuple(path for path in hooks_folders(repository) if not protected_part(path))
    except GitFailed:  # not a repository of git's; nothing is committed there
        return ()


def _git_elsewhere(git: Path) -> tuple[Path, ...]:
    """Return the real git folder of a worktree or submodule, whose `.git` is a file.

    Raises:
        UsageError: it is the git folder of another repository, which commands may not see.
    """
    if git.is_dir():
        return ()
    if not git.is_file():
        raise UsageError(f"{git} is neither a folder nor a file; remove it")
    words = _text_of(git).removeprefix("gitdir:").strip()
    folder = (git.parent / words).resolve()
    is_worktree = folder.parent.name == "worktrees"
    # Of a worktree, the objects are two levels up: `main/.git/worktrees/name`.
    shared = folder.parent.parent if is_worktree else folder
    if not (shared / "objects").is_dir():
        return ()
    if is_worktree:
        is_own = _leads_to(folder / "gitdir", folder, git)
    else:
        is_own = _is_worktree_of(folder, git.parent)
    if not is_own:
        raise UsageError(
            f"{git} leads to {folder}, which does not name {git.parent} as its worktree; if it is "
            f"yours, run `git config -f {folder}/config core.worktree {git.parent}`"
        )
    return (shared,)


def _leads_to(file: Path, folder: Path, place: Path) -> bool:
    words = _text_of(file).strip()
    return bool(words) and (folder / words).resolve() == place.resolve()


def _is_worktree_of(folder: Path, place: Path) -> bool:
    """Say whether the settings of a git folder name this place as where the files are."""
    found = re.findall(r"(?m)^\s*worktree\s*=\s*(.*?)\s*$", _text_of(folder / "config"))
    return bool(found) and (folder / found[-1].strip('"')).resolve() == place.resolve()


def _text_of(file: Path) -> str:
    """Read a small file of git; nothing where there is none."""
    if not file.is_file():
        return ""
    return file.read_text(encoding="utf-8", errors="replace")
