"""The patch as a file: whole or not there, into links and devices, never over something else."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from agent.errors import SessionError, UsageError
from agent.patch import check_target, write_whole
from tests.agent.fakes import make_repository, picture


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("patch") / "repo")


def refusal(path: Path, repository: Path) -> str:
    with pytest.raises(UsageError) as caught:
        check_target(path, repository)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_patch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.diff", b"one")
    write_whole(tmp_path / "a.diff", b"two", mode=0o600)
    assert (tmp_path / "a.diff").read_bytes() == b"two"
    assert (tmp_path / "a.diff").stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    with pytest.raises(SessionError, match="cannot be written"):
        write_whole(tmp_path / "folder", b"three")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.diff", "folder"]


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path, repository: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    (tmp_path / "real").write_bytes(b"old")
    there.symlink_to("real")
    missing.symlink_to("new")
    for link in (there, missing):
        check_target(link, repository)
        write_whole(link, b"patch")
        assert link.is_symlink()
        assert link.read_bytes() == b"patch"


def test_a_device_is_written_to_and_stays_one(tmp_path: Path, repository: Path) -> None:
    leader, follower = os.openpty()
    device = Path(os.ttyname(follower))
    check_target(device, repository)
    write_whole(device, b"patch\n")
    assert os.read(leader, 100) == b"patch\r\n"
    assert device.is_char_device()
    check_target(Path("/dev/null"), repository)
    write_whole(Path("/dev/null"), b"patch\n")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(SessionError, match="/dev/full cannot be written: No space left"):
        write_whole(Path("/dev/full"), b"patch\n")
    os.close(leader)
    os.close(follower)


def test_a_fifo_is_written_to_and_one_without_a_reader_holds_nobody(
    tmp_path: Path, repository: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_target(fifo, repository)
    with pytest.raises(SessionError, match="cannot be written"):
        write_whole(fifo, b"patch")
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    content: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            content.append(file.read())

    holding = os.open(fifo, os.O_WRONLY)  # or a reader that comes first would see the end
    reader = threading.Thread(target=read)
    reader.start()
    write_whole(fifo, b"patch" * 100_000)  # more than a pipe holds
    os.close(holding)
    reader.join(60)
    assert content == [b"patch" * 100_000]
    assert fifo.is_fifo()


def test_a_pipe_that_the_shell_made_is_written_to(tmp_path: Path, repository: Path) -> None:
    reading, writing = os.pipe()
    path = Path(f"/dev/fd/{writing}")
    check_target(path, repository)
    write_whole(path, b"patch")
    assert os.read(reading, 100) == b"patch"
    os.close(reading)
    os.close(writing)


def test_what_cannot_be_written_is_refused_before(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    assert "is a folder" in refusal(tmp_path, repository)
    assert "cannot be written" in refusal(tmp_path / "no/such/out.diff", repository)
    assert "cannot be written" in refusal(tmp_path / "file/out.diff", repository)
    assert "cannot be written" in refusal(tmp_path / "loop", repository)
    assert "cannot be written" in refusal(Path("/proc/out.diff"), repository)
    assert "cannot be written" in refusal(tmp_path / ("x" * 300), repository)
    check_target(tmp_path / ("x" * 250), repository)
    write_whole(tmp_path / ("x" * 250), b"patch")


def test_the_repository_is_never_written_over(tmp_path: Path, repository: Path) -> None:
    before = picture(repository)
    assert "file of the repository" in refusal(repository / "shop/cart.py", repository)
    assert "inside a .git folder" in refusal(repository / ".git/HEAD", repository)
    assert "inside a .git folder" in refusal(repository / ".git/new", repository)
    (tmp_path / "link").symlink_to(repository / "shop/cart.py")
    assert "file of the repository" in refusal(tmp_path / "link", repository)
    check_target(repository / "fix.patch", repository)
    assert picture(repository) == before


def test_the_patch_of_the_last_run_may_be_written_over(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    (repository / "fix.patch").write_text("diff --git\n")
    check_target(repository / "fix.patch", repository)
    subprocess.run(["git", "update-index", "--index-version=4"], cwd=repository, check=True)
    check_target(repository / "fix.patch", repository)
    assert "file of the repository" in refusal(repository / "shop/cart.py", repository)
    (repository / "shop/cart.py").unlink()
    assert "file of the repository" in refusal(repository / "shop/cart.py", repository)


def test_without_an_answer_from_git_no_file_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.py").write_text("")
    assert "file of the repository" in refusal(tmp_path / "a.py", tmp_path)
    check_target(tmp_path / "new", tmp_path)


def test_a_repositorys_settings_run_nothing(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    mark = tmp_path / "mark"
    for name in ("core.fsmonitor", "core.pager", "core.hooksPath"):
        words = ["git", "config", name, f"touch {mark}; true"]
        subprocess.run(words, cwd=repository, check=True, timeout=30)
    check_target(repository / "fix.patch", repository)
    assert not mark.exists()


def test_the_file_that_is_shown_into_is_refused(
    repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # `capfd` gives standard output a file of its own.
    assert "takes what is shown" in refusal(Path("/proc/self/fd/1"), repository)
