"""What a person typed of a prompt: its own words, also where the model was told others.

nano knows one wording alone, so what stands in the conversation is not what was typed. The session
remembers that beside it.
"""

from collections.abc import Mapping
from hashlib import sha256

from agent.session import Session
from agent.told import typed_text

FACT = "typed"
"""The record of the journal: what was typed, by the place and the wording that the model has."""
KEY_LENGTH = 16


def remember_typed(session: Session, told: str, text: str) -> None:
    """Keep what was typed in the place of `told`, which is said next."""
    place = _place(len(session.messages), told)
    session.record(FACT, said={**_said(session), place: text})


def typed_in(session: Session, index: int) -> str:
    """Return what the person typed of a prompt: of the message with this number."""
    content, said = session.messages[index].content, _said(session)
    return said.get(_place(index, content)) or typed_of(content, said)


def typed_of(content: str, said: Mapping[str, str]) -> str:
    """Return what was typed last with this wording, where the message's place is not known."""
    typed = [text for place, text in said.items() if place.endswith(_key(content))]
    return typed[-1] if typed else typed_text(content)


def share_typed(session: Session, fork: Session) -> None:
    """Let a fork know it, too."""
    if said := _said(session):
        fork.record(FACT, said=dict(said))


def _said(session: Session) -> Mapping[str, str]:
    said: Mapping[str, str] = session.facts.get(FACT, {}).get("said", {})
    return said


def _place(index: int, content: str) -> str:
    """Name a message; in short form a conversation has others with these numbers."""
    return f"{index}.{_key(content)}"


def _key(content: str) -> str:
    return sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]
