"""The person of a talk in plain lines, when a call is to be decided on."""

import sys
import termios
from contextlib import suppress

from agent.approval import Answer, Ask
from agent.frontends.console import on_screen
from agent.frontends.plain_signals import Signals
from agent.frontends.repl.approving import as_text, editable, value_like
from agent.preview import whole
from agent.rules import changes_file
from inference.messages import ToolCall
from tools.mcp_form import YES, Field, Form, Value, Values

QUESTION = "Allow this? y, n, a(lways), e(dit), w(hy not): "
WHY = "Why not? "
IS_COMMAND = "A command has to wait: answer first; Ctrl-C stops the turn."
EDIT = "The new text, which may go on after a \\ at the end of a line; empty leaves it as it was:"


class PlainPerson:
    """Whoever sits at the terminal."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def ask(self, ask: Ask) -> Answer | None:
        """Show what would run, and wait for a word; an empty line is no answer.

        The end of the input, as Ctrl-D gives it, is a no, and ends the talk.
        """
        print(on_screen(whole(ask.exact, is_diff=changes_file(ask.call))))
        forget_what_was_typed()
        try:
            while (answer := self._answer(ask.call, self._read(QUESTION).strip())) is None:
                pass
        except KeyboardInterrupt:
            print()
            return None
        except EOFError:
            print()
            self._signals.leave()
            return Answer(False)
        return answer

    def fill(self, form: Form) -> Values | None:
        """Ask for one field after the other; Ctrl-C or the end of the input declines."""
        print(on_screen(f"The MCP server {form.server} asks: {form.text}"))
        print("What you write goes to it. Ctrl-C declines.")
        forget_what_was_typed()
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

    def _answer(self, call: ToolCall, word: str) -> Answer | None:
        """Understand a line; None if it decides nothing."""
        match word.lower():
            case "":
                return None
            case "y" | "yes":
                return Answer(True)
            case "a" | "always":
                return Answer(True, always=True)
            case "n" | "no":
                return Answer(False)
            case "e" | "edit":
                return self._edited(call)
            case "w" | "why" | "why not":
                word = self._read(WHY).strip()
        if word.startswith(("/", "!")):
            print(IS_COMMAND)
            return None
        return Answer(False, reason=word) if word else None

    def _edited(self, call: ToolCall) -> Answer | None:
        """Let the call be changed; None if it stays as it was."""
        names = editable(call)
        word = self._read(f"Which of {', '.join(names)}? ").strip() if len(names) > 1 else ""
        name = word or next(iter(names), "")
        if name not in names:
            print(f"There is no {on_screen(name)} in it." if name else "It has nothing to change.")
            return None
        print(f"{name} is now:\n{on_screen(as_text(call.arguments[name]))}\n{EDIT}")
        lines = [self._read(f"{name}: ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(self._read("... "))
        return self._changed(call, name, "\n".join(lines))

    def _changed(self, call: ToolCall, name: str, text: str) -> Answer | None:
        try:
            value = value_like(call.arguments[name], text) if text else None
        except ValueError:
            print(f"{name} has to stay a value of JSON.")
            return None
        return None if value is None else Answer(True, arguments={**call.arguments, name: value})

    def _read(self, label: str) -> str:
        with self._signals.reading():
            return input(label)


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


def forget_what_was_typed() -> None:
    """Take no line for an answer that was typed before the question was there."""
    with suppress(OSError, ValueError, termios.error):  # no terminal, as in a test
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
