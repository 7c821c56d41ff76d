"""Where in a prompt a snapshot is worth keeping: places that a conversation comes back to."""

from collections.abc import Sequence

from inference.door import FINE_LADDER_TOKENS, FINE_TOKENS, LADDER_TOKENS
from inference.messages import Message
from inference.transcript import Rendered


def marks_of(messages: Sequence[Message], rendered: Rendered) -> list[int]:
    """Choose where to snapshot: after the system message, between turns, before the reply.

    A rewind cuts before a user message, a fork or another try before the prompt of a reply. Where
    old thinking is dropped, the next turn goes on from before the first reply of this one.
    """
    last = len(messages) - 1
    return _spread(rendered.sections) + [
        length
        for n, length in enumerate(rendered.boundaries[:-1])
        if n in (0, last) or messages[n + 1].role == "user" or length == rendered.lasting
    ]


def _spread(sections: Sequence[int]) -> list[int]:
    """Choose the ends of sections to snapshot at, close to each other only near the last one.

    What changes is read again from the last choice before it, and the last sections change most.
    Each choice but the close ones depends on what is before it alone, so it stays when those
    after it change.
    """
    chosen = list(sections[:1])
    for length in sections[1:]:
        is_late = length > sections[-1] - FINE_TOKENS
        if length - chosen[-1] >= (FINE_LADDER_TOKENS if is_late else LADDER_TOKENS):
            chosen.append(length)
    return chosen
