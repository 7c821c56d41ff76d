"""A turn in milliseconds: real files, a real editor and a shell, and replies read from a list.

Unlike `ScriptedModel` the list is read in order, whatever the conversation looks like, so a reply
that is dropped or a conversation put in short form goes on with the next one. Reuse is counted as
an engine would: messages that began an earlier conversation cost nothing.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from agent.events import CallEnded, Event, Notice, TurnEnded
from agent.loop import continue_turn, run_turn
from agent.parts import Parts
from agent.session import Session
from agent.settings import Config
from agent.wording import prompt
from inference.errors import ContextOverflow
from inference.messages import (
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Text,
    Thinking,
    ToolSpec,
    Usage,
)
from sandbox.base import Cancel, View, never
from sandbox.direct import Direct
from sandbox.workspace import Workspace
from tests.agent.fakes import Say, call, picture, write
from tools.base import Arguments, ToolResult
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.finish import Finish
from tools.registry import Registry

DONE = Say((call("finish", summary="Done."),))
FILES = {"a.py": "one = 1\ntwo = 2\n", "b.py": "three = 3\n", "pkg/c.py": "four = 4\n"}
PIECE_CHARACTERS = 50


def show(text: str, ok: bool = True) -> Say:
    """Reply with a call whose result is `text`."""
    return Say((call("probe", text=text, ok="yes" if ok else "no"),))


def view(path: str, first: int | None = None, last: int = -1) -> Say:
    """Reply with a look at a file."""
    lines = {} if first is None else {"view_range": [first, last]}
    return Say((call("str_replace_editor", command="view", path=path, **lines),))


class Probe:
    """A tool that answers what it is asked to."""

    name = "probe"
    description = "Show a text."
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "ok": {"type": "string"}},
        "required": ["text"],
    }

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Answer."""
        return ToolResult(arguments["text"], "probed", ok=arguments.get("ok") != "no")


class FakeTests(Probe):
    """`run_tests` without tests: red until `a.py` says otherwise."""

    name = "run_tests"
    parameters: ClassVar[Mapping[str, Any]] = {"type": "object", "properties": {}, "required": []}

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Look at the file."""
        if "one = 2" in (self._tree / "a.py").read_text():
            return ToolResult("4 passed.", "4 passed")
        text = "1 failed, 3 passed.\n\nFAILED tests/test_a.py::test_one\na.py:1: AssertionError"
        return ToolResult(text + "\n    |" * 200, "1 failed, 3 passed")


@dataclass
class Sequel:
    """A model that says the next thing on its list; the last is said again and again."""

    script: Sequence[Say]
    summary: Say | None = None
    """What it says when it is asked for notes."""
    context_tokens: int = 100_000
    can_see: bool = False
    name: str = "sequel"
    seen: list[tuple[Message, ...]] = field(default_factory=list)
    options: list[ReplyOptions] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    asked_for_notes: list[tuple[Message, ...]] = field(default_factory=list)
    _known: list[tuple[Message, ...]] = field(default_factory=list)

    def count_tokens(self, text: str) -> int:
        """Count four characters as a token."""
        return (len(text) + 3) // 4

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Stream the next reply."""
        conversation = tuple(messages)
        if messages[-1].content == prompt("compact"):
            self.asked_for_notes.append(conversation)
            say = self.summary or Say()
        else:
            say = self.script[min(len(self.seen), len(self.script) - 1)]
            self.seen.append(conversation)
            self.options.append(options)
        num_prompt = self._size(conversation)
        if say.error is not None:
            raise say.error
        if num_prompt >= self.context_tokens:
            raise ContextOverflow("The window is full.")
        yield Prefill(num_prompt, num_prompt, 0.0)
        yield from self._written(say, conversation, num_prompt, cancel)

    def _written(
        self, say: Say, conversation: tuple[Message, ...], num_prompt: int, cancel: Cancel
    ) -> Iterator[Piece]:
        said = 0
        pieces = [Thinking(text) for text in _cut(say.thinking)]
        for piece in [*pieces, *(Text(text) for text in _cut(say.text)), *say.calls]:
            if cancel():
                break
            said += 1
            yield piece
        stop = "cancelled" if cancel() else say.stop
        ids = tuple(range(4 + len(say.text) // 4))
        message = Message("assistant", say.text, say.thinking, say.calls, token_ids=ids)
        num_reused = max((self._shared(conversation, one) for one in self._known), default=0)
        num_new = num_prompt - num_reused
        num_generated = said if stop == "cancelled" else len(ids)
        usage = Usage(num_prompt, num_reused, num_new, num_generated, 0.0, 0.0)
        self.usages.append(usage)
        self._known += [conversation, (*conversation, message)]
        yield ReplyEnd(message, stop, usage)

    def _shared(self, one: tuple[Message, ...], other: tuple[Message, ...]) -> int:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        return self._size(tuple(message for message, _ in same))

    def _size(self, messages: tuple[Message, ...]) -> int:
        return sum(8 + (len(one.token_ids) or self.count_tokens(one.content)) for one in messages)


def _cut(text: str) -> list[str]:
    return [text[n : n + PIECE_CHARACTERS] for n in range(0, len(text), PIECE_CHARACTERS)]


@dataclass
class Stage:
    """One turn with all that it can be asked about afterwards."""

    session: Session
    parts: Parts
    model: Sequel
    tree: Path
    events: list[Event] = field(default_factory=list)

    def play(self, text: str = "Mend it.", cancel: Cancel = never) -> TurnEnded:
        """Run the turn."""
        self.events = list(run_turn(self.session, text, self.parts, cancel))
        return self._ended()

    def resume(self, **changes: Any) -> TurnEnded:
        """Go on from the journal, as another process would."""
        self.session.close()
        self.session = Session.open(self.session.folder)
        self.parts = replace(self.parts, **changes)
        self.model = self.parts.chat if isinstance(self.parts.chat, Sequel) else self.model
        self.events = list(continue_turn(self.session, self.parts, never))
        return self._ended()

    def _ended(self) -> TurnEnded:
        ended = self.events[-1]
        assert isinstance(ended, TurnEnded)
        return ended

    def all(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def texts(self) -> list[str]:
        """What the model was told, call by call."""
        return [event.text for event in self.all(CallEnded)]

    @property
    def notices(self) -> list[str]:
        """What the person was told."""
        return [event.text for event in self.all(Notice)]

    @property
    def files(self) -> dict[str, bytes | str]:
        """The files as they are."""
        return picture(self.tree)


SetStage = Callable[..., Stage]


def set_stage(
    folder: Path, script: Sequence[Say], config: Config | None = None, **given: Any
) -> Stage:
    """Make a stage in `folder`; `given` are fields of the model or of the parts."""
    tree = folder / "tree"
    write(tree, {**FILES, **given.pop("files", {})})
    model_fields = ("summary", "context_tokens")
    model = Sequel(script, **{key: given.pop(key) for key in model_fields if key in given})
    session = Session.create(folder / "state", {})
    options = ReplyOptions(thinking=given.pop("thinking", True))
    tools = Registry(
        [
            Bash(Direct(), View(tree, tree)),
            StrReplaceEditor(Workspace(tree, tree)),
            FakeTests(tree),
            Probe(),
            Finish(),
        ]
    )
    name = lambda _before: hashlib.sha256(repr(picture(tree)).encode()).hexdigest()  # noqa: E731
    session.begin(1, "repair", name(""), "You repair.")
    parts = Parts(model, tools, options, config or Config(), name, **given)
    return Stage(session, parts, model, tree)
