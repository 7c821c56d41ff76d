"""A message as a record of the journal, and back."""

from dataclasses import asdict

from agent.journal import Record
from inference.messages import BadToolCall, Message, Picture, ToolCall


def record_of(message: Message) -> Record:
    """Write a message down; what is empty is left out."""
    record = asdict(message)
    return {key: value for key, value in record.items() if value}


def message_of(record: Record) -> Message:
    """Read a message back.

    Raises:
        KeyError, TypeError: it is of another version.
    """
    calls = tuple(
        BadToolCall(**call) if "raw" in call else ToolCall(**call)
        for call in record.get("tool_calls", ())
    )
    return Message(
        role=record["role"],
        content=record.get("content", ""),
        thinking=record.get("thinking", ""),
        tool_calls=calls,
        token_ids=tuple(record.get("token_ids", ())),
        pictures=tuple(Picture(**picture) for picture in record.get("pictures", ())),
        failed=record.get("failed", False),
    )
