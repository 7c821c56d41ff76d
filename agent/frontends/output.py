"""Standard output and standard error as they may be: closed, full, or with nobody reading."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from agent.errors import AgentError

COMMAND = re.compile(r"(^|[\n\r])\s*::")
"""At the beginning of a line, as any program's runner would read lines."""


class OutputLost(AgentError):
    """The result, or a part of it, could not be written to standard output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.nobody_reads = isinstance(error, BrokenPipeError)


def is_github(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether this process is a step of GitHub Actions, which obeys what some lines say."""
    return environment.get("GITHUB_ACTIONS") == "true"


def harmless(text: str) -> str:
    """Return text in which the runner of GitHub Actions finds no `::command::` or `##[command]`."""
    return COMMAND.sub(r"\1| ::", text).replace("##[", "# #[")


def hand_out(content: bytes) -> None:
    """Write a part of the result to standard output, now.

    Raises:
        OutputLost: it cannot be written.
    """
    if sys.stdout is None:
        raise OutputLost(OSError(0, "it is closed"))
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        drop(sys.stdout)
        raise OutputLost(error) from error


def complain(sentence: str) -> None:
    """Say on standard error what is wrong, if anybody can read it."""
    if sys.stderr is None:
        return
    try:
        print(harmless(f"qwen-agent: {sentence}"), file=sys.stderr, flush=True)
    except OSError:
        drop(sys.stderr)  # nowhere is left to say so; the exit code does


def drop(stream: TextIO | None) -> None:
    """Let what could not be written go: Python would try once more at its end, and complain."""
    if stream is None:
        return
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
