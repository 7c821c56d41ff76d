"""The page of one task: what was said in it, reply by reply, with what each cost.

All of it was written by a model, a repository or its tests, and is shown as text, never as markup.
"""

import json
from collections.abc import Sequence

from evals.records import Head, Record
from evals.report.markup import Markup, page, tag
from evals.report.run_page import facts_of, result_of
from evals.report.style import STYLE
from evals.solver import Line

MAX_CHARACTERS = 20_000
"""Shown of one text; the file beside the page holds all."""
LONG = 1_500
"""A result of more characters is folded."""


def trajectory_page(head: Head, record: Record, lines: Sequence[Line]) -> str:
    """Return the document."""
    return page(
        f"Task {record.task}",
        STYLE,
        tag("p", tag("a", "All tasks", href="../report.html")),
        tag("p", result_of(record), f": {record.grade.sentence}"),
        tag("p", f"The agent says: {record.attempt.sentence}", class_="soft"),
        *[shown for line in lines for shown in _shown(line)],
        *([tag("h2", "The patch"), text(record.attempt.patch)] if record.attempt.patch else []),
        tag("h2", "How it was run"),
        facts_of(head),
    )


def text(content: str) -> Markup:
    """Show a text as it is; a long one is folded, and one beyond measure is cut."""
    if len(content) > MAX_CHARACTERS:
        num_left = len(content) - MAX_CHARACTERS
        content = f"{content[:MAX_CHARACTERS]}\n[{num_left} more characters are in the file]"
    if len(content) <= LONG:
        return tag("pre", content)
    return tag("details", tag("summary", f"{len(content)} characters"), tag("pre", content))


def _shown(line: Line) -> list[Markup]:
    match line["type"]:
        case "attempt":
            return [tag("h2", f"Attempt {line['number']}: {line['phase']}"), text(line["system"])]
        case "message":
            return [_message(line)]
        case "compacted":
            num = line["num_tokens"]
            return [tag("p", f"Put in short form, {num} tokens are left.", class_="soft")]
        case "turn":
            return [tag("p", f"The turn ended: {line['sentence'] or 'finished'}.", class_="soft")]
    return []


def _message(line: Line) -> Markup:
    classes = f"{line['role']}{' failed' if line.get('failed') else ''}"
    thinking = line.get("thinking", "")
    thought = [tag("details", tag("summary", "thinking"), tag("pre", thinking))] if thinking else []
    calls = [_call(call) for call in line.get("tool_calls", ())]
    said = [text(line["content"])] if line.get("content") else []
    top = tag("header", tag("span", line["role"]), tag("span", _cost(line.get("usage"))))
    return tag("article", top, *thought, *said, *calls, class_=classes)


def _call(call: Line) -> Markup:
    if "raw" in call:
        reason = tag("span", f"could not be read: {call['reason']}", class_="bad")
        return tag("div", reason, text(call["raw"]), class_="call")
    arguments = [
        tag("div", tag("span", name, class_="soft"), text(_written(value)), class_="argument")
        for name, value in call["arguments"].items()
    ]
    return tag("div", tag("b", call["name"]), *arguments, class_="call")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cost(usage: Line | None) -> str:
    if usage is None:
        return ""
    seconds = usage["prefill_s"] + usage["decode_s"]
    return (
        f"{usage['num_reused']} reused, {usage['num_prefilled']} read, "
        f"{usage['num_generated']} written, {seconds:.1f} s"
    )
