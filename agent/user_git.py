"""The user's own repository, through git's plumbing: nothing that it configures is ever run.

No hook, filter, monitor, editor, pager or signing program is started and nothing is fetched: each
setting that could name one is overruled here, and only commands are used that need none of them.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from agent.errors import GitFailed
from sandbox.full_disk import full_by_words

GIT = (
    *("git", "--no-pager", "-c", "safe.directory=*"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "core.untrackedCache=false", "-c", "core.splitIndex=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "core.attributesFile=/dev/null", "-c", "i18n.commitEncoding=UTF-8"),
)
NAME, EMAIL = "qwen-agent", "qwen-agent@localhost"
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": NAME,
    "GIT_AUTHOR_EMAIL": EMAIL,
    "GIT_COMMITTER_NAME": NAME,
    "GIT_COMMITTER_EMAIL": EMAIL,
    "LC_ALL": "C",
}
SETTINGS_FROM = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL")
"""Variables that say where the person's own settings are."""
COMMIT_HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit")
TIMEOUT_S = 30.0
GITLINK = b"160000 "
"""How the row of a submodule in a listing begins."""


OFF = {
    "filter": {"clean": "", "smudge": "", "process": "", "required": "false"},
    "hook": {"enabled": "false"},
}
"""What a section of settings that names programs says when it names none."""


def run_git(
    repository: Path, *words: str, stdin: bytes = b"", more: Mapping[str, str] | None = None
) -> bytes:
    """Run one command of git in the user's repository; return what it prints.

    Raises:
        GitFailed: it did not do what it was asked.
    """
    variables = {**_no_programs(repository), **(more or {})}
    return _run(repository, words, stdin, variables)


def identity(repository: Path) -> Mapping[str, str]:
    """Return who the person is in their commits, as variables of git's.

    Raises:
        GitFailed: their settings do not say.
    """
    return {
        f"GIT_{role}_{field}": _setting(repository, f"user.{field.lower()}")
        for field in ("NAME", "EMAIL")
        for role in ("AUTHOR", "COMMITTER")
    }


def hooks_of(repository: Path) -> tuple[str, ...]:
    """Name the hooks that `git commit` would run here; they are not run by us."""
    folder = _setting(repository, "core.hooksPath", default="")
    path = repository / Path(folder).expanduser()
    if not folder:
        found = run_git(repository, "rev-parse", "--git-common-dir").rstrip(b"\n")
        path = repository / os.fsdecode(found) / "hooks"
    return tuple(name for name in COMMIT_HOOKS if os.access(path / name, os.X_OK))


def _setting(repository: Path, name: str, default: str | None = None) -> str:
    """Read one setting as the person's git would; reading runs nothing.

    Raises:
        GitFailed: it is not set, and there is no default.
    """
    theirs = {key: os.environ[key] for key in SETTINGS_FROM if key in os.environ}
    words = ("git", "-c", "safe.directory=*", "config", "--get", name)
    try:
        done = subprocess.run(
            words,
            cwd=repository,
            env={"PATH": _path(), "LC_ALL": "C", **theirs},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GitFailed(f"git config could not be run: {error}") from error
    value = os.fsdecode(done.stdout).removesuffix("\n")
    if not value and default is None:
        raise GitFailed(f"git knows no {name}; set it with `git config --global {name} ...`")
    return value or default or ""


def out_of_reach(repository: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return those of the paths that lie below a submodule or a link; git says nothing of them.

    Raises:
        GitFailed: it cannot tell where the submodules are.
    """
    listing = run_git(repository, "ls-files", "--stage", "-z").split(b"\0")
    modules = {os.fsdecode(row.partition(b"\t")[2]) for row in listing if row.startswith(GITLINK)}

    def is_closed(folder: PurePosixPath) -> bool:
        return str(folder) in modules or (repository / folder).is_symlink()

    return tuple(path for path in paths if any(map(is_closed, PurePosixPath(path).parents)))


def ignored(repository: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return those of the paths that git keeps out of the repository, by its own rules.

    None of them may be `out_of_reach`.

    Raises:
        GitFailed: it cannot tell.
    """
    # Begun with a dot, no name is taken for a pattern; this command knows no literal ones.
    names = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)
    patterns = {"GIT_LITERAL_PATHSPECS": "0"}
    words = ("check-ignore", "-z", "--stdin")
    variables = {**_no_programs(repository), **patterns}
    found = _run(repository, words, names, variables, codes=(0, 1))  # 1 is none
    return tuple(os.fsdecode(name).removeprefix("./") for name in found.split(b"\0") if name)


def hooks_folders(repository: Path) -> tuple[PurePosixPath, ...]:
    """Return the folders in the repository from which git takes hooks, by any of its settings.

    Raises:
        GitFailed: it cannot tell.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - pathlib fails without a home
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    words = ("config", "--show-scope", "--null", "--type=path", "--get-all", "core.hooksPath")
    found = set()
    for file in (home / ".gitconfig", xdg / "git" / "config"):
        settings = {"GIT_CONFIG_NOSYSTEM": "0", "GIT_CONFIG_GLOBAL": str(file), "HOME": str(home)}
        listing = _run(repository, words, b"", settings).split(b"\0")
        for scope, value in zip(listing[::2], listing[1::2], strict=False):
            if scope != b"command":  # ours
                place = repository / os.fsdecode(value)
                found |= {Path(os.path.normpath(place)), place.resolve()}
    inside = (place.relative_to(repository) for place in found if repository in place.parents)
    return tuple(sorted(map(PurePosixPath, inside)))


def _no_programs(repository: Path) -> dict[str, str]:
    """Return variables that take the programs from the settings that have names of their own.

    Even what only writes an index may pass files through their filters: those that were changed
    in the moment in which it was written last.
    """
    listing = _run(repository, ("config", "--null", "--name-only", "--list"), b"", {})
    names = [name.decode("utf-8", "surrogateescape") for name in listing.split(b"\0")]
    sections = sorted({name.rpartition(".")[0] for name in names if name.split(".")[0] in OFF})
    settings = [
        (f"{section}.{key}", value)
        for section in sections
        for key, value in OFF[section.split(".")[0]].items()
    ]
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _run(
    repository: Path,
    words: Sequence[str],
    stdin: bytes,
    variables: Mapping[str, str],
    codes: Sequence[int] = (0,),
) -> bytes:
    environment = {"PATH": _path(), **ENVIRONMENT, **variables}
    try:
        done = subprocess.run(
            [*GIT, *words],
            cwd=repository,
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GitFailed(f"git {words[0]} could not be run: {error}") from error
    if done.returncode not in codes:
        complaint = done.stderr.decode(errors="replace").strip()
        if full := full_by_words(complaint):
            raise GitFailed(f"git {words[0]} in {repository}: {full.strerror}") from full
        raise GitFailed(complaint.split("\n")[-1] or f"git {words[0]} ended with {done.returncode}")
    return done.stdout


def _path() -> str:
    """Return the folders of programs, less those that mean one in the repository."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(filter(os.path.isabs, folders))
