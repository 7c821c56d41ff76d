"""`explore`: a question is looked into on a fork of the conversation; only places come back.

The fork goes on from all that the main line has said, so the engine reads no token of that again.
What the fork reads and says is dropped at its end: the main line gets lines of files and a few
words on each. The fork reads and changes nothing. nano has no such tool, being trained without it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from agent.approval import Denied, decide
from agent.budget import tokens_spent
from agent.call_words import answer_to_bad
from agent.session import Session
from agent.settings import Config
from agent.wording import prompt
from inference.chat import ChatModel
from inference.errors import Cancelled, ContextOverflow
from inference.messages import (
    BadToolCall,
    Message,
    ReplyEnd,
    ReplyOptions,
    ToolCall,
    ToolSpec,
)
from sandbox.base import Cancel, never
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.base import Arguments, ToolResult
from tools.editor import StrReplaceEditor
from tools.errors import ToolFailed
from tools.registry import Registry

MAX_STEPS = 10
MAX_PLACES = 20
MAX_WORDS = 100
LAST_STEP = "\n\n[This was the last step. Answer now, without a call.]"
READ_ONLY = "Only view works here: this branch reads and changes nothing."

_PLACE = re.compile(r"[-*\s`]*(?P<path>[^\s:`]+):(?P<first>\d+)(?:-(?P<last>\d+))?[`\s:,-]*(.*)")


@dataclass(frozen=True)
class Fork:
    """What an exploration goes on from, and what it may use."""

    session: Session
    """The main line; it is told what the fork has cost, and nothing else."""
    chat: ChatModel
    options: ReplyOptions
    config: Config
    specs: Callable[[], tuple[ToolSpec, ...]]
    """The tools of the main line: other ones would be another prefix."""
    reading: Registry
    """Tools that change nothing but for the editor, of which `view` alone is let through. Its own,
    since what the fork has read the main line has not."""
    workspace: Workspace


class Explore:
    """Looks into one question a call."""

    name = "explore"
    description = (
        "Have a question about the code looked into aside, without filling this conversation. "
        "Returns the places that answer it, as path:first-last."
    )
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What to find, in a sentence or two."}
        },
        "required": ["question"],
    }

    def __init__(self, fork: Fork) -> None:
        self._fork = fork

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Explore, and return the places.

        Raises:
            ToolFailed: nothing is asked, or it came to no answer, or to none that names a place.
            ModelUnavailable: the engine went away.
        """
        if not arguments["question"].strip():
            raise ToolFailed("question is empty; say in a sentence what to find.")
        words = prompt("explore", question=arguments["question"], num_steps=str(MAX_STEPS))
        messages = [*self._fork.session.messages, Message("tool", words)]
        for step in range(1, MAX_STEPS + 2):
            reply = self._reply(messages, cancel)
            answer = _answer(reply)
            if answer is not None:
                return self._result(answer, step)
            if step > MAX_STEPS:
                break
            messages.append(reply)
            for call in reply.tool_calls:
                messages.append(Message("tool", self._read(call, cancel)))
            if step == MAX_STEPS:
                messages[-1] = replace(messages[-1], content=messages[-1].content + LAST_STEP)
        raise ToolFailed(f"No answer in {MAX_STEPS} steps; ask a narrower question.")

    def _reply(self, messages: Sequence[Message], cancel: Cancel) -> Message:
        """Ask the model, and count what it cost."""
        fork = self._fork
        left = fork.config.budget.max_tokens - tokens_spent(fork.session)
        if left <= 0:
            raise ToolFailed("The tokens of this run are spent.")
        thinks = fork.options.thinking and fork.config.model.thinking != "off"
        num_new = min(fork.options.max_new_tokens, left)
        options = replace(fork.options, thinking=thinks, max_new_tokens=num_new)
        try:
            *_, end = fork.chat.reply(messages, fork.specs(), options, cancel)
        except Cancelled as error:
            raise ToolFailed("The exploration was stopped.") from error
        except ContextOverflow as error:
            raise ToolFailed("The conversation is too long to explore aside; search.") from error
        assert isinstance(end, ReplyEnd), "a reply ends with a ReplyEnd"
        fork.session.spend(end.usage)
        if end.stop_reason == "cancelled":
            raise ToolFailed("The exploration was stopped.")
        return end.message

    def _read(self, call: ToolCall | BadToolCall, cancel: Cancel) -> str:
        """Carry a call of the fork out, if it only reads."""
        if isinstance(call, BadToolCall):
            return answer_to_bad(call, self._fork.chat)
        decision = decide(call, self._fork.config.approval)
        if isinstance(decision, Denied):
            return decision.reason
        if call.name == StrReplaceEditor.name and call.arguments.get("command") != "view":
            return READ_ONLY
        return self._fork.reading.call(call.name, call.arguments, cancel).text

    def _result(self, answer: str, num_steps: int) -> ToolResult:
        places = list(dict.fromkeys(self._places(answer)))[:MAX_PLACES]
        if not places:
            raise ToolFailed("The exploration named no place in the files; search yourself.")
        found = "1 place" if len(places) == 1 else f"{len(places)} places"
        return ToolResult("\n".join(places), f"explored in {num_steps} steps ({found})")

    def _places(self, answer: str) -> Iterator[str]:
        """Yield the lines of an answer that name lines which are there, each in one form."""
        for line in answer.split("\n"):
            match = _PLACE.fullmatch(line)
            if match is None:
                continue
            try:
                path = self._fork.workspace.resolve(match["path"])
                num_lines = self._fork.workspace.read(str(path)).count(b"\n") + 1
            except (PathRefused, OSError):
                continue
            first = int(match["first"])
            last = min(int(match["last"] or first), num_lines)
            if 1 <= first <= last:
                yield f"{path}:{first}-{last} {match[4].strip()[:MAX_WORDS]}".rstrip()


def _answer(reply: Message) -> str | None:
    """Return what a reply answers: its text, or the summary of a `finish`; None to go on."""
    for call in reply.tool_calls:
        if isinstance(call, ToolCall) and call.name == "finish":
            return f"{reply.content}\n{call.arguments.get('summary', '')}"
    return None if reply.tool_calls else reply.content
