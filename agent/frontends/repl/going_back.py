"""Going back and forth: what that did is said, and it asks before work of the person's would go."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.events import Event
from agent.frontends.repl.dialogs import Choice, Picker
from agent.frontends.repl.host import talk_of
from agent.frontends.repl.text import one_line
from agent.frontends.repl.worker import Printed
from agent.rules import EDITOR
from inference.messages import BadToolCall, ToolCall

if TYPE_CHECKING:
    from agent.conversation import Conversation
    from agent.frontends.repl.host import Host
    from agent.frontends.repl.paint import Painter
    from agent.rewind import Point, Rewound

MAX_NAMED = 5
ABOUT_LOST = (
    Choice("leave all as it is"),
    Choice("go back all the same", "/redo then brings all of it forward again"),
)


def gone_back(
    host: "Host", point: "Point", done: str = "Went to just before"
) -> Iterator[Event | Printed]:
    """Go back to a point; where the person changed the same files since, ask them first."""
    shared = talk_of(host).changed_by_both(point)
    if not shared:
        yield from moved(host, lambda talk: talk.rewind(point), done)
        return

    def chosen(index: int | None) -> None:
        host.close_dialog()
        if index:
            host.do(lambda _cancel: moved(host, lambda talk: talk.rewind(point), done))
        else:
            host.say("Nothing was changed.")

    def ask(painter: "Painter") -> str:
        host.open_dialog(Picker("Go back?", ABOUT_LOST, chosen))
        words = f"You have changed {_named(shared)}, too; that would go with it."
        return painter.line((painter.theme.warn, words))

    yield Printed(ask)


def moved(
    host: "Host", move: "Callable[[Conversation], Rewound]", done: str = ""
) -> Iterator[Event | Printed]:
    """Go back or forth, and say what that did."""
    now = move(talk_of(host))
    where = "Went forward again."
    if now.point:
        where = f"{done}: {one_line(now.point.words, 60).rstrip('.')}."
    words = where + (f" Changed: {_named(now.paths)}." if now.paths else "")
    yield Printed.sentence(words)
    if now.prompt:
        yield Printed(lambda _painter: host.prompt.put(now.prompt))


def change_lines(call: ToolCall | BadToolCall) -> list[str]:
    """Return what a call changed as lines to recognise it by: what it took out, what it put in."""
    if not isinstance(call, ToolCall):
        return []
    given = {name: str(value).rstrip("\n") for name, value in call.arguments.items()}
    if call.name != EDITOR:
        return given.get("command", "").split("\n")[1:]  # its first line names the call
    old = given.get("old_str", "")
    new = given.get("new_str") or given.get("file_text", "")
    taken = [f"-{line}" for line in old.split("\n") if old]
    return taken + [f"+{line}" for line in new.split("\n") if new]


def _named(paths: tuple[str, ...]) -> str:
    """Name files, the first of them."""
    more = " and more" if len(paths) > MAX_NAMED else ""
    return one_line(", ".join(paths[:MAX_NAMED]), 400) + more
