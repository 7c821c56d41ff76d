"""Whether a prompt can be answered in the window at all; what cannot is never part of a talk."""

from collections.abc import Iterable

from agent.errors import UsageError
from agent.parts import Parts
from agent.session import Session
from inference.messages import Picture
from inference.pictures import num_tokens_of

LEAST_REPLY = 64
"""Tokens that a reply needs."""


def check_fits(text: str, session: Session, parts: Parts, pictures: Iterable[Picture] = ()) -> None:
    """See that a prompt leaves room for a reply when everything else is put in short form.

    Raises:
        UsageError: it does not.
    """
    chat = parts.chat
    fixed = [message.content for message in session.messages if message.role == "system"]
    num_free = chat.context_tokens - LEAST_REPLY - sum(map(chat.count_tokens, fixed))
    num_seen = sum(map(num_tokens_of, pictures))
    if num_seen + len(text.encode(errors="replace")) <= num_free:  # a token is a byte at least
        return
    num_tokens = num_seen + chat.count_tokens(text)
    if num_tokens > num_free:
        raise UsageError(
            f"that prompt is {num_tokens:,} tokens long, and the window of {chat.name} has room "
            f"for {max(0, num_free):,}; shorten it, or name a file instead of pasting it"
        )
