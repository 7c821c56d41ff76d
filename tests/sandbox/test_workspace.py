"""File access of the tools: inside works as expected, outside does not happen."""

import errno
import os
import resource
import socket
import stat
from pathlib import Path, PurePosixPath

import pytest

from sandbox import beneath
from sandbox.errors import PathRefused
from sandbox.protected import is_git_name
from sandbox.workspace import Workspace

SEEN_AS = Path("/home/me/repo")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_bytes(b"a = 1\r\n")
    return folder


@pytest.fixture(params=["openat2", "by component"])
def workspace(
    request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """With the system call, and as on a kernel that has none."""
    if request.param == "by component":
        monkeypatch.setattr(beneath, "SYS_OPENAT2", 100_000)
    return Workspace(root, SEEN_AS)


@pytest.mark.parametrize(
    ("text", "relative"),
    [
        ("pkg/a.py", "pkg/a.py"),
        ("./pkg//a.py", "pkg/a.py"),
        ("pkg/../x", "x"),
        ("/home/me/repo/pkg/a.py", "pkg/a.py"),
        ("//home/me/repo/x", "x"),
        ("/home/me/repo", "."),
        (".", "."),
        ("...", "..."),
        ("%2e%2e/x", "%2e%2e/x"),
    ],
)
def test_paths_below_are_understood(workspace: Workspace, text: str, relative: str) -> None:
    assert workspace.resolve(text) == PurePosixPath(relative)


@pytest.mark.parametrize(
    "text",
    ["..", "../x", "pkg/../../x", "/etc/passwd", "//etc/passwd", "/home/me/repo-evil/x", "/",
     "/home/me/repo/../other", "~", "~/x", "~root/x", "", " ", "a\0b", "\ud800"],
)  # fmt: skip
def test_paths_elsewhere_are_refused(workspace: Workspace, text: str) -> None:
    with pytest.raises(PathRefused):
        workspace.resolve(text)
    with pytest.raises(PathRefused):
        workspace.read(text)
    with pytest.raises(PathRefused):
        workspace.write_atomic(text, b"")


def test_reading_gives_the_bytes_as_they_are(workspace: Workspace) -> None:
    assert workspace.read("/home/me/repo/pkg/a.py") == b"a = 1\r\n"
    with pytest.raises(FileNotFoundError):
        workspace.read("nothing")


def test_writing_makes_folders_and_an_ordinary_file(workspace: Workspace, root: Path) -> None:
    workspace.write_atomic("new/deep/file", b"x")
    assert (root / "new/deep/file").read_bytes() == b"x"
    assert stat.S_IMODE((root / "new/deep/file").stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", [0o755, 0o600, 0o664])
def test_writing_keeps_the_mode(workspace: Workspace, root: Path, mode: int) -> None:
    (root / "pkg/a.py").chmod(mode)
    workspace.write_atomic("pkg/a.py", b"y")
    assert stat.S_IMODE((root / "pkg/a.py").stat().st_mode) == mode
    assert [path.name for path in (root / "pkg").iterdir()] == ["a.py"]


def test_a_file_in_place_of_a_folder_is_said(workspace: Workspace) -> None:
    with pytest.raises(PathRefused, match="a file stands where"):
        workspace.write_atomic("pkg/a.py/below", b"")
    with pytest.raises(PathRefused, match="is a folder"):
        workspace.write_atomic("pkg", b"")
    with pytest.raises(PathRefused, match="is a folder"):
        workspace.read("pkg")
    with pytest.raises(PathRefused, match="too long"):
        workspace.write_atomic("x" * 300, b"")


def test_what_exists_is_known(workspace: Workspace) -> None:
    assert workspace.exists("pkg")
    assert workspace.is_folder("pkg")
    assert workspace.exists("pkg/a.py")
    assert not workspace.is_folder("pkg/a.py")
    assert not workspace.exists("pkg/b.py")
    assert not workspace.is_folder("nothing")
    assert not workspace.exists("pkg/a.py/b")


def test_the_listing_is_sorted_deep_as_asked_and_without_git(
    workspace: Workspace, root: Path
) -> None:
    (root / ".git").mkdir()
    (root / "pkg" / "sub").mkdir()
    (root / "pkg" / "sub" / "deep").touch()
    (root / "link").symlink_to("/etc")
    assert workspace.listing() == ("link", "pkg/", "pkg/a.py", "pkg/sub/")
    assert workspace.listing("pkg", 5) == ("pkg/a.py", "pkg/sub/", "pkg/sub/deep")
    assert workspace.listing("pkg", 1) == ("pkg/a.py", "pkg/sub/")
    with pytest.raises(NotADirectoryError):
        workspace.listing("pkg/a.py")
    with pytest.raises(PathRefused):
        workspace.listing("link")


def test_a_link_that_stays_inside_is_followed_and_stays_a_link(root: Path) -> None:
    workspace = Workspace(root, SEEN_AS)
    (root / "file").symlink_to("pkg/a.py")
    (root / "folder").symlink_to("pkg")
    assert workspace.read("file") == b"a = 1\r\n"
    workspace.write_atomic("file", b"1")
    assert (root / "pkg/a.py").read_bytes() == b"1"
    assert (root / "file").is_symlink()
    workspace.write_atomic("folder/b/c.py", b"2")
    assert (root / "pkg/b/c.py").read_bytes() == b"2"


def test_a_file_has_one_name_whatever_links_lead_to_it(root: Path) -> None:
    workspace = Workspace(root, SEEN_AS)
    (root / "link").symlink_to("pkg")
    (root / "gone").symlink_to("nowhere")
    for path in ("link/a.py", "pkg/a.py", "link/../pkg/a.py"):
        assert workspace.real(path) == PurePosixPath("pkg/a.py")
    assert workspace.real("link/new.py") == PurePosixPath("pkg/new.py")
    assert workspace.real("pkg/a.py/x") == PurePosixPath("pkg/a.py/x")
    assert workspace.real("gone") == PurePosixPath("gone")
    assert workspace.real(".") == PurePosixPath()


def test_a_link_that_stays_inside_is_removed_by_its_target(root: Path) -> None:
    (root / "link").symlink_to("pkg/a.py")
    Workspace(root, SEEN_AS).remove("link")
    assert list((root / "pkg").iterdir()) == []
    assert (root / "link").is_symlink()


def test_only_an_ordinary_file_is_removed(workspace: Workspace, root: Path) -> None:
    workspace.remove("pkg/a.py")
    assert list((root / "pkg").iterdir()) == []
    for path, said in (("pkg", "is a folder"), (".git/config", "belongs to git")):
        with pytest.raises(PathRefused, match=said):
            workspace.remove(path)
    with pytest.raises(FileNotFoundError):
        workspace.remove("pkg/a.py")


@pytest.mark.parametrize("name", [".git", ".GIT", ".gIt", ".git\u200c", ".git.", ".git ", "GIT~1"])
def test_git_in_any_spelling_is_read_only(workspace: Workspace, root: Path, name: str) -> None:
    assert is_git_name(name)
    for path in (name, f"{name}/config", f"pkg/{name}/hooks/pre-commit"):
        with pytest.raises(PathRefused, match="belongs to git"):
            workspace.write_atomic(path, b"")
    assert [path.name for path in root.iterdir()] == ["pkg"]


def test_names_like_git_are_ordinary(workspace: Workspace) -> None:
    for name in (".gitignore", ".github/x", "git", "a.git"):
        workspace.write_atomic(name, b"")


def test_git_behind_a_link_is_read_only(root: Path) -> None:
    (root / ".git").mkdir()
    (root / "innocent").symlink_to(".git")
    with pytest.raises(PathRefused, match="belongs to git"):
        Workspace(root, SEEN_AS).write_atomic("innocent/config", b"")


def links_out(root: Path, outside: Path) -> list[str]:
    (root / "absolute").symlink_to(outside / "secret")
    (root / "relative").symlink_to("../outside/secret")
    (root / "folder").symlink_to(outside)
    (root / "magic").symlink_to("/proc/self/cwd/x")
    (root / "self").symlink_to("self")
    return ["absolute", "relative", "folder/secret", "folder/new", "magic", "self"]


@pytest.mark.attack
def test_a_link_that_leads_out_is_refused(  # A31
    workspace: Workspace, root: Path, outside: Path
) -> None:
    for path in links_out(root, outside):
        with pytest.raises(PathRefused):
            workspace.read(path)
        with pytest.raises(PathRefused):
            workspace.write_atomic(path, b"changed")
        with pytest.raises(PathRefused):
            workspace.remove(path)
        with pytest.raises(PathRefused):
            workspace.exists(path)
    assert (outside / "secret").read_text() == "secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]


@pytest.mark.attack
def test_a_link_to_nowhere_is_not_written_through(
    workspace: Workspace, root: Path, outside: Path
) -> None:
    (root / "dangling").symlink_to("not-yet")
    (root / "dangling-out").symlink_to(outside / "not-yet")
    for name in ("dangling", "dangling-out"):
        with pytest.raises(PathRefused):
            workspace.write_atomic(name, b"")
    assert not (outside / "not-yet").exists()


@pytest.mark.attack
def test_only_ordinary_files_are_touched(  # A35
    workspace: Workspace, root: Path, outside: Path
) -> None:
    os.mkfifo(root / "fifo")
    os.link(outside / "secret", root / "hard")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    for name in ("fifo", "socket"):
        with pytest.raises(PathRefused):
            workspace.read(name)
    for name in ("fifo", "socket", "hard"):
        with pytest.raises(PathRefused):
            workspace.write_atomic(name, b"changed")
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.fault
def test_a_full_disk_leaves_the_old_file(workspace: Workspace, root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            workspace.write_atomic("pkg/a.py", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (root / "pkg/a.py").read_bytes() == b"a = 1\r\n"
    assert [path.name for path in (root / "pkg").iterdir()] == ["a.py"]


def test_a_workspace_may_be_one_folder_and_a_link_in_its_place_leads_nowhere(
    root: Path, outside: Path
) -> None:
    workspace = Workspace(root, SEEN_AS, PurePosixPath("pkg"))
    assert workspace.read("a.py") == b"a = 1\r\n"
    assert workspace.read(str(SEEN_AS / "pkg" / "a.py")) == b"a = 1\r\n"
    workspace.write_atomic("sub/new.py", b"b = 2\n")
    assert (root / "pkg" / "sub" / "new.py").read_bytes() == b"b = 2\n"
    assert workspace.listing() == ("a.py", "sub/", "sub/new.py")
    (root / "other").mkdir()
    (root / "pkg" / "link").symlink_to("../other")
    for path in ("../other/x", str(SEEN_AS / "other" / "x"), "link/x"):
        with pytest.raises(PathRefused):
            workspace.write_atomic(path, b"")
    (root / "pkg").rename(root / "old")
    (root / "pkg").symlink_to(outside)
    with pytest.raises(PathRefused):
        workspace.read("secret")
    with pytest.raises(PathRefused):
        workspace.write_atomic("secret", b"mine")
    assert (outside / "secret").read_text() == "secret"
