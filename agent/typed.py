"""What a person typed of a prompt: its own words, also where the model was told others.

nano knows one wording alone, so what stands in the conversation is not what was typed. The session
remembers that beside it.
"""

from collections.abc import Mapping
from hashlib import sha256

from agent.session import Session
from agent.told import typed_text

FACT = "typed"
"""The record of the journal: what was typed, by what was said to the model instead."""
KEY_LENGTH = 16


def remember_typed(session: Session, told: str, text: str) -> None:
    """Keep what was typed in the place of `told`."""
    if told != text:
        said = session.facts.get(FACT, {}).get("said", {})
        session.record(FACT, said={**said, _key(told): text})


def typed_in(session: Session, content: str) -> str:
    """Return what the person typed of a prompt of this session."""
    return typed_of(content, session.facts.get(FACT, {}).get("said", {}))


def typed_of(content: str, said: Mapping[str, str]) -> str:
    """Return it, where `said` is what the session's record holds."""
    return said.get(_key(content)) or typed_text(content)


def _key(content: str) -> str:
    return sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]
