"""A model that reads its replies from a script, and small repositories to repair."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.settings import Config, VerifyConfig
from inference.messages import (
    BadToolCall,
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    ToolSpec,
    Usage,
)


@dataclass(frozen=True)
class Say:
    """One reply of the script."""

    calls: tuple[ToolCall | BadToolCall, ...] = ()
    text: str = ""
    thinking: str = ""
    stop: StopReason = "end_turn"
    hangs: bool = False
    """Writes for ever, until it is cancelled."""
    error: Exception | None = None


@dataclass
class ScriptedModel:
    """Continues a conversation by the reply whose number is that of the replies so far.

    It keeps no position of its own, so a rewind or a second attempt reads the script again, as a
    model at temperature 0 would. `scripts` has one script for each attempt.
    """

    scripts: Sequence[Sequence[Say]]
    name: str = "scripted"
    context_tokens: int = 100_000
    can_see: bool = False
    seen: list[tuple[Message, ...]] = field(default_factory=list)
    options: list[ReplyOptions] = field(default_factory=list)
    specs: tuple[ToolSpec, ...] = ()
    on_reply: Callable[[int], None] = lambda number: None
    ahead: list[tuple[tuple[Message, ...], str]] = field(default_factory=list)
    """What was read before anybody asked: a conversation, and the draft of a prompt."""
    attempt: int = 0

    def count_tokens(self, text: str) -> int:
        """Count four characters as a token."""
        return (len(text) + 3) // 4

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Callable[[], bool],
    ) -> Iterator[Piece]:
        """Stream the next reply of the script."""
        number = sum(message.role == "assistant" for message in messages)
        if number == 0 and self.seen:
            self.attempt += 1
        num_prompt = sum(
            10 + len(message.content + "".join(message.sections)) // 4 for message in messages
        )
        self.seen.append(tuple(messages))
        self.options.append(options)
        self.specs = tuple(tools)
        script = self.scripts[min(self.attempt, len(self.scripts) - 1)]
        say = script[min(number, len(script) - 1)]
        self.on_reply(number)
        yield Prefill(num_prompt, num_prompt, 0.0)
        if say.error is not None:
            raise say.error
        while say.hangs and not cancel():
            yield Text(".")
            time.sleep(0.01)
        if say.thinking:
            yield Thinking(say.thinking)
        if say.text:
            yield Text(say.text)
        yield from say.calls
        message = Message(
            "assistant", say.text, say.thinking, say.calls, token_ids=(1, 2, number + 3)
        )
        usage = Usage(num_prompt, 0, num_prompt, 3, 0.001, 0.001)
        yield ReplyEnd(message, "cancelled" if say.hangs else say.stop, usage)

    def read(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        draft: str,
        cancel: Callable[[], bool],
    ) -> Iterator[Prefill | Usage]:
        """Take note of it."""
        self.ahead.append((tuple(messages), draft))
        self.specs = tuple(tools)
        yield Usage(100, 0, 100, 0, 0.5, 0.0)


def call(name: str, **arguments: object) -> ToolCall:
    """Write a call."""
    return ToolCall(name, arguments)


def bash(command: str) -> Say:
    """Reply with a command."""
    return Say((call("bash", command=command),))


def edit(path: str, old: str, new: str) -> Say:
    """Reply with an edit."""
    arguments = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
    return Say((call("str_replace_editor", **arguments),))


def create(path: str, text: str) -> Say:
    """Reply with a new file."""
    return Say((call("str_replace_editor", command="create", path=path, file_text=text),))


RUN_TESTS = Say((call("run_tests"),))
UNGATED = Config(verify=VerifyConfig(finish_tests=False))
"""For scripts that finish with red tests, at once."""
FINISH = Say((call("finish", summary="Mended the sum."),), text="Done.")
REPAIR = edit("shop/cart.py", "price - tax", "price + tax")

CART = '''\
"""A cart."""


def total(price: int, tax: int) -> int:
    return price - tax


def double(price: int) -> int:
    return 2 * price
'''
TWO_BUGS = CART.replace("2 * price", "3 * price")
SECOND_REPAIR = edit("shop/cart.py", "3 * price", "2 * price")
TESTS = """\
import unittest

from shop.cart import double, total


class CartTest(unittest.TestCase):
    def test_total(self) -> None:
        self.assertEqual(total(3, 2), 5)

    def test_double(self) -> None:
        self.assertEqual(double(3), 6)
"""
RED_TEST = "tests.test_cart.CartTest.test_total"


def make_repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Make a git repository whose one bug makes `test_total` fail; `files` come on top."""
    package = {"shop/__init__.py": "", "shop/cart.py": CART}
    tests = {"tests/__init__.py": "", "tests/test_cart.py": TESTS}
    write(folder, {**package, **tests, **(files or {})})
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            cwd=folder,
            check=True,
            timeout=30,
        )
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def picture(folder: Path) -> dict[str, bytes | str]:
    """Return every file of a folder with its bytes, links as their text."""
    return {
        str(path.relative_to(folder)): (
            f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
