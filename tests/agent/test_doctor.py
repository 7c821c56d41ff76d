"""What the doctor finds on machines that are described to it, and what it says on this one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import doctor as look
from agent.cli import answer
from agent.doctor import Finding, exit_code_of
from agent.frontends.doctor import document, examine, lines_of, try_layers
from agent.machine import (
    CONTAINER_OPTIONS,
    INSTALL_BWRAP,
    Cause,
    causes,
    container,
    masked_below_proc,
    name_of,
    unsupported,
)
from inference.errors import ModelUnavailable
from inference.wire import HostStatus
from sandbox.base import CommandResult
from sandbox.choose import LEVELS
from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.probe import Layer

ROOT = Path(__file__).parents[2]
GIB = 1024**3
UID = os.getuid()


def machine(root: Path, **files: str) -> Path:
    """A machine by what its files say; `__` in a name stands for `/`."""
    healthy = {"proc__self__mounts": "", "proc__sys__user__max_user_namespaces": "63000\n"}
    for name, text in {**healthy, **files}.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def mends(root: Path, is_root: bool = False) -> str:
    return "\n".join(cause.mend for cause in causes(is_root, True, root))


# --- the system


@pytest.mark.parametrize(
    ("system", "release", "word"),
    [
        ("Windows", "10", "WSL2"),
        ("Darwin", "23.5.0", "lima"),
        ("Linux", "4.4.0-19041-Microsoft", "wsl --set-version"),
        ("Linux", "4.19.0-26-amd64", "5.3"),
    ],
)
def test_a_system_without_a_sandbox_is_told_what_to_do(
    system: str, release: str, word: str
) -> None:
    cause = unsupported(system, release)
    assert cause is not None
    assert word in cause.mend


@pytest.mark.parametrize(
    ("system", "release"),
    [
        ("Linux", "5.15.167.4-microsoft-standard-WSL2"),
        ("Linux", "6.1.0-18-amd64"),
        ("Linux", "5.4.0"),
    ],
)
def test_a_system_that_can_have_one_is_not_refused(system: str, release: str) -> None:
    assert unsupported(system, release) is None


def test_wsl2_is_named() -> None:
    assert name_of("Linux", "5.15.167.4-microsoft-standard-WSL2").endswith("(WSL2)")
    assert name_of("Darwin", "23.5.0") == "macOS 23.5.0"


def test_a_healthy_machine_has_no_cause(tmp_path: Path) -> None:
    assert causes(False, True, machine(tmp_path)) == ()


def test_a_missing_bubblewrap_comes_first(tmp_path: Path) -> None:
    root = machine(tmp_path, proc__sys__user__max_user_namespaces="0\n")
    first, second = causes(False, False, root)
    assert "apt-get install bubblewrap" in first.mend
    assert "max_user_namespaces" in second.mend


def test_user_namespaces_that_are_switched_off(tmp_path: Path) -> None:
    root = machine(tmp_path, proc__sys__user__max_user_namespaces="0\n")
    assert "sysctl -w user.max_user_namespaces=15000" in mends(root)


def test_a_kernel_without_user_namespaces(tmp_path: Path) -> None:
    root = machine(tmp_path)
    (root / "proc/sys/user/max_user_namespaces").unlink()
    assert "CONFIG_USER_NS" in mends(root)


def test_debians_switch_for_ordinary_users_is_no_matter_to_root(tmp_path: Path) -> None:
    root = machine(tmp_path, proc__sys__kernel__unprivileged_userns_clone="0\n")
    assert "sysctl -w kernel.unprivileged_userns_clone=1" in mends(root)
    assert mends(root, is_root=True) == ""


def test_ubuntus_apparmor_is_recognised_unless_bwrap_has_a_profile(tmp_path: Path) -> None:
    root = machine(tmp_path, proc__sys__kernel__apparmor_restrict_unprivileged_userns="1\n")
    assert "apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict" in mends(root)
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in mends(root)
    assert mends(root, is_root=True) == ""
    machine(tmp_path, **{"etc__apparmor.d__bwrap-userns-restrict": "profile\n"})
    assert mends(root) == ""


def test_no_proc_is_the_one_cause(tmp_path: Path) -> None:
    assert mends(tmp_path) == "as root: mount -t proc proc /proc"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run__.containerenv", "", "podman"),
        ("proc__self__cgroup", "0::/kubepods/besteffort/pod1\n", "kubepods"),
        ("proc__1__environ", "PATH=/bin\0container=lxc\0", "lxc"),
        ("proc__self__cgroup", "0::/init.scope\n", ""),
    ],
)
def test_containers_are_recognised(tmp_path: Path, name: str, text: str, kind: str) -> None:
    assert container(machine(tmp_path, **{name: text})) == kind


def test_a_container_that_hides_parts_of_proc_is_told_the_options(tmp_path: Path) -> None:
    mounts = "proc /proc proc rw 0 0\ntmpfs /proc/kcore tmpfs rw 0 0\n"
    root = machine(tmp_path, **{".dockerenv": "", "proc__self__mounts": mounts})
    assert masked_below_proc(root) == ("/proc/kcore",)
    (cause,) = causes(True, True, root)
    assert "hides /proc/kcore" in cause.why
    assert "systempaths=unconfined" in cause.mend


def test_a_container_is_blamed_only_where_nothing_else_is(tmp_path: Path) -> None:
    root = machine(tmp_path, **{".dockerenv": ""})
    assert [cause.mend for cause in causes(True, True, root)] == [CONTAINER_OPTIONS]
    assert [cause.mend for cause in causes(True, False, root)] == [INSTALL_BWRAP]


# --- the parts


def test_the_exit_code_is_that_of_the_first_fault_in_the_rule() -> None:
    def fault(code: int) -> Finding:
        return Finding("x", "fail", "x", exit_code=code)

    assert exit_code_of([Finding("x", "ok", ""), Finding("x", "note", "")]) == 0
    assert exit_code_of([fault(1), fault(2), fault(7), fault(6)]) == 6
    assert exit_code_of([fault(1), fault(2), fault(7)]) == 7
    assert exit_code_of([fault(1), fault(2)]) == 2
    assert exit_code_of([fault(1)]) == 1


def test_no_sandbox_ends_with_6_and_names_every_cause() -> None:
    found = list(look.no_sandbox("bwrap is missing", [Cause("a", "do b"), Cause("c", "do d")]))
    assert [finding.mend for finding in found] == ["", "do b", "do d"]
    assert exit_code_of(found) == 6


def test_a_layer_that_was_promised_and_does_not_hold_is_a_fault() -> None:
    network = Layer("network", False, "a server of the host answers", "report it")
    uid = Layer("uid", False, "commands are root", "run as a user")
    assert exit_code_of(list(look.sandbox_layers([network], "namespaces"))) == 6
    (note,) = look.sandbox_layers([uid], "namespaces")
    assert (note.state, note.mend) == ("note", "run as a user")
    assert exit_code_of(list(look.sandbox_layers([uid], "full"))) == 6
    assert exit_code_of(list(look.sandbox_layers([network], "landlock"))) == 6


class NoSandbox:
    """What opens and then fails, at its first command."""

    level = "namespaces"
    why = ("full: only root can have it",)

    def __init__(self, error: SandboxError) -> None:
        self._error = error

    def run(self, *_: object, **__: object) -> CommandResult:
        raise self._error


def test_a_sandbox_that_fails_at_its_first_command_is_none() -> None:
    sandbox = NoSandbox(SandboxUnavailable("bubblewrap could not set up the sandbox"))
    assert exit_code_of(list(try_layers(sandbox))) == 6


def test_layers_that_could_not_be_tried_are_said_and_the_level_stands() -> None:
    level, layers = try_layers(NoSandbox(SandboxError("python did not start")))
    assert level.text.endswith("; not full: only root can have it")
    assert (layers.state, layers.text) == ("note", "none was tried: python did not start")


def test_programs_and_packages_that_are_missing_name_their_command() -> None:
    assert look.program("git", "/usr/bin/git", needed=True).state == "ok"
    git = look.program("git", None, needed=True)
    assert (git.state, git.mend, git.exit_code) == ("fail", "apt-get install git", 2)
    ripgrep = look.program("ripgrep", None, False, "grep is used")
    assert (ripgrep.state, ripgrep.text) == ("note", "missing; grep is used")
    assert look.package("torch", "").exit_code == 7
    missing = look.grammars(["tree_sitter_go", "tree_sitter_c"], lambda name: name[-1] == "c")
    assert missing.mend == "pip install tree-sitter-go"


def test_the_gpu_is_named_by_its_driver(tmp_path: Path) -> None:
    assert look.gpu(tmp_path) == ""
    file = "proc__driver__nvidia__gpus__0000:01:00.0__information"
    root = machine(tmp_path, **{file: "Model: \t\t NVIDIA H100\nIRQ: 5\n"})
    assert look.gpu(root) == "NVIDIA H100"
    assert look.gpu_and_torch("NVIDIA H100", "2.13.0+cu130").state == "ok"
    assert "CPU build" in look.gpu_and_torch("NVIDIA H100", "2.13.0+cpu").text
    assert "fla-core" in look.kernels(lambda _: "", has_gpu=True).text
    assert look.kernels(lambda _: "", has_gpu=False).state == "ok"


def test_torch_that_cannot_be_loaded_or_multiply_is_a_fault(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ImportError: libcuda' >&2\nexit 1\n")
    python.chmod(0o755)
    found = look.deep_torch(str(python))
    assert (found.state, found.text, found.exit_code) == ("fail", "ImportError: libcuda", 7)
    said = {"version": "2", "device": "cpu", "bytes": 0, "bf16": False, "threads": 2}
    for product, state in ((512.0, "ok"), (511.0, "fail")):
        python.write_text(f"#!/bin/sh\necho '{json.dumps({**said, 'product': product})}'\n")
        assert look.deep_torch(str(python)).state == state
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    assert look.deep_torch(str(python), 0.2).text == "no answer in 0 s"


def test_a_full_disk_is_a_fault_and_a_small_one_a_note() -> None:
    assert look.disk("d", Path("/x"), 5 * GIB).state == "ok"
    assert look.disk("d", Path("/x"), GIB // 2).state == "note"
    assert look.disk("d", Path("/x"), 1000).exit_code == 1


def test_folders_that_others_may_read_or_we_may_not_write(tmp_path: Path) -> None:
    assert look.folder("f", tmp_path / "new" / "x", UID).text.endswith("made when it is needed")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    assert look.folder("f", private, UID).state == "ok"
    assert "another user" in look.folder("f", private, UID + 1).text
    private.chmod(0o755)
    assert look.folder("f", private, UID).mend == f"chmod 700 {private}"


@pytest.mark.skipif(UID == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert look.folder("f", tmp_path / "new", UID).exit_code == 1


def test_advice_about_a_folder_is_what_can_help(tmp_path: Path) -> None:
    mend = look.folder("state folder", Path("/dev/null/.local/state"), UID).mend
    assert mend.startswith("export XDG_STATE_HOME=")
    tmp_path.chmod(0o555)
    assert look._mend_unwritable("f", tmp_path, UID) == f"chmod u+rwx {tmp_path}"
    assert "chown" not in look._mend_unwritable("f", tmp_path, UID + 1)


@pytest.mark.skipif(UID != 0, reason="only root can become somebody else")
def test_a_home_that_cannot_be_entered_is_a_line_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    here = {finding.part for finding in examine(None, "none", deep=False)}  # all is loaded now
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    os.setresuid(65534, 65534, 0)
    try:
        found = {finding.part: finding for finding in examine(None, "none", deep=False)}
    finally:
        os.setresuid(0, 0, 0)
    assert {"git", "engine", "state folder", "cache folder", "settings", "model"} <= set(found)
    assert found["settings"].state == found["state folder"].state == "fail"
    assert here <= set(found)


def test_settings_that_others_may_write_are_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert look.settings_file(file, UID).state == "ok"
    file.write_text("")
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    assert look.settings_file(file, UID).state == "ok"
    file.chmod(0o666)
    assert "chmod go-w" in look.settings_file(file, UID).mend
    file.chmod(0o644)
    tmp_path.chmod(0o777)
    assert look.settings_file(file, UID).exit_code == 2


def test_a_model_that_the_settings_name_must_be_there() -> None:
    def nothing(name: str) -> str:
        raise ModelUnavailable(f"there is no model {name}")

    assert look.model("auto", nothing).state == "note"
    assert look.model("/gone", nothing).exit_code == 7
    assert look.model("auto", lambda _: "/models/4B").text == "auto: /models/4B"


def test_an_engine_that_runs_is_named() -> None:
    host = HostStatus(7, "/models/4B", "cpu", "float32", True, 2, 1, 0.0, 60.0, 3 * GIB, "/log")
    assert look.hosts([host]).text == "pid 7: /models/4B on cpu, 3.0 GiB, ready, 2 front ends"
    assert look.hosts([]).state == "ok"


# --- what is shown


def test_a_fault_is_followed_by_what_mends_it() -> None:
    finding = Finding("git", "fail", "missing\x1b[2J\nnow", "apt-get install git", 2)
    assert list(lines_of(finding)) == [
        "FAIL  git: missing now",
        "        mend: apt-get install git",
    ]
    assert document([finding], None)["exit_code"] == 2


def test_without_a_sandbox_the_doctor_goes_on_to_the_other_parts() -> None:
    found = list(examine(None, "bubblewrap is not installed", deep=False))
    assert exit_code_of(found) == 6
    parts = {finding.part: finding.state for finding in found}
    assert parts["sandbox"] == "fail"
    assert {"git", "engine", "state folder", "model"} <= set(parts)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_doctor_answers_here(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    form: tuple[str, ...],
) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert answer(["doctor", *form]) == 0
    shown = capsys.readouterr().out
    if form:
        found = json.loads(shown)
        parts = {part["part"]: part for part in found["parts"]}
        assert found["level"] in LEVELS
        assert parts["layer network"]["state"] == "ok"
        assert parts["sandbox"]["text"].startswith("level ")
        assert parts["state folder"]["text"].startswith(str(tmp_path))
    else:
        assert "ok    layer view: " in shown
        assert "ok    git: " in shown
        assert "FAIL" not in shown


def test_the_page_of_the_doctor_has_its_rule() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    codes = re.findall(r"^\| (\d) \|", page, re.M)
    assert tuple(map(int, codes)) == (0, *look.STRONGEST)
    for field in (*document([], None), *Finding("x", "ok", "x").__dataclass_fields__):
        assert f"`{field}`" in page


def test_windows_is_told_of_wsl2_in_one_sentence() -> None:
    code = "import signal, sys; sys.platform = 'win32'; del signal.SIGHUP; import agent.cli"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "WSL2" in done.stderr
    assert done.stderr.count("\n") == 1
