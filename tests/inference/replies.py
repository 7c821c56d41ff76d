"""Replies as a model would write them: tags are control tokens, everything else is text."""

import re
from collections.abc import Iterable, Sequence

from inference.messages import Text, Thinking, ToolSpec
from inference.parser import ReplyParser, ReplyPiece
from inference.profiles import TAGS
from inference.tokenizer import Tokenizer

EDITOR = ToolSpec(
    "edit",
    "",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "old": {"type": "string"},
            "new": {"type": "string"},
            "line": {"type": "integer"},
            "scale": {"type": "number"},
            "all": {"type": "boolean"},
            "range": {"type": "array", "items": {"type": "integer"}},
            "extra": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            "free": {},
        },
    },
)


_TAG = re.compile(r"((?<!\\)(?:" + "|".join(map(re.escape, TAGS)) + "))")


def ids(tokenizer: Tokenizer, written: str) -> list[int]:
    """Encode a reply as a model would; `\\<` begins no tag, nor does what the vocabulary lacks."""
    out: list[int] = []
    for part in _TAG.split(written):
        if tokenizer.has_control(part):
            out.append(tokenizer.control(part))
        else:
            out += tokenizer.encode(part.replace("\\<", "<"))
    return out


def parse(
    tokenizer: Tokenizer, written: str, tools: Sequence[ToolSpec] = (EDITOR,), opener: str = ""
) -> list[ReplyPiece]:
    """Return the pieces of a reply, texts joined."""
    return read(ReplyParser(tokenizer, tools, ids(tokenizer, opener)), ids(tokenizer, written))


def read(parser: ReplyParser, tokens: Iterable[int]) -> list[ReplyPiece]:
    """Return the pieces of these tokens and of the end, texts joined."""
    return joined([*(piece for token in tokens for piece in parser.feed(token)), *parser.flush()])


def joined(pieces: Sequence[ReplyPiece]) -> list[ReplyPiece]:
    """Join neighbouring texts, which may stream in any cut."""
    out: list[ReplyPiece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if isinstance(piece, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + piece.text)
        elif isinstance(piece, Thinking) and isinstance(last, Thinking):
            out[-1] = Thinking(last.text + piece.text)
        else:
            out.append(piece)
    return out


def pair(key: str, value: str) -> str:
    """Write the inside of `<parameter=KEY>\\nVALUE` up to its closing tag."""
    return f"{key}>\n{value}"


def xml(*parameters: str, name: str = "edit") -> str:
    """Write a call; each parameter is what follows `<parameter=`, up to its closing tag."""
    inner = "".join(f"<parameter={p}\n</parameter>\n" for p in parameters)
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"
