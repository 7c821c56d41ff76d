"""Reads a test command as words: of which runner it is, its parts, its python; runs nothing."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

Argv = tuple[str, ...]

LAUNCHERS = (("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("pdm", "run"))
PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
FLAGS_WITHOUT_VALUE = re.compile(r"-[qvxsl]+|--(lf|ff|sw|exitfirst|quiet|verbose|no-header)")
SHELL_SIGNS = frozenset("|;<>()$`*?{}~#\n")


def without_launcher(command: Argv) -> Argv:
    """Take `uv run` and the like away: their environment is the one that was detected."""
    for launcher in LAUNCHERS:
        if command[: len(launcher)] == launcher:
            words = command[len(launcher) :]
            while words and words[0].startswith("-"):
                words = words[1:]
            return words
    return command


def is_module(words: Argv, module: str) -> bool:
    """Whether it is `python [flags] -m module ...`."""
    if not words or not PYTHON.fullmatch(Path(words[0]).name):
        return False
    for word, following in pairwise(words):
        if word == "-m":
            return following == module
    return False


def is_pytest(command: Argv) -> bool:
    """Whether the command is pytest's."""
    words = without_launcher(command)
    return is_module(words, "pytest") or (
        bool(words) and Path(words[0]).name in ("pytest", "py.test")
    )


def is_unittest(command: Argv) -> bool:
    """Whether the command is unittest's."""
    return is_module(without_launcher(command), "unittest")


def parts_of(command: Argv) -> tuple[Argv, ...]:
    """The commands of `sh -c 'unittest one && unittest two'`, or the command itself.

    Folders of tests that are no packages need a run each, and a person writes that so.
    """
    if len(command) != 3 or command[:2] != ("sh", "-c"):
        return (command,)
    text = command[2]
    try:
        words = shlex.split(text)
    except ValueError:
        return (command,)
    parts: list[Argv] = [()]
    for word in words:
        if word == "&&":
            parts.append(())
        else:
            parts[-1] += (word,)
    is_plain = not SHELL_SIGNS & set(text) or text == " && ".join(map(shlex.join, parts))
    return tuple(parts) if is_plain and all(map(is_unittest, parts)) else (command,)


def start_folder(command: Argv) -> str:
    """The folder that a unittest command discovers in; nothing if it names none."""
    for word, following in pairwise(command):
        if word in ("-s", "--start-directory"):
            return following
    return ""


def cut_at_double_dash(arguments: Argv) -> tuple[Argv, Argv]:
    """Split before `--`, after which all words are paths."""
    if "--" not in arguments:
        return arguments, ()
    at = arguments.index("--")
    return arguments[:at], arguments[at:]


def without_paths(arguments: Argv, root: Path) -> Argv:
    """Drop the files and folders a command names, since ids will stand in their place."""
    kept: list[str] = []
    before = ""
    for word in arguments:
        is_value = (
            before.startswith("-")
            and "=" not in before
            and not FLAGS_WITHOUT_VALUE.fullmatch(before)
        )
        is_path = not word.startswith("-") and (root / word.split("::")[0]).exists()
        if is_value or not is_path:
            kept.append(word)
        before = word
    return tuple(kept)
