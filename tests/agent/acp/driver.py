"""`qwen-agent acp` in a process of its own with a scripted model, and somebody who prints.

python -m tests.agent.acp.driver SCRIPT.json ARGUMENT...   with SCRIPT a list of replies, which is
read again for each of them.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from agent.arguments import parse
from agent.frontends.acp import hands, terminal
from agent.frontends.acp.start import run
from agent.load_news import LoadNews
from agent.loading import Loading
from inference.chat import ChatModel
from inference.errors import InferenceError
from inference.messages import Message, Piece, ReplyOptions, ToolSpec
from tests.agent.fakes import Say, ScriptedModel, call

PATIENCE_S = 100.0


class FileModel(ScriptedModel):
    """Reads its script from a file that may be another one the next time."""

    def __init__(self, file: Path) -> None:
        super().__init__([], can_see=True)
        self._file = file

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Callable[[], bool],
    ) -> Iterator[Piece]:
        script = [say_of(record) for record in json.loads(self._file.read_text())]
        self.scripts = [
            script if options.thinking else [replace(say, thinking="") for say in script]
        ]
        print("somebody prints", flush=True)
        yield from super().reply(messages, tools, options, cancel)


class Loaded(Loading):
    """Is there as soon as it is asked for: no prompt comes so early that it has to wait."""

    def __init__(self, name: str, load: Callable[[LoadNews], ChatModel]) -> None:
        super().__init__(name, load)
        wait([self._chat])


def say_of(record: dict[str, Any]) -> Say:
    """Read one reply."""
    calls = tuple(call(name, **values) for name, values in record.pop("calls", ()))
    error = record.pop("error", None)
    return Say(calls, **record, error=None if error is None else InferenceError(error))


def main() -> int:
    """Be the command."""
    file, *words = sys.argv[1:]
    model = FileModel(Path(file))
    # On a busy machine an editor may take long, too: those here answer, or are meant not to.
    hands.READ_S = hands.WRITE_S = terminal.ANSWER_S = PATIENCE_S
    with patch("agent.loading.Loading", Loaded):
        return run(parse(["acp", *words]), lambda _request: model)


if __name__ == "__main__":
    sys.exit(main())
