"""Shows a run to a person: lines for anyone, and on a terminal colours and what happens right now.

Text from the model, the repository and its tests is cleaned of everything but characters: it must
not move the cursor, set a title or hide what stands beside it.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TextIO

from agent.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    CallWriting,
    Compacted,
    Event,
    Judged,
    ModelLoading,
    ModelProgress,
    Notice,
    OfAttempt,
    PictureShown,
    PrefillProgress,
    ReplyEnded,
    RunStarted,
    Steered,
    StepStarted,
    TestsRan,
    TestsStarted,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.frontends.load_words import STAGES, NowAndThen, sizes_words
from agent.frontends.usage import LastReplies, guessed_words, is_loss, is_news, reuse_sentence
from agent.outcome import BUDGET, FIXED, NOTHING, RED, FixOutcome
from agent.shown import sentence_of
from inference.messages import ToolCall, Usage
from tools.readable import readable

if TYPE_CHECKING:
    from rich.text import Text

MAX_LINE = 160
MAX_DIFF_LINES = 60
MAX_RED_SHOWN = 5
BAR_WIDTH = 24
HEADLINES = {FIXED: "Fixed", RED: "Still red", NOTHING: "Not fixed", BUDGET: "Budget spent"}

NO_ISOLATION = (
    "  !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!  ",
    "  !!  NO ISOLATION (--sandbox direct). What the model runs, and every test,  !!  ",
    "  !!  runs as you: it can read, change, delete and send all that you can.    !!  ",
    "  !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!  ",
)
"""Shown first, and nothing hides it: a person has typed the word, another may read the log."""

Line = tuple[str, str]
"""A style in rich's words, and the text."""


class Console(Protocol):
    """Somewhere to show a run."""

    def show(self, event: Event) -> None:
        """Show one event."""
        ...

    def finish(self, outcome: FixOutcome) -> None:
        """Show what the run came to."""
        ...


def open_console(stream: TextIO | None) -> Console:
    """Choose by whether somebody looks at a terminal; a closed stream is None, as in `sys`."""
    if stream is None:
        return SilentConsole()
    return LiveConsole(stream) if stream.isatty() else PlainConsole(stream)


class SilentConsole:
    """Nothing, where nobody could see it."""

    def show(self, event: Event) -> None:
        """Show nothing."""

    def finish(self, outcome: FixOutcome) -> None:
        """Show nothing."""


class PlainConsole:
    """Lines without colours, for files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._replies = LastReplies()
        self._loads = NowAndThen()

    def show(self, event: Event) -> None:
        """Write the lines of one event."""
        if line := self._loads.line(event):
            self._write(iter([("dim", line)]))
        self._write(lines_of(event, self._replies.before(event)))

    def finish(self, outcome: FixOutcome) -> None:
        """Write what the run came to."""
        self._write(last_lines(outcome))

    def _write(self, lines: Iterator[Line]) -> None:
        for _style, text in lines:
            self._stream.write(f"{text}\n")
        self._stream.flush()


class LiveConsole:
    """Colours, and below them one line of what happens right now."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._console = RichConsole(file=stream, highlight=False)
        self._replies = LastReplies()
        self._now = Now()
        self._since = time.monotonic()
        self._live = Live(
            console=self._console, transient=True, refresh_per_second=8, get_renderable=self._render
        )
        self._live.start()

    def show(self, event: Event) -> None:
        """Print the lines of one event, and say what happens next."""
        for style, text in lines_of(event, self._replies.before(event)):
            self._console.print(text, style=style, markup=False, soft_wrap=True)
        if self._now.note(event):
            self._since = time.monotonic()

    def finish(self, outcome: FixOutcome) -> None:
        """Take the live line away and print what the run came to."""
        self._live.stop()
        for style, text in last_lines(outcome):
            self._console.print(text, style=style, markup=False, soft_wrap=True)

    def _render(self) -> "Text":
        from rich.text import Text

        seconds = time.monotonic() - self._since
        words = f"  {self._now.words}  {seconds:.0f} s" if self._now.words else ""
        return Text(words[: self._console.width - 1], style="cyan", no_wrap=True)


class Now:
    """What happens right now, in every attempt that is being made."""

    def __init__(self) -> None:
        self._words: dict[int, str] = {}

    def note(self, event: Event) -> bool:
        """Take an event into account; say whether it tells of something else."""
        number, told = (event.number, event.event) if isinstance(event, OfAttempt) else (0, event)
        words = happening(told)
        if words is None:
            return False
        if not number:
            self._words.clear()  # those that were made at once have ended
        self._words[number] = words
        return True

    @property
    def words(self) -> str:
        """Say it; each attempt with its number, if they are several."""
        named = sorted(self._words.items())
        return "  ".join(f"[{n}] {words}" if n else words for n, words in named if words)


def lines_of(event: Event, before: Usage | None = None) -> Iterator[Line]:
    """Say an event in lines; `before` is what the last reply before it cost."""
    match event:
        case OfAttempt():
            for style, text in lines_of(event.event, before):
                yield style, f"[{event.number}] {text}"
        case RunStarted():
            yield "bold", f"qwen-agent fix {visible(event.repository)}"
            yield (
                "dim",
                (
                    f"  tests: {visible(event.test_command)}; sandbox: {event.sandbox}; "
                    f"session: {event.session_id}"
                ),
            )
            if event.sandbox == "direct":
                yield from (("bold white on red", line) for line in NO_ISOLATION)
            elif event.sandbox == "landlock":
                yield "yellow", "  Weak isolation, by Landlock alone; `qwen-agent doctor` says why."
        case TestsRan():
            yield "bold", f"Tests {event.when}: {visible(event.summary)} ({event.duration_s:.1f} s)"
            for test in event.failed[:MAX_RED_SHOWN]:
                yield "red", f"  red: {visible(test)}"
            if len(event.failed) > MAX_RED_SHOWN:
                yield "red", f"  and {len(event.failed) - MAX_RED_SHOWN} more"
        case ModelLoading():
            yield "dim", f"Loading the model {visible(event.model)}"
        case AttemptStarted() if event.num_attempts > 1:
            how = "sampled" if event.sampled else "first"
            yield "bold", f"Attempt {event.number} of {event.num_attempts} ({how})"
        case CallStarted():
            yield "bold cyan", f"> {call_line(event)}"
        case CallEnded():
            yield ("green" if event.ok else "yellow"), f"  {visible(event.summary)}"
            yield from _diff_lines(event.diff or "")
        case ReplyEnded():
            for line in event.text.strip().split("\n"):
                if line.strip():
                    yield "", visible(line)
            yield "dim", f"  [{_figures(event.usage)}]"
            if is_news(event.usage, before):
                style = "yellow" if is_loss(event.usage) else "dim"
                yield style, f"  {reuse_sentence(event.usage, before)}"
        case Steered():
            yield "cyan", f"  You: {visible(event.text)}"
        case PictureShown():
            yield "dim", visible(sentence_of(event))
        case Compacted():
            counts = f"{event.num_before:,} -> {event.num_after:,} tokens"
            yield "dim", f"The conversation was put in short form: {counts} ({event.how})."
        case Notice():
            yield "yellow", visible(event.text)
        case TurnEnded() if event.sentence:
            yield "yellow", f"The turn ended: {visible(event.sentence)}"


def happening(event: Event) -> str | None:
    """Say in a few words what goes on from this event; None if it does not tell."""
    match event:
        case RunStarted() | TestsStarted():
            return "running the tests"
        case ModelLoading():
            return "loading the model"
        case ModelProgress():
            return f"{STAGES[event.stage]} {sizes_words(event)}"
        case StepStarted():
            return "reading"
        case PrefillProgress():
            return _prefill_bar(event) if event.num_done < event.num_total else "writing"
        case TextDelta():
            return "writing"
        case ThinkingDelta():
            return "thinking"
        case CallWriting():
            return f"writing a call of {event.name}"
        case CallStarted(call=ToolCall(name=name)):
            return f"running {name}"
        case TurnEnded() if event.reason != "cancelled":
            return "judging on a clean copy"
        case ReplyEnded() | CallEnded() | TurnEnded() | Judged():
            return ""
    return None


def last_lines(outcome: FixOutcome) -> Iterator[Line]:
    """Say what a run came to."""
    if outcome.exit_code not in HEADLINES:
        return
    style = "bold green" if outcome.exit_code == FIXED else "bold yellow"
    sentence = visible(outcome.sentence).rstrip(".")
    yield style, f"{HEADLINES[outcome.exit_code]}: {sentence}."
    if outcome.usages:
        prefilled = sum(usage.num_prefilled for usage in outcome.usages)
        repeated = sum(usage.num_repeated for usage in outcome.usages)
        again = f" ({repeated:,} of them again)" if repeated else ""
        reused = sum(usage.num_reused for usage in outcome.usages)
        written = sum(usage.num_generated for usage in outcome.usages)
        yield (
            "dim",
            (
                f"  {outcome.num_steps} steps, {outcome.num_calls} calls; {prefilled:,} tokens "
                f"read{again}, {reused:,} reused, {written:,} written; {outcome.duration_s:.1f} s"
            ),
        )
    if outcome.patch_file:
        kept = "applied; also kept in" if outcome.applied else "not applied; kept in"
        yield "dim", f"  the patch was {kept} {outcome.patch_file}"
    if outcome.sandbox == "direct":
        yield "bold red", "  all of it ran without isolation (--sandbox direct)"
    if outcome.commit:
        yield "dim", f"  committed as {outcome.commit}"


def on_screen(text: str) -> str:
    """Return text of several lines that a terminal shows and does not obey."""
    # A lone surrogate cannot be written to a terminal.
    return readable(text).encode("utf-8", "replace").decode("utf-8")


def visible(text: str) -> str:
    """Return text as one line that a terminal shows and does not obey."""
    flat = on_screen(text).replace("\n", " ").replace("\t", "    ")
    return flat if len(flat) <= MAX_LINE else f"{flat[: MAX_LINE - 3]}..."


def call_line(event: CallStarted) -> str:
    """Say a call in one line."""
    if not isinstance(event.call, ToolCall):
        return f"a call that cannot be read: {visible(event.call.reason)}"
    values = [str(value) for value in event.call.arguments.values()]
    return visible(" ".join([event.call.name, *values]))


def _diff_lines(diff: str) -> Iterator[Line]:
    lines = diff.split("\n")
    for line in lines[:MAX_DIFF_LINES]:
        if line:
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[0], "dim")
            yield style, f"    {visible(line)}"
    if len(lines) > MAX_DIFF_LINES:
        yield "dim", f"    ({len(lines) - MAX_DIFF_LINES} more lines)"


def _prefill_bar(event: PrefillProgress) -> str:
    share = event.num_done / max(1, event.num_total)
    full = round(share * BAR_WIDTH)
    bar = "#" * full + "." * (BAR_WIDTH - full)
    speed = event.num_done / event.elapsed_s if event.elapsed_s > 0 else 0.0
    left = f", {(event.num_total - event.num_done) / speed:.0f} s left" if speed else ""
    return f"reading [{bar}] {event.num_done:,} of {event.num_total:,} tokens{left} "


def _figures(usage: Usage) -> str:
    guessed = guessed_words((usage,))
    return (
        f"{usage.num_prompt:,} tokens: {usage.num_reused:,} reused, "
        f"{usage.num_prefilled:,} read{_speed(usage.num_prefilled, usage.prefill_s)}; "
        f"{usage.num_generated:,} written{_speed(usage.num_generated, usage.decode_s)}"
        f"{guessed and f', {guessed}'}"
    )


def _speed(num_tokens: int, seconds: float) -> str:
    return f" at {num_tokens / seconds:,.0f} tok/s" if seconds > 0 and num_tokens else ""
