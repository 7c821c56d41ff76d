"""Going back: files, conversation and the model's state together; and forward again."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.rewind import Point, changed_by_both, last_change, list_points, redo, rewind
from agent.session import Session
from agent.wording import prompt
from inference.local import NANO_FOLDER, LocalChat, open_chat
from inference.messages import Message, ReplyEnd, ReplyOptions, ToolCall, Usage
from inference.profiles import NANO
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript
from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError
from tests.agent.fakes import picture, write

PLAIN = ReplyOptions(thinking=False, max_new_tokens=12)


class Talk:
    """A session on real files whose edits are made here instead of by a model."""

    def __init__(self, folder: Path, worktree: Path) -> None:
        self.worktree = worktree
        self.checkpoint = Checkpoint.create(folder / "shadow", worktree)
        self.session = Session.create(folder / "state", {"repository": str(worktree)})
        self.session.begin(1, "repair", self.checkpoint.save("base"), "You repair.")

    def ask(self, words: str) -> None:
        self.session.add(Message("user", words))

    def edit(self, name: str, text: str) -> None:
        calls = (ToolCall("str_replace_editor", {"path": name}),)
        self.session.add(Message("assistant", "", "", calls), Usage(9, 0, 9, 1, 0.0, 0.0))
        write(self.worktree, {name: text})
        self.session.add(Message("tool", "Edited."), checkpoint=self.checkpoint.save("step"))

    def reopened(self) -> Session:
        self.session.close()
        self.session = Session.open(self.session.folder)
        return self.session


def undo(session: Session, checkpoint: Checkpoint) -> Point:
    point = last_change(session)
    rewind(session, checkpoint, point)
    return point


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    write(tmp_path / "work", {"a.py": "a = 0\n", "b.py": "b = 0\n"})
    talk = Talk(tmp_path, tmp_path / "work")
    talk.ask("Make a one.\nAnd quickly.")
    talk.edit("a.py", "a = 1\n")
    talk.session.add(Message("assistant", "Done."), Usage(9, 0, 9, 1, 0.0, 0.0))
    talk.ask("Make b two.")
    talk.edit("b.py", "b = 2\n")
    return talk


def test_prompts_and_changes_are_the_points_to_go_back_to(talk: Talk) -> None:
    found = [(point.kind, point.words, point.num_kept) for point in list_points(talk.session)]
    assert found == [
        ("prompt", "Make a one.", 1),
        ("change", "edit a.py", 2),
        ("prompt", "Make b two.", 5),
        ("change", "edit b.py", 6),
    ]
    talk.session.add(Message("user", prompt("nudge")))
    assert len(list_points(talk.session)) == 4, "what nobody typed is no prompt"


def test_files_that_both_have_changed_are_known_before_a_rewind(talk: Talk) -> None:
    first, _, _, last = list_points(talk.session)

    def shared() -> list[frozenset[str]]:
        found = (first, last)
        return [changed_by_both(talk.session, talk.checkpoint, point) for point in found]

    assert shared() == [frozenset(), frozenset()]
    write(talk.worktree, {"b.py": "b = 2\nmine = 1\n", "c.py": "mine, too\n"})
    assert shared() == [{"b.py"}, {"b.py"}]
    write(talk.worktree, {"a.py": "a = 1\nmine = 1\n"})
    talk.session.add(Message("user", "And now?"), checkpoint=talk.checkpoint.save("prompt"))
    assert shared() == [{"a.py", "b.py"}, {"b.py"}]


@pytest.mark.parametrize("number", range(4))
def test_after_a_rewind_files_and_conversation_are_what_they_were(talk: Talk, number: int) -> None:
    pictures = [
        {"a.py": b"a = 0\n", "b.py": b"b = 0\n"},
        {"a.py": b"a = 0\n", "b.py": b"b = 0\n"},
        {"a.py": b"a = 1\n", "b.py": b"b = 0\n"},
        {"a.py": b"a = 1\n", "b.py": b"b = 0\n"},
    ]
    before, point = list(talk.session.messages), list_points(talk.session)[number]
    write(talk.worktree, {"mine.txt": "typed by the person since\n"})
    rewind(talk.session, talk.checkpoint, point)
    mine = {"mine.txt": b"typed by the person since\n"}
    assert picture(talk.worktree) == pictures[number] | mine, "what is the person's stays"
    assert talk.session.messages == before[: point.num_kept]
    assert talk.session.checkpoint == point.tree
    redo(talk.session, talk.checkpoint)
    assert talk.session.messages == before
    assert picture(talk.worktree)["b.py"] == b"b = 2\n"
    assert picture(talk.worktree).items() >= mine.items()


def test_what_the_person_changed_between_prompts_is_not_rewound(talk: Talk) -> None:
    write(talk.worktree, {"a.py": "a = 5\n", "mine/new.txt": "m\n"})
    talk.session.add(Message("user", "Go on."), checkpoint=talk.checkpoint.save("prompt"))
    talk.edit("made/c.py", "c = 3\n")
    rewind(talk.session, talk.checkpoint, list_points(talk.session)[4])
    own = {"a.py": b"a = 5\n", "mine/new.txt": b"m\n"}
    assert picture(talk.worktree) == {"b.py": b"b = 2\n", **own}
    assert not (talk.worktree / "made").exists(), "nor is a folder left that it had made"
    redo(talk.session, talk.checkpoint)
    assert picture(talk.worktree) == {"b.py": b"b = 2\n", "made/c.py": b"c = 3\n", **own}


def test_changes_are_undone_one_by_one_and_redone_in_turn(talk: Talk) -> None:
    undo(talk.session, talk.checkpoint)
    assert undo(talk.session, talk.checkpoint).num_kept == 2
    assert picture(talk.worktree) == {"a.py": b"a = 0\n", "b.py": b"b = 0\n"}
    with pytest.raises(UsageError, match="no change to undo"):
        undo(talk.session, talk.checkpoint)
    redo(talk.session, talk.checkpoint)
    assert picture(talk.worktree) == {"a.py": b"a = 1\n", "b.py": b"b = 0\n"}
    redo(talk.session, talk.checkpoint)
    assert picture(talk.worktree) == {"a.py": b"a = 1\n", "b.py": b"b = 2\n"}
    with pytest.raises(UsageError, match="nothing to redo"):
        redo(talk.session, talk.checkpoint)


def test_who_goes_on_after_a_rewind_cannot_redo_it(talk: Talk) -> None:
    undo(talk.session, talk.checkpoint)
    talk.ask("Something else.")
    with pytest.raises(UsageError, match="nothing to redo"):
        redo(talk.session, talk.checkpoint)


def test_a_finished_turn_is_not_finished_after_a_rewind_and_is_again_after_a_redo(
    talk: Talk,
) -> None:
    talk.session.add(Message("tool", "Finished."), finishes=True)
    rewind(talk.session, talk.checkpoint, list_points(talk.session)[2])
    assert not talk.session.is_finished
    redo(talk.session, talk.checkpoint)
    assert talk.session.is_finished


def test_rewinds_are_in_the_journal(talk: Talk) -> None:
    points = list_points(talk.session)
    rewind(talk.session, talk.checkpoint, points[2])
    rewind(talk.session, talk.checkpoint, points[1])
    redo(talk.session, talk.checkpoint)
    messages, trees = list(talk.session.messages), list(talk.session.trees)
    again = talk.reopened()
    assert (again.messages, again.trees) == (messages, trees)
    assert talk.checkpoint.changed(points[2].tree, again.checkpoint) == ()
    redo(again, talk.checkpoint)
    assert list_points(again) == points


def test_a_rewind_that_cannot_be_done_changes_nothing(talk: Talk) -> None:
    repository = talk.worktree / "a.py" / "inner"
    (talk.worktree / "a.py").unlink()
    (repository / ".git").mkdir(parents=True)
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    messages = list(talk.session.messages)
    with pytest.raises(SandboxError, match=r"a\.py/inner is a repository; move it away"):
        rewind(talk.session, talk.checkpoint, list_points(talk.session)[0])
    assert (repository / ".git" / "HEAD").exists()
    assert (talk.worktree / "b.py").read_text() == "b = 2\n"
    assert talk.session.messages == messages


def git(folder: Path, *words: str) -> str:
    about = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *about, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def test_the_users_own_git_sees_nothing_of_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    write(work, {"a.py": "a = 0\n", "staged.py": "s = 0\n", "tracked.txt": "t\n"})
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-qm", "first")
    git(work, "tag", "v1")
    git(work, "branch", "other")
    write(work, {"tracked.txt": "stashed\n"})
    git(work, "stash")
    write(work, {"staged.py": "s = 1\n", "untracked.txt": "u\n"})
    git(work, "add", "staged.py")
    ran = tmp_path / "hook-ran"
    for name in ("pre-commit", "post-checkout", "post-index-change", "reference-transaction"):
        hook = work / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    status, own = git(work, "--no-optional-locks", "status", "--porcelain"), picture(work / ".git")
    talk = Talk(tmp_path, work)
    talk.ask("Make a one.")
    talk.edit("a.py", "a = 1\n")
    talk.edit("new/deep.py", "n = 1\n")
    for point in reversed(list_points(talk.session)):
        rewind(talk.session, talk.checkpoint, point)
    assert picture(work / ".git") == own, "index, refs, stash, hooks, objects and logs"
    assert git(work, "--no-optional-locks", "status", "--porcelain") == status
    assert git(work, "stash", "list").count("\n") == 1
    assert not ran.exists()


@pytest.fixture(scope="module")
def nano() -> LocalChat:
    return open_chat("nano")


def reply(chat: LocalChat, messages: Sequence[Message]) -> ReplyEnd:
    *_, end = chat.reply(messages, (), PLAIN, lambda: False)
    assert isinstance(end, ReplyEnd)
    return end


def test_the_turn_after_a_rewind_reads_only_what_is_new(talk: Talk, nano: LocalChat) -> None:
    session = talk.session
    session.begin(2, "repair", talk.checkpoint.save("base"), "You repair.")
    for words in ("The tests fail in a.", "And now they fail in b.", "And in c."):
        talk.ask(words)
        end = reply(nano, session.messages)
        session.add(end.message, end.usage)
    prompts = [point for point in list_points(session) if point.kind == "prompt"]
    rewind(session, talk.checkpoint, prompts[1])
    talk.ask("Now they fail in d, and in e too.")
    usage = reply(nano, session.messages).usage
    transcript = Transcript(Tokenizer.from_folder(NANO_FOLDER), NANO)
    kept = transcript.render(session.messages, thinking=False).boundaries[prompts[1].num_kept - 1]
    assert usage.num_reused == kept
    assert usage.num_prefilled == usage.num_prompt - kept


def test_after_a_redo_the_next_turn_reads_only_what_is_new(talk: Talk, nano: LocalChat) -> None:
    session = talk.session
    session.begin(2, "repair", talk.checkpoint.save("base"), "You repair c and d.")
    for words in ("The tests fail in c.", "And now in d."):
        talk.ask(words)
        end = reply(nano, session.messages)
        session.add(end.message, end.usage)
    rewind(session, talk.checkpoint, Point("prompt", "", 1, session.trees[0]))
    redo(session, talk.checkpoint)
    talk.ask("Now in e.")
    usage = reply(nano, session.messages).usage
    assert usage.num_reused == end.usage.num_prompt + end.usage.num_generated - 1
    assert usage.num_repeated == 0
