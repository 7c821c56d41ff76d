"""What is known of a prompt before it is sent: the conversation, and most of what is typed.

Text is cut into tokens a word at a time, so the last word that is typed may still become another
token, and those before it will not. Nothing here runs a model; what is wrongly taken to be known
costs the time that it took to read, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.marks import marks_of
from inference.messages import Message
from inference.pictures import Place
from inference.prefix import num_common
from inference.transcript import Transcript

MIN_AHEAD_TOKENS = 64
"""Fewer are read with the prompt: a chunk of them takes about as long as one of these."""


@dataclass(frozen=True)
class Ahead:
    """The front of the prompt to come."""

    tokens: tuple[int, ...]
    marks: tuple[int, ...]
    """Where a snapshot is worth keeping."""
    places: tuple[Place, ...]
    """Where pictures stand."""


def known_ahead(transcript: Transcript, messages: Sequence[Message], draft: str) -> Ahead:
    """Return what the next prompt will begin with if its text begins with `draft`."""
    asked = [*messages, Message("user", draft)]
    rendered = transcript.render(asked, thinking=False)
    end = rendered.boundaries[len(messages) - 1]
    shorter = _without_last_word(draft)
    if shorter != draft:
        other = transcript.render([*messages, Message("user", shorter)], thinking=False)
        end = num_common(rendered.tokens, other.tokens)
    return Ahead(
        rendered.tokens[:end],
        tuple(mark for mark in marks_of(asked, rendered) if mark <= end),
        tuple(place for place in rendered.places if place.end <= end),
    )


def _without_last_word(text: str) -> str:
    words = text.rstrip().rsplit(maxsplit=1)
    return words[0] if len(words) == 2 else ""
