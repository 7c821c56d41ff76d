"""What a reply took over from earlier work, and why not more, in one sentence.

A missed reuse makes no noise of its own: the reply is right, only late. It reads figures and
decides nothing.
"""

from collections.abc import Sequence

from agent.events import Event, OfAttempt, ReplyEnded
from inference.messages import Usage

MIN_REPEATED_TOKENS = 64
"""Snapshots lie at multiples of it; fewer tokens read twice are no news."""


class LastReplies:
    """What the last reply has cost, of each of the attempts that are made at once."""

    def __init__(self) -> None:
        self._usages: dict[int, Usage] = {}

    def before(self, event: Event) -> Usage | None:
        """Return what the last reply before an event cost, and take note of the event."""
        number, told = (event.number, event.event) if isinstance(event, OfAttempt) else (0, event)
        last = self._usages.get(number)
        if isinstance(told, ReplyEnded):
            self._usages[number] = told.usage
        return last


def reuse_sentence(usage: Usage, before: Usage | None = None) -> str:
    """Say where a reply resumed and what had to be read; `before` is the reply before it."""
    if not usage.num_prompt:
        return "stopped before anything was read"
    num_new = usage.num_prefilled - usage.num_repeated
    if _goes_on(usage, before):
        return f"went on where the last reply ended: {num_new:,} new {_tokens(num_new)}"
    parts = [f"resumed at {usage.num_reused:,} of {usage.num_prompt:,}"]
    if not usage.num_reused:
        parts = ["nothing to resume from"]
    if usage.num_repeated:
        words = f"{_tokens(usage.num_repeated)} had been read before"
        parts.append(f"{usage.num_repeated:,} {words} but no snapshot was near")
    if not num_new:
        parts.append("nothing is new")
    elif usage.num_reused and not usage.num_repeated:
        parts.append("the rest is new")
    else:
        noun = "" if usage.num_repeated else f"{_tokens(num_new)} "
        parts.append(f"{num_new:,} {noun}{'is' if num_new == 1 else 'are'} new")
    return "; ".join(parts)


def guessed_words(usages: Sequence[Usage]) -> str:
    """Say how many guesses of tokens came true; "" where none was made."""
    num_drafted = sum(usage.num_drafted for usage in usages)
    num_accepted = sum(usage.num_accepted for usage in usages)
    share = num_accepted / max(1, num_drafted)
    return f"{share:.0%} of {num_drafted:,} guesses right" if num_drafted else ""


def is_news(usage: Usage, before: Usage | None) -> bool:
    """Tell whether the sentence says more to a person than the figures of the reply do."""
    if _goes_on(usage, before) or not usage.num_prefilled:
        return False
    is_first_read = before is None and not usage.num_reused
    return is_loss(usage) or not is_first_read


def is_loss(usage: Usage) -> bool:
    """Tell whether tokens were read twice that a nearer snapshot would have saved."""
    return usage.num_repeated >= MIN_REPEATED_TOKENS


def _goes_on(usage: Usage, before: Usage | None) -> bool:
    """Tell whether all that the reply before had read was there, and nothing else was missed."""
    if before is None or not usage.num_reused or usage.num_repeated:
        return False
    # The last token of a reply is drawn, not read.
    return usage.num_reused == before.num_prompt + max(0, before.num_generated - 1)


def _tokens(count: int) -> str:
    return "token" if count == 1 else "tokens"
