"""What is offered while a person types: commands after `/`, files and symbols after `@`."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from agent.frontends.repl.fuzzy import best
from agent.frontends.repl.names import MIN_SYMBOL, Names
from agent.shown import is_picture

MENTION = re.compile(r"(?:^|(?<=[\s(]))@([\w./:-]*)$")
COMMAND = re.compile(r"/([\w-]*)$")
COMMAND_LINE = re.compile(r"/[\w-]+(?:\s|$)")
"""How what was typed begins if it is a command; a path such as `/etc/hosts` is none."""
LIMIT = 40


def may_complete(before: str) -> bool:
    """Say whether anything is offered after this text; a thread is not started for nothing."""
    return bool(COMMAND.fullmatch(before) or MENTION.search(before))


class PromptCompleter(Completer):
    """Offers what fits the word before the cursor, the best first."""

    def __init__(self, commands: Callable[[], Mapping[str, str]], names: Names) -> None:
        """Take the commands with a word about each, and the names of the repository."""
        self._commands = commands
        self._names = names

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Yield the completions."""
        before = document.text_before_cursor
        if command := COMMAND.fullmatch(before):
            yield from self._of_commands(command[1])
        elif mention := MENTION.search(before):
            yield from self._of_names(mention[1])

    def _of_commands(self, typed: str) -> Iterable[Completion]:
        commands = self._commands()
        for name in best(typed, commands, LIMIT):
            yield Completion(
                f"{name} ", -len(typed), display=f"/{name}", display_meta=commands[name]
            )

    def _of_names(self, typed: str) -> Iterable[Completion]:
        self._names.refresh()
        symbols = self._names.symbols if len(typed) >= MIN_SYMBOL else {}
        for name in best(typed, [*self._names.files, *symbols], LIMIT):
            place = symbols.get(name, "")
            yield Completion(
                f"@{place or name} ", -len(typed) - 1, display=name, display_meta=place
            )


def without_marks(text: str, is_name: Callable[[str], bool]) -> str:
    """Return a prompt in which the files named with `@` are named plainly, as tools want them."""
    return re.sub(
        r"(^|(?<=[\s(]))@([\w./-]+)(:\d+)?",
        lambda found: found[0].replace("@", "", 1) if is_name(found[2].rstrip(".")) else found[0],
        text,
    )


def named_plainly(text: str, root: Path) -> str:
    """Take the marks off files below a folder; pictures keep theirs, by which they are shown."""

    def is_plain(name: str) -> bool:
        path = root / name
        return path.exists() and not is_picture(path)

    return without_marks(text, is_plain)
