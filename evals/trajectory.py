"""A session's journal as the lines of a trajectory: what was said, what it cost, how turns ended.

Token ids are left out, they are as long as the words; the digest of the replies stands for them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from agent.journal import Record
from evals.solver import Line, Spent

KEPT = ("role", "content", "thinking", "tool_calls", "sections", "failed")


def lines_of(records: Iterable[Record]) -> Iterator[Line]:
    """Yield the lines of a trajectory, in order; the attempt that a line belongs to comes first."""
    for record in records:
        match record["type"]:
            case "attempt":
                yield {
                    "type": "attempt",
                    "number": record["number"],
                    "phase": record["phase"],
                    "system": record["system"],
                }
            case "message":
                yield _message(record)
            case "compacted":
                yield {"type": "compacted", "num_tokens": record["num_tokens"]}
            case "spent":
                yield {"type": "spent", "usage": record["usage"]}
            case "turn":
                yield {
                    "type": "turn",
                    "attempt": record["attempt"],
                    "reason": record["reason"],
                    "sentence": record["sentence"],
                }
            case "end":
                yield {
                    "type": "end",
                    "exit_code": record["exit_code"],
                    "sentence": record["sentence"],
                }


def replies_of(lines: Iterable[Line]) -> list[Line]:
    """Return the replies of the model among the lines."""
    return [line for line in lines if line.get("role") == "assistant"]


def digest_of_replies(lines: Iterable[Line]) -> str:
    """Return what two runs have in common that said the same."""
    said = [[line.get(key) for key in KEPT] for line in replies_of(lines)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def num_bad_calls(lines: Iterable[Line]) -> int:
    """Count the calls that could not be read."""
    return sum("raw" in call for line in replies_of(lines) for call in line.get("tool_calls", ()))


def ended_by(lines: Iterable[Line]) -> str:
    """Return why the last turn ended; empty after an accepted `finish`."""
    sentences: list[str] = [line["sentence"] for line in lines if line["type"] == "turn"]
    return sentences[-1] if sentences else ""


def spent_of(lines: Iterable[Line]) -> Spent:
    """Add up what the replies cost."""
    usages: list[dict[str, Any]] = [line["usage"] for line in lines if "usage" in line]
    totals = {name: sum(usage.get(name, 0) for usage in usages) for name in Spent.model_fields}
    return Spent(**totals)


def longest(lines: Iterable[Line]) -> int:
    """Return the tokens of the longest conversation."""
    usages = [line["usage"] for line in lines if "usage" in line]
    return max((usage["num_prompt"] + usage["num_generated"] for usage in usages), default=0)


def _message(record: Record) -> Line:
    message = record["message"]
    line = {"type": "message", **{key: message[key] for key in KEPT if key in message}}
    if message.get("token_ids"):
        line["num_tokens"] = len(message["token_ids"])
    if "usage" in record:
        line["usage"] = record["usage"]
    return line
