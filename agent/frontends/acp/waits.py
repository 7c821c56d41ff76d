"""Long waits, loading and reading, as a line that every editor shows: a call that is in progress.

The figures also go out as `_meta` (`updates.py`); few editors look there, and a minute without a
sign looks dead. A short wait is not told of.
"""

import time
from collections.abc import Callable, Iterator

from acp import schema

from agent.events import Event, ModelLoading, PrefillProgress

PATIENCE_S = 1.5
"""How long reading may take before it is told of."""
PAUSE_S = 1.0
"""Between two updates."""
Shown = schema.ToolCallStart | schema.ToolCallProgress


class Wait:
    """At most one wait at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._number = 0
        self._is_shown = False
        self._told_s = 0.0

    def updates(self, event: Event) -> Iterator[Shown]:
        """Yield what an event changes in what is shown."""
        match event:
            case ModelLoading():
                yield from self._show(f"Loading {event.model}")
            case PrefillProgress() if event.num_done < event.num_total:
                if self._is_shown or event.elapsed_s >= PATIENCE_S:
                    yield from self._show(_reading(event))
            case _:
                yield from self.over()

    def over(self) -> Iterator[Shown]:
        """Yield the end of the wait, if one is shown."""
        if self._is_shown:
            self._is_shown = False
            yield schema.ToolCallProgress(
                session_update="tool_call_update", tool_call_id=self._id, status="completed"
            )

    @property
    def _id(self) -> str:
        return f"wait-{self._number}"

    def _show(self, title: str) -> Iterator[Shown]:
        now = self._clock()
        if not self._is_shown:
            self._is_shown, self._told_s = True, now
            self._number += 1
            yield schema.ToolCallStart(
                session_update="tool_call",
                tool_call_id=self._id,
                title=title,
                kind="other",
                status="in_progress",
            )
        elif now - self._told_s >= PAUSE_S:
            self._told_s = now
            yield schema.ToolCallProgress(
                session_update="tool_call_update", tool_call_id=self._id, title=title
            )


def _reading(event: PrefillProgress) -> str:
    left_s = event.elapsed_s * (event.num_total - event.num_done) / max(1, event.num_done)
    return f"Reading {event.num_done:,} of {event.num_total:,} tokens; about {left_s:.0f} s left"
