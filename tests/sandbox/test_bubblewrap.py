"""What a sandboxed command can see, write and reach; and when there is no sandbox."""

import os
import platform
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox import bwrap
from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.bwrap import Bwrap, Handles, arguments
from sandbox.choose import choose
from sandbox.direct import Direct
from sandbox.errors import SandboxError
from sandbox.kernel import counts_processes_by_namespace, limits_process_ids_by_namespace
from sandbox.limits import Limits
from sandbox.mounts import Mount, mounts_of

SHORT = Limits(wall_s=60)


def shell(bubblewrap: Bubblewrap, view: View, script: str) -> str:
    return bubblewrap.run(["sh", "-c", script], view, SHORT).output


def test_the_workspace_is_written_on_disk(bubblewrap: Bubblewrap, view: View) -> None:
    shell(bubblewrap, view, "pwd > where; mkdir sub; echo x > sub/y")
    assert (view.source / "where").read_text() == f"{view.workspace}\n"
    assert (view.source / "sub" / "y").read_text() == "x\n"


def test_a_copy_is_seen_at_the_path_of_the_original(bubblewrap: Bubblewrap, tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    shell(bubblewrap, View(source=copy, workspace=original), "pwd > where")
    assert (copy / "where").read_text() == f"{original}\n"
    assert list(original.iterdir()) == []


def test_a_workspace_may_not_be_written_if_the_view_says_so(
    bubblewrap: Bubblewrap, view: View
) -> None:
    view = View(view.source, view.workspace, writable=False)
    output = shell(bubblewrap, view, "cat hello.txt; touch new")
    assert output.startswith("hello\n")
    assert "Read-only" in output
    assert not (view.source / "new").exists()


def test_git_is_read_only_even_if_the_view_forgets_it(bubblewrap: Bubblewrap, view: View) -> None:
    assert "Read-only" in shell(bubblewrap, view, "echo x > .git/config")


def test_a_git_folder_of_elsewhere_is_seen_and_leaves_no_trace(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    git, source = tmp_path / "git", tmp_path / "source"
    git.mkdir()
    (git / "HEAD").write_text("ref\n")
    source.mkdir()
    view = View(source, source, protected=((git, source / ".git"),))
    output = shell(bubblewrap, view, "cat .git/HEAD; echo x > .git/HEAD; mv .git away; rm -rf .git")
    assert output.startswith("ref\n")
    assert (git / "HEAD").read_text() == "ref\n"
    assert list(source.iterdir()) == []


def test_a_protected_file_is_seen_and_leaves_no_trace(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    source, settings = tmp_path / "source", tmp_path / "settings"
    source.mkdir()
    settings.write_text("mine\n")
    view = View(source, source, protected=((settings, source / "deep" / "er" / "settings"),))
    assert shell(bubblewrap, view, "cat deep/er/settings") == "mine\n"
    assert list(source.iterdir()) == []


def test_what_a_command_leaves_beside_a_mount_point_stays(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    source, settings = tmp_path / "source", tmp_path / "settings"
    source.mkdir()
    settings.write_text("mine\n")
    view = View(source, source, protected=((settings, source / "deep" / "settings"),))
    shell(bubblewrap, view, "echo kept > deep/other")
    assert [path.name for path in (source / "deep").iterdir()] == ["other"]


def test_further_folders_are_seen_read_only_where_they_are(
    bubblewrap: Bubblewrap, view: View, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "greet").write_text("#!/bin/sh\necho greetings\n")
    (tools / "greet").chmod(0o755)
    view = View(view.source, view.workspace, read_only=(tools,), path=(tools, Path("/usr/bin")))
    output = shell(bubblewrap, view, f"greet; touch {tools}/x")
    assert output.startswith("greetings\n")
    assert "Read-only" in output


def test_a_read_only_folder_may_lie_in_the_workspace(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    (original / ".venv").mkdir(parents=True)
    (original / ".venv" / "x").write_text("venv\n")
    copy.mkdir()
    view = View(copy, original, read_only=(original / ".venv",))
    output = shell(bubblewrap, view, "cat .venv/x; echo y > .venv/x")
    assert output.startswith("venv\n")
    assert "Read-only" in output
    assert list(copy.iterdir()) == []


def test_the_scratch_folder_is_written_at_its_own_path(
    bubblewrap: Bubblewrap, view: View, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    view = View(view.source, view.workspace, scratch=scratch)
    shell(bubblewrap, view, f"echo result > {scratch}/report")
    assert (scratch / "report").read_text() == "result\n"


def test_private_places_are_writable_and_gone_afterwards(
    bubblewrap: Bubblewrap, view: View
) -> None:
    name = f"private-{os.getpid()}"
    script = (
        f"for d in /tmp /dev/shm $HOME $TMPDIR /var/tmp; do echo x > $d/{name} && echo ok; done"
    )
    assert shell(bubblewrap, view, script) == "ok\n" * 5
    assert not Path("/tmp", name).exists()
    assert not Path("/dev/shm", name).exists()


def test_private_places_have_a_size(bubblewrap: Bubblewrap, view: View) -> None:
    script = "df -m --output=size /tmp /dev/shm $HOME | tail -3"
    assert shell(bubblewrap, view, script).split() == ["512", "64", "256"]


def test_the_command_is_an_ordinary_user_in_a_small_world(
    bubblewrap: Bubblewrap, view: View
) -> None:
    script = "id -un; id -u; hostname; cat /etc/passwd; ls /etc/resolv.conf; ls /home /sys /run"
    lines = shell(bubblewrap, view, script).splitlines()
    assert lines[:3] == ["agent", "1000", "sandbox"]
    assert lines[3].startswith("agent:x:1000:")
    assert "No such file" in lines[4]


def test_a_server_on_the_loopback_can_be_reached_from_inside(
    bubblewrap: Bubblewrap, view: View
) -> None:
    script = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b"hello")).start()
print(socket.create_connection(("localhost", server.getsockname()[1])).recv(5))
"""
    result = bubblewrap.run(["/usr/bin/python3", "-c", script], view, SHORT)
    assert result.output == "b'hello'\n"


def test_a_server_of_the_host_cannot_be_reached(bubblewrap: Bubblewrap, view: View) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        result = bubblewrap.run(["/usr/bin/python3", "-c", script], view, SHORT)
        assert "ConnectionRefusedError" in result.output
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_projects_variables_do_not_touch_bwrap_itself(
    bubblewrap: Bubblewrap, view: View
) -> None:
    """LD_PRELOAD from a project would otherwise run in `bwrap`, outside."""
    view = View(view.source, view.workspace, environment={"LD_PRELOAD": "/canary-preload.so"})
    output = shell(bubblewrap, view, "tr '\\0' '\\n' < /proc/1/environ; echo; cat hello.txt")
    assert "LD_PRELOAD=" not in output
    assert output.count("canary-preload.so") >= 1  # the loader complains inside, and only there


def test_python_of_a_virtual_environment_runs(bubblewrap: Bubblewrap, view: View) -> None:
    packages = Path(pytest.__file__).parents[1]
    folders = tuple({Path(sys.prefix), Path(sys.base_prefix), packages})
    variables = {"PYTHONPATH": str(packages)}  # for an interpreter that is in no environment
    view = View(view.source, view.workspace, read_only=folders, environment=variables)
    (view.source / "test_it.py").write_text(
        "def test_it(tmp_path):\n    assert tmp_path.exists()\n"
    )
    result = bubblewrap.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], view, SHORT
    )
    assert "1 passed" in result.output
    assert result.exit_code == 0


def test_the_system_may_be_named_as_a_further_folder(bubblewrap: Bubblewrap, view: View) -> None:
    view = View(view.source, view.workspace, read_only=(Path("/usr"), Path("/usr/lib")))
    assert shell(bubblewrap, view, "echo ok; touch /usr/x").startswith("ok\n")


@pytest.mark.parametrize("place", ["/", "/usr", "/proc", "/etc"])
def test_a_view_cannot_hide_the_system(bubblewrap: Bubblewrap, tmp_path: Path, place: str) -> None:
    with pytest.raises(SandboxError, match="cannot be a place"):
        bubblewrap.run(["true"], View(tmp_path, Path(place)), SHORT)


def test_outer_folders_are_mounted_before_what_lies_in_them() -> None:
    view = View(
        source=Path("/copy"),
        workspace=Path("/home/me/repo"),
        read_only=(Path("/home/me/repo/.venv"), Path("/home/me")),
        protected=((Path("/home/me/repo/.git"), Path("/home/me/repo/.git")),),
    )
    assert [mount.target for mount in mounts_of(view)] == [
        Path("/home/me"),
        Path("/home/me/repo"),
        Path("/home/me/repo/.venv"),
        Path("/home/me/repo/.git"),
    ]


def test_the_arguments_name_no_more_of_the_host_than_the_list() -> None:
    words = arguments(
        Bwrap(Path("/usr/bin/bwrap"), disable_userns=True),
        [Mount(Path("/copy"), Path("/repo"), writable=True)],
        Path("/repo"),
        {"A": "b"},
        Handles({"/etc/passwd": 9}, status=10, seccomp=11),
    )
    bound = {
        words[index + 1]
        for index, word in enumerate(words)
        if word in ("--bind", "--ro-bind", "--ro-bind-try", "--dev-bind")
    }
    assert bound <= {"/usr", "/copy", "/proc/sys", *bwrap.SYSTEM_FOLDERS, *bwrap.SYSTEM_FILES}
    assert "/" not in bound
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert words[words.index("--seccomp") + 1] == "11"
    for option in ("--unshare-net", "--unshare-pid", "--new-session", "--die-with-parent"):
        assert option in words


def test_level_names_what_is_in_force(bubblewrap: Bubblewrap) -> None:
    assert bubblewrap.level in ("full", "namespaces")
    assert bool(bubblewrap.why) is (bubblewrap.level != "full")
    assert Direct().level == "direct"
    assert isinstance(choose("bubblewrap"), Bubblewrap)
    assert isinstance(choose("direct"), Direct)


def test_a_bubblewrap_in_a_relative_folder_of_path_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".:bin:")
    assert all(path.is_absolute() for path in bwrap._candidates())
    assert tmp_path / "bwrap" not in bwrap._candidates()


def test_old_kernels_get_no_process_limit_that_counts_the_whole_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for release, by_namespace in (("5.13.9", False), ("5.14.0-x", True), ("6.1-rc2", True)):
        monkeypatch.setattr(platform, "release", lambda release=release: release)
        assert counts_processes_by_namespace() is by_namespace
        assert not limits_process_ids_by_namespace()
    monkeypatch.setattr(platform, "release", lambda: "6.14.1")
    assert limits_process_ids_by_namespace()


def test_git_stays_read_only_when_a_command_that_ran_beside_it_ends(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    tree, git = tmp_path / "tree", tmp_path / "git"
    tree.mkdir()
    git.mkdir()
    view = View(tree, tree, protected=((git, tree / ".git"),))
    script = "touch second; while [ ! -e first-is-gone ]; do sleep 0.01; done; touch .git/hook"
    first = "while [ ! -e second ]; do sleep 0.01; done"
    with ThreadPoolExecutor() as pool:
        earlier = pool.submit(bubblewrap.run, ["sh", "-c", f"touch up; {first}"], view, Limits())
        while not (tree / "up").exists():
            time.sleep(0.01)
        later = pool.submit(bubblewrap.run, ["sh", "-c", script], view, Limits())
        assert earlier.result().exit_code == 0
        (tree / "first-is-gone").touch()
        assert "Read-only file system" in later.result().output
    assert not (tree / ".git").exists()


def test_a_link_among_read_only_folders_is_followed(
    bubblewrap: Bubblewrap, view: View, tmp_path: Path
) -> None:
    """As in the homes of pyenv and uv: `3.11` beside `3.11.7`."""
    versions = tmp_path / "versions"
    (versions / "3.11.7").mkdir(parents=True)
    (versions / "3.11.7" / "x").write_text("python\n")
    (versions / "3.11").symlink_to("3.11.7")
    view = View(view.source, view.workspace, read_only=(versions / "3.11.7", versions / "3.11"))
    assert shell(bubblewrap, view, f"cat {versions}/3.11/x") == "python\n"
