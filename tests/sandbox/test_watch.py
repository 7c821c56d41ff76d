"""The supervisor's own limits, and the parts of root's level that need no root."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import staging
from sandbox.confine import landlock_version
from sandbox.limits import MIB
from sandbox.nameless import UNKNOWN
from sandbox.watch import Watch, proportional, resident, used_by

MUCH = 1 << 50


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a disk to which little else is written."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def watch(folder: Path, **limits: int) -> Watch:
    wanted = {"resident_bytes": MUCH, "num_processes": 1000, "disk_bytes": MUCH, "free_bytes": 0}
    return Watch(folders=[str(folder)], **{**wanted, **limits})


def test_nothing_is_said_while_all_is_well(disk: Path) -> None:
    (disk / "file").write_bytes(bytes(MIB))
    assert watch(disk).complaint() == ("", "")
    assert Watch([], MUCH, 1000, 0, 0).complaint() == ("", "")  # nothing can be written


def test_what_a_command_writes_is_counted(disk: Path) -> None:
    watching = watch(disk, disk_bytes=8 * MIB)
    watching._free_at_start += MUCH  # a test beside this one may give back room meanwhile
    (disk / "sub").mkdir()
    (disk / "sub" / "file").write_bytes(bytes(32 * MIB))
    word, sentence = watching.complaint()
    assert word == "disk"
    assert "8 MiB are allowed" in sentence


def test_what_others_write_is_not(disk: Path) -> None:
    own, other = disk / "own", disk / "other"
    own.mkdir()
    watching = watch(own, disk_bytes=8 * MIB)
    other.write_bytes(bytes(32 * MIB))
    assert watching.complaint() == ("", "")
    (own / "file").write_bytes(bytes(MIB))
    assert watching.complaint() == ("", "")


def test_a_nearly_full_disk_is_no_reason_to_stop_what_writes_nothing(disk: Path) -> None:
    found = os.statvfs(disk)
    watching = watch(disk, free_bytes=found.f_blocks * found.f_frsize)
    assert watching.complaint() == ("", "")


def test_used_by_follows_no_link_and_stops_once_it_is_enough(disk: Path) -> None:
    (disk / "link").symlink_to("/usr")
    (disk / "file").write_bytes(bytes(4 * MIB))
    folder = os.open(disk, os.O_RDONLY)
    try:
        assert 4 * MIB <= used_by([folder], MUCH) < 5 * MIB
        assert used_by([folder, folder], MIB) < 5 * MIB
    finally:
        os.close(folder)


def test_memory_and_number_of_processes(disk: Path) -> None:
    script = "x = bytearray(b'x') * 80_000_000; print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        word, sentence = watch(disk, resident_bytes=64 * MIB).complaint()
        assert word == "memory"
        assert "64 MiB are allowed" in sentence
        assert watch(disk, num_processes=0).complaint()[0] == "processes"
        assert 64 * MIB < sum(proportional(process.pid)) <= resident(process.pid)
        process.communicate()
    assert resident(process.pid) == sum(proportional(process.pid)) == 0


MEMORY_FILE = "file = os.memfd_create('x'); os.posix_fallocate(file, 0, 64 << 20)"
MAPPED = f"{MEMORY_FILE}; shared = mmap.mmap(file, 64 << 20); os.close(file)"
FORGOTTEN = "x = mmap.mmap(-1, 64 << 20); x[:] = bytes(64 << 20); x.madvise(mmap.MADV_DONTNEED)"


@contextmanager
def holding(script: str, *arguments: str) -> Iterator[None]:
    """Have a child that has run a script of Python, until the end."""
    words = [sys.executable, "-c", f"import mmap, os, sys; {script}; print(flush=True); input()"]
    with subprocess.Popen(
        [*words, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield
        process.communicate(b"\n")


@pytest.mark.parametrize("script", [MEMORY_FILE, MAPPED, FORGOTTEN])
def test_memory_that_no_process_looks_at_is_counted(disk: Path, script: str) -> None:
    watching = watch(disk, resident_bytes=48 * MIB)
    watching._shared_at_start = 0  # a test beside this one may give back what it had then
    with holding(script):
        assert watching.complaint()[0] == "memory"


def test_shared_memory_is_counted_once(disk: Path) -> None:
    watching = watch(disk, resident_bytes=112 * MIB)
    with holding(f"{MEMORY_FILE}; x = mmap.mmap(file, 64 << 20); x[:] = b'x' * (64 << 20)"):
        assert watching.complaint() == ("", "")


@pytest.mark.parametrize("then", ["", "; x = mmap.mmap(file, 32 << 20); os.close(file)"])
def test_a_file_without_a_name_is_counted(disk: Path, then: str) -> None:
    watching = watch(disk, disk_bytes=8 * MIB)
    watching._free_at_start += MUCH  # as above
    script = "file = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR); os.unlink(sys.argv[1]); "
    with holding(f"{script} os.posix_fallocate(file, 0, 32 << 20){then}", str(disk / "gone")):
        assert watching.complaint()[0] == "disk"
    assert watching.complaint() == ("", "")


def test_a_folder_that_cannot_be_looked_into_may_hold_anything(disk: Path) -> None:
    folder = os.open(disk, os.O_RDONLY)
    os.close(folder)
    assert used_by([folder], 0) == UNKNOWN


def test_in_a_map_two_ids_change_places_and_all_others_stay() -> None:
    rows = [tuple(map(int, line.split())) for line in staging.exchange(0, 64001).splitlines()]
    assert rows == [
        (0, 64001, 1),
        (1, 1, 64000),
        (64001, 0, 1),
        (64002, 64002, 4294967294 - 64001),
    ]
    for one, other in ((0, 64001), (64001, 1000), (5, 5), (1, 2)):
        rows = [tuple(map(int, line.split())) for line in staging.exchange(one, other).splitlines()]
        assert sum(count for _, _, count in rows) == 4294967295  # all ids but the invalid one
        assert {inside: outside for inside, outside, _ in rows}.get(one) == other or one == other


def test_a_place_to_mount_is_reached_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep")
    os.close(staging.find(str(tmp_path / "deep" / "er"), [str(tmp_path)]))
    for name in ("link", "link/er", "gone"):
        with pytest.raises(staging.Changed, match="cannot be mounted"):
            staging.find(str(tmp_path / name), [str(tmp_path)])


def test_the_version_of_landlock_is_a_number() -> None:
    assert landlock_version() in range(100)
