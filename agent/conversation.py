"""A person's talk with the model about one repository, on the person's own files; prints nothing.

A front end opens one (`open_talk.py`), runs turns and shows their events. All of it is thread-safe
in this sense: one thread runs a turn, while others steer, queue, take back, change the mode and
read `status`. What a turn changes lands in the files at once and can be undone, since it is saved
before the turn and after every call.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from agent.approval import Answer, Ask
from agent.events import Event
from agent.rewind import Point
from agent.settings import ApprovalMode
from sandbox.base import Cancel, CommandResult


class Person(Protocol):
    """Who is talked with, as far as calls are concerned."""

    def ask(self, ask: Ask) -> Answer | None:
        """Let them decide on a call; None if they want the whole turn to stop instead.

        Called in the thread that runs the turn, which waits for it. `ask.preview` is the exact
        command, or a unified diff of the edit.
        """
        ...


@dataclass(frozen=True)
class Status:
    """What a status line shows; a zero or an empty text is not known yet."""

    model: str
    """As it is called; as it was asked for until it is loaded."""
    is_loaded: bool
    mode: ApprovalMode
    sandbox: str
    branch: str
    """Of the person's git; empty where the head is detached."""
    num_context: int
    """Tokens of the conversation."""
    context_tokens: int
    """The window."""
    num_reused: int
    """Tokens of the last reply that were not read again."""
    num_prefilled: int
    """Those that were."""
    tokens_per_s: float
    """How fast the last reply was written."""


@dataclass(frozen=True)
class Rewound:
    """What going back, or forward again, has done."""

    point: Point | None
    """Where the conversation is now; None after a redo."""
    prompt: str
    """What the person typed at the point, to be changed and sent again; empty at a change."""
    paths: tuple[str, ...]
    """The files that are other than they were."""


class Conversation:
    """One talk: turns, undo, rewind, fork; made by `open_conversation` or `resume_conversation`."""

    @property
    def id(self) -> str:
        """The session's name, which it is resumed by."""
        raise NotImplementedError

    @property
    def mode(self) -> ApprovalMode:
        """What runs without asking."""
        raise NotImplementedError

    def status(self) -> Status:
        """Say where the talk stands; costs nothing, from any thread."""
        raise NotImplementedError

    # ---- turns

    def turn(self, prompt: str, cancel: Cancel) -> Iterator[Event]:
        """Answer a prompt; the last event is a `TurnEnded`. A model that is not there yet is waited for.

        When it is cancelled all stays good: the next turn goes on from the same state.

        Raises:
            UsageError: a turn is running already.
            ModelUnavailable, SandboxUnavailable: it cannot be had; the talk can go on later.
        """
        raise NotImplementedError

    def steer(self, text: str) -> None:
        """Tell the model something with its next result, while a turn runs."""
        raise NotImplementedError

    def queue(self, text: str) -> None:
        """Keep a prompt for when the turn has ended."""
        raise NotImplementedError

    def take_back(self) -> str | None:
        """Return what was typed last and has not reached the model, as if it had not been typed."""
        raise NotImplementedError

    def next_prompt(self) -> str | None:
        """Take what was typed and no turn has met: the prompt for the next turn, if any."""
        raise NotImplementedError

    def compact(self, cancel: Cancel) -> Iterator[Event]:
        """Put the conversation in short form now."""
        raise NotImplementedError

    def attempts(self, prompt: str, num_attempts: int, cancel: Cancel) -> Iterator[Event]:
        """Have attempts made on copies, judged by the tests; the best good one is applied."""
        raise NotImplementedError

    def run_shell(
        self, command: str, cancel: Cancel, on_output: Callable[[bytes], None] | None = None
    ) -> CommandResult:
        """Run a command of the person in the sandbox; the model is told of it with the next prompt."""
        raise NotImplementedError

    # ---- back and forth

    def points(self) -> tuple[Point, ...]:
        """Return the moments that can be gone back to, oldest first."""
        raise NotImplementedError

    def rewind(self, point: Point) -> Rewound:
        """Make conversation and files what they were at a point; the person's own edits stay."""
        raise NotImplementedError

    def undo(self) -> Rewound:
        """Take back the last change of the model.

        Raises:
            UsageError: it has changed nothing.
        """
        raise NotImplementedError

    def redo(self) -> Rewound:
        """Take back the last rewind or undo.

        Raises:
            UsageError: there is none, or the talk went on since.
        """
        raise NotImplementedError

    def fork(self) -> "Conversation":
        """Begin a second talk that has said the same until now, on the same files and model."""
        raise NotImplementedError

    # ---- settings

    def set_mode(self, mode: ApprovalMode) -> None:
        """Change what runs without asking, from the next call on."""
        raise NotImplementedError

    def set_model(self, name: str) -> None:
        """Go on with another model from the next turn on; it is loaded behind the talk.

        Raises:
            ModelUnavailable: the name stands for none.
        """
        raise NotImplementedError

    def diff(self) -> str:
        """Return what the files have become since the talk began, as a patch."""
        raise NotImplementedError

    def close(self) -> None:
        """End what runs in the background, and let another process resume it."""
        raise NotImplementedError


# agent/open_talk.py:
#   TalkRequest(path, model="auto", mode="ask", test_command=(), python=None, sandbox="bubblewrap", config)
#   open_conversation(request, person, chat_factory=None, state=None) -> Conversation
#   resume_conversation(name or "", path, person, chat_factory=None, state=None) -> Conversation
