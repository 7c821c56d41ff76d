"""One try at a reply of a server: what is read of it, when it came, why it ended, what it cost."""

import time
from collections.abc import Iterator

from inference.messages import Message, Piece, Prefill, StopReason, Usage
from inference.remote_lengths import estimated, size_of
from inference.remote_reply import ReplyReader

THOUGHT_CHARACTERS = 4
"""Of a token of thought, about: what is counted while it comes."""
GRACE = 1.25
"""How much longer than its budget a thought may be before it is cut."""


class Try:
    """One try."""

    def __init__(self, reader: ReplyReader, num_prompt: int) -> None:
        """Begin; `num_prompt` is how long the prompt is, about."""
        self.reader = reader
        self.cut: StopReason | None = None
        """Why we ended it ourselves, if we did."""
        self._num_prompt = num_prompt
        self._start_s = time.monotonic()
        self._first_s = 0.0
        """When its first piece came; 0 before that."""
        self._num_pieces = 0

    @property
    def stop_reason(self) -> StopReason:
        """Why it ended."""
        if self.cut is not None:
            return self.cut
        return "max_tokens" if self.reader.is_cut else "end_turn"

    @property
    def is_whole(self) -> bool:
        """Whether it ended as it should; a server that went away says no reason."""
        return self.cut is not None or self.reader.finish_reason is not None

    def timed(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Pass pieces on; before the first one, say that the prompt has been read."""
        for piece in pieces:
            if not self._first_s:
                self._first_s = time.monotonic()
                yield Prefill(self._num_prompt, self._num_prompt, self._first_s - self._start_s)
            self._num_pieces += 1
            yield piece

    def thinks_longer_than(self, budget: int | None) -> bool:
        """Say whether nothing but thought has come, and too much of that."""
        num_thought = len(self.reader.thinking) / THOUGHT_CHARACTERS
        return budget is not None and self.reader.is_thinking and num_thought > GRACE * budget

    @property
    def says_reuse(self) -> bool:
        """Whether the server said how much of the prompt it had read before."""
        said = self.reader.usage
        return bool(said and said.prompt_tokens_details is not None)

    def usage(self, message: Message) -> Usage:
        """Say what it cost: in the server's words, else as far as can be told."""
        now_s = time.monotonic()
        first_s = self._first_s or now_s
        # A reply in one piece tells nothing of how fast it was written.
        times = first_s - self._start_s, now_s - first_s if self._num_pieces > 1 else 0.0
        said, num_thinking = self.reader.usage, estimated(message.thinking)
        if said is None:
            num_prompt = self._num_prompt if self._first_s else 0
            num_new = size_of(message) if self._first_s else 0
            return Usage(
                num_prompt, 0, num_prompt, num_new, *times, num_thinking=min(num_thinking, num_new)
            )
        details, written = said.prompt_tokens_details, said.completion_tokens_details
        num_reused = min(max(0, (details and details.cached_tokens) or 0), said.prompt_tokens)
        num_thinking = (written and written.reasoning_tokens) or num_thinking
        return Usage(
            said.prompt_tokens,
            num_reused,
            said.prompt_tokens - num_reused,
            said.completion_tokens,
            *times,
            num_thinking=min(num_thinking, said.completion_tokens),
        )
