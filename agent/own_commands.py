"""A person's own commands: files of Markdown in their settings, each a prompt with a name."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 64 * 1024
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


def with_arguments(prompt: str, words: str) -> str:
    """Put what was typed after the name where the prompt wants it."""
    return prompt.replace(ARGUMENTS, words.strip())
