"""What goes on right now, as one line that changes in place: reading, thinking, writing, a call.

It keeps count from the events; the seconds come from the clock of who asks.
"""

from dataclasses import dataclass

from agent.call_words import words_of
from agent.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    CallWriting,
    Event,
    ModelLoading,
    ModelProgress,
    PrefillProgress,
    ReplyEnded,
    RunStarted,
    StepStarted,
    TestsRan,
    TestsStarted,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.frontends.load_words import STAGES, sizes_words
from agent.frontends.repl.text import count_words, one_line, seconds_words
from inference.messages import BadToolCall, Memory, Prefill, ToolCall

BAR_WIDTH = 16
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
TURNS_PER_S = 8
WRITING_CALL = "writing a call"
MIN_SPEED_S = 0.5
"""Of writing, before its speed is worth a figure."""


@dataclass
class Activity:
    """Changes with every event; empty words mean that nothing goes on."""

    words: str = ""
    since_s: float = 0.0
    num_tokens: int = 0
    """Pieces of the reply so far, which are about its tokens."""
    first_s: float = 0.0
    """When the reply began to be written."""
    last_s: float = 0.0
    memory: Memory | None = None
    """Of the engine, after the last reply that told."""

    def note(self, event: Event, now_s: float) -> None:
        """Take one event into account."""
        match event:
            case ModelLoading():
                self._begin(f"loading the model {one_line(event.model, 40)}", now_s)
            case ModelProgress():
                self._begin(loading(event), 0.0)  # it says how long it takes, not how long it took
            case RunStarted() | TestsStarted():
                self._begin("running the tests", now_s)
            case AttemptStarted() if event.num_attempts > 1:
                self._begin(f"beginning attempt {event.number} of {event.num_attempts}", now_s)
            case StepStarted():
                self._begin("reading", now_s)
            case PrefillProgress() if event.num_done < event.num_total:
                self._begin(reading(event), 0.0)  # it says how long it takes
            case PrefillProgress():
                self._begin("answering", now_s)
            case TextDelta() | ThinkingDelta():
                self._count(isinstance(event, ThinkingDelta), now_s)
            case CallWriting():
                if not self.words.startswith(WRITING_CALL):
                    self._begin(WRITING_CALL, now_s)
                size = f"{count_words(event.num_bytes)} bytes"
                self.words = f"{WRITING_CALL} of {one_line(event.name, 30)}, {size}"
            case CallStarted():
                self._begin(f"running {call_words(event.call, 60)}", now_s)
            case ReplyEnded():
                self.memory = event.memory or self.memory
                self._begin("working", now_s)
            case TestsRan() | CallEnded():
                self._begin("working", now_s)
            case TurnEnded():
                self.words = ""

    def line(self, now_s: float, width: int) -> str:
        """Say what goes on, and for how long."""
        if not self.words:
            return ""
        turned = SPINNER[int(now_s * TURNS_PER_S) % len(SPINNER)]
        seconds = seconds_words(max(0.0, now_s - self.since_s)) if self.since_s else ""
        return one_line(f"{turned} {self.words}{self._speed()}  {seconds}", width)

    def _begin(self, words: str, now_s: float) -> None:
        self.words, self.since_s, self.num_tokens = words, now_s, 0

    def _count(self, is_thinking: bool, now_s: float) -> None:
        words = "thinking" if is_thinking else "writing"
        if self.words != words:
            self._begin(words, now_s)
            self.first_s = now_s
        self.num_tokens += 1
        self.last_s = now_s

    def _speed(self) -> str:
        if self.words not in ("thinking", "writing"):
            return ""
        count = f" {count_words(self.num_tokens)} tokens" if self.words == "thinking" else ""
        spent_s = self.last_s - self.first_s
        if spent_s < MIN_SPEED_S:
            return count
        return f"{count}, {(self.num_tokens - 1) / spent_s:,.0f} tok/s"


def loading(event: ModelProgress) -> str:
    """Draw how much of the model is there, and say how long the rest takes."""
    share = event.num_bytes / max(1, event.num_total_bytes)
    return f"{STAGES[event.stage]} {_bar(share)} {sizes_words(event)}"


def reading(event: PrefillProgress | Prefill, words: str = "reading") -> str:
    """Draw how much of the prompt is read, and say how long the rest takes."""
    share = event.num_done / max(1, event.num_total)
    speed = event.num_done / event.elapsed_s if event.elapsed_s > 0 else 0.0
    left = f", {seconds_words((event.num_total - event.num_done) / speed)} left" if speed else ""
    counts = f"{count_words(event.num_done)} of {count_words(event.num_total)} tokens"
    return f"{words} {_bar(share)} {counts}{left}"


def _bar(share: float) -> str:
    full = round(share * BAR_WIDTH)
    return "█" * full + "░" * (BAR_WIDTH - full)


def call_words(call: ToolCall | BadToolCall, width: int) -> str:
    """Say a call in one line of at most `width` cells."""
    return one_line(words_of(call), width)
