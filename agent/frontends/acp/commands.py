"""What can be typed after a slash in the editor: a table, and the person's own commands."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acp import schema

from agent.conversation import Conversation
from agent.errors import UsageError
from agent.events import Event
from agent.own_commands import own_commands, with_arguments
from agent.rewind import Rewound
from agent.servers import NONE_NAMED, RELOADED
from agent.settings import MAX_ATTEMPTS
from agent.wording import prompt
from sandbox.base import Cancel

MAX_HELP = 80
Items = Iterator[Event | str]
"""Events, and sentences of ours."""


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    help: str
    run: Callable[[Conversation, str, Cancel], Items]
    hint: str = ""
    """What to type after it; empty if nothing is."""


class Commands:
    """Those of the table, and those in a folder of the person's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offers(self) -> schema.AvailableCommandsUpdate:
        """Tell the editor which there are."""
        own = {name: text for name, text in own_commands(self._folder).items() if name not in TABLE}
        offered = [_offer(command.name, command.help, command.hint) for command in TABLE.values()]
        offered += [_offer(name, _first_line(text), "arguments") for name, text in own.items()]
        return schema.AvailableCommandsUpdate(
            session_update="available_commands_update", available_commands=offered
        )

    def run(
        self, talk: Conversation, text: str, cancel: Cancel, pictures: Sequence[Path] = ()
    ) -> Items:
        """Carry out what was typed: a command, or a prompt as any other, with its pictures."""
        name, _, words = text.removeprefix("/").partition(" ")
        if not text.startswith("/"):
            yield from _answer(talk, text, cancel, pictures)
        elif command := TABLE.get(name):
            try:
                yield from command.run(talk, words.strip(), cancel)
            except UsageError as error:  # it cannot be done now, which is no fault of the protocol
                yield f"{str(error)[:1].upper()}{str(error)[1:]}."
        elif (own := own_commands(self._folder).get(name)) is not None:
            yield from _answer(talk, with_arguments(own, words), cancel, pictures)
        else:  # a path, say
            yield from _answer(talk, text, cancel, pictures)


def _answer(talk: Conversation, text: str, cancel: Cancel, pictures: Sequence[Path]) -> Items:
    """Answer a prompt by as many attempts as are set; by a turn where nothing may be changed.

    Attempts are shown no pictures, so one that has some is answered by a turn too.
    """
    if talk.request.attempts > 1 and talk.mode != "plan" and not pictures:
        yield from talk.attempts(text, talk.request.attempts, cancel)
    else:
        yield from talk.turn(text, cancel, pictures)


def _compact(talk: Conversation, _words: str, cancel: Cancel) -> Items:
    yield from talk.compact(cancel)


def _undo(talk: Conversation, _words: str, _cancel: Cancel) -> Items:
    yield _moved(talk.undo())


def _redo(talk: Conversation, _words: str, _cancel: Cancel) -> Items:
    yield _moved(talk.redo())


def _diff(talk: Conversation, _words: str, _cancel: Cancel) -> Items:
    yield f"```diff\n{talk.diff()}```" if talk.diff() else "Nothing has changed."


def _test(talk: Conversation, _words: str, cancel: Cancel) -> Items:
    yield from talk.run_tests(cancel)


def _attempts(talk: Conversation, words: str, cancel: Cancel) -> Items:
    number, _, text = words.partition(" ")
    if not number.isdecimal() or not 1 <= int(number) <= MAX_ATTEMPTS or not text.strip():
        raise UsageError(f"write /attempts N PROMPT, with N from 1 to {MAX_ATTEMPTS}")
    yield from talk.attempts(text.strip(), int(number), cancel)


def _init(talk: Conversation, _words: str, cancel: Cancel) -> Items:
    yield from talk.turn(prompt("init"), cancel)


def _mcp(talk: Conversation, words: str, _cancel: Cancel) -> Items:
    if words not in ("", "reload"):
        raise UsageError("write /mcp or /mcp reload")
    if words:
        talk.reload_servers()
        yield RELOADED
        return
    lines = [line for one in talk.servers.statuses() for line in one.lines]
    yield "\n".join(["```", *lines, "```"]) if lines else NONE_NAMED


def _moved(moved: Rewound) -> str:
    where = f"Went back to just before: {moved.point.words}." if moved.point else "Went forward."
    return f"{where} Put back: {', '.join(moved.paths) or 'no file'}."


def _offer(name: str, about: str, hint: str) -> schema.AvailableCommand:
    typed = schema.AvailableCommandInput(root=schema.UnstructuredCommandInput(hint=hint))
    return schema.AvailableCommand(name=name, description=about, input=typed if hint else None)


def _first_line(text: str) -> str:
    return f"your own: {text.strip().partition(chr(10))[0][:MAX_HELP]}"


TABLE: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command("compact", "put the conversation in short form now", _compact),
        Command("undo", "take back the last change of the model", _undo),
        Command("redo", "take back the last undo", _redo),
        Command("diff", "what the files have become since the talk began", _diff),
        Command("test", "run the tests of the project", _test),
        Command("attempts", "N attempts on copies; the best is applied", _attempts, "N PROMPT"),
        Command(
            "mcp", "the MCP servers and what they have; reload starts them anew", _mcp, "reload"
        ),
        Command("init", "have AGENTS.md written from the repository", _init),
    )
}
