"""What a run leaves as a file: where it may go, and written so that nobody sees half of it."""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from agent.errors import GitFailed, SessionError, UsageError
from agent.user_git import run_git


def check_target(path: Path, repository: Path | None, what: str = "the patch") -> None:
    """Make sure that a file could be written to `path`, before anything slow is done for it.

    Raises:
        UsageError: it could not, or something would be lost by it.
    """
    try:
        status = _status(path)
        target = Path(os.path.realpath(path))
        if status is not None and _is_stream(status):
            if not os.access(path, os.W_OK):
                raise UsageError(f"{path} cannot be written: Permission denied")
            return
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path} is a folder; name a file for {what}")
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is no file; name one for {what}")
        if status is not None and _is_our_output(status):
            raise UsageError(f"{path} takes what is shown already; name another file for {what}")
        if ".git" in target.parts:
            raise UsageError(f"{path} is inside a .git folder; name another file for {what}")
        if repository is not None and _is_tracked(target, repository):
            raise UsageError(f"{path} is a file of the repository; name another for {what}")
        _try_to_write_beside(target)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file at once; a link stays one, and a FIFO or device is written to.

    Raises:
        SessionError: it cannot be written; what was there before still is.
    """
    try:
        status = _status(path)
        if status is not None and _is_stream(status):
            _pour(path, content)
        else:
            _replace(Path(os.path.realpath(path)), content, mode)
    except OSError as error:
        raise SessionError(f"{path} cannot be written: {error.strerror}") from error


def _status(path: Path) -> os.stat_result | None:
    """Look at what stands at the path, beyond any links; None if there is nothing."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_stream(status: os.stat_result) -> bool:
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)


def _is_our_output(status: os.stat_result) -> bool:
    """Say whether standard output or standard error goes into this file."""
    for number in (1, 2):
        with suppress(OSError):  # a closed one takes nothing
            if os.path.samestat(status, os.fstat(number)):
                return True
    return False


def _is_tracked(target: Path, repository: Path) -> bool:
    """Ask git; where it has no answer, any file that is there counts."""
    if not target.is_relative_to(repository):
        return False
    try:
        name = str(target.relative_to(repository))
        return bool(run_git(repository, "ls-files", "-z", "--", name))
    except GitFailed:
        return target.exists()


def _pour(path: Path, content: bytes) -> None:
    # Without O_NONBLOCK a FIFO that nobody reads would hold us for ever; with it that is an error.
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _replace(target: Path, content: bytes, mode: int) -> None:
    """Put a whole new file in the place of the old one."""
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    fresh = _name_beside(target)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _try_to_write_beside(target: Path) -> None:
    """Make a file where the patch will be made: no look at permissions tells as much."""
    fresh = _name_beside(target)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    fresh.unlink()


def _name_beside(target: Path) -> Path:
    # Not made from the target's name, which may be as long as a name can be.
    return target.with_name(f".qwen-agent-{secrets.token_hex(4)}.tmp")
