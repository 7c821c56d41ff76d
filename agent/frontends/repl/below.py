"""What stands below what was printed: what is being written, what goes on, the input, the status.

It asks the session each time it is drawn, and changes nothing in it.
"""

import time
from typing import TYPE_CHECKING

from agent.frontends.repl.activity import loading, reading
from agent.frontends.repl.screen import Parts
from agent.frontends.repl.status import status_line
from agent.frontends.repl.text import one_line

if TYPE_CHECKING:
    from agent.conversation import Conversation
    from agent.frontends.repl.repl import Repl
    from agent.status import Status

STATUS_S = 0.5
"""For which what stands in the status line is taken to be true."""


class Below:
    """Draws the parts of one session."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._status_of: tuple[Conversation, Status] | None = None
        self._asked_s = 0.0

    def parts(self) -> Parts:
        """Return them as the screen asks for them."""
        repl = self._repl
        return Parts(
            writing=lambda rows: "" if repl.is_asking else repl.story.writing(rows),
            activity=self._activity,
            waiting=self._waiting,
            dialog=lambda: repl.dialog.draw(repl.painter) if repl.dialog else "",
            press=repl.pressing.press,
            label=lambda: repl.prompt.label,
            hint=self._hint,
            status=self._status,
            has_colour=lambda: repl.theme.has_colour,
        )

    def _activity(self) -> str:
        repl, now_s = self._repl, time.monotonic()
        if repl.is_asking:
            return ""
        if repl.worker.is_stopping() and repl.worker.is_busy:
            return repl.painter.line((repl.theme.warn, "stopping"))
        line = repl.activity.line(now_s, repl.screen.width)
        running = repl.worker.running
        if not line and running is not None:
            line = one_line(running.words, repl.screen.width)
        if not line and (status := self.known_status()) and status.progress:
            line = one_line(loading(status.progress), repl.screen.width)
        if not line and (status := self.known_status()) and status.reading:
            line = one_line(reading(status.reading, "reading ahead"), repl.screen.width)
        return repl.painter.line((repl.theme.accent, line)) if line else ""

    def _waiting(self) -> str:
        repl = self._repl
        queued = repl.talk.queued() if repl.talk and repl.waiting else ()
        typed = [("next", text) for text in repl.worker.prompts]
        typed += [("next" if text in queued else "steers", text) for text in repl.waiting]
        width = repl.screen.width - 12
        lines = [(repl.theme.dim, f"  {how}: {one_line(text, width)}") for how, text in typed]
        return "".join(map(repl.painter.line, lines))

    def _hint(self) -> str:
        repl = self._repl
        if repl.dialog is not None:
            return ""
        if repl.prompt.loan:
            return "Enter sends, Esc leaves"
        if repl.is_in_turn:
            return "Enter steers, Alt-Enter queues, Esc stops"
        if (running := repl.worker.running) is not None and running.words:
            return "Esc stops"
        return "Ask, or /help"

    def _status(self) -> str:
        repl, status = self._repl, self.known_status()
        words = "opening"
        if status is not None:
            words = status_line(status, repl.activity.memory, repl.screen.width)
        return repl.painter.line((repl.theme.dim, words))

    def known_status(self) -> "Status | None":
        """Return where the talk stands, asked for a moment ago; None while none is open."""
        repl, now_s = self._repl, time.monotonic()
        if repl.talk is None:
            return None
        known = self._status_of
        is_old = known is None or known[0] is not repl.talk or known[1].mode != repl.talk.mode
        if known is None or is_old or now_s - self._asked_s > STATUS_S:
            known = self._status_of = (repl.talk, repl.talk.status())
            self._asked_s = now_s
        return known[1]
