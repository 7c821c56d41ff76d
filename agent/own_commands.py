"""A person's own commands: files of Markdown in their settings, each a prompt with a name."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 64 * 1024
NAME = re.compile(r"[\w-]+")
"""What can be typed after a slash."""
ARGUMENTS = "$ARGUMENTS"
"""Stands for what was typed after the name."""


def own_commands(folder: Path) -> Mapping[str, str]:
    """Return the prompts by name; none where the folder cannot be read."""
    found: dict[str, str] = {}
    paths: list[Path] = []
    with suppress(OSError):
        paths = sorted(folder.glob("*.md"))
    for path in paths:
        with suppress(OSError):  # one that cannot be read hides no other
            if path.is_file():
                with path.open("rb") as file:
                    found[path.stem] = file.read(MAX_BYTES).decode("utf-8", "replace")
    return found


def fault_of(name: str, prompt: str | None, taken: Collection[str]) -> str:
    """Say why a file is no command; empty if it is one, or there is none (`prompt` is None).

    `taken` are the names of the commands that are there already.
    """
    if prompt is None:
        return ""
    if name in taken:
        return f"{name}.md is passed over: /{name} is a command already."
    if not NAME.fullmatch(name):
        return f"{name}.md is passed over: a name has letters, digits, - and _ alone."
    return "" if prompt.strip() else f"{name}.md is passed over: it is empty."


def with_arguments(prompt: str, words: str) -> str:
    """Put what was typed after the name where the prompt wants it."""
    return prompt.replace(ARGUMENTS, words.strip())
