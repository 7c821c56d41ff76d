"""Notices a turn that only reads: where it learns nothing, and where it never gets to work.

A call that changes a file or runs the tests is work. What else a call shows is new if a tenth of
its lines were not shown before in this turn, so a view that moves on by a line is not; nor is a
look that was taken before at the same files, however its result is worded.
"""

from agent.settings import GuardConfig
from inference.messages import ToolCall

WORK = ("run_tests", "finish", "todo")
"""Calls that are more than reading even where no file changes."""
LOOKS = ("str_replace_editor", "search", "outline")
"""Calls that show the files and nothing else."""
NEW_SHARE = 0.1
REMIND_EVERY = 10


class Stall:
    """Counts calls in a row that were no work."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._lines: set[int] = set()
        self._num_reads = 0
        self._num_stale = 0

    def after(self, call: ToolCall, result: str, is_again: bool, has_changed: bool) -> str:
        """Record a result; return a note, or nothing.

        Args:
            call, result: what ran, and what it gave.
            is_again: whether it had run before, on the files as they were.
            has_changed: whether they are others now.
        """
        is_new = self._learn(result) and not (is_again and call.name in LOOKS)
        if has_changed or call.name in WORK:
            self._num_reads = self._num_stale = 0
            return ""
        self._num_reads += 1
        self._num_stale = 0 if is_new else self._num_stale + 1
        if self._num_stale >= self._config.stale_reads:
            return f"The last {self._num_stale} calls showed nothing new. Edit, test or finish."
        num_over = self._num_reads - self._config.max_reads
        if num_over >= 0 and num_over % REMIND_EVERY == 0:
            return (
                f"The last {self._num_reads} calls changed nothing. "
                "If you know enough, make the change now."
            )
        return ""

    def refuses(self, call: ToolCall) -> bool:
        """Say whether a call that ran before is to be refused: it would read on."""
        limit = self._config.stale_reads * 3 // 2
        return call.name not in WORK and self._num_stale >= limit

    def refused(self) -> None:
        """Count a call that was not run."""
        self._num_stale += 1

    @property
    def is_over(self) -> bool:
        """Whether notes and refusals did not help."""
        return self._num_stale >= 2 * self._config.stale_reads

    def _learn(self, result: str) -> bool:
        """Remember the lines of a result; say whether it showed something new."""
        lines = {hash(line) for line in result.split("\n") if line.strip()}
        num_new = len(lines - self._lines)
        self._lines |= lines
        return num_new > NEW_SHARE * len(lines)
