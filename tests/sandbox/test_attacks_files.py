"""Attacks by files: on git and on what other programs obey, through links, names and archives.

The letters are the cases of the project's threat list. `run` goes through the sandboxed shell, as
the agent uses it; `edit` through the file tools. The host's canary must not change in any.
"""

import ctypes
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from sandbox.base import CommandResult, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.checkpoint import Checkpoint
from sandbox.errors import PathRefused, SandboxError
from sandbox.limits import Limits
from sandbox.protected import is_protected_name
from sandbox.scan import Watched
from sandbox.tree import apply_changes, copy_tree
from sandbox.workspace import Workspace

SHORT = Limits(wall_s=60)
LIBC = ctypes.CDLL(None)
AT_FDCWD, EXCHANGE = -100, 2

Attack = Callable[[str], CommandResult]


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, nap: str, survivors: Callable[[str], list[str]]) -> Iterator[Path]:
    """A file of the user beside the workspace, the same at the end; and no process is left."""
    folder = tmp_path / "home"
    folder.mkdir()
    file = folder / "precious"
    file.write_text("treasure\n")
    os.chmod(file, 0o666)  # noqa: PTH101 - not even permissions protect it
    before = file.stat()
    yield file
    after = file.stat()
    assert file.read_text() == "treasure\n"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode,
        before.st_mtime_ns,
        1,
    )
    assert [path.name for path in folder.iterdir()] == ["precious"]
    assert survivors(nap) == []


@pytest.fixture
def run(bubblewrap: Bubblewrap, view: View, tmp_path: Path, nap: str) -> Attack:
    sandbox = Watched(bubblewrap, tmp_path / "aside")
    return lambda script: sandbox.run(
        ["bash", "-c", f"{script}\n(setsid sleep {nap} &)"], view, SHORT
    )


@pytest.fixture
def edit(view: View) -> Workspace:
    return Workspace(view.source, view.workspace)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything of a folder: kind and permissions, and content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.attack
@pytest.mark.parametrize(
    "script",
    [
        "echo x > .git/config",
        "echo x > .git/hooks/pre-commit",
        "chmod 777 .git/config",
        "mv .git git",
        "rm -rf .git; mkdir .git",
        "mkdir -p .git/info; echo x > .git/info/attributes",
        "ln -sfn /tmp .git",
        "umount .git; echo x > .git/config",
        "mv ../workspace ../other",
        "touch -d 2001-01-01 .git/config",
        "ln .git/config hard; echo x > hard",
        "setfattr -n user.x -v y .git/config",
    ],
)
def test_a25_git(run: Attack, view: View, script: str) -> None:
    git = view.source / ".git"
    before = tree(git), (git / "config").lstat().st_mtime_ns
    run(script)
    assert git.is_dir()
    assert not git.is_symlink()
    assert (tree(git), (git / "config").lstat().st_mtime_ns) == before


def test_a26_nested_submodule_and_worktree_git(run: Attack, view: View) -> None:
    ws = view.source
    (ws / "nested" / "deep" / ".git" / "hooks").mkdir(parents=True)
    modules = ws / "module-store"
    for name in ("objects", "refs", "hooks"):
        (modules / name).mkdir(parents=True)
    (modules / "HEAD").write_text("ref: refs/heads/main\n")
    (ws / "sub").mkdir()
    (ws / "sub" / ".git").write_text("gitdir: ../module-store\n")
    before = tree(ws)
    result = run(
        "echo x > nested/deep/.git/hooks/post-checkout; rm -rf nested/deep/.git\n"
        "echo 'gitdir: /tmp/evil' > sub/.git; rm sub/.git; mv sub/.git old\n"
        "echo x > module-store/hooks/pre-commit; echo x > module-store/config\n"
        "rm -rf module-store"
    )
    assert tree(ws) == before
    assert "Read-only file system" in result.output


def test_a26_git_works_in_a_repository_with_a_submodule(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    repository, copy = tmp_path / "repo", tmp_path / "copy"
    script = (
        "set -e; git init -q inner; cd inner; git commit -q --allow-empty -m inner; cd ..\n"
        "git init -q repo; cd repo; echo 1 > a; git add a; git commit -qm first\n"
        "git -c protocol.file.allow=always submodule --quiet add ../inner sub; git commit -qm two"
    )
    me = {
        f"GIT_{who}_{what}": "me@here"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True, env={**os.environ, **me})
    kept = copy_tree(repository, copy)
    assert kept == (repository / "sub" / ".git",)
    git = repository / ".git"
    view = View(copy, repository, read_only=kept, protected=((git, git),))
    (copy / "a").write_text("2\n")
    sandbox = Watched(bubblewrap, tmp_path / "aside")
    script = (
        "git status --short; git diff --stat; git log --format=%s; git -C sub log --format=%s\n"
        "echo x > sub/.git; echo x > .git/modules/sub/config"
    )
    result = sandbox.run(["sh", "-c", script], view, SHORT)
    assert result.output.split("\n")[0] == " M a"
    assert "two\nfirst\ninner\n" in result.output
    assert result.output.count("Read-only") == 2
    assert result.notices == ()
    assert sorted(path.name for path in copy.iterdir()) == [".gitmodules", "a", "sub"]
    assert list((copy / "sub").iterdir()) == []


def test_a27_a_repository_made_inside_is_reported_and_put_aside(run: Attack, view: View) -> None:
    before = tree(view.source)
    result = run(
        "mkdir tools; git init -q tools/x; git -C tools/x config core.fsmonitor 'touch /tmp/p'"
    )
    assert result.notices[0].startswith("tools/x/.git was taken out of the workspace")
    result = run("mkdir -p bare/objects bare/refs; echo 'ref: x' > bare/HEAD; echo x > bare/config")
    assert result.notices[0].startswith("bare was taken out of the workspace")
    left = set(tree(view.source)) - set(before)
    assert left == {"tools", "tools/x"}


def test_a28_what_programs_obey_is_put_aside_and_no_ghost_stays(run: Attack, view: View) -> None:
    before = tree(view.source)
    names = ".idea .devcontainer .claude .cursor .husky"
    files = ".vscode/tasks.json .envrc .mcp.json .qwen-agent.toml .pre-commit-config.yaml"
    result = run(f"mkdir .vscode {names}; for f in {files}; do echo '{{}}' > $f; done; ls -A")
    assert len(result.notices) == 6
    assert result.notices[-1] == "The same was done to 5 more."
    assert tree(view.source) == before
    assert run("ls -A").output.split() == [".git", "hello.txt"]


def test_a28_what_gets_past_that_is_not_brought_back(tmp_path: Path) -> None:
    source, home = tmp_path / "copy", tmp_path / "repo"
    for folder in (source, home):
        folder.mkdir()
        (folder / "a").write_text("1\n")
    checkpoint = Checkpoint.create(tmp_path / "shadow", source)
    base = checkpoint.save("base")
    for make in (
        lambda: (source / ".envrc").write_text("evil\n"),
        lambda: (source / "notes").symlink_to("/home/somebody/.ssh/authorized_keys"),
        lambda: (source / "notes").symlink_to("../outside"),
    ):
        make()
        with pytest.raises(SandboxError, match="nothing was changed"):
            apply_changes(checkpoint, base, checkpoint.save("final"), home)
        assert [path.name for path in home.iterdir()] == ["a"]
        checkpoint.restore(base)


def test_a28_no_setuid_bit_is_brought_back(tmp_path: Path) -> None:
    source, home = tmp_path / "copy", tmp_path / "repo"
    source.mkdir()
    home.mkdir()
    checkpoint = Checkpoint.create(tmp_path / "shadow", source)
    base = checkpoint.save("base")
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o6755)
    apply_changes(checkpoint, base, checkpoint.save("final"), home)
    assert stat.S_IMODE((home / "tool").stat().st_mode) == 0o755


def test_a29_a_link_where_the_next_sandbox_mounts(
    bubblewrap: Bubblewrap, run: Attack, view: View, canary: Path
) -> None:
    run("mkdir deep")
    (view.source / "deep").rmdir()
    (view.source / "deep").symlink_to(canary.parent)  # as a command that races would
    trap = View(
        view.source,
        view.workspace,
        protected=((canary, view.workspace / "deep" / "new" / "settings"),),
    )
    with pytest.raises(SandboxError, match="symbolic link"):
        bubblewrap.run(["true"], trap, SHORT)


def test_a29_a_folder_around_a_protected_path_that_became_a_link(
    bubblewrap: Bubblewrap, run: Attack, view: View, canary: Path
) -> None:
    (view.source / "pkg" / ".vscode").mkdir(parents=True)
    (canary.parent / ".vscode").mkdir()
    try:
        run("true")
        (view.source / "pkg").rename(view.source / "old")
        (view.source / "pkg").symlink_to(canary.parent)
        found_before = replace(view, guarded=(PurePosixPath("pkg/.vscode"),))
        with pytest.raises(SandboxError, match="symbolic link"):
            bubblewrap.run(["true"], found_before, SHORT)
        assert "No such file" in run("echo x > pkg/precious").output
    finally:
        (canary.parent / ".vscode").rmdir()


def test_a29_git_that_is_a_link(bubblewrap: Bubblewrap, tmp_path: Path, canary: Path) -> None:
    source = tmp_path / "repo"
    source.mkdir()
    (source / ".git").symlink_to(canary.parent)
    with pytest.raises(SandboxError, match="symbolic link"):
        bubblewrap.run(["true"], View(source, source), SHORT)


def test_a30_other_spellings_are_treated_alike(run: Attack, view: View, edit: Workspace) -> None:
    before = tree(view.source)
    spellings = [
        ".GIT",
        ".git\u200c",
        ".Git.",
        "GIT~1",
        ".VSCode",
        ".en\u200bvrc",
        ".\uff4dcp.json",
    ]
    for name in spellings:
        assert is_protected_name(name)
        with pytest.raises(PathRefused):
            edit.write_atomic(f"{name}/config", b"x")
    made = " ".join(f"'{name}'" for name in spellings)
    assert run(f"mkdir {made}").notices[-1] == f"The same was done to {len(spellings) - 5} more."
    assert tree(view.source) == before


def test_a31_a_link_made_inside_leads_nowhere(
    run: Attack, view: View, edit: Workspace, canary: Path
) -> None:
    result = run(f"ln -s {canary} link; cat link; echo x > link; ln -s {canary.parent} folder")
    assert "treasure" not in result.output
    assert [notice.split()[2] for notice in result.notices] == ["link", "folder"]
    # Also where a command still runs and the link is there.
    (view.source / "link").symlink_to(canary)
    (view.source / "folder").symlink_to(canary.parent)
    for path in ("link", "folder/precious", "folder/new"):
        with pytest.raises(PathRefused):
            edit.write_atomic(path, b"x")
        with pytest.raises(PathRefused):
            edit.read(path)
        with pytest.raises(PathRefused):
            edit.remove(path)


def test_a32_a_link_that_came_with_the_repository(
    run: Attack, view: View, edit: Workspace, canary: Path
) -> None:
    (view.source / "docs").mkdir()
    (view.source / "docs" / "README.md").symlink_to(canary)
    assert run("cat docs/README.md; echo x >> docs/README.md").notices == ()
    for attempt in (
        lambda: edit.read("docs/README.md"),
        lambda: edit.write_atomic("docs/README.md", b"x"),
    ):
        with pytest.raises(PathRefused, match="leads out of the workspace"):
            attempt()


@pytest.mark.parametrize(
    "path",
    ["../home/precious", "/etc/passwd", "//etc/passwd", "~/precious", "a/../../home/precious",
     "hello.txt\0", "{ws}-evil/x", "{ws}/../home/precious", "...../../../home/precious",
     "/proc/self/mem", "/proc/self/root/etc/passwd", "{ws}/.git/config", ""],
)  # fmt: skip
def test_a33_paths_that_lead_out_by_words(view: View, edit: Workspace, path: str) -> None:
    before = tree(view.source)
    for attempt in (edit.read, edit.exists, edit.remove, lambda p: edit.write_atomic(p, b"x")):
        if attempt in (edit.read, edit.exists) and ".git" in path:
            continue  # git's files may be read
        with pytest.raises(PathRefused):
            attempt(path.format(ws=view.workspace))
    assert tree(view.source) == before


def test_a33_names_that_only_look_like_ways_out_are_names(view: View, edit: Workspace) -> None:
    for path in ("%2e%2e/x", "a.../x", "..a"):
        edit.write_atomic(path, b"x")
        assert (view.source / path).read_bytes() == b"x"


@pytest.mark.attack
@pytest.mark.parametrize("has_openat2", [True, False])
def test_a34_a_racer_that_flips_a_file_and_a_link(
    view: View,
    edit: Workspace,
    canary: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_openat2: bool,
) -> None:
    if not has_openat2:
        monkeypatch.setattr("sandbox.beneath.SYS_OPENAT2", 100_000)
    target, decoy = view.source / "target", view.source / "decoy"
    target.mkdir()
    (target / "precious").write_text("mine")
    decoy.symlink_to(canary.parent)
    stop = threading.Event()
    names = os.fsencode(target), os.fsencode(decoy)

    def flip() -> None:
        while not stop.is_set():
            assert LIBC.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], EXCHANGE) == 0

    racer = threading.Thread(target=flip)
    racer.start()
    num_met = number = 0
    end = time.monotonic() + 60
    try:
        while number < 10_000 or (num_met == 0 and time.monotonic() < end):
            number += 1
            try:
                if number % 10:
                    assert edit.read("target/precious") != b"treasure\n"
                else:
                    edit.write_atomic("target/precious", b"mine")
            except (PathRefused, FileNotFoundError, NotADirectoryError):
                num_met += 1
    finally:
        stop.set()
        racer.join()
    assert num_met > 0, "the racer never won, so this showed nothing"


def test_a35_what_is_no_file_of_its_own_is_not_written(
    run: Attack, view: View, edit: Workspace, canary: Path
) -> None:
    run(f"ln {canary} hard; ln /usr/bin/env hard2; ln /etc/passwd hard3; mkfifo fifo")
    assert not [name for name in tree(view.source) if name.startswith("hard")]
    (view.source / "mem").symlink_to("/proc/self/mem")
    (view.source / "null").symlink_to("/dev/null")
    (view.source / "one").write_text("x")
    os.link(view.source / "one", view.source / "two")
    for path in ("fifo", "mem", "null", "two"):
        with pytest.raises(PathRefused):
            edit.write_atomic(path, b"x")
    for path in ("fifo", "mem", "null"):
        with pytest.raises(PathRefused):
            edit.read(path)
    assert (view.source / "one").read_text() == "x"


def test_a36_the_agents_own_settings(run: Attack, view: View, edit: Workspace) -> None:
    settings = view.source / ".qwen-agent.toml"
    settings.write_text("[approval]\nmode = 'ask'\n")
    for attempt in (edit.remove, lambda path: edit.write_atomic(path, b"x")):
        with pytest.raises(PathRefused, match="other programs obey"):
            attempt(".qwen-agent.toml")
    run("echo > .qwen-agent.toml; rm .qwen-agent.toml; mv .qwen-agent.toml x")
    assert settings.read_text() == "[approval]\nmode = 'ask'\n"


ARCHIVES = """
import io, tarfile, zipfile
with tarfile.open("evil.tar", "w") as tar:
    def add(name, kind=tarfile.REGTYPE, link=""):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(entry, io.BytesIO(b"evil"))
    add("../sibling"); add("{home}/precious"); add("out", tarfile.SYMTYPE, "{home}")
    add("out/precious"); add("dev", tarfile.BLKTYPE)
    add("hard", tarfile.LNKTYPE, "{home}/precious")
    for number in range({count}):
        add(f"many/{{number}}")
with zipfile.ZipFile("evil.zip", "w") as archive:
    archive.writestr("../zipped", "evil"); archive.writestr("{home}/zipped", "evil")
"""


@pytest.mark.attack
def test_a52_archives_are_unpacked_inside_only(
    run: Attack, view: View, canary: Path, tmp_path: Path
) -> None:
    make = ARCHIVES.format(home=canary.parent, count=2_000)
    result = run(
        f"/usr/bin/python3 -c '{make}'; tar -xPf evil.tar 2>/dev/null; unzip -: evil.zip\n"
        '/usr/bin/python3 -c \'import zipfile; zipfile.ZipFile("evil.zip").extractall(".")\'\n'
        "ls many | wc -l"
    )
    assert "2000" in result.output
    assert [notice for notice in result.notices if "The link out to" in notice]
    assert not (view.source / "dev").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"home", "workspace", "aside"}
