"""Commands that show something, or set how things are shown."""

import base64
import json
import math
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from agent.errors import UsageError
from agent.frontends.repl.host import talk_of
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.status import memory_words
from agent.frontends.repl.text import count_words, harmless, one_line, seconds_words
from agent.frontends.repl.theme import theme_for
from agent.frontends.repl.worker import Printed
from agent.frontends.transcript import as_document, as_html, as_markdown
from agent.frontends.usage import guessed_words
from agent.journal import Contents, read_all
from agent.session import JOURNAL
from agent.settings import ThemeChoice
from inference.messages import Usage
from sandbox.base import Cancel
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from agent.frontends.repl.host import Host
    from agent.frontends.repl.repl import Repl

CHOICES = get_args(ThemeChoice)
OFFERED = ", ".join(CHOICES)
OWN_COMMAND_S = 120.0
MAX_COPIED_BYTES = 74_000
"""Terminals take no more of `OSC 52`."""
MAX_DIFF_LINES = 1_000
BLOBS = re.compile(r"(?m)^index [0-9a-f]+\.\.[0-9a-f]+.*\n")
"""What git calls the contents of a file, which says nothing to a person."""
BAR_WIDTH = 32
FILLS = (
    *(("system", "instructions and tools"), ("user", "prompts")),
    *(("assistant", "replies"), ("tool", "results")),
)


def _as_json(name: str, contents: Contents) -> str:
    return json.dumps(as_document(name, contents), indent=2) + "\n"


FORMS: dict[str, Callable[[str, Contents], str]] = {
    ".md": as_markdown,
    ".json": _as_json,
    ".html": as_html,
}
"""How a conversation is written, by the end of the file's name."""


def show_help(host: "Host", _words: str) -> None:
    """List the commands, and what else can be typed or pressed."""
    rows = [*host.commands.rows()]
    own = host.commands.own().items()
    rows += [(f"/{name}", f"your own: {one_line(text, 60)}") for name, text in own]
    rows += [("!COMMAND", "run a command in the sandbox; the model is told with the next prompt")]
    rows += [("@NAME", "name a file or a symbol of the repository")]
    rows += host.hints
    host.show(lambda painter: _table(painter, rows))
    for fault in host.commands.passed_over():
        host.say(fault, "warn")


def keys(repl: "Repl", words: str) -> None:
    """Show the keys, or choose how lines are edited."""
    if words in ("emacs", "vi"):
        repl.screen.use_vi_keys(words == "vi")
        repl.say(f"Lines are edited as in {words}.")
    else:
        repl.show(lambda painter: _table(painter, repl.hints))


def context(host: "Host", _words: str) -> None:
    """Draw what fills the window, about."""
    if host.talk is None:
        return
    status = host.talk.status()
    if not status.context_tokens:
        host.say("The model is not loaded yet, so its window is not known.")
        return
    sizes = Counter[str]()
    for message in host.talk.session.messages:
        calls = sum(len(str(call)) for call in message.tool_calls)
        sizes[message.role] += len(message.content) + len(message.thinking) + calls
        sizes[message.role] += sum(map(len, message.sections))
    window, total = status.context_tokens, max(1, sum(sizes.values()))
    used = count_words(status.num_context)
    full = f"  {used} of {count_words(window)} tokens, {status.num_context / window:.0%}"

    def draw(painter: Painter) -> str:
        bar = _bar(status.num_context / window)
        lines = [painter.line(("bold", "Window  "), (painter.theme.accent, bar), ("", full))]
        for role, words in FILLS:
            share = sizes[role] / total
            count = f"  {words:<24}{count_words(round(status.num_context * share)):>7}  "
            lines.append(painter.line(("", count), (painter.theme.accent, _bar(share).rstrip("░"))))
        if memory := host.activity.memory:
            about = "  weights, keys and values, snapshots"
            lines.append(painter.line(("bold", "Memory  "), ("", memory_words(memory) + about)))
        return "".join(lines)

    host.show(draw)


def _bar(share: float) -> str:
    """Draw a share; one that is not nothing can be seen."""
    full = min(BAR_WIDTH, math.ceil(share * BAR_WIDTH))
    return "█" * full + "░" * (BAR_WIDTH - full)


def bench(host: "Host", _words: str) -> None:
    """Say how fast the model has read and written in this talk, and what it had not to read."""
    if host.talk is None or not host.talk.session.usages:
        host.say("The model has not answered yet.")
        return
    rows, status = speeds(host.talk.session.usages), host.talk.status()
    if status.num_ahead:
        rows.append(("read ahead", _speed(status.num_ahead, status.ahead_s)))
    host.show(lambda painter: _table(painter, rows))


def speeds(usages: Sequence[Usage]) -> list[tuple[str, str]]:
    """Sum up what replies cost, a row each for reused, read and written tokens."""
    num_prompt = max(1, sum(usage.num_prompt for usage in usages))
    num_reused = sum(usage.num_reused for usage in usages)
    num_read = sum(usage.num_prefilled for usage in usages)
    num_written = sum(usage.num_generated for usage in usages)
    guessed = guessed_words(usages)
    return [
        ("replies", str(len(usages))),
        ("reused", f"{num_reused:,} tokens, {num_reused / num_prompt:.0%} of the prompts"),
        ("read", _speed(num_read, sum(usage.prefill_s for usage in usages))),
        ("written", _speed(num_written, sum(usage.decode_s for usage in usages))),
        *([("guessed", guessed)] if guessed else []),
    ]


def _speed(num_tokens: int, seconds: float) -> str:
    speed = f", {num_tokens / seconds:,.0f} a second" if seconds else ""
    return f"{num_tokens:,} tokens in {seconds_words(seconds)}{speed}"


def cache(host: "Host", _words: str) -> None:
    """List what is kept on disk."""
    host.do(lambda cancel: _own("cache", "list"), "listing")


def doctor(host: "Host", _words: str) -> None:
    """Say what works on this machine."""
    host.do(lambda cancel: _own("doctor"), "looking")


def plan(host: "Host", words: str) -> None:
    """Say which models fit this machine; of one that is named, its parts."""
    named = (f"--model={words}",) if words else ()
    host.do(lambda cancel: _own("plan", *named), "counting")


def export(host: "Host", words: str) -> None:
    """Write the conversation to a file that is not there yet."""
    if not words:
        raise UsageError(f"name a file that ends in {', '.join(FORMS)}: /export FILE")
    try:
        path = Path(words).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{words}: {error}") from error

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        write = FORMS.get(path.suffix)
        if write is None:
            raise UsageError(f"name a file that ends in {', '.join(FORMS)}")
        session = talk_of(host).session
        text = write(session.id, read_all(session.folder / JOURNAL))
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise UsageError(f"{path} is there already; name another file") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        yield Printed.sentence(f"Written to {path}.")

    host.do(steps)


def diff(host: "Host", _words: str) -> None:
    """Show what the files have become."""

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        patch = BLOBS.sub("", harmless(talk_of(host).diff()))

        def draw(painter: Painter) -> str:
            if not patch.strip():
                return painter.line((painter.theme.dim, "Nothing has changed."))
            return painter.diff(patch, MAX_DIFF_LINES)

        yield Printed(draw)

    host.do(steps, "comparing")


def memory(host: "Host", words: str) -> None:
    """Show the advice at the root, or add a line to it."""
    from agent.memory import NAMES as ADVICE
    from sandbox.workspace import Workspace

    name, files = ADVICE[0], Workspace(host.launch.root, host.launch.root)
    try:
        text = files.read(name).decode("utf-8", "replace") if files.exists(name) else ""
        if words:
            gap = "" if not text or text.endswith("\n") else "\n"
            files.write_atomic(name, f"{text}{gap}- {words}\n".encode())
            host.say(f"Added to {name}; new talks begin with it.")
        elif text:
            host.show(lambda painter: painter.quoted(harmless(text), ""))
        else:
            host.say(f"There is no {name}; /init has it written, /memory TEXT adds a line.")
    except (OSError, SandboxError) as error:
        host.say(f"{name} cannot be used: {error}", "warn")


def copy(repl: "Repl", _words: str) -> None:
    """Copy the last reply, by the terminal's own clipboard."""
    data = repl.story.last_reply.encode()
    if not data:
        repl.say("There is no reply yet.")
    elif len(data) > MAX_COPIED_BYTES:
        repl.say("The reply is too long for the terminal's clipboard; /export writes it.", "warn")
    else:
        repl.screen.write_unseen(f"\x1b]52;c;{base64.b64encode(data).decode()}\a")
        repl.say("Copied, if the terminal allows it.")


def theme(repl: "Repl", words: str) -> None:
    """Choose the colours; without a name, say which they are."""
    if words:
        if words not in CHOICES:
            raise UsageError(f"there is no theme {one_line(words, 20)}; there are {OFFERED}")
        repl.theme = theme_for(words)
    repl.say(f"The theme is {repl.theme.name}; /theme NAME chooses {OFFERED}.")


def leave(host: "Host", _words: str) -> None:
    """End the session."""
    host.leave()


def _own(*words: str) -> Iterator[Printed]:
    """Show what a command of `qwen-agent` prints, run beside this one."""
    done = subprocess.run(
        # -P: the folder we are in may have an `agent` of its own, which must not run.
        [sys.executable, "-P", "-m", "agent.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=OWN_COMMAND_S,
    )
    text = harmless(done.stdout.decode("utf-8", "replace"))
    yield Printed(lambda painter: painter.quoted(text.rstrip("\n"), ""))


def _table(painter: Painter, rows: Sequence[tuple[str, str]]) -> str:
    """Draw two columns; what is too long for the second goes on below itself."""
    room = max(len(name) for name, _ in rows) + 4
    lines: list[str] = []
    for name, words in rows:
        first, *rest = textwrap.wrap(words, max(20, painter.width - room)) or [""]
        lines.append(painter.line((painter.theme.accent, f"  {name:<{room - 2}}"), ("", first)))
        lines += [painter.line(("", " " * room + line)) for line in rest]
    return "".join(lines)
