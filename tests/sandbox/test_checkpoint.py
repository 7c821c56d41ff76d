"""The shadow repository: what changed, the patch of it, and the exact way back."""

import itertools
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError
from sandbox.full_disk import is_full
from sandbox.reading import Stored, store
from sandbox.shadow_git import ShadowGit
from sandbox.snapshot import Seen, look
from tests.inference.faults import mounted, needs_root

Tree = dict[str, tuple[int, bytes]]


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    folder = tmp_path / "worktree"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_bytes(b"a = 1\n")
    (folder / "crlf.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "data.bin").write_bytes(bytes(range(256)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "private").write_text("x\n")
    (folder / "private").chmod(0o600)
    (folder / "link").symlink_to("pkg/a.py")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path, worktree: Path) -> Checkpoint:
    return Checkpoint.create(tmp_path / "shadow", worktree)


def tree_of(folder: Path) -> Tree:
    """Everything on disk that can be compared: kind, permissions, bytes."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(mode):
            found[name] = (0, os.fsencode(path.readlink()))
        else:
            found[name] = (mode, path.read_bytes() if stat.S_ISREG(mode) else b"")
    return found


def test_restoring_gives_back_every_byte_and_permission(
    checkpoint: Checkpoint, worktree: Path
) -> None:
    before = tree_of(worktree)
    saved = checkpoint.save("start")
    (worktree / "pkg" / "a.py").write_text("broken")
    (worktree / "crlf.txt").unlink()
    (worktree / "data.bin").unlink()
    (worktree / "data.bin").mkdir()
    (worktree / "data.bin" / "x").touch()
    (worktree / "link").unlink()
    (worktree / "link").write_text("now a file")
    (worktree / "private").chmod(0o644)
    (worktree / "run.sh").chmod(0o644)
    (worktree / "empty").rmdir()
    (worktree / "new" / "deep").mkdir(parents=True)
    (worktree / "new" / "deep" / "file").touch()
    checkpoint.restore(saved)
    assert tree_of(worktree) == before


def test_a_moment_can_be_kept_with_some_files_of_another(
    checkpoint: Checkpoint, worktree: Path
) -> None:
    before = tree_of(worktree)
    first = checkpoint.save("first")
    (worktree / "pkg" / "a.py").write_bytes(b"a = 2\r\n")
    (worktree / "data.bin").unlink()
    (worktree / "new").mkdir()
    (worktree / "new" / "b.py").touch()
    mixed = checkpoint.mixed(first, checkpoint.save("second"), ["pkg/a.py", "new/b.py"])
    assert checkpoint.changed(first, mixed) == ("new/b.py", "pkg/a.py")
    assert checkpoint.holds(mixed, "pkg/a.py", b"a = 2\r\n")
    assert checkpoint.holds(mixed, "new/b.py", b"")
    assert not checkpoint.holds(mixed, "pkg/a.py", b"a = 1\n")
    assert not checkpoint.holds(first, "new/b.py", b"")
    checkpoint.restore(mixed, ["data.bin", "pkg/a.py"])
    assert tree_of(worktree)["data.bin"] == before["data.bin"]
    assert (worktree / "pkg" / "a.py").read_bytes() == b"a = 2\r\n"


def test_a_folder_that_became_a_link_is_a_folder_again_and_the_links_target_untouched(
    checkpoint: Checkpoint, worktree: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("not yours\n")
    saved = checkpoint.save("start")
    before = tree_of(worktree)
    (worktree / "pkg" / "a.py").unlink()
    (worktree / "pkg").rmdir()
    (worktree / "pkg").symlink_to(outside)
    assert checkpoint.changed(saved) == ("pkg", "pkg/a.py")
    checkpoint.restore(saved)
    assert tree_of(worktree) == before
    assert (outside / "a.py").read_text() == "not yours\n"


def test_a_fifo_in_the_way_of_a_folder_is_no_obstacle(
    checkpoint: Checkpoint, worktree: Path
) -> None:
    saved = checkpoint.save("start")
    (worktree / "pkg" / "a.py").unlink()
    (worktree / "pkg").rmdir()
    os.mkfifo(worktree / "pkg")
    checkpoint.restore(saved)
    assert (worktree / "pkg" / "a.py").read_text() == "a = 1\n"


def test_changes_are_named(checkpoint: Checkpoint, worktree: Path) -> None:
    first = checkpoint.save("one")
    assert checkpoint.changed(first) == ()
    (worktree / "pkg" / "a.py").write_text("a = 2\n")
    (worktree / "new").touch()
    (worktree / "run.sh").chmod(0o644)
    second = checkpoint.save("two")
    (worktree / "crlf.txt").unlink()
    assert checkpoint.changed(first, second) == ("new", "pkg/a.py", "run.sh")
    assert checkpoint.changed(second) == ("crlf.txt",)
    assert checkpoint.changed(first) == ("crlf.txt", "new", "pkg/a.py", "run.sh")
    assert checkpoint.latest() == second


def test_a_change_that_keeps_time_and_size_is_seen(checkpoint: Checkpoint, worktree: Path) -> None:
    path = worktree / "pkg" / "a.py"
    os.utime(path, (1_000_000_000, 1_000_000_000))
    saved = checkpoint.save("one")
    checkpoint.save("again")
    path.write_text("a = 2\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert checkpoint.changed(saved) == ("pkg/a.py",)


@pytest.mark.parametrize("name", ["plain", "with space", "é", "tab\there", "new\nline", 'quo"te'])
def test_the_patch_applies_with_git(
    checkpoint: Checkpoint, worktree: Path, tmp_path: Path, name: str
) -> None:
    (worktree / name).write_text("old\nsame\n")
    base = checkpoint.save("base")
    (worktree / name).write_text("new\nsame\n")
    (worktree / "latin.txt").write_bytes(b"caf\xe9s\n")
    (worktree / "data.bin").write_bytes(b"\0\1\2" * 100)
    (worktree / "crlf.txt").write_bytes(b"\xef\xbb\xbfone\r\nthree")
    (worktree / "run.sh").chmod(0o644)
    (worktree / "added").write_text("no newline at the end")
    (worktree / "pkg" / "a.py").unlink()
    final = checkpoint.save("final")
    patch = checkpoint.diff(base, final)
    assert patch == checkpoint.diff(base)
    after = tree_of(worktree)
    checkpoint.restore(base)
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        input=patch.encode("utf-8", errors="surrogateescape"),
        cwd=worktree,
        check=True,
        env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path)},
    )
    left = {path: entry[1] for path, entry in tree_of(worktree).items() if path != "pkg"}
    assert left == {path: entry[1] for path, entry in after.items() if path != "pkg"}


def test_a_text_change_reads_as_a_usual_patch(checkpoint: Checkpoint, worktree: Path) -> None:
    base = checkpoint.save("base")
    (worktree / "pkg" / "a.py").write_text("a = 2\n")
    patch = checkpoint.diff(base)
    assert "--- a/pkg/a.py\n+++ b/pkg/a.py\n" in patch
    assert "-a = 1\n+a = 2\n" in patch


def test_one_file_of_a_commit_can_be_read(checkpoint: Checkpoint, worktree: Path) -> None:
    saved = checkpoint.save("base")
    (worktree / "latin.txt").unlink()
    assert checkpoint.file(saved, "latin.txt") == b"caf\xe9\n"
    assert checkpoint.file(saved, "link") == b"pkg/a.py"
    assert checkpoint.file(saved, "nothing") is None


def test_odd_names_come_back(checkpoint: Checkpoint, worktree: Path) -> None:
    for name in (b"\xff\xfe", b"a\nb", b"a\rb\n", b'"q"', b"-dash", b" ", b"git~1", b"back\\slash"):
        Path(os.fsdecode(os.fsencode(worktree) + b"/" + name)).write_bytes(name)
    Path(worktree, "odd\nlink").symlink_to("a\nb")
    before = tree_of(worktree)
    saved = checkpoint.save("odd")
    for path in worktree.iterdir():
        if path.is_file():
            path.unlink()
    checkpoint.restore(saved)
    assert tree_of(worktree) == before


def test_caches_environments_and_git_are_left_alone(checkpoint: Checkpoint, worktree: Path) -> None:
    for name in (".git", ".venv", "node_modules", "__pycache__", "pkg/sub/.git", ".GIT"):
        (worktree / name).mkdir(parents=True)
        (worktree / name / "x").touch()
    (worktree / "target").mkdir()
    (worktree / "target" / "CACHEDIR.TAG").touch()
    (worktree / "pkg" / "target").mkdir()
    (worktree / "pkg" / "target" / "kept").touch()
    (worktree / "pkg" / "sub" / "beside").write_text("kept\n")
    (worktree / "pkg" / "a.pyc").touch()
    os.mkfifo(worktree / "fifo")
    saved = checkpoint.save("base")
    assert checkpoint.file(saved, "pkg/sub/beside") == b"kept\n"
    assert checkpoint.file(saved, "pkg/target/kept") == b""
    for path in (".git/x", ".venv/x", "pkg/a.pyc", "pkg/sub/.git/x", "target/CACHEDIR.TAG", "fifo"):
        assert checkpoint.entry(saved, path) is None
        assert (worktree / path).exists()
        (worktree / path).unlink()
    checkpoint.restore(saved)
    assert (worktree / "node_modules" / "x").exists()


def test_the_caller_says_what_is_ignored(tmp_path: Path, worktree: Path) -> None:
    checkpoint = Checkpoint.create(tmp_path / "s", worktree, ignored=lambda path: path == "pkg")
    saved = checkpoint.save("base")
    assert checkpoint.entry(saved, "pkg/a.py") is None
    assert checkpoint.entry(saved, "crlf.txt") is not None


def test_an_empty_worktree_can_be_saved_and_restored(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    checkpoint = Checkpoint.create(tmp_path / "shadow", tmp_path / "w")
    saved = checkpoint.save("nothing")
    (tmp_path / "w" / "x").touch()
    checkpoint.restore(saved)
    assert list((tmp_path / "w").iterdir()) == []


def test_a_repository_is_opened_again_by_a_later_process(
    checkpoint: Checkpoint, worktree: Path
) -> None:
    before = tree_of(worktree)
    saved = checkpoint.save("é 'label'\n\nwith lines")
    again = Checkpoint.open(checkpoint.git_dir, worktree)
    assert again.latest() == saved
    (worktree / "private").unlink()
    (worktree / "empty").rmdir()
    assert again.changed(saved) == ("private",)
    again.restore(saved)
    assert tree_of(worktree) == before


@pytest.mark.slow
def test_of_thousands_of_files_none_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    for number in range(3000):
        path = folder / str(number % 50) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    checkpoint = Checkpoint.create(tmp_path / "shadow", folder)
    saved = checkpoint.save("base")
    time.sleep(2.1)  # files as fresh as that are read again
    checkpoint.changed(saved)
    read: list[str] = []

    def noted(git: ShadowGit, folder: Path, seen: Seen, paths: Sequence[str]) -> dict[str, Stored]:
        read.extend(paths)
        return store(git, folder, seen, paths)

    monkeypatch.setattr("sandbox.checkpoint.store", noted)
    assert checkpoint.changed(saved) == ()
    assert read == []
    assert len(checkpoint._blobs) == 3000


def test_checkpoints_inside_the_workspace_are_refused(worktree: Path) -> None:
    with pytest.raises(SandboxError, match="inside the workspace"):
        Checkpoint.create(worktree / "shadow", worktree)


def test_an_unknown_commit_is_a_sentence(checkpoint: Checkpoint) -> None:
    with pytest.raises(SandboxError, match="could not be used"):
        checkpoint.restore("0" * 40)


@pytest.mark.fault
@needs_root
def test_git_that_does_not_say_why_it_cannot_write_has_met_a_full_disk(
    tmp_path: Path, worktree: Path
) -> None:
    with mounted(tmp_path / "small", "400k") as small:
        commit = Checkpoint.create(small / "shadow", worktree).save("base")
        with pytest.raises(OSError, match="No space left"):
            (small / "filler").write_bytes(bytes(400 * 1024))
        with pytest.raises(SandboxError, match="shadow cannot be written: No space") as caught:
            ShadowGit(small / "shadow").run("update-ref", "refs/heads/other", commit)
    assert is_full(caught.value)


def test_gits_variables_and_settings_of_the_caller_change_nothing(
    tmp_path: Path, worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[diff]\n  noprefix = true\n[core]\n  autocrlf = input\n")
    for name, value in (
        ("HOME", str(home)),
        ("GIT_DIR", "/nonexistent"),
        ("GIT_INDEX_FILE", "/nonexistent/index"),
        ("GIT_OBJECT_DIRECTORY", "/nonexistent/objects"),
        ("GIT_EXTERNAL_DIFF", "/bin/false"),
        ("GIT_DEFAULT_HASH", "sha256"),
    ):
        monkeypatch.setenv(name, value)
    checkpoint = Checkpoint.create(tmp_path / "shadow", worktree)
    saved = checkpoint.save("base")
    assert len(saved) == 40
    (worktree / "crlf.txt").write_bytes(b"1\r\n")
    assert "--- a/crlf.txt" in checkpoint.diff(saved)
    checkpoint.restore(saved)
    assert (worktree / "crlf.txt").read_bytes() == b"\xef\xbb\xbfone\r\ntwo"


@pytest.mark.attack
def test_nothing_of_a_hostile_repository_runs(tmp_path: Path, worktree: Path) -> None:  # A37
    marker = tmp_path / "marker"
    subprocess.run(["git", "init", "-q", str(worktree)], check=True)
    (worktree / ".git" / "config").write_text(
        f"[core]\n fsmonitor = touch {marker}\n hooksPath = {worktree}/hooks\n"
        f'[diff]\n external = touch {marker}\n[diff "x"]\n textconv = touch {marker};cat\n'
        f'[filter "x"]\n clean = touch {marker};cat\n smudge = touch {marker};cat\n'
    )
    (worktree / ".gitattributes").write_text("* filter=x diff=x text eol=crlf\n")
    (worktree / "hooks").mkdir()
    for name in ("post-index-change", "reference-transaction", "pre-commit"):
        (worktree / "hooks" / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (worktree / "hooks" / name).chmod(0o755)
    checkpoint = Checkpoint.create(tmp_path / "shadow", worktree)
    saved = checkpoint.save("base")
    (worktree / "pkg" / "a.py").write_text("a = 3\n")
    assert "+a = 3" in checkpoint.diff(saved)
    checkpoint.restore(saved)
    assert (worktree / "pkg" / "a.py").read_bytes() == b"a = 1\n"
    assert not marker.exists()


@pytest.mark.fault
def test_without_git_there_is_a_sentence(tmp_path: Path, worktree: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sandbox.checkpoint import Checkpoint\n"
        "Checkpoint.create(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s"), str(worktree)],
        env={"PATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SandboxError: git is not installed; run `apt-get install git`." in done.stderr


def test_files_that_come_and_go_meanwhile_do_not_spoil_a_checkpoint(
    checkpoint: Checkpoint, worktree: Path
) -> None:
    script = "while :; do echo x > tmp1; mv tmp1 tmp2; rm tmp2; mkdir d; rmdir d; done"
    busy = subprocess.Popen(["sh", "-c", script], cwd=worktree)
    try:
        commits = [checkpoint.save("meanwhile") for _ in range(5)]
    finally:
        busy.kill()
        busy.wait()
    assert all("pkg/a.py" in checkpoint.files(commit) for commit in commits)


def while_listing(worktree: Path, do: Callable[[], None]) -> Callable[[str], bool]:
    """Ignore nothing, and do something at the last name of each listing, `zzz`."""
    (worktree / "zzz").touch()

    def ignored(path: str) -> bool:
        if path == "zzz":
            do()
        return False

    return ignored


def test_what_goes_away_between_listing_and_reading_is_not_in_the_checkpoint(
    tmp_path: Path, worktree: Path
) -> None:
    numbers = itertools.count()
    (worktree / "file0").write_text("here\n")
    (worktree / "link0").symlink_to("pkg")

    def go_on() -> None:  # at each listing there is a file that will be gone
        number = next(numbers)
        for kind in ("file", "link"):
            (worktree / f"{kind}{number}").rename(worktree / f"{kind}{number + 1}")

    checkpoint = Checkpoint.create(tmp_path / "shadow", worktree, while_listing(worktree, go_on))
    files = checkpoint.files(checkpoint.save("meanwhile"))
    assert "pkg/a.py" in files
    assert not {"file0", "file1", "link0", "link1"} & {*files}


@pytest.mark.attack
def test_a_folder_swapped_for_a_link_meanwhile_gives_no_file_from_elsewhere(
    tmp_path: Path, worktree: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.py").write_text("secret\n")

    def swap() -> None:
        if not (worktree / "kept").exists():
            (worktree / "pkg").rename(worktree / "kept")
            (worktree / "pkg").symlink_to(tmp_path / "outside")

    checkpoint = Checkpoint.create(tmp_path / "shadow", worktree, while_listing(worktree, swap))
    assert "pkg/a.py" not in checkpoint.files(checkpoint.save("meanwhile"))


class ShrinkingUnderGit(ShadowGit):
    """Git that fails once, as it does when a file becomes shorter while it is read."""

    has_failed = False

    def store_files(self, worktree: Path, paths: list[str], seen: Seen) -> list[str]:
        if not self.has_failed:
            self.has_failed = True
            raise SandboxError("short read while indexing")
        return super().store_files(worktree, paths, seen)


def test_a_file_that_shrinks_while_git_reads_it_is_read_in_a_copy(
    checkpoint: Checkpoint, worktree: Path
) -> None:
    git = ShrinkingUnderGit(checkpoint.git_dir)
    stored = store(git, worktree, look(worktree, lambda path: False), ["crlf.txt", "link"])
    assert git.has_failed
    held = {path: git.run("cat-file", "blob", one.blob) for path, one in stored.items()}
    assert held == {"crlf.txt": b"\xef\xbb\xbfone\r\ntwo", "link": b"pkg/a.py"}
