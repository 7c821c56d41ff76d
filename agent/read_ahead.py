"""Has the model read what it will be told in any case, in a thread beside, while nobody asks it.

Whatever is asked stops it after the chunk in hand, and what was read until then is kept. Nothing
of it is in the conversation or its journal; what it cost is told here, and by no reply again.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from agent.errors import AgentError
from agent.models import NANO
from inference.chat import ChatModel
from inference.errors import Cancelled, InferenceError
from inference.messages import Message, Prefill, ToolSpec, Usage
from sandbox.errors import SandboxError
from tools.errors import ProjectError

Wanted = tuple[tuple[object, ...], str]
"""What the beginning of the next turn follows from, and the draft of its prompt."""
READER = "read ahead"
"""The name of the threads."""
POLL_S = 0.05
TOLD_LATER = (AgentError, InferenceError, SandboxError, ProjectError, OSError)
"""What stands in the way of reading stands in the way of the next turn, which says so."""


@dataclass(frozen=True)
class Beginning:
    """What the model will be told next, before the prompt."""

    chat: ChatModel
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]


class Known(Protocol):
    """Knows the beginning of the next turn."""

    @property
    def is_loading(self) -> bool:
        """Whether the model is on its way."""
        ...

    def beginning(self) -> Beginning | None:
        """Return it; None as long as a turn has to settle something first."""
        ...


class ReadAhead:
    """Reads for one talk; `begin` and `stop` may be called from any thread."""

    def __init__(self, known: Known) -> None:
        self.progress: Prefill | None = None
        """How far it is; None while nothing is read."""
        self.num_read = 0
        """Tokens that were read, drafts included."""
        self.read_s = 0.0
        self._known = known
        self._lock = threading.Lock()
        self._num_holding = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._draft = ""
        self._done: Wanted = ((), "")

    def begin(self, about: Sequence[object], draft: str = "") -> None:
        """Read, unless that is done already or something else is; costs next to nothing.

        `about` is what the beginning follows from; `draft` is what is typed of the next prompt.
        """
        with self._lock:
            wanted, (about_done, draft_done) = (tuple(about), draft), self._done
            is_done = wanted[0] == about_done and draft in ("", draft_done)
            if self._num_holding or is_done:
                return
            if self._thread is not None and self._thread.is_alive():
                if draft != self._draft:
                    self._stop.set()  # what is typed now is read when this has ended
                return
            self._stop, self._draft = threading.Event(), draft
            work = (wanted, self._stop)
            self._thread = threading.Thread(target=self._run, args=work, name=READER, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let it end after the chunk in hand."""
        self._stop.set()

    def end(self, timeout_s: float) -> bool:
        """Stop for good; return whether it has ended in time."""
        with self._lock:
            self._num_holding += 1
            self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Stop it, and let nothing be read until this is over: somebody asks for something."""
        with self._lock:
            self._num_holding += 1
            self._stop.set()
        try:
            if self._thread is not None:
                self._thread.join()
            yield
        finally:
            with self._lock:
                self._num_holding -= 1

    def _run(self, wanted: Wanted, stop: threading.Event) -> None:
        try:
            while self._known.is_loading and not stop.wait(POLL_S):
                pass
            if not stop.is_set():
                beginning = self._known.beginning()
                draft = wanted[1]
                if beginning is not None and beginning.chat.name == NANO:
                    draft = ""  # it is told other words than those that are typed
                while beginning is not None and not self._read(beginning, draft, stop):
                    stop.wait(POLL_S)
        except TOLD_LATER:
            pass
        if not stop.is_set():
            self._done = wanted

    def _read(self, beginning: Beginning, draft: str, stop: threading.Event) -> bool:
        """Read all there is; False if another talk has the model."""
        try:
            # A draft is let go when it changes, so what comes before it is read by itself.
            for text in dict.fromkeys(("", draft)):
                self._take(beginning, text, stop)
        except Cancelled:
            return stop.is_set()
        finally:
            self.progress = None
        return True

    def _take(self, beginning: Beginning, draft: str, stop: threading.Event) -> None:
        chat, tools = beginning.chat, beginning.tools
        for piece in chat.read(beginning.messages, tools, draft, stop.is_set):
            match piece:
                case Prefill():
                    self.progress = piece
                case Usage():
                    self.num_read += piece.num_prefilled
                    self.read_s += piece.prefill_s
