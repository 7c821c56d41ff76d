"""A conversation as a file for people or programs: Markdown, JSON or HTML; pure text."""

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from agent.errors import UsageError
from inference.messages import Message, ToolCall

KINDS = ("md", "json", "html")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ max-width: 50rem; margin: 2rem auto; font: 16px/1.5 system-ui, sans-serif; }}
h2 {{ font-size: 1rem; margin: 2rem 0 .5rem; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }}
.tool, .thinking {{ opacity: .7; font-size: .85rem; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #ddd; }} }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""
NAMES = {"user": "You", "assistant": "Model", "tool": "Result", "system": "System"}


def exported(messages: Sequence[Message], kind: str, title: str) -> str:
    """Write a conversation in one of `KINDS`.

    Raises:
        UsageError: there is no such kind.
    """
    if kind == "md":
        return f"# {title}\n\n" + "\n".join(_markdown(messages))
    if kind == "json":
        records = [_record(message) for message in messages]
        return json.dumps({"session": title, "messages": records}, indent=2) + "\n"
    if kind == "html":
        body = "\n".join(_html(messages))
        return PAGE.format(title=html.escape(title), body=body)
    raise UsageError(f"a conversation is exported as {', '.join(KINDS)}, not {kind!r}")


def _record(message: Message) -> dict[str, object]:
    record = asdict(message)
    del record["token_ids"]
    return {name: value for name, value in record.items() if value not in ("", (), [])}


def _parts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the parts of a message with their kind: thinking, text, a call."""
    if message.thinking.strip():
        yield "thinking", message.thinking.strip()
    if message.content.strip():
        yield ("tool" if message.role == "tool" else "text"), message.content.strip()
    for call in message.tool_calls:
        if isinstance(call, ToolCall):
            arguments = json.dumps(dict(call.arguments), indent=1, ensure_ascii=False)
            yield "tool", f"{call.name} {arguments}"
        else:
            yield "tool", call.raw


def _markdown(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.role == "system":
            continue
        yield f"## {NAMES[message.role]}\n"
        for kind, text in _parts(message):
            yield f"{text}\n" if kind == "text" else _fenced(text)


def _fenced(text: str) -> str:
    """Put a text in a fence that is longer than any in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}\n"


def _html(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.role == "system":
            continue
        yield f"<h2>{NAMES[message.role]}</h2>"
        for kind, text in _parts(message):
            yield f'<pre class="{kind}">{html.escape(text)}</pre>'
