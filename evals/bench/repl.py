"""How soon does the interactive session show what is typed, and what does long output cost it?

Method: the session on a pseudo terminal of 80 by 24, in its own process, with a model that says
200 words a second (`--child`). Start: from the start of the process to the prompt, 5 times after a
warm-up. Keys: 100 letters, none twice, one every 0.05 s while a reply streams; each from the write
to the terminal to the letter's bytes in what the session prints. Output: the processor time of the
session from `!seq 10000` to the end of it, drawn.
Goals: prompt <= 0.5 s, keys <= 20 ms at the 95th percentile, output <= 1 s.
Clock: perf_counter, and /proc/PID/stat for processor time. Last line: JSON, figures and machine.
"""

import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path

from evals.bench.machine import describe_machine
from inference.messages import (
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Text,
    ToolSpec,
    Usage,
)
from sandbox.base import Cancel

WORDS_PER_S = 200
NUM_WORDS = 4_000
NUM_STARTS = 5
KEY_EVERY_S = 0.05
LETTERS = [*map(chr, range(0x391, 0x3CA)), *map(chr, range(0x410, 0x450))]
"""Greek and Cyrillic: the reply has none of them."""
NUM_KEYS = 100
NUM_LINES = 10_000
WAIT_S = 60.0
WORDS = "Here is *{0}* more `word{0}` of it, and then some."
"""With a number in it: text that repeats itself would be stopped."""


class Talker:
    """A model that says a long text at an even speed."""

    name = "talker"
    context_tokens = 100_000
    can_see = False

    def count_tokens(self, text: str) -> int:
        """Count four characters as a token."""
        return len(text) // 4

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Stream the text until it is over or cancelled."""
        yield Prefill(100, 100, 0.1)
        words = " ".join(map(WORDS.format, range(NUM_WORDS))).split(" ")[:NUM_WORDS]
        started = time.perf_counter()
        for number, word in enumerate(words):
            if cancel():
                break
            time.sleep(max(0.0, started + number / WORDS_PER_S - time.perf_counter()))
            yield Text(f"{word} " if number % 60 else f"{word}\n\n")
        usage = Usage(100, 0, 100, len(words), 0.1, NUM_WORDS / WORDS_PER_S)
        yield ReplyEnd(Message("assistant", "text", token_ids=(1,)), "end_turn", usage)

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read nothing ahead."""
        yield from ()


class Session:
    """The program on a pseudo terminal."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "evals.bench.repl", "--child", str(folder)]
        home = {"HOME": str(folder.parent / "home"), "TERM": "xterm-256color"}
        self._terminal, inner = pty.openpty()
        ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=inner, stdout=inner, env={**os.environ, **home}, start_new_session=True
        )
        os.close(inner)
        self._seen = b""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> float:
        """Read until a text has been printed; return when that was."""
        wanted, end_s = text.encode(), time.perf_counter() + WAIT_S
        while wanted not in self._seen:
            if time.perf_counter() > end_s:
                raise TimeoutError(f"{text!r} never came")
            self.read(0.5)
        at_s, self._seen = time.perf_counter(), b""
        return at_s

    def read(self, seconds: float) -> None:
        """Read what comes within so many seconds, as far as it comes at once."""
        if select.select([self._terminal], [], [], seconds)[0]:
            self._seen += os.read(self._terminal, 65_536)

    def cpu_s(self) -> float:
        """Return the processor time it has used, all threads and none of its children."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(OSError):  # it has closed its side
            while self._process.poll() is None:
                self.read(0.05)
        self._process.wait(WAIT_S)
        os.close(self._terminal)


def measure_start(folder: Path) -> list[float]:
    """Return how long each start took until the prompt was there."""
    seconds = []
    for _ in range(NUM_STARTS + 1):
        started = time.perf_counter()
        session = Session(folder)
        seconds.append(session.wait_for("Ask, or /help") - started)
        session.wait_for("/100k")
        session.close()
    return seconds[1:]


def measure_keys(session: Session) -> list[float]:
    """Return how long each letter took to be on the screen while a reply streams."""
    session.type("go\r")
    session.wait_for("tok/s")
    seconds = []
    for letter in LETTERS[:NUM_KEYS]:
        started = time.perf_counter()
        session.type(letter)
        seconds.append(session.wait_for(letter) - started)
        while (left_s := started + KEY_EVERY_S - time.perf_counter()) > 0:
            session.read(left_s)
    session.type("\x03\x03")  # clears the line, stops the reply
    session.wait_for("Ask, or /help")
    return seconds


def measure_output(session: Session) -> float:
    """Return the processor time that a long output took."""
    before_s = session.cpu_s()
    session.type(f"!seq {NUM_LINES}\r")
    session.wait_for("done in")
    return session.cpu_s() - before_s


def child(folder: str) -> int:
    """Be the session."""
    from agent.arguments import parse
    from agent.cli import SIGNALS
    from agent.frontends.talk import run

    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    arguments = parse(["talk", "--sandbox", "direct", folder])
    return run(arguments, lambda _request: Talker())


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        repository = folder / "repository"
        repository.mkdir()
        subprocess.run(["git", "init", "-q", str(repository)], check=True, timeout=60)
        starts = measure_start(repository)
        session = Session(repository)
        session.wait_for("/100k")
        keys = measure_keys(session)
        output_s = measure_output(session)
        session.close()
    p95_ms = 1_000 * statistics.quantiles(keys, n=20)[-1]
    figures = {
        "start_s": round(statistics.median(starts), 3),
        "start_max_s": round(max(starts), 3),
        "key_median_ms": round(1_000 * statistics.median(keys), 1),
        "key_p95_ms": round(p95_ms, 1),
        "key_max_ms": round(1_000 * max(keys), 1),
        "output_cpu_s": round(output_s, 2),
    }
    for figure, value in figures.items():
        print(f"{figure:16} {value}")
    print(
        json.dumps(
            {"bench": "repl", "num_keys": NUM_KEYS, **figures, "machine": describe_machine(1)}
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2]))
    main()
