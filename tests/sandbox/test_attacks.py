"""Attempts to leave the sandbox. Each runs for real; the host's canary must not change.

The letters are the cases of the project's threat list. A case that waits for a further layer is
here too, expected to fail, so that the layer's arrival shows.
"""

import os
import pty
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.errors import SandboxError
from sandbox.limits import MIB, Limits

pytestmark = pytest.mark.attack
SHORT = Limits(wall_s=20)
CANARY = "canary-5f0c9a"

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


@pytest.fixture
def python(bubblewrap: Bubblewrap, view: View, canary: Path) -> Attack:
    """Run Python inside, with `libc` at hand."""
    head = "import ctypes, errno, os, socket, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    return lambda script: (
        bubblewrap.run(["/usr/bin/python3", "-c", head + script], view, SHORT).output
    )


def test_a01_writing_elsewhere(attack: Attack, canary: Path, tmp_path: Path) -> None:
    places = ["/etc/x", "/usr/x", "/x", "/root/x", "/home/x", "/dev/x", "/var/x", "/run/x",
              str(canary), str(canary.parent / "x"), str(tmp_path / "sibling")]  # fmt: skip
    for place in places:
        written = "written" in attack(f"echo changed > {place} && echo written")
        # Around the workspace lies the private /tmp, which may be written and is not the host's.
        assert not written or place.startswith("/tmp/")
        if place != str(canary) and os.access(Path(place).parent, os.X_OK):
            assert not Path(place).exists()


def test_a02_mounting(attack: Attack, python: Attack) -> None:
    for command in ("mount -o remount,rw /", "mount -o remount,rw,bind /usr", "umount /usr",
                    "umount -l /proc/sys", "mount -t tmpfs x /tmp", "chroot / true",
                    "unshare -m true", "mount -t proc x /proc"):  # fmt: skip
        assert attack(f"{command} 2>/dev/null && echo done") == ""
    script = "print(libc.mount(b'x', b'/tmp', b'tmpfs', 0, 0), errno.errorcode[ctypes.get_errno()])"
    assert python(script) == "-1 EPERM\n"
    script = "print(libc.syscall(155, b'.', b'.'), errno.errorcode[ctypes.get_errno()])"
    assert python(script) == "-1 EPERM\n"


def test_a03_settings_of_the_kernel(attack: Attack) -> None:
    files = ("sys/kernel/core_pattern", "sys/kernel/pid_max", "sysrq-trigger", "sys/vm/swappiness")
    for file in files:
        output = attack(f"exec 3>>/proc/{file} && echo opened")  # opened only, never written
        assert "opened" not in output
    assert "written" not in attack("echo 0 > /proc/self/oom_score_adj && echo written")


def test_a04_reading_secrets(attack: Attack, canary: Path) -> None:
    for path in ("/etc/shadow", "/root", str(Path.home() / ".ssh"), "/var/lib", "/sys/kernel",
                 str(canary), str(Path(__file__).parents[2]), "/run/systemd"):  # fmt: skip
        assert "No such file" in attack(f"cat {path}")


def test_a05_secrets_in_the_environment(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    # The pattern is spelled so that the search does not find itself.
    found = attack("env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert "PATH=" in found
    assert CANARY not in found


def test_a06_doors_in_proc(attack: Attack, canary: Path) -> None:
    for door in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/2/root"):
        assert "treasure" not in attack(f"cat {door}{canary}; cat {door}/etc/shadow")
    assert "treasure" not in attack(f"for fd in /proc/*/fd/*; do cat $fd{canary}; done")
    processes = attack("ls -d /proc/[0-9]* | wc -l")
    assert int(processes) < 6


def test_a07_network(python: Attack) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        started = time.monotonic()
        output = python(f"""
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
""")
        assert output.strip() == ""
        assert time.monotonic() - started < 8
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a08_names(attack: Attack) -> None:
    assert "connected" not in attack("getent hosts example.com && echo connected")
    assert "connected" not in attack("(echo > /dev/tcp/1.1.1.1/53) && echo connected")
    assert "connected" not in attack("timeout 2 ping -c 1 1.1.1.1 && echo connected")


def test_a09_sockets_of_the_host(python: Attack, tmp_path: Path) -> None:
    path, name = tmp_path / "s", f"\0{CANARY}"
    with socket.socket(socket.AF_UNIX) as by_path, socket.socket(socket.AF_UNIX) as by_name:
        for server, address in ((by_path, str(path)), (by_name, name)):
            server.bind(address)
            server.listen()
        output = python(f"""
for address in ({str(path)!r}, {name!r}):
    try:
        socket.socket(socket.AF_UNIX).connect(address)
        print("connected")
    except OSError as error:
        print(errno.errorcode[error.errno])
""")
    assert output == "ENOENT\nECONNREFUSED\n"


def test_a10_families_without_namespaces(python: Attack) -> None:
    assert "open" not in python("socket.socket(40, socket.SOCK_STREAM); print('open')")


def test_a11_namespaces_inside(attack: Attack) -> None:
    for command in ("unshare -U true", "unshare -Ur true", "unshare -n true", "unshare -p true",
                    "nsenter -t 1 -m true", "bwrap --ro-bind / / true"):  # fmt: skip
        assert attack(f"{command} 2>/dev/null && echo done") == ""


def test_a12_calls_that_tests_do_not_need(python: Attack) -> None:
    assert python("print(libc.syscall(250, 0, -3, 0, 0, 0))").strip() == "-1"  # keyctl


def test_a13_becoming_another_user(attack: Attack) -> None:
    shell = "id -u; grep -E 'NoNew|CapEff' /proc/self/status"
    assert attack(f'cp /bin/bash b; chmod 4755 b; ./b -p -c "{shell}"').split() == [
        "1000",
        "CapEff:",
        "0" * 16,
        "NoNewPrivs:",
        "1",
    ]
    assert "uid=0" not in attack("su -c id; sudo id; setpriv --reuid 0 id; newgrp root")


def test_a14_devices(attack: Attack, view: View) -> None:
    attack("mknod disk b 8 0; mknod mem c 1 1; mknod /tmp/disk b 254 0; head -c 1 /tmp/disk && pwn")
    assert not (view.source / "disk").exists()
    assert not (view.source / "mem").exists()


def test_a16_typing_into_the_users_terminal(bubblewrap: Bubblewrap, view: View) -> None:
    parent, child = pty.openpty()
    try:
        script = (
            "import fcntl,sys\nfor f in (0,1,2):\n  fcntl.ioctl(f, 0x5412, b'x'); print('typed')"
        )
        output = bubblewrap.run(["/usr/bin/python3", "-c", script], view, SHORT).output
        assert "typed" not in output
        output = bubblewrap.run(["sh", "-c", "echo x > /dev/tty"], view, SHORT).output
        assert "No such device" in output
    finally:
        os.close(parent)
        os.close(child)


def test_a17_signals(attack: Attack) -> None:
    assert attack(f"kill -9 {os.getpid()} && echo sent").count("sent") == 0 or os.getpid() < 10
    attack("kill -9 -1")
    attack("kill -STOP 1; kill -9 1")
    assert "sandbox" not in attack(f"cat /proc/{os.getpid()}/cmdline")


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


def test_a18_number_of_processes(bubblewrap: Bubblewrap, view: View) -> None:
    script = ["/usr/bin/python3", "-c", "import os" + FORKS]
    result = bubblewrap.run(script, view, Limits(wall_s=4))
    assert int(result.output) <= 300


def test_a18_many_processes_are_gone_at_the_limit(
    bubblewrap: Bubblewrap, view: View, survivors: Callable[[str], list[str]]
) -> None:
    result = bubblewrap.run(["/usr/bin/python3", "-c", "import os" + FORKS], view, Limits(wall_s=3))
    assert result.timed_out
    assert int(result.output) > 200
    assert result.duration_s < 8
    assert survivors("98771") == []


def test_a20_a_line_without_end(bubblewrap: Bubblewrap, view: View) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = bubblewrap.run(["head", "-c", "300000000", "/dev/zero"], view, SHORT)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert result.num_output_bytes == 300_000_000
    assert result.truncated
    assert len(result.output) < 66_000
    assert after - before < 8 * 1024  # KiB


@pytest.mark.xfail(strict=True, reason="needs a limit on the whole workspace, not on each file")
def test_a21_many_files_fill_the_disk(bubblewrap: Bubblewrap, view: View) -> None:
    script = "for i in 1 2 3 4; do head -c 1000000 /dev/zero > $i; done"
    bubblewrap.run(["sh", "-c", script], view, Limits(wall_s=20, file_bytes=MIB))
    assert sum(path.stat().st_size for path in view.source.iterdir() if path.is_file()) <= 2 * MIB


def test_a22_daemons(attack: Attack, survivors: Callable[[str], list[str]]) -> None:
    started = time.monotonic()
    attack("for i in 1 2 3; do (setsid setsid sleep 98772 &); nohup sleep 98772 & disown; done")
    assert time.monotonic() - started < 3
    assert survivors("98772") == []


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
def test_a25_git(attack: Attack, view: View, script: str) -> None:
    git = view.source / ".git"
    before = (git / "config").lstat()
    attack(script)
    assert git.is_dir()
    assert not git.is_symlink()
    assert sorted(path.name for path in git.rglob("*")) == ["config", "hooks"]
    assert (git / "config").read_text() == "[core]\n"
    after = (git / "config").lstat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.xfail(strict=True, reason="nested repositories are the hardening layer's")
def test_a26_nested_git(attack: Attack, view: View) -> None:
    (view.source / "sub" / ".git").mkdir(parents=True)
    attack("echo x > sub/.git/config")
    assert not (view.source / "sub" / ".git" / "config").exists()


def test_a29_a_link_where_the_next_sandbox_mounts(
    bubblewrap: Bubblewrap, view: View, canary: Path
) -> None:
    bubblewrap.run(["ln", "-s", str(canary.parent), "deep"], view, SHORT)
    trap = View(
        view.source,
        view.workspace,
        protected=((canary, view.workspace / "deep" / "new" / "settings"),),
    )
    with pytest.raises(SandboxError, match="symbolic link"):
        bubblewrap.run(["true"], trap, SHORT)


def test_a29_git_that_is_a_link(bubblewrap: Bubblewrap, tmp_path: Path, canary: Path) -> None:
    source = tmp_path / "repo"
    source.mkdir()
    (source / ".git").symlink_to(canary.parent)
    with pytest.raises(SandboxError, match="symbolic link"):
        bubblewrap.run(["true"], View(source, source), SHORT)


def test_a31_links_made_inside_lead_nowhere_inside(attack: Attack, canary: Path) -> None:
    assert "treasure" not in attack(f"ln -s {canary} link; cat link; echo x > link")


def test_a35_hard_links_to_the_host(attack: Attack, canary: Path) -> None:
    attack(f"ln {canary} hard; ln /usr/bin/env /tmp/hard; ln /etc/passwd hard")
    assert canary.stat().st_nlink == 1


def test_a56_cancel_right_after_the_start(
    bubblewrap: Bubblewrap, view: View, survivors: Callable[[str], list[str]]
) -> None:
    for number in range(200):
        moment = time.monotonic() + number % 50 * 0.002
        bubblewrap.run(
            ["sh", "-c", "setsid sleep 98773 & sleep 98773"],
            view,
            SHORT,
            cancel=lambda moment=moment: time.monotonic() > moment,
        )
    assert survivors("98773") == []
