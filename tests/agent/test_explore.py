"""Exploring on a fork: it reads, brings back places, and leaves the main line as it was."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.budget import tokens_spent
from agent.compose import load_chat
from agent.explore import MAX_STEPS, Explore, Fork
from agent.fix import run_fix
from agent.request import FixRequest
from agent.session import Session
from agent.settings import ApprovalConfig, Budget, Config
from inference.messages import Message, Piece, ReplyEnd, ReplyOptions, ToolCall, ToolSpec, Usage
from sandbox.base import View
from sandbox.choose import choose
from sandbox.workspace import Workspace
from tests.agent.fakes import FINISH, REPAIR, Say, ScriptedModel, call, make_repository, write
from tests.agent.test_attempts import drained
from tools.editor import StrReplaceEditor
from tools.errors import ToolFailed
from tools.finish import Finish
from tools.registry import Registry
from tools.search import Search, find_ripgrep

QUESTION = {"question": "Where are prices summed?"}
SIDE = "This is a side branch."
EDITOR = "str_replace_editor"


@dataclass
class Forked(ScriptedModel):
    """Reads another script from where the conversation went aside."""

    aside: Sequence[Say] = ()
    seen_aside: list[tuple[Message, ...]] = field(default_factory=list)

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Callable[[], bool],
    ) -> Iterator[Piece]:
        """Stream the next reply of the script of this branch."""
        starts = [n for n, message in enumerate(messages) if message.content.startswith(SIDE)]
        if not starts:
            yield from super().reply(messages, tools, options, cancel)
            return
        self.seen_aside.append(tuple(messages))
        number = sum(message.role == "assistant" for message in messages[starts[0] :])
        model = ScriptedModel([[self.aside[min(number, len(self.aside) - 1)]]])
        yield from model.reply(messages, tools, options, cancel)


def look(name: str, **arguments: object) -> Say:
    return Say((call(name, **arguments),))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session.create(tmp_path / "state", {})
    session.begin(1, "repair", "base", "You repair.")
    session.add(Message("user", "The tests fail."))
    session.add(Message("assistant", "", "", (ToolCall("explore", QUESTION),), (1, 2)))
    return session


def fork(session: Session, *aside: Say, config: Config | None = None) -> tuple[Fork, Forked]:
    folder = session.folder / "work"
    write(folder, {"shop/cart.py": "a\nb\nc\n", "notes.md": "n\n"})
    workspace, view, sandbox = Workspace(folder, folder), View(folder, folder), choose("direct")
    editor = StrReplaceEditor(workspace)
    reading = Registry([editor, Search(workspace, sandbox, view, find_ripgrep(view))])
    tools = Registry([editor, Finish()])
    specs = tuple(ToolSpec(s.name, s.description, s.parameters) for s in tools.specs())
    model = Forked([[FINISH]], aside=aside)
    options = ReplyOptions()
    found = config or Config()
    return Fork(session, model, options, found, lambda: specs, reading, workspace), model


def test_only_lines_that_name_a_place_in_the_files_come_back(session: Session) -> None:
    answer = Say(
        text="I looked, and found this:\n- `shop/cart.py:2-3` where it is summed\n"
        "shop/cart.py:1\nshop/cart.py:1-99: all of it\nshop/cart.py:7-9 not there\n"
        "gone.py:1-2 nor this\n../../etc/passwd:1-2 nor that\nshop/cart.py:2-3 where it is summed"
    )
    parts, _ = fork(session, look("search", pattern="b"), answer)
    result = Explore(parts).run(QUESTION)
    assert result.text == (
        "shop/cart.py:2-3 where it is summed\nshop/cart.py:1-1\nshop/cart.py:1-4 all of it"
    )
    assert result.summary == "explored in 2 steps (3 places)"


def test_the_fork_goes_on_from_the_conversation_and_the_main_line_never_sees_it(
    session: Session,
) -> None:
    before = list(session.messages)
    parts, model = fork(session, look("search", pattern="b"), Say(text="notes.md:1-1 notes"))
    Explore(parts).run(QUESTION)
    assert session.messages == before
    first, second = model.seen_aside
    assert list(first[:-1]) == before
    assert QUESTION["question"] in first[-1].content
    assert second[: len(first)] == first
    assert second[-1].content == "shop/cart.py:2: b"
    assert len(session.usages) == 2
    assert tokens_spent(session) > 0, "what the fork cost is counted"


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (look(EDITOR, command="create", path="x", file_text="x"), "Only view works here"),
        (look("bash", command="touch x"), "There is no tool bash"),
        (look("explore", question="deeper?"), "There is no tool explore"),
        (look(EDITOR, command="view", path="notes.md"), "n"),
    ],
)
def test_the_fork_can_read_and_nothing_else(session: Session, say: Say, words: str) -> None:
    parts, model = fork(session, say, Say(text="notes.md:1"))
    Explore(parts).run(QUESTION)
    assert words in model.seen_aside[1][-1].content
    assert not (session.folder / "work" / "x").exists()


def test_what_the_settings_deny_is_denied_here_too(session: Session) -> None:
    config = Config(approval=ApprovalConfig(denied_tools=("search",)))
    parts, model = fork(session, look("search", pattern="b"), Say(text="notes.md:1"), config=config)
    Explore(parts).run(QUESTION)
    assert "search is not allowed" in model.seen_aside[1][-1].content


def test_a_fork_that_does_not_answer_is_asked_to_and_then_ended(session: Session) -> None:
    parts, model = fork(session, look("search", pattern="b"))
    with pytest.raises(ToolFailed, match="No answer in 10 steps"):
        Explore(parts).run(QUESTION)
    assert len(model.seen_aside) == MAX_STEPS + 1
    assert model.seen_aside[-1][-1].content.endswith("Answer now, without a call.]")


def test_no_question_is_refused_before_the_model_is_asked(session: Session) -> None:
    parts, model = fork(session)
    with pytest.raises(ToolFailed, match="question is empty; say in a sentence what to find"):
        Explore(parts).run({"question": " "})
    assert not model.seen_aside


def test_an_answer_without_a_place_and_a_spent_budget_are_said(session: Session) -> None:
    parts, _ = fork(session, Say(text="It is all fine."))
    with pytest.raises(ToolFailed, match="named no place"):
        Explore(parts).run(QUESTION)
    parts, _ = fork(session, Say(text="notes.md:1"), config=Config(budget=Budget(max_tokens=1)))
    with pytest.raises(ToolFailed, match="are spent"):
        Explore(parts).run(QUESTION)


def test_a_model_other_than_nano_can_explore_in_a_run(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    aside = (Say(text="shop/cart.py:4-5 the sum"),)
    script = [look("explore", **QUESTION), REPAIR, FINISH]
    model = Forked([script], aside=aside)
    run = run_fix(FixRequest(repository), chat_factory=lambda _: model, state=tmp_path / "state")
    outcome = drained(run)
    assert (outcome.exit_code, outcome.num_calls) == (0, 3)
    assert model.seen[1][-1].content == "shop/cart.py:4-5 the sum"
    assert not any(SIDE in message.content for message in model.seen[-1])


@pytest.mark.slow
def test_neither_branch_reads_again_what_the_other_has(session: Session) -> None:
    nano = load_chat(FixRequest(Path(), model="nano"))
    session.begin(2, "repair", "base", "You repair.")
    session.add(Message("user", "The tests fail, all of them. " * 20))
    options = ReplyOptions(thinking=False, max_new_tokens=16)
    *_, first = nano.reply(session.messages, (), options, lambda: False)
    assert isinstance(first, ReplyEnd)
    session.add(first.message, first.usage)
    parts, _ = fork(session)
    with pytest.raises(ToolFailed):
        Explore(Fork(session, nano, options, Config(), tuple, parts.reading, parts.workspace)).run(
            QUESTION
        )
    aside: Usage = session.usages[1]
    read = first.usage.num_prompt + first.usage.num_generated - 1
    assert aside.num_reused == read, "the fork goes on from the state of the main line"
    session.add(Message("tool", "shop/cart.py:1-2"))
    *_, end = nano.reply(session.messages, (), options, lambda: False)
    assert isinstance(end, ReplyEnd)
    assert end.usage.num_reused >= read, "and the main line from where the fork began"
