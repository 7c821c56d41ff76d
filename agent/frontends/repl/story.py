"""From events to what stands on the screen: lines printed once, and the part being written.

A reply is printed block by block as the blocks are finished; only the block that is being written
is drawn anew. Of a call the line is printed when its result is there, with the result below it.
"""

import re
from collections import deque

from rich.cells import cell_len

from agent.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    Compacted,
    Event,
    Judged,
    ModelLoading,
    Notice,
    PictureShown,
    ReplyEnded,
    RunStarted,
    Steered,
    StopReason,
    TestsRan,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.frontends.repl.activity import call_words
from agent.frontends.repl.blocks import Block, Blocks
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.text import fit, harmless, one_line, seconds_words
from agent.frontends.usage import is_loss
from agent.shown import sentence_of
from agent.wording import prompt
from inference.messages import BadToolCall, ToolCall

MAX_DIFF_LINES = 60
MAX_RED_SHOWN = 5
MAX_OUTPUT_LINES = 6
"""Of what a command printed; the end of it says most."""
MAX_REASON_LINES = 3
"""Of why a turn ended, which nothing else says."""
MAX_SAID_LINES = 12
MAX_SAID = 2_000
"""Characters; what was typed is known to who typed it, and a paste may be one line."""
COMMAND_ENDED = re.compile(r"\Aran .* \(([^()]*)\)(.*)\Z", re.S)
FILE_NAMES = re.compile(r"\A---.*\n\+\+\+.*\n")
MAX_KEPT_THOUGHTS = 20
SHOWN_OUTPUT = ("bash", "run_tests")
"""Tools whose result a person wants to see a part of."""
DENIED = "denied: "
"""How the summary of a call begins that was not allowed."""
CUT = re.compile(r"\[\.\.\. \d+ .*\.\.\.\]")
"""What stands in a long output where its middle was."""
CALL, GOOD, BAD = "●", "✓", "✗"


class Story:
    """Takes events; gives what to print, and what is being written."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter
        self.is_thinking_shown = False
        self.thoughts: deque[str] = deque(maxlen=MAX_KEPT_THOUGHTS)
        """The latest last, for who wants to read them later."""
        self.last_reply = ""
        """The last whole text of the model, for `/copy`."""
        self._blocks = Blocks()
        self._drawn_tail: tuple[Block | None, Painter, str] = (None, painter, "")
        self._thinking = ""
        self._thinking_since_s: float | None = None
        self._num_thinking = 0
        self._previewed: ToolCall | None = None
        """The call that a person has just seen, with its diff."""
        self._call: ToolCall | BadToolCall | None = None
        self._kind = "said"
        """What was printed last."""

    def show(self, event: Event, now_s: float) -> str:
        """Return what an event adds to the lines that stay."""
        if isinstance(event, ThinkingDelta):
            self._think(event.text, now_s)
            return ""
        shown = self._end_thinking(now_s)
        if isinstance(event, TextDelta):
            blocks = [*self._blocks.feed(harmless(event.text))]
            return shown + self.apart("text", "".join(map(self.painter.block, blocks)))
        if isinstance(event, ReplyEnded | TurnEnded):
            shown += self.close()
        kind = "call" if isinstance(event, CallEnded) else "note"
        return shown + self.apart(kind, self._lines(event))

    def said(self, text: str) -> str:
        """Return what the person said, apart from what the model says."""
        theme = self.painter.theme
        lines = text.strip().split("\n")
        shown = "\n".join(lines[:MAX_SAID_LINES])
        drawn = self.painter.quoted(harmless(shown[:MAX_SAID]), "bold")
        mark = self.painter.line((theme.accent, ">")).rstrip("\n")
        drawn = f"{mark} {drawn.removeprefix('  ')}"
        more = ""
        if len(lines) > MAX_SAID_LINES:
            more = f"  ({len(lines) - MAX_SAID_LINES:,} more lines)"
        elif len(shown) > MAX_SAID:
            more = f"  ({len(shown) - MAX_SAID:,} more characters)"
        drawn += self.painter.line((theme.dim, more)) if more else ""
        self._kind = ""
        return self.apart("said", drawn)

    def told(self, text: str) -> str:
        """Return a whole text of the model."""
        blocks = Blocks()
        found = [*blocks.feed(harmless(text)), *blocks.close()]
        return self.apart("text", "".join(map(self.painter.block, found)))

    def apart(self, kind: str, drawn: str) -> str:
        """Put an empty line between what is of two kinds."""
        if not drawn or kind == self._kind:
            return drawn
        self._kind = kind
        return f"\n{drawn}" if not drawn.startswith("\n") else drawn

    def has_seen(self, call: ToolCall) -> None:
        """A person was shown this call and its diff; they may have changed it."""
        self._previewed = self._call = call

    def writing(self, max_lines: int) -> str:
        """Draw the end of what is being written, in `max_lines` lines."""
        theme = self.painter.theme
        if self._thinking and self.is_thinking_shown:
            drawn = self.painter.quoted(self._thinking.strip(), theme.dim)
        elif tail := self._blocks.tail:
            drawn = self._tail(tail)
        elif self._call is not None:
            width = self.painter.width - 2
            drawn = self.painter.line(("dim", f"{CALL} "), ("", call_words(self._call, width)))
        else:
            return ""
        return "\n".join(drawn.rstrip("\n").split("\n")[-max_lines:])

    def _tail(self, block: Block) -> str:
        """Draw a block, once for as long as nothing is added to it."""
        if self._drawn_tail[:2] != (block, self.painter):
            self._drawn_tail = (block, self.painter, self.painter.block(block))
        return self._drawn_tail[2]

    def close(self) -> str:
        """Return what is left when nothing more will come of a reply."""
        self._call = None
        return self.apart("text", "".join(map(self.painter.block, self._blocks.close())))

    def _think(self, text: str, now_s: float) -> None:
        if self._thinking_since_s is None:
            self._thinking_since_s, self._thinking, self._num_thinking = now_s, "", 0
        self._thinking += harmless(text)
        self._num_thinking += 1

    def _end_thinking(self, now_s: float) -> str:
        if self._thinking_since_s is None:
            return ""
        seconds = seconds_words(now_s - self._thinking_since_s)
        text, self._thinking, self._thinking_since_s = self._thinking.strip(), "", None
        if not text:
            return ""
        self.thoughts.append(text)
        dim = self.painter.theme.dim
        head = self.painter.line((dim, f"thought for {seconds}, {self._num_thinking} tokens"))
        body = self.painter.quoted(text, dim) if self.is_thinking_shown else ""
        return self.apart("thought", head + body)

    def _lines(self, event: Event) -> str:
        theme, line = self.painter.theme, self.painter.line
        match event:
            case RunStarted() if event.sandbox == "direct":
                return line((theme.bad, "No isolation: commands can do all that you can."))
            case ModelLoading():
                return ""
            case TestsRan():
                mark, style = (GOOD, theme.good) if event.ok else (BAD, theme.bad)
                words = f"tests {event.when}: {one_line(event.summary, self.painter.width - 30)}"
                head = line((style, f"{mark} "), ("", f"{words} ({event.duration_s:.1f} s)"))
                return head + self._red(event.failed)
            case AttemptStarted() if event.num_attempts > 1:
                return line(("bold", f"Attempt {event.number} of {event.num_attempts}"))
            case Judged():
                mark, style = (GOOD, theme.good) if event.fixed else (BAD, theme.bad)
                words = f"attempt {event.number}: {one_line(event.sentence, 200)}"
                return line((style, f"{mark} "), ("", words))
            case ReplyEnded():
                return self._reply(event)
            case CallStarted():
                self._call = event.call
                return ""
            case CallEnded():
                return self._result(event)
            case Steered():
                return self.said(event.text)
            case PictureShown():
                return line((theme.dim, harmless(sentence_of(event))))
            case Compacted():
                counts = f"{event.num_before:,} to {event.num_after:,} tokens"
                words = f"The conversation was put in short form: {counts} ({event.how})."
                return line((theme.dim, words))
            case Notice():
                return line((theme.warn, harmless(event.text)))
            case TurnEnded() if event.reason is StopReason.CANCELLED:
                return line((theme.warn, "Stopped."))
            case TurnEnded():
                sentence = one_line(event.sentence, MAX_REASON_LINES * self.painter.width)
                return line((theme.warn, f"The turn ended: {sentence}")) if sentence else ""
        return ""

    def _red(self, failed: tuple[str, ...]) -> str:
        """Name red tests, the first of them."""
        names = [one_line(name, self.painter.width - 4) for name in failed[:MAX_RED_SHOWN]]
        if len(failed) > MAX_RED_SHOWN:
            names.append(f"and {len(failed) - MAX_RED_SHOWN} more")
        return self.painter.quoted("\n".join(names), self.painter.theme.bad) if names else ""

    def _reply(self, event: ReplyEnded) -> str:
        shown = ""
        if event.text.strip():
            self.last_reply = harmless(event.text).strip()
        if is_loss(event.usage):
            words = f"{event.usage.num_repeated:,} tokens were read again: nothing saved was near."
            shown += self.painter.line((self.painter.theme.warn, words))
        return shown

    def _result(self, event: CallEnded) -> str:
        theme, width = self.painter.theme, self.painter.width
        style = theme.good if event.ok else theme.bad
        call, self._call = self._call, None
        words = call_words(call, width) if call else one_line(event.name, width)
        seconds = f" ({seconds_words(event.duration_s)})" if event.duration_s >= 1 else ""
        said = COMMAND_ENDED.sub(r"\1\2", event.summary)  # the line above has the command
        is_denied = event.summary.startswith(DENIED)
        said = "not run" if is_denied else said
        summary = fit(one_line(said, width - 12) + seconds, width - 4)
        name, _, about = fit(words, width - 2).partition(" ")
        about = "" if about == summary else about
        news = _news(summary, about, width - 3 - cell_len(words)) if event.ok else None
        head = [(style, f"{CALL} "), ("bold", name), ("", f" {about}"), (theme.dim, news or "")]
        shown = self.painter.line(*head)
        if news is None:
            shown += self.painter.line((theme.dim, "  └ "), ("" if event.ok else style, summary))
        if event.diff and call is not None and call == self._previewed:
            return shown
        if event.diff:
            # The line above names the file already.
            diff = FILE_NAMES.sub("", harmless(event.diff))
            return shown + self.painter.diff(diff, MAX_DIFF_LINES)
        has_heard = is_denied and call == self._previewed  # it was they who said no
        return shown if has_heard else shown + self._output(event)

    def _output(self, event: CallEnded) -> str:
        """Draw the last lines of what a command printed."""
        if event.name not in SHOWN_OUTPUT and event.ok:
            return ""
        text = event.text.replace(prompt("stopped_call"), "")  # for the model alone
        lines = harmless(text).strip("\n").split("\n")
        if len(lines) == 1 and lines[0].strip(" .") in ("", event.summary.strip(" .")):
            return ""
        shown = [fit(line, self.painter.width - 5) for line in lines[-MAX_OUTPUT_LINES:]]
        if len(lines) > MAX_OUTPUT_LINES:
            num_more = len(lines) - MAX_OUTPUT_LINES
            before = "1 line" if num_more == 1 else f"{num_more} lines"
            shown.insert(0, f"({'many lines' if CUT.search(text) else before} before these)")
        return self.painter.quoted("\n".join(shown), self.painter.theme.dim, indent=4)


def _news(summary: str, about: str, room: int) -> str | None:
    """Return what a summary says that the line of its call does not, as ` (+1 -1)`.

    None if it says more than that, or more than there is room for: that is a line of its own.
    """
    if not about or about not in summary:
        return None
    rest = summary.partition(about)[2].rstrip()
    is_short = not rest or rest[:2] + rest[-1] == " ()"
    return rest if is_short and cell_len(rest) <= room else None
