"""A question to the model beside the conversation, which stays as it is.

It is asked on a fork, which shares all that was read; nothing of it enters the conversation.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

from agent.budget import tokens_left
from agent.events import Event, PrefillProgress
from agent.turn import Turn
from inference.errors import Cancelled
from inference.messages import Message, Prefill, ReplyEnd


def ask_aside(
    turn: Turn, messages: Sequence[Message], question: str, num_tokens: int
) -> Generator[Event, None, str]:
    """Return the model's answer to a question after these messages, so many tokens at most.

    Raises:
        Cancelled: the person stopped it, or the time is spent.
        InferenceError: there is no room for it, or no engine.
    """
    parts = turn.parts
    num_new = min(num_tokens, tokens_left(turn))
    options = replace(parts.options, thinking=False, thinking_budget=None, max_new_tokens=num_new)
    asked = [*messages, Message("user", question)]
    end: ReplyEnd | None = None
    for piece in parts.chat.reply(asked, parts.specs, options, turn.stops):
        match piece:
            case Prefill():
                yield PrefillProgress(piece.num_done, piece.num_total, piece.elapsed_s)
            case ReplyEnd():
                end = piece
    assert end is not None, "a reply ends with a ReplyEnd"
    turn.session.spend(end.usage)
    if end.stop_reason == "cancelled":
        raise Cancelled("what was asked beside the conversation was stopped")
    return end.message.content.strip()
