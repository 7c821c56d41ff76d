"""`!command`: a command of the person, in the sandbox; its output as it comes, cleaned."""

import codecs
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.frontends.repl.paint import Painter
from agent.frontends.repl.text import harmless
from agent.frontends.repl.worker import Job, Printed
from sandbox.base import Cancel, CommandResult

if TYPE_CHECKING:
    from agent.frontends.repl.host import Host
    from agent.frontends.repl.repl import Repl

WAIT_S = 0.1
MAX_LINE = 10_000
"""What has not ended after so many characters is shown as it is."""
MAX_SHOWN = 1_000_000
"""Characters of one output; what prints for ever must not fill the memory."""


def run_command(repl: "Repl", command: str) -> None:
    """Have a command run, beside a turn if there is one."""
    if not command:
        return
    shows = _joined if repl.is_in_turn else iter  # else other lines might come in between
    job = Job(
        lambda cancel: shows(shell_steps(repl, command, cancel)),
        words=f"running {command}",
        is_aside=repl.is_in_turn,
    )
    (repl.aside if job.is_aside else repl.worker).do(job)


def shell_steps(host: "Host", command: str, cancel: Cancel) -> Iterator[Printed]:
    """Run a command, and show what it prints."""
    yield Printed(lambda painter: painter.line((painter.theme.accent, "! "), ("bold", command)))
    assert host.talk is not None, "it was opened by the job before"
    talk, chunks, done = host.talk, queue.SimpleQueue[bytes](), list[CommandResult]()
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(talk.run_shell(command, cancel, chunks.put))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="shell")
    thread.start()
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest, num_shown = "", 0
    while thread.is_alive() or not chunks.empty():
        text = rest + "".join(map(decode, _waiting(chunks)))
        whole, _, rest = text.rpartition("\n")
        if len(rest) > MAX_LINE:
            whole, rest = text, ""
        if whole and num_shown < MAX_SHOWN:
            yield _output(f"{whole[:MAX_SHOWN]}\n")
        num_shown += len(whole)
    if rest:
        yield _output(f"{rest[:MAX_SHOWN]}\n")
    if num_shown > MAX_SHOWN:
        yield _output(f"({num_shown:,} characters in all; not all are shown)\n")
    if failed:
        raise failed[0]
    yield Printed(lambda painter: _end(painter, done[0]))


def _joined(steps: Iterator[Printed]) -> Iterator[Printed]:
    """Show what was typed together with the first that comes of it."""
    head = next(steps)
    first = next(steps, None)
    yield Printed(lambda painter: head.draw(painter) + (first.draw(painter) if first else ""))
    yield from steps


def _waiting(chunks: "queue.SimpleQueue[bytes]") -> Iterator[bytes]:
    """Yield what has come; wait a moment if nothing has."""
    try:
        yield chunks.get(timeout=WAIT_S)
        while True:
            yield chunks.get_nowait()
    except queue.Empty:
        return


def _output(text: str) -> Printed:
    return Printed(lambda _painter: harmless(text))


def _end(painter: Painter, result: CommandResult) -> str:
    theme = painter.theme
    if result.exit_code == 0:
        return painter.line((theme.dim, f"  done in {result.duration_s:.1f} s"))
    if result.exit_code is None:
        why = "stopped" if result.cancelled else "stopped at its limit"
        return painter.line((theme.bad, f"  {why} after {result.duration_s:.1f} s"))
    return painter.line((theme.bad, f"  exit code {result.exit_code}"))
