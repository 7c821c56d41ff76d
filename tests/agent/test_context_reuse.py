"""A conversation in short form on the real engine: exact, and only what is new is read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.notes import noted
from agent.session import Session
from agent.stale import dropped
from inference.local import LocalChat, open_chat
from inference.messages import Message, ReplyEnd, ReplyOptions, SamplingOptions, ToolCall, Usage
from sandbox.base import never

GREEDY = ReplyOptions(SamplingOptions(), max_new_tokens=12, thinking=False)
NEAR = 64
"""Snapshots lie at multiples of it."""
LOOK = ToolCall("str_replace_editor", {"command": "view", "path": "a.py"})


@pytest.fixture(scope="module")
def chat() -> LocalChat:
    return open_chat("nano")


def answer(chat: LocalChat, messages: Sequence[Message]) -> ReplyEnd:
    *_, end = chat.reply(messages, (), GREEDY, never)
    assert isinstance(end, ReplyEnd)
    return end


def worked(chat: LocalChat, num_steps: int) -> list[Message]:
    """A conversation of some steps, its replies written by the model."""
    messages = [Message("system", "Repair."), Message("user", "The tests fail. Find the bug.")]
    for step in range(num_steps):
        reply = answer(chat, messages).message
        text = "\n".join(f"{n:>4}\tvalue_{step} = {n}" for n in range(60))
        messages += [replace(reply, tool_calls=(LOOK,)), Message("tool", text)]
    return messages


def fresh(messages: Sequence[Message]) -> ReplyEnd:
    return answer(open_chat("nano", reuse=False), messages)


def is_reused_up_to(usage: Usage, num_shared: int) -> bool:
    return num_shared - NEAR <= usage.num_reused <= num_shared


def test_after_results_were_dropped_the_rest_alone_is_read(chat: LocalChat) -> None:
    messages = worked(chat, 4)
    short = dropped(messages, len(messages) - 2)
    end = answer(chat, short)
    transcript = chat._transcript
    num_shared = transcript.render(messages[:3], thinking=False).boundaries[2]
    assert [new == old for new, old in zip(short, messages, strict=True)][:4] == [True] * 3 + [
        False
    ]
    assert is_reused_up_to(end.usage, num_shared)
    assert end.message == fresh(short).message


def test_after_notes_the_prompt_is_there_already(chat: LocalChat) -> None:
    messages = worked(chat, 4)
    short = [*messages[:2], noted(messages[:8], "The sum is wrong.", ""), *messages[8:]]
    end = answer(chat, short)
    num_shared = chat._transcript.render(messages[:2], thinking=False).boundaries[1]
    assert is_reused_up_to(end.usage, num_shared)
    assert end.message == fresh(short).message


def test_the_question_for_notes_is_read_alone_and_the_work_goes_on(chat: LocalChat) -> None:
    messages = worked(chat, 2)
    before = answer(chat, messages)
    asked = answer(chat, [*messages, Message("user", "Write it down.")])
    assert asked.usage.num_prefilled <= NEAR
    again = answer(chat, messages)
    assert again.message == before.message
    assert again.usage.num_prefilled <= NEAR


def test_a_short_form_read_from_the_journal_renders_the_same(
    chat: LocalChat, tmp_path: Path
) -> None:
    messages = worked(chat, 3)
    session = Session.create(tmp_path, {})
    session.begin(1, "repair", "base", messages[0].content)
    for message in messages[1:]:
        session.add(message)
    session.compact(dropped(session.messages, 6), 500)
    session.close()
    again = Session.open(session.folder)
    rendered = [chat._transcript.render(one.messages, thinking=False) for one in (session, again)]
    assert rendered[0] == rendered[1]
    again.close()
