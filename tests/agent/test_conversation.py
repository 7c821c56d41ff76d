"""A person's talk on their own files, with a model that reads from a script."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.approval import Answer
from agent.errors import UsageError
from agent.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    Compacted,
    Event,
    Judged,
    ModelLoading,
    Notice,
    StopReason,
    TextDelta,
    TurnEnded,
)
from agent.fix import resume_fix
from agent.loading import Loading
from agent.open_talk import open_conversation, resume_conversation
from agent.session import Session
from agent.sessions import list_sessions
from agent.settings import Budget, Config
from agent.talk_request import TalkRequest
from inference.errors import ModelUnavailable
from sandbox.base import never
from tests.agent.fakes import (
    CART,
    FINISH,
    REPAIR,
    UNGATED,
    Say,
    ScriptedModel,
    bash,
    call,
    create,
    edit,
    make_repository,
    picture,
    write,
)
from tests.agent.talking import NO, QUIET, Listener, Talk, start_talk

DONE = Say(text="Done.")
MENDED = CART.replace("price - tax", "price + tax")


def texts(talk: Talk, role: str) -> list[str]:
    return [m.content for m in talk.conversation.session.messages if m.role == role]


def files(talk: Talk) -> dict[str, Any]:
    return {k: v for k, v in picture(talk.repository).items() if not k.startswith(".git/")}


def test_a_reply_without_a_call_ends_the_turn_and_edits_are_in_the_files(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(text="Hello."), REPAIR, DONE)
    assert talk.say("Hi.") == TurnEnded(StopReason.END_TURN, "")
    assert talk.say("Mend it.") == TurnEnded(StopReason.END_TURN, "")
    assert talk.read("shop/cart.py") == MENDED
    assert len(talk.model.seen) == 3, "nobody asked it to go on"
    assert talk.conversation.status().num_context > 0
    talk.conversation.close()


def test_what_changes_outside_is_told_with_the_newest_prompt_and_once(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, DONE)
    write(talk.repository, {"AGENTS.md": "Use tabs."})
    talk.say("One.")
    write(talk.repository, {"mine.txt": "typed by hand"})
    talk.conversation.run_shell("echo from the shell", never)
    talk.say("Two.")
    talk.say("Three.")
    one, two, three = texts(talk, "user")
    assert one.startswith("One.\n\n<now>\nToday is 20")
    assert "Git branch: ma" in one
    assert "Use tabs." in one
    assert two == (
        "Two.\n\n<now>\nThe user ran `echo from the shell` (exit code 0):\nfrom the shell\n"
        "Changed meanwhile, not by you: mine.txt.\n</now>"
    )
    assert three == "Three."
    assert [point.words for point in talk.conversation.points()] == ["One.", "Two.", "Three."]


def test_each_turn_has_a_budget_of_its_own(tmp_path: Path) -> None:
    config = Config(verify=QUIET.verify, budget=Budget(max_steps=2, max_tokens=10))
    talk = start_talk(tmp_path, bash("true"), DONE, bash("true"), DONE, config=config)
    assert talk.say("One.").reason is StopReason.END_TURN
    assert talk.say("Two.").reason is StopReason.END_TURN


# ---- approval


def test_a_person_is_shown_the_diff_and_allows_it(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, REPAIR, DONE, mode="ask")
    seen: list[str] = []
    talk.say("Mend it.", on=lambda event: seen.append(talk.read("shop/cart.py")))
    (ask,) = talk.person.asked
    assert "-    return price - tax\n+    return price + tax" in ask.preview
    assert seen[0] == CART, "nothing is changed for a preview"
    assert talk.read("shop/cart.py") == MENDED


def test_an_edit_that_would_fail_is_asked_about_with_the_reason(tmp_path: Path) -> None:
    wrong = edit("shop/cart.py", "no such text", "other")
    talk = start_talk(tmp_path, wrong, DONE, mode="ask", answers=[NO])
    talk.say("Mend it.")
    assert "no such text" in talk.person.asked[0].preview
    assert "As the files are now it would fail: " in talk.person.asked[0].preview


def test_why_not_goes_to_the_model(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, bash("touch made"), DONE, mode="ask", answers=[NO])
    talk.say("Make it.")
    assert talk.person.asked[0].preview == "touch made"
    assert talk.results == ["The user does not want this call to run. They say: use tabs"]
    assert not (talk.repository / "made").exists()


def test_always_is_for_this_command_and_the_next_talk_too(tmp_path: Path) -> None:
    script = (bash("touch one"), bash("touch one"), bash("touch two"), DONE)
    always = Answer(True, always=True)
    talk = start_talk(tmp_path, *script, mode="ask", answers=[always, NO])
    talk.say("Make them.")
    assert [ask.preview for ask in talk.person.asked] == ["touch one", "touch two"]
    other = start_talk(tmp_path, *script, mode="ask", answers=[NO])
    other.say("Make them.")
    assert [ask.preview for ask in other.person.asked] == ["touch two"]


def test_what_a_person_changes_is_asked_about_as_it_is_then(tmp_path: Path) -> None:
    answers = [Answer(True, arguments={"command": "touch theirs"}), Answer(True)]
    talk = start_talk(tmp_path, bash("touch models"), DONE, mode="ask", answers=answers)
    talk.say("Make it.")
    assert [ask.preview for ask in talk.person.asked] == ["touch models", "touch theirs"]
    assert (talk.repository / "theirs").exists()
    assert not (talk.repository / "models").exists()


def test_an_interrupted_question_stops_the_turn(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, bash("touch made"), DONE, mode="ask", answers=[None])
    assert talk.say("Make it.").reason is StopReason.CANCELLED
    assert not (talk.repository / "made").exists()
    assert texts(talk, "tool") == ["The user does not want this call to run."]
    assert talk.say("Say something.").reason is StopReason.END_TURN


def test_the_mode_changes_while_the_talk_goes_on(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, bash("touch one"), bash("touch two"), DONE, mode="plan")

    def allow(event: object) -> None:
        if isinstance(event, CallEnded):
            talk.conversation.set_mode("auto")

    talk.say("Make them.", on=allow)
    assert talk.results[0].startswith("Plan mode: nothing may be changed.")
    assert (talk.conversation.mode, talk.person.asked) == ("auto", [])
    assert not (talk.repository / "one").exists()
    assert (talk.repository / "two").exists()
    assert "Plan mode" in texts(talk, "user")[0]


def test_plan_mode_keeps_even_what_looks_harmless_from_writing(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, REPAIR, DONE, mode="plan", sandbox="bubblewrap")
    before = files(talk)
    talk.say("Mend it.")
    done = talk.conversation.run_shell("touch made; ls shop", never)
    assert "Read-only file system" in done.output
    assert "cart.py" in done.output
    assert files(talk) == before
    talk.conversation.set_mode("ask")
    assert talk.conversation.run_shell("touch made", never).exit_code == 0


# ---- typed while it runs


def test_steering_reaches_the_model_inside_the_next_result(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, bash("true"), DONE)

    def steer(event: object) -> None:
        if isinstance(event, CallStarted):
            talk.conversation.steer("And quickly.")

    talk.say("Do it.", on=steer)
    assert texts(talk, "tool")[0].endswith("[The user says: And quickly.]")


def test_what_is_queued_waits_and_what_steered_too_late_goes_first(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, DONE)

    def type_on(event: object) -> None:
        if isinstance(event, TextDelta):
            talk.conversation.queue("Then this.")
            talk.conversation.queue("Not this.")
        if isinstance(event, TurnEnded):
            talk.conversation.steer("Too late.")

    talk.say("Do it.", on=type_on)
    assert talk.conversation.take_back() == "Too late."
    assert talk.conversation.take_back() == "Not this."
    talk.conversation.steer("Too late.")
    assert talk.conversation.next_prompt() == "Too late."
    assert talk.conversation.next_prompt() == "Then this."
    assert talk.conversation.next_prompt() is None
    assert talk.conversation.take_back() is None


def test_only_one_turn_runs_at_a_time(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, DONE)
    turn = talk.conversation.turn("One.", never)
    next(turn)
    with pytest.raises(UsageError, match="a turn is running"):
        next(talk.conversation.turn("Two.", never))
    with pytest.raises(UsageError, match="a turn is running"):
        talk.conversation.redo()
    turn.close()
    assert talk.say("Three.").reason is StopReason.END_TURN


# ---- cancelled


def test_a_reply_that_was_cut_short_stays_as_far_as_it_was_read(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(hangs=True, text="Half of"), DONE)
    assert talk.say("Write.", lambda: len(talk.all(TextDelta)) > 2).reason is StopReason.CANCELLED
    assert texts(talk, "assistant") == ["Half of"]
    assert talk.say("Go on.").reason is StopReason.END_TURN
    assert [message.role for message in talk.model.seen[-1]] == [
        *("system", "user", "assistant", "user")
    ]


def test_a_cancelled_command_is_dead_answered_and_its_files_can_be_undone(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, bash("echo half > made; sleep 600"), DONE)
    start = time.monotonic()
    reason = talk.say("Do it.", lambda: (talk.repository / "made").exists()).reason
    assert reason is StopReason.CANCELLED
    assert time.monotonic() - start < 60
    talk.say("Go on.")
    assert texts(talk, "tool") == ["[This call was stopped. It may have been carried out in part.]"]
    assert talk.conversation.undo().paths == ("made",)
    assert not (talk.repository / "made").exists()


def test_a_redo_leaves_what_the_person_wrote_meanwhile(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, create("a.txt", "a\n"), DONE, create("b.txt", "b\n"), DONE)
    talk.say("One.")
    own = talk.repository / "own.txt"
    own.write_text("one\n")
    talk.say("Two.")
    talk.conversation.undo()
    talk.conversation.undo()
    own.write_text("two\n")
    assert talk.conversation.redo().paths == ("a.txt",)
    assert talk.conversation.redo().paths == ("b.txt",)
    assert own.read_text() == "two\n"


def test_a_redo_never_overwrites_what_came_after_the_undo(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, create("a.txt", "a\n"), DONE)
    talk.say("One.")
    talk.conversation.undo()
    made = talk.repository / "a.txt"
    made.write_text("mine\n")
    with pytest.raises(UsageError, match=r"a\.txt was changed since"):
        talk.conversation.redo()
    assert made.read_text() == "mine\n"
    made.unlink()
    assert talk.conversation.redo().paths == ("a.txt",)


def test_a_call_is_stopped_alone_and_the_model_goes_on(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, bash("echo half > made; sleep 600"), DONE)
    made, stopped = talk.repository / "made", list[bool]()

    def stop() -> None:
        while not made.exists():
            time.sleep(0.01)
        stopped.extend((talk.conversation.stop_call(), talk.conversation.stop_call()))

    thread = threading.Thread(target=stop)
    thread.start()
    assert talk.say("Do it.") == TurnEnded(StopReason.END_TURN, "")
    thread.join()
    assert stopped == [True, False]  # the second would be for the whole turn
    assert talk.results[0].endswith(
        "[The user stopped this call. Do not make it again unless they ask for it.]"
    )
    assert not talk.conversation.stop_call()


def test_cancelled_while_the_model_loads_nothing_is_said(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "work")
    request = TalkRequest(repository, model="slow", sandbox="direct")

    may_end = threading.Event()

    def load(_request: object) -> ScriptedModel:
        assert may_end.wait(60)
        return ScriptedModel([[DONE]])

    talk = open_conversation(request, Listener(), load, tmp_path / "state")
    first = list(talk.turn("One.", lambda: True))
    assert first == [ModelLoading("slow"), TurnEnded(StopReason.CANCELLED, "cancelled")]
    assert not talk.status().is_loaded
    may_end.set()
    assert list(talk.turn("Two.", never))[-1] == TurnEnded(StopReason.END_TURN, "")
    assert [m.content[:4] for m in talk.session.messages if m.role == "user"] == ["Two."]
    talk.close()


def test_a_model_that_could_not_be_had_is_tried_again(tmp_path: Path) -> None:
    answers: Iterator[object] = iter([ModelUnavailable("it is offline"), ScriptedModel([[DONE]])])

    def load(_request: object) -> ScriptedModel:
        answer = next(answers)
        if isinstance(answer, ModelUnavailable):
            raise answer
        assert isinstance(answer, ScriptedModel)
        return answer

    request = TalkRequest(make_repository(tmp_path / "work"), model="far", sandbox="direct")
    talk = open_conversation(request, Listener(), load, tmp_path / "state")
    with pytest.raises(ModelUnavailable, match="offline"):
        list(talk.turn("One.", never))
    assert list(talk.turn("Two.", never))[-1] == TurnEnded(StopReason.END_TURN, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="a read-only mount needs root")
def test_files_that_cannot_be_written_are_talked_about_in_plan_mode(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "work")
    for options in ("bind", "remount,ro,bind"):
        mount = ["mount", "-o", options, str(repository), str(repository)]
        subprocess.run(mount, check=True, timeout=30)
    try:
        talk = start_talk(tmp_path, bash("touch made; cat shop/cart.py"), DONE, mode="auto")
        talk.say("Look.")
        (notice,) = talk.all(Notice)
        assert notice.text.endswith("is read-only, so this is plan mode: nothing can be changed.")
        assert "Plan mode" in talk.results[0]
        with pytest.raises(UsageError, match="read-only; plan is the only mode in it"):
            talk.conversation.set_mode("auto")
        talk.conversation.close()
    finally:
        subprocess.run(["umount", str(repository)], check=True, timeout=30)


# ---- back and forth


@pytest.fixture
def changed(tmp_path: Path) -> Talk:
    """A talk in which two prompts have led to changes, and the person has edited in between."""
    talk = start_talk(
        tmp_path, REPAIR, DONE, create("new.txt", "new"), bash("rm shop/__init__.py"), DONE
    )
    write(talk.repository, {".gitignore": "data/\n", "data/large.bin": "kept out"})
    talk.say("Mend it.")
    write(talk.repository, {"mine.txt": "by hand", "tests/__init__.py": "# by hand\n"})
    talk.say("Go on.")
    return talk


def test_undo_and_redo_restore_every_byte_of_what_the_model_changed(changed: Talk) -> None:
    after = files(changed)
    first, second = changed.conversation.undo(), changed.conversation.undo()
    assert (first.paths, second.paths) == (("shop/__init__.py",), ("new.txt",))
    third = changed.conversation.undo()
    assert third.paths == ("shop/cart.py",)
    assert changed.read("shop/cart.py") == CART
    assert changed.read("mine.txt") == "by hand"
    assert changed.read("tests/__init__.py") == "# by hand\n"
    with pytest.raises(UsageError, match="no change to undo"):
        changed.conversation.undo()
    for _ in range(3):
        changed.conversation.redo()
    assert files(changed) == after
    with pytest.raises(UsageError, match="nothing to redo"):
        changed.conversation.redo()


def test_what_was_undone_is_named_and_counts_no_longer_as_context(changed: Talk) -> None:
    sizes = [changed.conversation.status().num_context]
    names: list[str] = []
    for _ in range(3):
        point = changed.conversation.undo().point
        names.append(point.words if point else "")
        sizes.append(changed.conversation.status().num_context)
    assert names == ["bash rm shop/__init__.py", "create new.txt", "edit shop/cart.py"]
    assert sizes == sorted(set(sizes), reverse=True), "shorter with each"
    for size in reversed(sizes[:-1]):
        changed.conversation.redo()
        assert changed.conversation.status().num_context == size


def test_a_rewind_to_a_prompt_gives_it_back_to_be_changed(changed: Talk) -> None:
    point = changed.conversation.points()[2]
    rewound = changed.conversation.rewind(point)
    assert (rewound.prompt, rewound.paths) == ("Go on.", ("new.txt", "shop/__init__.py"))
    assert not (changed.repository / "new.txt").exists()
    assert changed.read("shop/cart.py") == MENDED
    with pytest.raises(UsageError, match="not part of the conversation any more"):
        changed.conversation.rewind(point)
    changed.say("Go on otherwise.")
    assert changed.read("new.txt") == "new\n"


def test_what_git_ignores_is_neither_saved_nor_touched(changed: Talk) -> None:
    assert "data/large.bin" not in changed.conversation.diff()
    assert "new.txt" in changed.conversation.diff()
    changed.conversation.rewind(changed.conversation.points()[0])
    assert changed.read("data/large.bin") == "kept out"


def test_a_fork_has_said_the_same_and_goes_its_own_way(changed: Talk) -> None:
    fork = changed.conversation.fork()
    before = list(changed.conversation.session.messages)
    assert fork.id != changed.conversation.id
    assert fork.session.messages == before
    list(fork.turn("On the side.", never))
    assert changed.conversation.session.messages == before
    fork.undo()
    assert (changed.repository / "shop/__init__.py").exists(), "it can go back as far"
    fork.close()


# ---- on disk


def test_a_talk_is_listed_and_goes_on(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, REPAIR, DONE, Say(text="Again."))
    talk.say("Mend it.\nPlease.")
    talk = talk.resumed()
    (info,) = list_sessions(tmp_path / "state")
    assert (info.kind, info.exit_code, info.sentence) == ("talk", 0, "Mend it.")
    assert talk.conversation.undo().paths == ("shop/cart.py",)
    assert talk.read("shop/cart.py") == CART
    talk.conversation.redo()
    talk.say("And now?")
    assert texts(talk, "assistant")[-1] == "Again."
    talk.conversation.close()
    last = resume_conversation("", Listener(), talk.repository, state=tmp_path / "state")
    assert last.id == talk.conversation.id
    last.close()


def test_a_talk_in_which_nothing_was_said_leaves_nothing(tmp_path: Path) -> None:
    start_talk(tmp_path, DONE).conversation.close()
    assert list(list_sessions(tmp_path / "state")) == []


def test_a_talk_that_was_killed_in_a_command_goes_on(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "work")
    words = [sys.executable, "-m", "tests.agent.talking", repository, tmp_path / "state"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        deadline = time.monotonic() + 60
        while not (repository / "made.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    model = ScriptedModel([[DONE, DONE]])
    talk = resume_conversation(name, Listener(), None, lambda _request: model, tmp_path / "state")
    assert talk.undo().paths == ("made.txt",), "also before anything else is said"
    assert talk.redo().paths == ("made.txt",)
    first, *_, last = talk.turn("Go on.", never)
    assert isinstance(first, Notice)
    assert "was cut short" in first.text
    assert last == TurnEnded(StopReason.END_TURN, "")
    assert [message.role for message in model.seen[-1]] == [
        *("system", "user", "assistant", "tool", "user")
    ]
    assert talk.undo().paths == ("made.txt",)
    assert not (repository / "made.txt").exists()
    talk.close()


def test_a_home_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "work"))
    with pytest.raises(UsageError, match="home folder; talk about a project in it"):
        start_talk(tmp_path, DONE)


def test_compaction_keeps_the_talk_going(tmp_path: Path) -> None:
    long = Say((call("bash", command="seq 4000"),))
    talk = start_talk(tmp_path, long, DONE, long, DONE, Say(text="Notes: all is well."), DONE)
    talk.say("One.")
    talk.say("Two.")
    before = talk.conversation.status().num_context
    assert [type(event) for event in talk.conversation.compact(never)] == [Compacted]
    assert talk.conversation.status().num_context < before / 2
    assert talk.say("Three.").reason is StopReason.END_TURN
    assert "Git branch" in texts(talk, "user")[-1], "what may be gone is told again"


def test_attempts_are_judged_on_copies_and_the_good_one_is_brought_in(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, config=UNGATED)
    talk.model.scripts = [[FINISH], [REPAIR, FINISH], [DONE]]
    events = list(talk.conversation.attempts("Mend it.", 2, never))
    verdicts = [event.fixed for event in events if isinstance(event, Judged)]
    assert verdicts == [False, True]
    assert [event for event in events if isinstance(event, TurnEnded)] == events[-1:]
    assert talk.read("shop/cart.py") == MENDED
    said = texts(talk, "assistant")[0]
    assert said.startswith("I had attempts made at this on copies of the repository")
    assert said.endswith("the repair was applied.")
    assert talk.conversation.undo().paths == ("shop/cart.py",)
    assert talk.read("shop/cart.py") == CART


def test_attempts_that_are_stopped_name_no_other_command(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, config=UNGATED)
    talk.model.scripts = [[REPAIR, FINISH]]
    seen: list[Event] = []

    def stops() -> bool:
        return any(isinstance(event, AttemptStarted) for event in seen)

    for event in talk.conversation.attempts("Mend it.", 2, stops):
        seen.append(event)
    assert seen[-1] == TurnEnded(StopReason.CANCELLED, "cancelled")
    assert "fix --resume" not in texts(talk, "assistant")[-1]


def test_attempts_go_on_from_what_was_said_so_that_it_is_not_read_again(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, DONE, FINISH, config=UNGATED)
    talk.say("Look at the cart.")
    said, tools = tuple(talk.conversation.session.messages), talk.model.specs
    events = list(talk.conversation.attempts("Mend it.", 2, never))
    assert [event.fixed for event in events if isinstance(event, Judged)] == [False, False]
    for seen in talk.model.seen[1:]:
        assert seen[: len(said)] == said
        assert seen[len(said)].content.startswith("Mend it.")
        assert "in a copy of the repository" in seen[len(said)].content
    assert len(talk.model.seen) == 3
    assert talk.model.specs == tools, "other ones would be another prefix"
    *_, asked, told = talk.conversation.session.messages
    assert (asked.content, told.role) == ("Mend it.", "assistant"), "attempts leave no more"


@pytest.mark.parametrize("restarts", [False, True])
def test_with_another_model_the_talk_goes_on_in_its_tokens(tmp_path: Path, restarts: bool) -> None:
    other = ScriptedModel([[DONE]], name="another")
    names = {"auto": ScriptedModel([[REPAIR, DONE]]), "nano": other}
    repository = make_repository(tmp_path / "work")
    conversation = open_conversation(
        TalkRequest(repository, mode="auto", sandbox="direct", config=QUIET),
        Listener(),
        lambda request: names[request.model],
        tmp_path / "state",
    )
    talk = Talk(conversation, names["auto"], Listener(), repository)
    talk.say("Mend it.")
    if restarts:
        talk = talk.resumed(other)
    else:
        conversation.set_model("nano")
    talk.say("Go on.")
    assert talk.conversation.status().model == "another"
    ids = [message.token_ids for message in other.seen[0] if message.role == "assistant"]
    assert ids == [(), ()]
    assert talk.conversation.undo().paths == ("shop/cart.py",), "the points are still there"


def test_two_talks_share_a_model_and_their_replies_take_turns(tmp_path: Path) -> None:
    model = ScriptedModel([[Say(hangs=True)]])
    loading = Loading("shared", lambda _news: model)
    one, other = (
        open_conversation(
            TalkRequest(make_repository(tmp_path / name), sandbox="direct"),
            Listener(),
            state=tmp_path / "state",
            loading=loading,
        )
        for name in ("one", "other")
    )
    first = one.turn("Write.", lambda: len(model.seen) > 1)
    while not isinstance(next(first), TextDelta):
        pass
    stopped = time.monotonic() + 0.3
    assert list(other.turn("Wait.", lambda: time.monotonic() > stopped))[-1] == TurnEnded(
        StopReason.CANCELLED, "cancelled"
    )
    assert len(model.seen) == 1, "it was not asked while it answered"
    first.close()
    assert list(other.turn("Now.", lambda: len(model.seen) > 1))
    assert len(model.seen) == 2


def test_a_talk_is_no_run_and_a_run_is_no_talk(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, DONE)
    talk.say("Hello.")
    talk.conversation.close()
    resumed = resume_fix(None, talk.conversation.id, state=tmp_path / "state")
    with pytest.raises(StopIteration) as stop:
        next(resumed)
    assert "is a talk; see `qwen-agent --resume" in stop.value.value.sentence
    run = Session.create(tmp_path / "state", {"repository": str(talk.repository)})
    run.close()
    with pytest.raises(UsageError, match="is a run of fix"):
        resume_conversation(run.id, Listener(), state=tmp_path / "state")


def test_a_mode_is_kept_as_soon_as_it_is_chosen(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(text="Hello."))
    talk.say("Hi.")
    talk.conversation.set_mode("plan")
    journal = talk.conversation.session.folder / "journal.jsonl"
    (tmp_path / "kept").write_bytes(journal.read_bytes())  # what a kill would leave
    resumed = talk.resumed()
    assert resumed.conversation.mode == "plan"
    assert b'"mode":"plan"' in (tmp_path / "kept").read_bytes().split(b"\n")[-2]
