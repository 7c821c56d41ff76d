"""What was typed after `qwen-agent fix`, as a request; it does not look at the repository."""

import codecs
import os
import select
import shlex
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.engine import meant, wanted_model, with_engine
from agent.errors import RunCancelled, UsageError
from agent.frontends.output import is_github
from agent.request import FixRequest
from agent.settings import MAX_TOGETHER, Config
from inference.errors import ModelUnavailable, PictureUnreadable
from inference.pictures import read_picture
from sandbox.base import Cancel, never

MAX_ISSUE_BYTES = 256 * 1024
MAX_SEED = 2**31 - 1
SHELL_WORDS = frozenset("|&;<>()$`*?{}~#")
STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
POLL_S = 0.1
KEPT_ON_RESUME = {
    "issue": "--issue",
    "test_command": "--test-cmd",
    "tests": "--tests",
    "model": "--model",
    "seed": "--seed",
    "python": "--python",
    "sandbox": "--sandbox",
    "base": "--base",
    "mcp": "--mcp",
}
"""What a session was begun with and its conversation rests on; the rest may change."""


def request_of(arguments: Namespace, config: Config, cancel: Cancel = never) -> FixRequest:
    """Read the arguments as a request; `cancel` stops waiting for a report from standard input.

    Raises:
        UsageError: a value that cannot be meant.
    """
    path = absolute(arguments.path or Path())
    config = _configured(config, arguments)
    model, attempts = wanted_model(config, None), config.fix.together
    request = FixRequest(path, model=model, attempts=attempts, config=config)
    return replace(request, **_given(arguments, cancel))


def resumed(old: FixRequest, arguments: Namespace, cancel: Cancel = never) -> FixRequest:
    """Return the request of a session that goes on: what is typed now wins over what was typed.

    Raises:
        UsageError: a value that cannot be meant, or that the session cannot change.
    """
    given = _given(arguments, cancel)
    if "model" in given and _is_model(given["model"], old):
        given["model"] = old.model
    for name, flag in KEPT_ON_RESUME.items():
        if name in given and given[name] != getattr(old, name):
            raise UsageError(f"{flag} cannot change when a session goes on; begin a new one")
    for flag, was, now in (
        ("--context", old.config.context.kind, arguments.context),
        ("--thinking-history", old.config.model.thinking_history, arguments.thinking_history),
    ):
        if now not in (None, was):
            raise UsageError(f"{flag} cannot change when a session goes on; begin a new one")
    if arguments.together:
        given.setdefault("attempts", max(old.attempts, arguments.together))
    return replace(old, config=_configured(old.config, arguments), **given)


def is_standard_output(patch: str | None) -> bool:
    """Say whether `--patch` means standard output."""
    return patch in STANDARD_OUTPUT


def absolute(path: Path) -> Path:
    """Return a path that was typed as one from the root.

    Raises:
        UsageError: it is relative to a folder that is gone.
    """
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise UsageError("the folder you are in was deleted; change to another one") from error


def picture_file(path: Path) -> Path:
    """Return the path from the root of a picture that was typed.

    Raises:
        UsageError: it is none, or relative to a folder that is gone.
    """
    try:
        return Path(read_picture(absolute(path)).path)
    except PictureUnreadable as error:
        raise UsageError(str(error).rstrip(".")) from error


def _given(arguments: Namespace, cancel: Cancel) -> dict[str, Any]:
    """Return the fields of a request that were typed, by name."""
    if arguments.attempts is not None and arguments.attempts < 1:
        raise UsageError("--attempts must be 1 or more")
    if arguments.seed is not None and not 0 <= arguments.seed <= MAX_SEED:
        raise UsageError(f"--seed must be 0 to {MAX_SEED}, not {arguments.seed}")
    values = {
        "test_command": None if arguments.test_cmd is None else command_of(arguments.test_cmd),
        "tests": arguments.tests and tuple(arguments.tests),
        "images": arguments.image and tuple(map(picture_file, arguments.image)),
        "model": arguments.model,
        "attempts": arguments.attempts,
        "seed": arguments.seed,
        "python": arguments.python and absolute(arguments.python),
        "dry_run": arguments.dry_run,
        "reuse": False if arguments.no_reuse else None,
        "sandbox": arguments.sandbox,
        "base": arguments.base,
        "commit": arguments.commit,
        "branch": arguments.branch,
        "mcp": arguments.mcp,
    }
    given = {name: value for name, value in values.items() if value is not None}
    if arguments.patch is not None:
        given["patch"] = _patch(arguments)
    if arguments.issue is not None:
        given["issue"] = _issue(arguments.issue, cancel)  # last: it may wait for a person
    return given


def _configured(config: Config, arguments: Namespace) -> Config:
    """Put what was typed in the place of settings."""
    limits = {
        "max_steps": ("--max-turns", arguments.max_turns),
        "max_time_s": ("--max-time", arguments.max_time),
        "max_tokens": ("--max-tokens", arguments.max_tokens),
        "max_calls": ("--max-calls", arguments.max_calls),
    }
    for flag, value in limits.values():
        if value is not None and not value > 0:
            raise UsageError(f"{flag} must be more than 0, not {value}")
    given = {name: value for name, (_, value) in limits.items() if value is not None}
    config = replace(config, budget=replace(config.budget, **given))
    config = with_engine(config, arguments.engine)
    if arguments.together is not None:
        if not 1 <= arguments.together <= MAX_TOGETHER:
            raise UsageError(f"--together must be 1 to {MAX_TOGETHER}")
        config = replace(config, fix=replace(config.fix, together=arguments.together))
    if arguments.allow_host:
        hosts = dict.fromkeys((*config.sandbox.allow_hosts, *arguments.allow_host))
        try:
            sandbox = replace(config.sandbox, allow_hosts=tuple(hosts))
        except ValueError as error:
            raise UsageError(f"--allow-host: {error}") from error
        config = replace(config, sandbox=sandbox)
    if arguments.context:
        config = replace(config, context=replace(config.context, kind=arguments.context))
    if arguments.thinking_history:
        model = replace(config.model, thinking_history=arguments.thinking_history)
        config = replace(config, model=model)
    if arguments.weights:
        config = replace(config, model=replace(config.model, weights=arguments.weights))
    return with_kv(config, arguments)


def with_kv(config: Config, arguments: Namespace) -> Config:
    """Put `--kv`, if it was typed, in the place of the setting."""
    if arguments.kv:
        config = replace(config, model=replace(config.model, kv=arguments.kv))
    return config


def _patch(arguments: Namespace) -> Path | None:
    """Return the file to write; None for standard output, which the front end writes itself."""
    if not is_standard_output(arguments.patch):
        return absolute(Path(arguments.patch))
    if arguments.json or arguments.stream_json:
        raise UsageError("--patch - has no room: JSON goes to standard output; name a file")
    if is_github():
        raise UsageError("--patch -: GitHub Actions obeys lines of a patch; name a file")
    return None


def _is_model(name: str, old: FixRequest) -> bool:
    """Say whether `name` stands for the model that the journal has written out."""
    try:
        return meant(name, old.config.engine) == old.model
    except ModelUnavailable:
        return False


def _issue(text: str, cancel: Cancel) -> str:
    """Read the report: as given, from a file, or from standard input."""
    try:
        if text == "-":
            text = standard_input(cancel, "--issue -")
        elif text.startswith("@"):
            with Path(text[1:]).expanduser().open(encoding="utf-8") as file:
                text = file.read(MAX_ISSUE_BYTES)
    except OSError as error:
        raise UsageError(f"--issue {text}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--issue {text}: it is no text in UTF-8") from error
    if not text.strip():
        raise UsageError("--issue holds no text")
    return text.strip()


def standard_input(cancel: Cancel, asker: str) -> str:
    """Read standard input to its end, without becoming deaf to Ctrl-C.

    Raises:
        UsageError: it is closed; `asker` says who wanted it.
        RunCancelled: the person did not want to wait.
    """
    if sys.stdin is None:
        raise UsageError(f"{asker}: standard input is closed")
    descriptor = sys.stdin.fileno()
    content = b""
    while len(content) < MAX_ISSUE_BYTES:
        if cancel():
            raise RunCancelled("cancelled; nothing was changed")
        if select.select([descriptor], [], [], POLL_S)[0]:
            piece = os.read(descriptor, MAX_ISSUE_BYTES - len(content))
            if not piece:
                return content.decode()
            content += piece
    # The cut may have gone through a character, which is left out.
    return codecs.getincrementaldecoder("utf-8")().decode(content)


def command_of(text: str) -> tuple[str, ...]:
    """Split a test command into words, or hand it to a shell if it is written for one."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--test-cmd {text}: {error}") from error
    if not words:
        raise UsageError("--test-cmd holds no command")
    if SHELL_WORDS & set(text) or "=" in words[0]:
        return ("sh", "-c", text)
    return words
