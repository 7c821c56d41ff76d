"""R01, R23, R28: kills at random moments and at chosen ones; nothing is lost or done twice."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agent.compose import Recorder
from agent.errors import WorkspaceBusy
from agent.landing import land
from agent.lease import writer_lease
from agent.session import Session
from agent.wording import prompt
from inference.messages import Message, ToolCall
from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError
from tests.agent.fakes import picture, write
from tests.agent.stage import DONE, Stage, set_stage

ROOT = Path(__file__).parent.parent.parent
NUM_KILLS = int(os.environ.get("KILLS", "80"))
"""Each takes about two seconds of a core, and CI has its limit; `KILLS=300` is the whole of it."""
KILLS_S = 3600.0
"""Minutes on two idle cores; this is for a machine that does much else."""


@pytest.mark.fault
def test_r01_kills_at_random_moments_lose_nothing_and_run_nothing_twice(tmp_path: Path) -> None:
    halves = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.reliability.killer"),
                *(str(tmp_path / str(seed)), str(NUM_KILLS // 2), str(seed)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in (1, 2)
    ]
    seen: Counter[str] = Counter()
    try:
        for half in halves:
            said, _ = half.communicate(timeout=KILLS_S)
            assert half.returncode == 0, said
            seen.update(json.loads(said.splitlines()[-1]))
    finally:
        for half in halves:
            half.kill()
            half.communicate()
    print(dict(seen))
    assert len(seen) > 8, "the kills came at many moments"
    assert seen["interrupted calls"] > 0


def cut_off(stage: Stage, call: ToolCall) -> Stage:
    """The session of a process that was killed after it had begun a call."""
    session = stage.session
    session.add(Message("user", "Mend it."))
    session.add(Message("assistant", "", "", (call,)))
    session.begin_call(call.name)
    return stage


def results(stage: Stage) -> list[str]:
    return [message.content for message in stage.session.messages if message.role == "tool"]


def test_r01_a_command_that_was_begun_is_answered_as_interrupted(tmp_path: Path) -> None:
    call = ToolCall("bash", {"command": f"echo ran >> {tmp_path}/counter"})
    stage = cut_off(set_stage(tmp_path, [DONE, DONE]), call)
    stage.resume()
    assert results(stage)[0] == prompt("interrupted")
    assert not (tmp_path / "counter").exists()


def test_r01_a_command_that_was_not_begun_runs(tmp_path: Path) -> None:
    call = ToolCall("bash", {"command": f"echo ran >> {tmp_path}/counter"})
    stage = set_stage(tmp_path, [DONE, DONE])
    stage.session.add(Message("user", "Mend it."))
    stage.session.add(Message("assistant", "", "", (call,)))
    stage.resume()
    assert (tmp_path / "counter").read_text() == "ran\n"


def test_r01_a_look_at_a_file_is_taken_again(tmp_path: Path) -> None:
    call = ToolCall("str_replace_editor", {"command": "view", "path": "a.py"})
    stage = cut_off(set_stage(tmp_path, [DONE, DONE]), call)
    stage.resume()
    assert "one = 1" in results(stage)[0]


@pytest.mark.parametrize("is_made", [False, True])
def test_r28_an_edit_is_made_once_whether_or_not_the_kill_came_before_it(
    tmp_path: Path, is_made: bool
) -> None:
    arguments = {"command": "insert", "path": "a.py", "insert_line": 0, "new_str": "zero = 0\n"}
    stage = set_stage(tmp_path, [DONE, DONE])
    checkpoint = Checkpoint.create(tmp_path / "shadow", stage.tree)
    base = checkpoint.save("base")
    session = stage.session
    session.add(Message("user", "Mend it."), checkpoint=base)
    session.add(Message("assistant", "", "", (ToolCall("str_replace_editor", arguments),)))
    session.begin_call("str_replace_editor")
    if is_made:
        write(stage.tree, {"a.py": "zero = 0\none = 1\ntwo = 2\n"})
    stage.resume(checkpoint=Recorder(checkpoint, base))
    assert stage.files["a.py"] == b"zero = 0\none = 1\ntwo = 2\n"
    assert (results(stage)[0] == prompt("interrupted")) is is_made


# --- the repair comes into the user's files


class Repair:
    """Three files that a repair changes, and the user's copy of them."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repo"
        files = {"a.py": "a = 1\n", "b.py": "b = 1\n", "gone.py": "old\n"}
        for place in (self.repository, folder / "tree"):
            write(place, files)
        self.checkpoint = Checkpoint.create(folder / "shadow", folder / "tree")
        self.base = self.checkpoint.save("base")
        write(folder / "tree", {"a.py": "a = 2\n", "b.py": "b = 2\n", "new/c.py": "c = 2\n"})
        (folder / "tree/gone.py").unlink()
        self.final = self.checkpoint.save("final")
        self.session = Session.create(folder / "state", {})

    def land(self) -> None:
        land(self.session, self.checkpoint, self.base, self.final, self.repository)


WHOLE = {"a.py": b"a = 2\n", "b.py": b"b = 2\n", "new/c.py": b"c = 2\n"}


@pytest.mark.parametrize("done", [(), ("a.py",), ("gone.py", "new/c.py"), (*WHOLE, "gone.py")])
def test_r28_a_repair_that_was_half_applied_is_applied_to_its_end(
    tmp_path: Path, done: tuple[str, ...]
) -> None:
    repair = Repair(tmp_path)
    repair.session.record("landing", final=repair.final)
    for name in done:
        if name == "gone.py":
            (repair.repository / name).unlink()
        else:
            write(repair.repository, {name: WHOLE[name].decode()})
    write(repair.repository, {".qwen-agent-0123456789abcdef/0.old": "a = 1\n", "mine": "x"})
    repair.land()
    assert picture(repair.repository) == {**WHOLE, "mine": b"x"}


def test_r28_what_the_user_changed_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    repair = Repair(tmp_path)
    repair.session.record("landing", final=repair.final)
    write(repair.repository, {"a.py": "a = 2\n", "b.py": "b = 'mine'\n"})
    with pytest.raises(SandboxError, match=r"b\.py was changed by someone else"):
        repair.land()
    assert (repair.repository / "b.py").read_text() == "b = 'mine'\n"


# --- two sessions on one repository


def test_r23_one_session_at_a_time_writes_to_a_repository(tmp_path: Path) -> None:
    repair = Repair(tmp_path)
    before = picture(repair.repository)
    with (
        writer_lease(repair.repository),
        pytest.raises(WorkspaceBusy, match="another qwen-agent session is writing to"),
        writer_lease(repair.repository, patience_s=0.1),
    ):
        raise AssertionError("two have it")
    assert picture(repair.repository) == before, "the lease leaves nothing behind"
    repair.land()
    assert picture(repair.repository) == WHOLE


def test_r23_the_lease_of_a_dead_session_is_free(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from agent.lease import writer_lease\n"
        "with writer_lease(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.communicate(timeout=60)
    with writer_lease(tmp_path, patience_s=0.0):
        pass
