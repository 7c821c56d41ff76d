"""What a restart takes from memory and the journal gives back: edits, and which jobs ran."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.fix import resume_fix, run_fix
from agent.journal import read
from agent.past import Past
from agent.request import FixRequest
from agent.session import JOURNAL, Session
from agent.settings import Config, VerifyConfig
from inference.messages import Message
from sandbox.base import View, never
from sandbox.checkpoint import Checkpoint
from sandbox.direct import Direct
from sandbox.workspace import Workspace
from tests.agent.fakes import FINISH, Say, ScriptedModel, call, edit, make_repository
from tools.background import BackgroundBash
from tools.base import ToolResult
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.editor_forms import FULL
from tools.jobs import Jobs
from tools.registry import Registry


class Room:
    """A session whose tools are really called, and that another process can go on with."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.checkpoint = Checkpoint.create(folder / "shadow", self.tree)
        self.session = Session.create(folder / "state", {})
        self.session.begin(1, "repair", self.checkpoint.save("base"), "You repair.")
        self.open()

    def open(self) -> None:
        """Lay the tools out, as a new process does."""
        view, workspace = View(self.tree, self.tree), Workspace(self.tree, self.tree)
        self.jobs = Jobs(Direct(), view)
        self.past = Past(self.checkpoint, workspace, self.jobs)
        self.tools = Registry(
            [
                BackgroundBash(Bash(Direct(), view), self.jobs),
                StrReplaceEditor(workspace, FULL, earlier=self.past.edits_of),
            ]
        )

    def restart(self) -> None:
        """Be killed, and go on."""
        self.jobs.close()
        self.session.close()
        self.session = Session.open(self.session.folder)
        self.open()
        self.past.recall(read(self.session.folder / JOURNAL))

    def __call__(self, tool: str, **arguments: object) -> str:
        """Have the model make a call; return what it is told."""
        made = call(tool, **arguments)
        self.session.add(Message("assistant", "", tool_calls=(made,)))
        result: ToolResult = self.tools.call(tool, arguments)
        result = self.past(made, result, never)
        self.session.add(Message("tool", result.text), None, self.checkpoint.save("step"))
        return result.text

    def run_job(self, command: str) -> str:
        """Have the model start a command in the background and look until it has ended."""
        told = self("bash", command=command, background=True)
        number = int(told.rpartition("[job ")[2].partition(":")[0])
        while f"[job {number}: runs" in told:
            told = self("bash", poll=number)
        return told

    def edit(self, command: str, path: str = "a.py", **arguments: object) -> str:
        return self("str_replace_editor", command=command, path=path, **arguments)

    def replace(self, old: str, new: str) -> str:
        return self.edit("str_replace", old_str=old, new_str=new)

    @property
    def text(self) -> str:
        return (self.tree / "a.py").read_text()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.jobs.close()
    room.session.close()


# ---- edits


def test_edits_from_before_a_restart_are_taken_back_one_by_one(room: Room) -> None:
    room.edit("create", file_text="a = 1\n")
    room.replace("a = 1", "a = 2")
    room.replace("a = 2", "a = 3")
    room.edit("undo_edit")
    room.restart()
    room.replace("a = 2", "a = 4")
    for text in ("a = 2\n", "a = 1\n"):
        room.edit("undo_edit")
        assert room.text == text
    room.restart()
    room.edit("undo_edit")
    assert not (room.tree / "a.py").exists()
    assert "nothing to undo" in room.edit("undo_edit")


def test_edits_outlive_a_conversation_in_short_form(room: Room) -> None:
    room.edit("create", file_text="a = 1\n")
    room.replace("a = 1", "a = 2")
    room.session.compact([room.session.messages[0], Message("user", "In short: go on.")], 10)
    room.restart()
    room.edit("undo_edit")
    assert room.text == "a = 1\n"


def test_an_edit_that_was_rewound_is_not_taken_back_again(room: Room) -> None:
    room.edit("create", file_text="a = 1\n")
    tree, keeps = room.session.checkpoint, len(room.session.messages)
    room.replace("a = 1", "a = 2")
    room.checkpoint.restore(tree)
    room.session.record("rewind", keeps=keeps, tree=tree, left=room.session.checkpoint)
    room.restart()
    room.edit("undo_edit")
    assert not (room.tree / "a.py").exists()


def test_what_a_command_changed_is_no_edit(room: Room) -> None:
    room("bash", command="echo a = 1 > a.py")
    room.replace("not there", "x")
    room.restart()
    assert "nothing to undo" in room.edit("undo_edit")


# ---- jobs


def test_the_model_is_told_once_of_jobs_that_ended_with_a_restart(room: Room) -> None:
    room.run_job("true")
    room("bash", command="exec sleep 600", background=True)
    room.restart()
    told = room("bash", command="echo on")
    assert told.endswith(
        "on\n\n[qwen-agent was restarted: job 2 (`exec sleep 600`) ended with that. "
        "Start again what you need.]"
    )
    assert "restarted" not in room("bash", command="echo on")
    assert room("bash", poll=2) == ("Job 2 ended with the restart; start it again if you need it.")
    assert "[job 3: ended" in room.run_job("true")
    room.restart()
    assert "restarted" not in room("bash", command="echo on")


def test_a_run_that_is_resumed_knows_its_past(tmp_path: Path) -> None:
    repository, state = make_repository(tmp_path / "repo"), tmp_path / "state"
    config = Config(verify=VerifyConfig(tests=False, finish_tests=False))
    stopped: list[int] = []
    job = Say((call("bash", command="sleep 600", background=True),))
    undo = Say((call("str_replace_editor", command="undo_edit", path="shop/cart.py"),))
    script = [edit("shop/cart.py", "2 * price", "3 * price"), job, Say(hangs=True)]
    model = ScriptedModel([script])
    model.on_reply = lambda number: stopped.append(number) if number == 2 else None
    request = FixRequest(repository, config=config)
    for _ in run_fix(request, lambda: bool(stopped), lambda _: model, state):
        pass
    again = ScriptedModel([[*script[:2], undo, FINISH]])
    for _ in resume_fix(repository, chat_factory=lambda _: again, state=state):
        pass
    told = again.seen[-1][-1].content
    assert told.startswith("Took back the last edit of shop/cart.py")
    assert "restarted: job 1 (`sleep 600`) ended" in told
