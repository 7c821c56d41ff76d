"""Attempts to leave the sandbox. Each runs for real; the host's canary must not change.

The letters are the cases of the project's threat list. Cases that take a `place` run twice: as
root, and as an ordinary user made for the test; at their end nothing may be running, the canary
must be as it was, and the agent must still answer.
"""

import os
import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import MIB, Limits
from tests.sandbox.conftest import long_enough
from tests.sandbox.places import SECRET, Place

pytestmark = pytest.mark.attack
SHORT = Limits(wall_s=60)
TRY = """
def attempt(name, result):
    print(name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""
"""Python that says how a system call ended."""

Attack = Callable[[str], str]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file of the user beside the workspace, the same at the end as at the start."""
    folder = tmp_path / "home"
    folder.mkdir()
    file = folder / "precious"
    file.write_text("treasure\n")
    os.chmod(file, 0o666)  # noqa: PTH101 - not even permissions protect it
    before = file.stat()
    yield file
    assert file.read_text() == "treasure\n"
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert [path.name for path in folder.iterdir()] == ["precious"]


@pytest.fixture
def attack(bubblewrap: Bubblewrap, view: View, canary: Path) -> Attack:
    return lambda script: bubblewrap.run(["bash", "-c", script], view, SHORT).output


def refused(output: str, *errors: str) -> bool:
    """Whether every attempt of a script with `TRY` ended in one of these errors."""
    ends = [line.split()[1] for line in output.splitlines()]
    return bool(ends) and all(end in (errors or ("EPERM",)) for end in ends)


def test_a01_writing_elsewhere(place: Place) -> None:
    places = ["/etc/x", "/usr/x", "/x", "/root/x", "/home/x", "/dev/x", "/var/x", "/run/x",
              str(place.canary), str(place.canary.parent / "x"), str(place.home / "x")]  # fmt: skip
    script = "".join(f"echo changed > {name} && echo written {name}\n" for name in places)
    written = [line for line in place.shell(script).splitlines() if line.startswith("written")]
    # Around the workspace lies the private /tmp, which may be written and is not the host's.
    assert all(line.startswith("written /tmp/") for line in written)
    for name in places:
        if name != str(place.canary):
            assert not Path(name).exists()


def test_a02_mounting(place: Place) -> None:
    commands = ("mount -o remount,rw /", "mount -o remount,rw,bind /usr", "umount /usr",
                "umount -l /proc/sys", "mount -t tmpfs x /tmp", "chroot / true",
                "unshare -m true", "mount -t proc x /proc")  # fmt: skip
    assert place.shell("".join(f"{line} 2>/dev/null && echo done\n" for line in commands)) == ""
    script = """
attempt("mount", libc.mount(b"x", b"/tmp", b"tmpfs", 0, 0))
attempt("umount", libc.umount2(b"/tmp", 2))
attempt("pivot_root", libc.syscall(155, b".", b"."))
attempt("chroot", libc.chroot(b"/"))
attempt("open_tree", libc.syscall(428, -100, b"/", 1))
attempt("fsopen", libc.syscall(430, b"tmpfs", 0))
"""
    assert refused(place.python(TRY + script))


def test_a03_settings_of_the_kernel(place: Place) -> None:
    files = ("sys/kernel/core_pattern", "sys/kernel/pid_max", "sysrq-trigger", "sys/vm/swappiness")
    script = "".join(f"(exec 3>>/proc/{file}) && echo opened\n" for file in files)
    assert "opened" not in place.shell(script)  # opened only, never written
    assert "written" not in place.shell("echo 0 > /proc/self/oom_score_adj && echo written")


def test_a04_reading_secrets(place: Place) -> None:
    for path in ("/etc/shadow", "/root", str(Path.home() / ".ssh"), "/var/lib", "/sys/kernel",
                 str(place.canary), str(Path(__file__).parents[2]), "/run/systemd"):  # fmt: skip
        assert "No such file" in place.shell(f"cat {path}")


def test_a05_secrets_in_the_environment(place: Place) -> None:
    # The pattern is spelled so that the search does not find itself.
    script = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    found = place.shell(script)
    assert "PATH=" in found
    assert SECRET not in found
    names = {line.split("=")[0] for line in place.shell("env").splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TERM", "TMPDIR", "MARK", "PWD", "SHLVL", "_"}


def test_a06_doors_in_proc(place: Place) -> None:
    doors = ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/2/root", "/proc/*/fd/*")
    script = "".join(f"cat {door}{place.canary} {door}/etc/shadow\n" for door in doors)
    output = place.shell(script)
    assert "treasure" not in output
    assert "root:" not in output
    assert int(place.shell("ls -d /proc/[0-9]* | wc -l")) < 6
    assert place.shell("ls /proc/self/fd").split() == ["0", "1", "2", "3"]  # 3 lists the folder


def test_a07_network(place: Place) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        output = place.python(f"""
for host in ("127.0.0.1", "192.0.2.1", "169.254.169.254", "8.8.8.8"):
    try:
        socket.create_connection((host, {port}), 1)
        print("connected", host)
    except OSError:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.sendto(b"x", (host, {port}))
            print("sent" if host != "127.0.0.1" else "")
        except OSError:
            pass
try:
    socket.create_connection(("::1", {port}), 1)
    print("connected")
except OSError:
    pass
print("all tried")
""")
        assert output.strip() == "all tried"
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a08_names(place: Place) -> None:
    assert "connected" not in place.shell("""
getent hosts example.com && echo connected
(echo > /dev/tcp/1.1.1.1/53) && echo connected
timeout 2 ping -c 1 1.1.1.1 && echo connected
""")


def test_a09_sockets_of_the_host(place: Place) -> None:
    path, name = place.home / "s", f"\0{place.mark}"
    with socket.socket(socket.AF_UNIX) as by_path, socket.socket(socket.AF_UNIX) as by_name:
        for server, address in ((by_path, str(path)), (by_name, name)):
            server.bind(address)
            server.listen()
        path.chmod(0o777)
        output = place.python(f"""
for address in ({str(path)!r}, {name!r}):
    try:
        socket.socket(socket.AF_UNIX).connect(address)
        print("connected")
    except OSError as error:
        print(errno.errorcode[error.errno])
""")
    assert output == "ENOENT\nECONNREFUSED\n"


def test_a10_families_without_namespaces(place: Place) -> None:
    script = """
for family in (40, 17, 38, 31, 29, 44, 45, 9999):  # VSOCK, PACKET, ALG, BLUETOOTH, CAN, XDP...
    attempt(family, libc.socket(family, socket.SOCK_DGRAM, 0))
attempt("raw", libc.socket(socket.AF_INET, socket.SOCK_RAW, 1))
"""
    assert refused(place.python(TRY + script))


def test_a11_namespaces_inside(place: Place) -> None:
    commands = ("unshare -U true", "unshare -Ur true", "unshare -n true", "unshare -p true",
                "nsenter -t 1 -m true", "bwrap --ro-bind / / true")  # fmt: skip
    assert place.shell("".join(f"{line} 2>/dev/null && echo done\n" for line in commands)) == ""
    script = """
for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    attempt(hex(flag), libc.unshare(flag))
    attempt("clone", libc.syscall(56, flag | 17, 0, 0, 0, 0))
attempt("setns", libc.setns(os.open("/proc/self/ns/net", 0), 0))
"""
    assert refused(place.python(TRY + script))
    assert refused(place.python(TRY + "attempt('clone3', libc.syscall(435, 0, 0))"), "ENOSYS")


def test_a12_calls_that_tests_do_not_need(place: Place) -> None:
    script = """
attempt("ptrace", libc.ptrace(0, 0, 0, 0))
attempt("process_vm_readv", libc.syscall(310, 1, 0, 0, 0, 0, 0))
attempt("process_vm_writev", libc.syscall(311, 1, 0, 0, 0, 0, 0))
attempt("io_uring_setup", libc.syscall(425, 1, 0))
attempt("bpf", libc.syscall(321, 0, 0, 0))
attempt("perf_event_open", libc.syscall(298, 0, 0, -1, -1, 0))
attempt("keyctl", libc.syscall(250, 0, -3, 0, 0, 0))
attempt("add_key", libc.syscall(248, b"user", b"x", b"y", 1, -3))
attempt("userfaultfd", libc.syscall(323, 1))
attempt("open_by_handle_at", libc.syscall(304, -100, 0, 0))
attempt("fanotify_init", libc.syscall(300, 0, 0))
attempt("kcmp", libc.syscall(312, 1, 1, 0, 0, 0))
"""
    assert refused(place.python(TRY + script))


def test_a13_becoming_another_user(place: Place) -> None:
    shell = "id -u; grep -E 'NoNew|CapEff' /proc/self/status"
    assert place.shell(f'cp /bin/bash b; chmod 4755 b; ./b -p -c "{shell}"').split() == [
        "1000",
        "CapEff:",
        "0" * 16,
        "NoNewPrivs:",
        "1",
    ]
    assert "uid=0" not in place.shell("su -c id; sudo id; setpriv --reuid 0 id; newgrp root")


def test_a14_devices(place: Place) -> None:
    place.shell("mknod disk b 8 0; mknod mem c 1 1; mknod /tmp/disk b 254 0; head -c 1 /tmp/disk")
    assert not (place.workspace / "disk").exists()
    assert not (place.workspace / "mem").exists()


X32 = """
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    long result = syscall(0x40000000 + 272, 0x10000000);  /* x32: unshare(CLONE_NEWUSER) */
    printf("x32 %s\\n", result == -1 && errno == ENOSYS ? "missing" : "there");
    fflush(stdout);
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(310), "b"(0x10000000));  /* the same, i386 */
    printf("int80 returned %ld\\n", result);
    return 0;
}
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86-64 has these calls")
def test_a15_other_ways_to_name_a_call(place: Place) -> None:
    (place.workspace / "x.c").write_text(X32)
    result = place.run(["sh", "-c", "gcc -O1 -o x x.c && exec ./x"])
    if "gcc: not found" in result.output:
        pytest.skip("no compiler here")
    assert result.output == "x32 missing\n"
    assert result.exit_code == -31  # SIGSYS


def test_a16_typing_into_the_users_terminal(place: Place) -> None:
    script = """
import fcntl, pty
for fd in (0, 1, 2, *pty.openpty()):
    try:
        fcntl.ioctl(fd, 0x5412, b"x")
        print("typed")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    assert place.python(script) == "EPERM\n" * 5
    assert "No such device" in place.shell("echo x > /dev/tty")


def test_a17_signals(place: Place) -> None:
    pid = place.agent.pid
    assert "sent" not in place.shell(f"kill -9 {pid} && echo sent") or pid < 10
    place.shell("kill -9 -1")
    place.shell("kill -STOP 1; kill -9 1")
    assert "sandbox" not in place.shell(f"cat /proc/{pid}/cmdline")


FORKS = """
import time
count = 0
try:
    for _ in range(450):
        if os.fork() == 0:
            time.sleep(98771)
        count += 1
except OSError:
    pass
print(count, flush=True)
time.sleep(98771)
"""


def test_a18_number_of_processes(place: Place) -> None:
    script = ["/usr/bin/python3", "-c", "import os" + FORKS]
    result = long_enough(lambda wall_s: place.run(script, wall_s=wall_s))
    assert result.timed_out
    assert 200 < int(result.output) <= 300


def test_a18_a_fork_bomb(place: Place) -> None:
    result = place.run(["bash", "-c", ":(){ :|:& };:; sleep 98"], wall_s=3)
    assert result.timed_out or result.too_much == "processes"
    assert subprocess.run(["true"], check=True).returncode == 0


def test_a19_memory_of_one_process(place: Place) -> None:
    result = place.run(["/usr/bin/python3", "-c", "x = bytearray(100 * 2**30)"])
    assert result.exit_code == 1
    assert "MemoryError" in result.output


def test_a19_memory_of_many_processes(place: Place) -> None:
    script = """
import time
for _ in range(20):
    if os.fork() == 0:
        x = bytearray(os.urandom(1024)) * (32 * 1024)
        time.sleep(98)
time.sleep(98)
"""
    argv = ["/usr/bin/python3", "-c", "import os" + script]
    result = place.run(argv, resident_bytes=256 * MIB)
    assert (result.too_much, result.exit_code) == ("memory", -9)
    assert "256 MiB are allowed]" in result.output


def test_a19_shared_memory_counts_once(place: Place) -> None:
    script = """
import time
x = bytearray(os.urandom(1024)) * (64 * 1024)
children = [os.fork() for _ in range(1)]
children += [os.fork() for _ in range(1)]
children += [os.fork() for _ in range(1)]
time.sleep(0.5)
print("fine", flush=True)
try:
    while True:
        os.wait()  # the first that ends would end the others
except ChildProcessError:
    pass
"""
    argv = ["/usr/bin/python3", "-c", "import os" + script]
    result = place.run(argv, resident_bytes=200 * MIB)
    assert result.too_much == ""
    assert result.output.count("fine") == 8


@pytest.mark.parametrize("before", ["", "libc.prctl(4, 0, 0, 0, 0)"])  # PR_SET_DUMPABLE
def test_a19_memory_that_no_process_looks_at(place: Place, before: str) -> None:
    script = f"""
import ctypes, os, time
libc = ctypes.CDLL(None)
{before}
for _ in range(4):
    os.posix_fallocate(os.memfd_create("x"), 0, 100 << 20)
time.sleep(98)
"""
    result = place.run(["/usr/bin/python3", "-c", script], resident_bytes=100 * MIB)
    assert (result.too_much, result.exit_code) == ("memory", -9)


def test_a19_memory_that_others_take_is_not_counted(place: Place) -> None:
    with FileIO(os.memfd_create("other"), "r+b") as file:
        taking = threading.Timer(0.5, os.posix_fallocate, (file.fileno(), 0, 200 * MIB))
        taking.start()
        result = place.run(["sleep", "1.2"], resident_bytes=100 * MIB)
        taking.join()
    assert (result.too_much, result.exit_code) == ("", 0)


def test_a19_memory_of_system_v(place: Place) -> None:
    assert place.python(f'{TRY}\nattempt("shmget", libc.shmget(0, 100 << 20, 0o1600))') == (
        "shmget EINVAL\n"
    )
    assert place.python(f'{TRY}\nattempt("shmget", libc.shmget(0, 4096, 0o1600))') == (
        "shmget done\n"
    )


def test_a20_a_line_without_end(bubblewrap: Bubblewrap, view: View) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = bubblewrap.run(["head", "-c", "300000000", "/dev/zero"], view, SHORT)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert result.num_output_bytes == 300_000_000
    assert result.truncated
    assert len(result.output) < 66_000
    assert after - before < 8 * 1024  # KiB


def test_a20_printing_as_fast_as_it_can(place: Place) -> None:
    script = ["sh", "-c", "cat /dev/zero & yes"]
    result = long_enough(lambda after_s: place.run(script, cancel_after_s=after_s), 1_000_001)
    assert result.cancelled
    assert result.num_output_bytes > 1_000_000


def test_a21_one_huge_file(place: Place) -> None:
    result = place.run(["sh", "-c", "cat /dev/zero > big"], file_bytes=16 * MIB)
    assert result.exit_code not in (0, None)
    assert (place.workspace / "big").stat().st_size == 16 * MIB


def test_a21_many_files_fill_the_disk(place: Place) -> None:
    # No more than a gigabyte, however late somebody looks.
    script = "for i in $(seq 1000); do head -c 1000000 /dev/zero > $i; done; sleep 98"
    result = place.run(["sh", "-c", script], file_bytes=MIB, disk_bytes=32 * MIB)
    assert (result.too_much, result.exit_code) == ("disk", -9)
    assert "32 MiB are allowed]" in result.output


@pytest.mark.parametrize("then", ["chmod 0 $i", "exec {fd}< $i/x; rm -r $i"])
def test_a21_files_that_no_folder_lists(place: Place, then: str) -> None:
    script = f"mkdir $i; head -c 10000000 /dev/zero > $i/x; {then}"
    loop = f"for i in $(seq 40); do {script}; done; sleep 98"
    result = place.run(["bash", "-c", loop], disk_bytes=32 * MIB)
    assert (result.too_much, result.exit_code) == ("disk", -9)


def test_a21_ten_gigabytes(place: Place) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 1000000000 /dev/zero > $i; done"
    result = place.run(["sh", "-c", script], disk_bytes=512 * MIB)
    assert result.too_much == "disk"
    (place.home / "journal").write_text("still writable\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a21_what_must_stay_free(bubblewrap: Bubblewrap, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        # More than half, and not all: it may be a while until somebody looks.
        script = "for i in $(seq 150); do head -c 1000000 /dev/zero > $i; done; sleep 98"
        result = bubblewrap.run(["sh", "-c", script], View(disk, disk), SHORT)
        # Of a disk that is nearly full, half of what was free stays free.
        assert result.too_much == "disk"
        assert "of the disk are free]" in result.output
        (disk / "journal").write_bytes(bytes(MIB))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a22_daemons(place: Place) -> None:
    script = "for i in 1 2 3; do (setsid setsid sleep 98772 &); nohup sleep 98772 & disown; done"
    assert place.run(["bash", "-c", script]).exit_code == 0  # it does not wait for them
    assert place.survivors() == []


def test_a23_what_ignores_signals_or_stops_itself(place: Place) -> None:
    for script in ("trap '' TERM HUP INT; sleep 98 & sleep 98; sleep 98", "kill -STOP $$; sleep 9"):
        result = place.run(["sh", "-c", script], wall_s=0.5)
        assert result.timed_out
        assert place.survivors() == []


def test_a24_reading_the_input(place: Place) -> None:
    assert place.run(["sh", "-c", "cat; echo end"]).output == "end\n"


@pytest.mark.slow
def test_a56_cancel_right_after_the_start(place: Place) -> None:
    for number in range(200):
        place.run(
            ["sh", "-c", "setsid sleep 98773 & sleep 98773"], cancel_after_s=number % 50 * 0.001
        )
        assert place.survivors() == []
