"""The interactive session in a process of its own, with a model that reads its replies from a file.

python driver.py SCRIPT.json ARGUMENT...   with SCRIPT a list of replies, each
{"text": ..., "thinking": ..., "calls": [[tool, arguments], ...], "reads_until": ..., "word_s": ...,
"sees": ...}; with `reads_until` the prompt is read until there is a file of that name.

HELD_S, a variable, is how long a key is held that could be the beginning of a word.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.arguments import parse
from agent.cli import SIGNALS
from agent.frontends.repl import pressing
from agent.frontends.talk import run
from inference.messages import (
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Text,
    Thinking,
    ToolSpec,
    Usage,
)
from sandbox.base import Cancel
from tests.agent.fakes import Say, ScriptedModel, call

CHUNK_S = 0.05


@dataclass
class PacedModel:
    """Says what a scripted model says, as slowly as each reply asks for."""

    script: Sequence[dict[str, Any]]
    name: str = "scripted"
    context_tokens: int = 32_768
    can_see: bool = False

    def __post_init__(self) -> None:
        self.can_see = any(reply.get("sees", False) for reply in self.script)
        says = [
            Say(
                tuple(call(name, **values) for name, values in reply.get("calls", ())),
                reply.get("text", ""),
                reply.get("thinking", ""),
            )
            for reply in self.script
        ]
        self._inner = ScriptedModel([says])

    def count_tokens(self, text: str) -> int:
        """Count four characters as a token."""
        return self._inner.count_tokens(text)

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Stream the next reply, a word at a time; it ends early when it is cancelled."""
        number = sum(message.role == "assistant" for message in messages)
        pace = self.script[min(number, len(self.script) - 1)]
        for piece in self._inner.reply(messages, tools, options, cancel):
            if isinstance(piece, Prefill):
                yield from _slowly_read(piece.num_total, pace.get("reads_until", ""), cancel)
            elif isinstance(piece, Text | Thinking):
                for word in piece.text.split(" "):
                    if not cancel():
                        time.sleep(pace.get("word_s", 0.0))
                        yield replace(piece, text=f"{word} ")
            elif isinstance(piece, ReplyEnd) and cancel():
                yield ReplyEnd(
                    Message("assistant", "cut", token_ids=(1,)), "cancelled", piece.usage
                )
            elif not cancel() or isinstance(piece, ReplyEnd):
                yield piece

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read nothing ahead: what a terminal shows must not depend on the moment."""
        yield from ()


def _slowly_read(num_total: int, until: str, cancel: Cancel) -> Iterator[Prefill]:
    begun_s = time.monotonic()
    while until and not Path(until).exists():
        if cancel():
            return
        time.sleep(CHUNK_S)
        yield Prefill(num_total // 2, num_total, time.monotonic() - begun_s)
    yield Prefill(num_total, num_total, 0.0)


def main() -> int:
    """Run the session as the command would."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    pressing.HELD_S = float(os.environ.get("HELD_S", pressing.HELD_S))
    file, *words = sys.argv[1:]
    script = json.loads(Path(file).read_text())
    return run(parse(["talk", *words]), lambda _request: PacedModel(script))


if __name__ == "__main__":
    sys.exit(main())
