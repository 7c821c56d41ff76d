"""A talk in plain lines: for dumb terminals, screen readers and scripts that type.

Nothing moves and nothing is drawn over. What is typed while a turn runs waits for the next prompt.
"""

import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from agent.approval import Answer, Ask
from agent.conversation import Conversation
from agent.errors import UsageError
from agent.events import Event, ReplyEnded, TextDelta
from agent.fix import KNOWN_ERRORS
from agent.frontends.console import lines_of, on_screen
from agent.frontends.load_words import NowAndThen
from agent.frontends.output import drop
from agent.frontends.plain_signals import Signals
from agent.preview import is_cut, spelled
from agent.rewind import Rewound
from agent.servers import NONE_NAMED, RELOADED, ServerStatus
from agent.settings import ApprovalMode
from agent.shown import mentioned
from inference.messages import Usage
from tools.mcp_form import YES, Field, Form, Value, Values

MODES: tuple[ApprovalMode, ...] = get_args(ApprovalMode)
HELP = """\
/undo          take back the last change
/redo          take back the last undo
/diff          show what has changed since the talk began
/commit WORDS  commit the files that the model changed, with this message
/compact       put the conversation in short form
/mcp           list the MCP servers; /mcp reload starts them anew
/mode MODE     plan, ask, edit or auto: what runs without asking
/quit          leave; so does the end of the input
!COMMAND       run a command of yours in the sandbox
\\ at the end   the prompt goes on in the next line"""


class PlainPerson:
    """Whoever sits at the terminal."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def ask(self, ask: Ask) -> Answer | None:
        """Show what would run, and wait for a word; an empty line is no answer.

        The end of the input, as Ctrl-D gives it, is a no, and ends the talk.
        """
        print(on_screen(ask.preview))
        _forget_what_was_typed()
        try:
            with self._signals.reading():
                word = _decision(ask)
        except KeyboardInterrupt:
            print()
            return None
        except EOFError:
            print()
            self._signals.leave()
            return Answer(False)
        if word.lower() in ("y", "yes", "a", "always"):
            return Answer(True, always=word[0].lower() == "a")
        return Answer(False, reason="" if word.lower() in ("n", "no") else word)

    def fill(self, form: Form) -> Values | None:
        """Ask for one field after the other; Ctrl-C or the end of the input declines."""
        print(on_screen(f"The MCP server {form.server} asks: {form.text}"))
        print("What you write goes to it. Ctrl-C declines.")
        _forget_what_was_typed()
        given: dict[str, Value] = {}
        try:
            with self._signals.reading():
                for field in form.fields:
                    value = _filled(field)
                    if value is not None:
                        given[field.name] = value
                if not form.fields and input("Agree? y or n: ").strip().lower() not in YES:
                    return None
        except (EOFError, KeyboardInterrupt):
            print()
            return None
        return given


def _filled(field: Field) -> Value | None:
    """Read one field; None where it may be left out and is."""
    while True:
        text = input(f"{on_screen(field.label)}: ")
        if not text.strip() and not field.is_required:
            return None
        try:
            return field.read(text)
        except ValueError as error:
            print(f"{error}.")


def _decision(ask: Ask) -> str:
    """Read what is typed until it is an answer; all of a long text is shown on demand."""
    more = "v(iew all), " if is_cut(ask.preview) else ""
    while True:
        word = input(f"Allow this? y, a(lways), n, {more}or why not: ").strip()
        if more and word.lower() == "v":
            print("\n".join(map(spelled, ask.exact.split("\n"))))
        elif word:
            return word


class PlainTalk:
    """Reads a line, answers it, and reads the next."""

    def __init__(self, talk: Conversation, signals: Signals) -> None:
        self._talk = talk
        self._signals = signals
        self._before: Usage | None = None
        self._is_line_open = False
        self._loads = NowAndThen()

    def run(self) -> int:
        """Talk until the input ends, or a signal ends it; return the exit code."""
        print(f"qwen-agent, session {self._talk.id}, mode {self._talk.mode}; /help lists commands")
        try:
            with self._signals.heard():
                while (line := self._read_prompt()) is not None and line != "/quit":
                    self._answered(line)
        except OSError:
            if not self._signals.ended_by:
                raise
            drop(sys.stdout)  # the terminal has gone
        return 128 + self._signals.ended_by if self._signals.ended_by else 0

    def _read_prompt(self) -> str | None:
        """Read a prompt; None at the end of the input. Ctrl-C begins it anew."""
        lines: list[str] = []
        while True:
            try:
                with self._signals.reading():
                    line = input("... " if lines else "> ")
            except EOFError:
                print()
                return None
            except KeyboardInterrupt:
                print()
                lines.clear()
                continue
            lines.append(line.removesuffix("\\"))
            if not line.endswith("\\"):
                return "\n".join(lines)

    def _answered(self, line: str) -> None:
        try:
            self._answer(line)
        except KNOWN_ERRORS as error:
            print(f"qwen-agent: {error}")

    def _answer(self, line: str) -> None:
        """Do what one line asks for."""
        if line.startswith("!"):
            self._run_shell(line[1:])
        elif line.startswith("/"):
            self._command(*line[1:].split())
        elif line.strip():
            shown = mentioned(line, Path(self._talk.session.start["repository"]))
            with self._signals.working() as cancel:
                for event in self._talk.turn(line, cancel, shown):
                    self._show(event)

    def _command(self, name: str = "", *words: str) -> None:
        if name == "mode" and len(words) == 1:
            mode = next((mode for mode in MODES if mode == words[0]), None)
            if mode is None:
                raise UsageError(f"there is no mode {words[0]}; there are {', '.join(MODES)}")
            self._talk.set_mode(mode)
            return
        if name == "mcp" and words == ("reload",):
            self._talk.reload_servers()
            print(RELOADED)
            return
        if name == "commit" and words:
            print(f"Committed {self._talk.commit(' '.join(words))}.")
            return
        commands: dict[str, Callable[[], None]] = {
            "help": lambda: print(HELP),
            "undo": lambda: _tell(self._talk.undo()),
            "redo": lambda: _tell(self._talk.redo()),
            "diff": lambda: print(on_screen(self._talk.diff()) or "Nothing has changed."),
            "compact": self._compact,
            "mcp": lambda: _list(self._talk.servers.statuses()),
        }
        if name not in commands or words:
            raise UsageError(f"there is no command /{' '.join((name, *words))}; see /help")
        commands[name]()

    def _compact(self) -> None:
        with self._signals.working() as cancel:
            for event in self._talk.compact(cancel):
                self._show(event)

    def _run_shell(self, command: str) -> None:
        with self._signals.working() as cancel:
            result = self._talk.run_shell(command, cancel)
        if output := on_screen(result.output).rstrip("\n"):
            print(output)
        if result.exit_code != 0:
            print(f"[exit code {result.exit_code}]")

    def _show(self, event: Event) -> None:
        """Print an event; the words of a reply as they come."""
        if isinstance(event, TextDelta):
            print(on_screen(event.text), end="", flush=True)
            self._is_line_open = True
            return
        if self._is_line_open:
            print()
            self._is_line_open = False
        if line := self._loads.line(event):
            print(line, flush=True)
        lines = list(lines_of(event, self._before))
        if isinstance(event, ReplyEnded):
            self._before, lines = event.usage, [line for line in lines if line[0]]
        for _style, text in lines:
            print(text, flush=True)


def _list(servers: Sequence[ServerStatus]) -> None:
    for line in [line for one in servers for line in one.lines] or [NONE_NAMED]:
        print(on_screen(line))


def _tell(rewound: Rewound) -> None:
    print(f"Put back: {', '.join(map(on_screen, rewound.paths)) or 'no file'}.")


def _forget_what_was_typed() -> None:
    """Take no line for an answer that was typed before the question was there."""
    with suppress(OSError, ValueError, termios.error):  # no terminal, as in a test
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
