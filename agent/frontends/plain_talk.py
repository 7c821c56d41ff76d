"""A talk in plain lines: for dumb terminals, screen readers and scripts that type.

Nothing moves and nothing is drawn over. What is typed while a turn runs waits for the next prompt.
"""

import sys

from agent.errors import KNOWN_ERRORS
from agent.frontends.output import drop
from agent.frontends.plain_host import PlainHost
from agent.frontends.plain_signals import Signals
from agent.frontends.repl.completion import COMMAND_LINE, named_plainly
from agent.frontends.repl.shell import shell_steps


class PlainTalk:
    """Reads a line, answers it, and reads the next."""

    def __init__(self, host: PlainHost, signals: Signals) -> None:
        self._host = host
        self._signals = signals

    def run(self) -> int:
        """Talk until the input ends, or a signal ends it; return the exit code."""
        talk = self._host.talk
        assert talk is not None, "it was opened first"
        print(f"qwen-agent, session {talk.id}, mode {talk.mode}; /help lists commands")
        try:
            while not self._host.is_left and (line := self._read_prompt()) is not None:
                self._answered(line)
        except OSError:
            if not self._signals.ended_by:
                raise
            drop(sys.stdout)  # the terminal has gone
        return 128 + self._signals.ended_by if self._signals.ended_by else 0

    def _read_prompt(self) -> str | None:
        """Read a prompt; None at the end of the input. Ctrl-C begins it anew."""
        if self._host.talk is not None:
            self._host.talk.read_ahead()
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
        host = self._host
        line, host.draft = line if line.strip() else host.draft, ""
        try:
            self._answer(line)
            host.catch_up()
        except KNOWN_ERRORS as error:
            host.say(f"qwen-agent: {error}")

    def _answer(self, line: str) -> None:
        """Do what one line asks for."""
        host, root = self._host, self._host.launch.root
        if COMMAND_LINE.match(line):
            host.commands.run(host, line)
        elif command := line.removeprefix("!").strip() if line.startswith("!") else "":
            host.do(lambda cancel: shell_steps(host, command, cancel))
        elif line.strip() and not line.startswith("!"):
            host.prompt_model(named_plainly(line, root))
