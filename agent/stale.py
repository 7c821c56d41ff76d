"""Old results in one line each: what was looked at, why it need not be kept, and its places.

Pure: a list of messages in, a list of the same length out. Calls stay as the model wrote them;
only results become shorter, and what the person said inside one stays.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from agent.steering import heard
from inference.messages import Message, ToolCall

MAX_KEPT = 240
"""Characters of a result that is left as it is: one line would not be shorter."""
MAX_WORDS = 120
MAX_PLACES = 6
MARK = "[left out: "
_EDITS = ("create", "str_replace", "insert", "undo_edit")
_PLACE = re.compile(r"(?<![\w./-])[\w./-]{0,200}\w\.\w{1,10}(?::\d{1,9}|::[\w.\[\]:-]{1,200})")

_KEPT = re.compile(r"\[All of it is in ([^\s;]{1,400});")
"""How a result names the file that holds its whole output (`outputs.py`)."""


@dataclass(frozen=True)
class Shown:
    """A result and the call that it answers."""

    number: int
    """Of the message."""
    call: ToolCall


def results(messages: Sequence[Message]) -> list[Shown]:
    """Pair each result with its call; those of unreadable calls are left out."""
    shown: list[Shown] = []
    for number, message in enumerate(messages):
        for offset, call in enumerate(message.tool_calls, start=1):
            if number + offset < len(messages) and isinstance(call, ToolCall):
                shown.append(Shown(number + offset, call))
    return shown


def dropped(messages: Sequence[Message], end: int) -> list[Message]:
    """Return the conversation with the results before message `end` in one line each."""
    short = list(messages)
    pairs = results(messages)
    for n, one in enumerate(pairs):
        if one.number >= end:
            break
        old = messages[one.number].content
        said = heard(old)
        line = one_line(one.call, old, _why([later.call for later in pairs[n + 1 :]], one.call))
        if len(old) - len(said) > MAX_KEPT and not old.startswith(MARK):
            new = f"{line}\n\n{said}" if said else line
            short[one.number] = replace(messages[one.number], content=new)
    return short


def one_line(call: ToolCall, text: str, why: str = "") -> str:
    """Say what a call was and the little of its result that may be needed."""
    first = next((row.strip() for row in text.split("\n") if row.strip()), "")
    places = list(dict.fromkeys(_KEPT.findall(text) + _PLACE.findall(text)))[:MAX_PLACES]
    rest = f" See {', '.join(places)}." if places else ""
    words = "" if _path_viewed(call) else f" {_cut(first)}"
    return f"{MARK}{_named(call)}{why}]{words}{rest}"


def paths_edited(messages: Sequence[Message]) -> list[str]:
    """Name the files that the editor was told to change, each once."""
    edits = [one.call for one in results(messages) if _is_edit(one.call)]
    return list(dict.fromkeys(_path(call) for call in edits))


def _why(later: Sequence[ToolCall], call: ToolCall) -> str:
    path = _path_viewed(call)
    if path and any(_is_edit(other) and _path(other) == path for other in later):
        return "; edited since"
    if path and any(_path_viewed(other) == path for other in later):
        return "; viewed again since"
    if not path and any(_key(other) == _key(call) for other in later):
        return "; ran again since"
    return ""


def _key(call: ToolCall) -> str:
    """Name what a call asks for; the tests are one thing, whichever of them ran."""
    if call.name == "run_tests":
        return call.name
    return json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)


def _named(call: ToolCall) -> str:
    values = [" ".join(str(value).split()) for value in call.arguments.values()]
    return _cut(" ".join([call.name, *values[:3]]))


def _path(call: ToolCall) -> str:
    return str(PurePosixPath(str(call.arguments.get("path", ""))))


def _path_viewed(call: ToolCall) -> str:
    """Return the file that a call shows, or nothing."""
    is_view = call.arguments.get("command") == "view" and "path" in call.arguments
    return _path(call) if is_view else ""


def _is_edit(call: ToolCall) -> bool:
    return call.arguments.get("command") in _EDITS and "path" in call.arguments


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WORDS else f"{text[: MAX_WORDS - 3]}..."
