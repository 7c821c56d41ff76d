"""Standard output and standard error as they may be: closed, full, or with nobody reading."""

import os
import sys
from contextlib import suppress
from typing import TextIO

from agent.errors import AgentError


class OutputLost(AgentError):
    """The result, or a part of it, could not be written to standard output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.nobody_reads = isinstance(error, BrokenPipeError)


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
        print(f"qwen-agent: {sentence}", file=sys.stderr, flush=True)
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
