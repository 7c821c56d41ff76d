"""What can be typed after a slash, as a table; and a person's own commands, files of Markdown.

`/help` and `docs/repl.md` show this table. The functions are in `talk_commands.py` (they change the
talk) and `view_commands.py` (they show something or set how it is shown).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.frontends.repl import talk_commands as talk
from agent.frontends.repl import view_commands as view
from agent.frontends.repl.clipboard import paste
from agent.frontends.repl.fuzzy import best
from agent.frontends.repl.mcp_commands import mcp
from agent.frontends.repl.text import harmless, one_line
from agent.frontends.repl.worker import ERRORS
from agent.own_commands import own_commands, with_arguments

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    arguments: str
    help: str
    run: Callable[["Repl", str], None]
    works_meanwhile: bool = False
    """Whether it can be carried out while something else runs."""


COMMANDS = (
    Command("help", "", "what can be typed, and the keys", view.show_help, True),
    Command("keys", "[emacs|vi]", "the keys; or edit as emacs or as vi does", view.keys, True),
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
    Command("sessions", "", "list past sessions", view.sessions, True),
    Command("export", "FILE.md|.json|.html", "write the conversation to a file", view.export),
    Command("diff", "", "what the files have become since the talk began", view.diff),
    Command("commit", "[MESSAGE]", "commit the files that the model changed", talk.commit),
    Command("test", "", "run the tests of the project", talk.run_tests),
    Command("attempts", "N PROMPT", "N attempts on copies; the best is applied", talk.attempts),
    Command("init", "", "have AGENTS.md written from the repository", talk.init),
    Command("memory", "[TEXT]", "show AGENTS.md; or add a line to it", view.memory),
    Command("mcp", "[reload|login|prompt|read]", "MCP servers: what they have; start anew", mcp),
    Command("copy", "", "copy the last reply to the clipboard", view.copy, True),
    Command("paste", "", "show the model the picture on the clipboard", paste, True),
    Command("theme", "[dark|light|mono]", "colours for a dark or a light ground", view.theme, True),
    Command("bench", "", "how fast the model reads and writes here", view.bench, True),
    Command("cache", "", "what is kept on disk of earlier conversations", view.cache),
    Command("plan", "[SIZE|NAME]", "which models fit this machine; how one is run", view.plan),
    Command("doctor", "", "what works on this machine", view.doctor),
    Command("quit", "", "leave; the session can be resumed", view.leave, True),
)
TABLE: Mapping[str, Command] = {command.name: command for command in COMMANDS}


class Commands:
    """Those of the table, and the person's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offers(self) -> Mapping[str, str]:
        """Return every command with a word about it, for completion."""
        offers = {command.name: command.help for command in COMMANDS}
        own = {name: f"your own: {one_line(text, 60)}" for name, text in self.own().items()}
        return {**own, **offers}

    def own(self) -> Mapping[str, str]:
        """Return the person's own commands: a name, and the prompt that it stands for."""
        return own_commands(self._folder)

    def run(self, repl: "Repl", typed: str) -> None:
        """Carry out a command as it was typed, with its slash."""
        try:
            self._run(repl, typed)
        except ERRORS as error:
            repl.say(str(error), "warn")

    def _run(self, repl: "Repl", typed: str) -> None:
        name, _, words = typed[1:].partition(" ")
        if command := TABLE.get(name):
            if repl.worker.is_busy and not command.works_meanwhile:
                repl.say(f"/{name} has to wait until this is done; Esc stops it.", "warn")
            else:
                command.run(repl, words.strip())
        elif (prompt := self.own().get(name)) is not None:
            with_words = with_arguments(prompt, words)
            repl.prompt_model(with_words)
        else:
            near = best(name, self.offers(), 1)
            hint = f" Did you mean /{near[0]}?" if near else ""
            repl.say(f"There is no command /{one_line(harmless(name), 40)}.{hint}", "warn")
