"""A session as a person reads it: its records as entries, and entries as text, Markdown or HTML.

Only what is readable is shown, and what is not is said where it was. It opens no file and changes
nothing. Text is cleaned as on any screen of ours: it moves no cursor and hides no word.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from agent.frontends.console import visible
from agent.journal import BadLine, Contents, Record
from agent.shown import mark_of
from inference.messages import Picture, Usage
from tools.readable import readable

HTML_WIDTH = 110


@dataclass(frozen=True)
class Entry:
    """One thing that was said, or that happened."""

    title: str
    text: str = ""
    calls: tuple[str, ...] = ()
    cost: str = ""


def entries(contents: Contents) -> Iterator[Entry]:
    """Yield what a journal tells, in order, with a word where it cannot be read."""
    bad = list(contents.bad)
    last = -1
    for record in contents.records:
        yield from _lost(bad, last, record["seq"])
        last = record["seq"]
        if (entry := _entry(record)) is not None:
            yield entry
    yield from _lost(bad, last, last + 1)
    if (total := total_usage(contents)).num_prompt:
        yield Entry("all replies", cost=_cost(asdict(total)))


def as_text(contents: Contents) -> Iterator[str]:
    """Yield the lines for a terminal."""
    for entry in entries(contents):
        cost = f"  ({entry.cost})" if entry.cost else ""
        yield f"── {visible(entry.title)}{cost}"
        yield from (f"  {line}" for line in lines_of(entry.text))
        for call in entry.calls:
            first, *rest = lines_of(call)
            yield f"  > {first}"
            yield from (f"    {line}" for line in rest)


def as_markdown(name: str, contents: Contents) -> str:
    """Write the session as a page of Markdown, whose texts are shown as they are."""
    parts = [f"# Session {name}"]
    for entry in entries(contents):
        parts.append(f"## {visible(entry.title)}")
        parts += [f"*{entry.cost}*"] if entry.cost else []
        parts += [_fenced(text) for text in (entry.text, *entry.calls) if text]
    return "\n\n".join(parts) + "\n"


def as_html(name: str, contents: Contents) -> str:
    """Write the session as one page that needs no other file."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=io.StringIO(), record=True, width=HTML_WIDTH)
    console.print(Text(f"Session {name}", style="bold"))
    for line in as_text(contents):
        style = "bold cyan" if line.startswith("── ") else ""
        console.print(Text(line, style="yellow" if line.startswith("  > ") else style))
    return console.export_html()


def as_document(name: str, contents: Contents) -> dict[str, Any]:
    """Return all that is in the journal, for other programs."""
    return {
        "id": name,
        "usage": asdict(total_usage(contents)),
        "records": list(contents.records),
        "bad_lines": [line.number for line in contents.bad],
    }


def total_usage(contents: Contents) -> Usage:
    """Add up what all replies cost, those included that were dropped."""
    usages = [Usage(**record["usage"]) for record in contents.records if "usage" in record]
    names = [entry.name for entry in fields(Usage)]
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in names})


def lines_of(text: str) -> list[str]:
    """Return text as lines that a terminal shows and does not obey."""
    shown = readable(text).encode("utf-8", "replace").decode("utf-8")
    return shown.rstrip("\n").split("\n") if shown.strip() else []


def _lost(bad: list[BadLine], last: int, following: int) -> Iterator[Entry]:
    """Say what is missing between two records."""
    num_bad = 0
    while bad and bad[0].after == last:
        num_bad += 1
        yield Entry(f"line {bad.pop(0).number} cannot be read")
    if (num_missing := following - last - 1) > num_bad:
        yield Entry(f"records missing: {num_missing}")


def _entry(record: Record) -> Entry | None:
    cost = _cost(record.get("usage"))
    match record["type"]:
        case "start":
            return Entry(f"{record.get('repository', '')}  model {record.get('model', '')}")
        case "attempt":
            return Entry(f"attempt {record['number']}, {record['phase']}", record["system"])
        case "message":
            message = record["message"]
            calls = tuple(map(_call, message.get("tool_calls", ())))
            thought = f"[thinking]\n{message['thinking']}\n\n" if "thinking" in message else ""
            pictures = (mark_of(Picture(**one)) for one in message.get("pictures", ()))
            words = "\n".join((*pictures, thought + message.get("content", "")))
            return Entry(message["role"], words, calls, cost)
        case "compacted":
            return Entry(f"put in short form: {len(record['messages'])} messages")
        case "rewind":
            return Entry(f"gone back to message {record['keeps']}")
        case "redo":
            return Entry("the going back was taken back")
        case "spent":
            return Entry("a reply was not kept", cost=cost)
        case "mended":
            return Entry("from here on the conversation goes on from before what is lost")
        case "end":
            return Entry(f"end: exit code {record['exit_code']}", record["sentence"])
    return None


def _call(call: Record) -> str:
    if "raw" in call:
        return f"a call that cannot be read: {call['raw']}"
    if set(call["arguments"]) == {"command"}:
        return f"{call['name']}: {call['arguments']['command']}"
    return f"{call['name']} {json.dumps(call['arguments'], ensure_ascii=False, indent=1)}"


def _cost(usage: Record | None) -> str:
    if not usage:
        return ""
    return (
        f"{usage['num_prompt']:,} tokens read, {usage['num_reused']:,} of them reused; "
        f"{usage['num_generated']:,} written; {usage['prefill_s'] + usage['decode_s']:.1f} s"
    )


def _fenced(text: str) -> str:
    lines = "\n".join(lines_of(text))
    longest = max(map(len, re.findall("`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{lines}\n{fence}"
