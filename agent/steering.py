"""What the person types while a turn runs, brought to the model inside the next result.

A message of its own would end the user turn that results share; inside a result the conversation
only grows. Nothing else may look like it, so a result that spells the same words is changed.
"""

from agent.parts import Parts

OPENER = "[The user says: "
_FORGED = "[A text says: "


def steered(text: str, parts: Parts) -> tuple[str, str | None]:
    """Return a result with what the person typed at its end, and that alone or None."""
    text = harmless(text)
    said = typed(parts)
    return (f"{text}\n\n{OPENER}{said}]", said) if said else (text, None)


def harmless(text: str) -> str:
    """Return text from elsewhere without the words that only the person's text begins with."""
    return text.replace(OPENER, _FORGED)


def typed(parts: Parts) -> str | None:
    """Return what the person has typed, if anything."""
    return (parts.steering() or "").strip() or None


def heard(text: str) -> str:
    """Return the part of a result that is the person's, as it stands there; empty if none is."""
    start = text.find(OPENER)
    return text[start:] if start >= 0 else ""
