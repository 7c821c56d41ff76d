"""What can be typed after a slash, as a table; and a person's own commands, files of Markdown.

`/help` and `docs/repl.md` show this table; plain lines have those of `EVERYWHERE`. The functions
are in `talk_commands.py` (they change the talk), `view_commands.py` (they show something or set how
it is shown), `session_list.py` and `mcp_commands.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from agent.errors import UsageError
from agent.frontends.repl import talk_commands as talk
from agent.frontends.repl import view_commands as view
from agent.frontends.repl.clipboard import paste
from agent.frontends.repl.fuzzy import best
from agent.frontends.repl.host import Host
from agent.frontends.repl.mcp_commands import mcp
from agent.frontends.repl.session_list import sessions
from agent.frontends.repl.text import harmless, one_line, sentence
from agent.frontends.repl.worker import ERRORS
from agent.own_commands import fault_of, own_commands, with_arguments

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

HostT = TypeVar("HostT", bound=Host, contravariant=True)


@dataclass(frozen=True)
class Command(Generic[HostT]):
    """One command, for a kind of host."""

    name: str
    arguments: str
    help: str
    run: Callable[[HostT, str], None]
    works_meanwhile: bool = False
    """Whether it can be carried out while something else runs."""

    @property
    def shown(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()


EVERYWHERE: tuple[Command[Host], ...] = (
    Command("help", "", "what can be typed", view.show_help, True),
    Command("model", "[NAME]", "which model answers; without a name, choose one", talk.model),
    Command("mode", "[plan|ask|edit|auto|next]", "what runs without asking", talk.mode, True),
    Command("context", "", "what fills the window", view.context, True),
    Command("compact", "", "put the conversation in short form now", talk.compact),
    Command("undo", "", "take back the last change of the model", talk.undo),
    Command("redo", "", "take back the last undo or rewind", talk.redo),
    Command("rewind", "", "go back to an earlier moment: conversation and files", talk.rewind),
    Command("fork", "", "begin a second talk that has said the same until now", talk.fork),
    Command("branches", "", "go to another talk of this session", talk.branches),
    Command("resume", "[ID]", "go on with an earlier session of this repository", talk.resume),
    Command("sessions", "", "list past talks about this repository", sessions, True),
    Command("export", "FILE.md|.json|.html", "write the conversation to a file", view.export),
    Command("diff", "", "what the files have become since the talk began", view.diff),
    Command("commit", "[MESSAGE]", "commit the files that the model changed", talk.commit),
    Command("test", "", "run the tests of the project", talk.run_tests),
    Command("attempts", "N PROMPT", "N attempts on copies; the best is applied", talk.attempts),
    Command("init", "", "have AGENTS.md written from the repository", talk.init),
    Command("memory", "[TEXT]", "show AGENTS.md; or add a line to it", view.memory),
    Command("mcp", "[reload|login|prompt|read]", "MCP servers: what they have; start anew", mcp),
    Command("bench", "", "how fast the model reads and writes here", view.bench, True),
    Command("cache", "", "what is kept on disk of earlier conversations", view.cache),
    Command("plan", "[SIZE|NAME]", "which models fit this machine; how one is run", view.plan),
    Command("doctor", "", "what works on this machine", view.doctor),
    Command("quit", "", "leave; the session can be resumed", view.leave, True),
)
ON_SCREEN: "tuple[Command[Repl], ...]" = (
    Command("keys", "[emacs|vi]", "the keys; or edit as emacs or as vi does", view.keys, True),
    Command("copy", "", "copy the last reply to the clipboard", view.copy, True),
    Command("paste", "", "show the model the picture on the clipboard", paste, True),
    Command("theme", "[auto|dark|light|mono]", "the colours, or others", view.theme, True),
)
"""What plain lines have no use for."""
COMMANDS: "tuple[Command[Repl], ...]" = (*EVERYWHERE, *ON_SCREEN)
NAMES = tuple(command.name for command in COMMANDS)


class Commands(Generic[HostT]):
    """Those of a table, and the person's own."""

    def __init__(self, folder: Path, table: Sequence[Command[HostT]]) -> None:
        self._folder = folder
        self._table = {command.name: command for command in table}

    def rows(self) -> Sequence[tuple[str, str]]:
        """Return how each of the table is typed, and what it does."""
        return [(command.shown, command.help) for command in self._table.values()]

    def offers(self) -> Mapping[str, str]:
        """Return every command with a word about it, for completion."""
        offers = {command.name: command.help for command in self._table.values()}
        own = {name: f"your own: {one_line(text, 60)}" for name, text in self.own().items()}
        return {**own, **offers}

    def own(self) -> Mapping[str, str]:
        """Return the person's own commands: a name, and the prompt that it stands for."""
        found = own_commands(self._folder)
        return {name: text for name, text in found.items() if not fault_of(name, text, NAMES)}

    def passed_over(self) -> Sequence[str]:
        """Say which files of theirs are no commands, and why; a sentence each."""
        found = own_commands(self._folder).items()
        return [fault for name, text in found if (fault := fault_of(name, text, NAMES))]

    def run(self, host: HostT, typed: str) -> None:
        """Carry out a command as it was typed, with its slash."""
        try:
            self._run(host, typed)
        except ERRORS as error:
            host.say(sentence(str(error)), "warn")

    def _run(self, host: HostT, typed: str) -> None:
        name, _, words = typed[1:].partition(" ")
        if command := self._table.get(name):
            if host.is_busy and not command.works_meanwhile:
                host.say(f"/{name} has to wait until this is done; Esc stops it.", "warn")
            else:
                command.run(host, words.strip())
        elif (prompt := self.own().get(name)) is not None:
            with_words = with_arguments(prompt, words)
            host.prompt_model(with_words)
        else:
            raise UsageError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        """Say why a name is no command here."""
        if name in NAMES:
            return f"/{name} is of use on a screen only."
        if fault := fault_of(name, own_commands(self._folder).get(name), NAMES):
            return fault
        near = best(name, self.offers(), 1)
        hint = f" Did you mean /{near[0]}?" if near else " /help lists them."
        return f"There is no command /{one_line(harmless(name), 40)}.{hint}"
