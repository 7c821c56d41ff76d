"""`qwen-agent` alone: on a terminal the interactive session, else plain lines, or one answer.

Which of these it is, and what was typed after the command, is decided here; nothing heavy is
imported before that.
"""

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from agent.config import config_file, load_config
from agent.engine import wanted_model, with_engine
from agent.errors import UsageError
from agent.frontends.asked import (
    absolute,
    command_of,
    picture_file,
    standard_input,
    with_kv,
)
from agent.frontends.resuming import Resuming
from agent.talk_request import TalkRequest

if TYPE_CHECKING:
    from agent.compose import ChatFactory


def run(arguments: Namespace, chat_factory: "ChatFactory | None" = None) -> int:
    """Carry out what was typed; return the exit code.

    Raises:
        AgentError: it cannot be meant.
    """
    prompt = _prompt(arguments)
    if prompt is None and arguments.image:
        raise UsageError("--image shows a picture with -p; at a terminal, name it as @FILE")
    request = request_of(arguments)
    if prompt is None and can_draw() and not arguments.plain:
        from agent.frontends.repl.start import run as run_session

        return run_session(request, Resuming.of(arguments), chat_factory)
    from agent.frontends.one_answer import Prompt
    from agent.frontends.talk_lines import run as run_lines

    resuming = Resuming.of(arguments)
    asked = None if prompt is None else Prompt(prompt, tuple(map(picture_file, arguments.image)))
    return run_lines(request, resuming, asked, arguments.stream_json, chat_factory)


def request_of(arguments: Namespace) -> TalkRequest:
    """Read what was typed as a request.

    Raises:
        UsageError: a value that cannot be meant.
        ConfigError: the settings cannot be.
    """
    config = with_kv(load_config(config_file()), arguments)
    config = with_engine(config, arguments.engine)
    is_watched = arguments.prompt is None and _is_terminal(sys.stdin)
    return TalkRequest(
        path=absolute(arguments.path or Path()),
        model=wanted_model(config, arguments.model),
        mode=arguments.mode or ("ask" if is_watched else config.approval.mode),
        test_command=command_of(arguments.test_cmd) if arguments.test_cmd is not None else (),
        python=arguments.python and absolute(arguments.python),
        sandbox=arguments.sandbox,
        config=config,
    )


def can_draw() -> bool:
    """Say whether there is a terminal that can be drawn on; a dumb one gets plain lines."""
    are_terminals = _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
    return are_terminals and os.environ.get("TERM", "dumb") != "dumb"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _prompt(arguments: Namespace) -> str | None:
    """Return the one prompt that is to be answered; None if somebody is there to talk with."""
    prompt: str | None = arguments.prompt
    if prompt is None and _is_terminal(sys.stdin):
        if arguments.stream_json:
            raise UsageError("--stream-json answers one prompt; give it with -p")
        return None
    if prompt is None or prompt == "-":
        prompt = _read_prompt()
    if not prompt.strip():
        raise UsageError("there is no prompt; give one with -p or on standard input")
    return _meant(prompt) if prompt.startswith("/") else prompt


def _meant(prompt: str) -> str:
    """Return what a prompt that begins with a slash stands for: a command of the person's own.

    Raises:
        UsageError: it is one of ours, which are for whoever types.
    """
    from agent.frontends.repl.commands import COMMANDS, Commands
    from agent.own_commands import with_arguments

    name, _, words = prompt[1:].rstrip("\n").partition(" ")
    if any(name == command.name for command in COMMANDS):
        raise UsageError(
            f"/{name} is a command of a talk at a terminal; -p and a pipe give the model a prompt"
        )
    own = Commands(config_file().with_name("commands"), COMMANDS).own().get(name)
    return prompt if own is None else with_arguments(own, words)


def _read_prompt() -> str:
    from agent.frontends.fix import interrupts

    try:
        with interrupts() as cancel:
            return standard_input(cancel, "no terminal and no -p")
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError("standard input is no text in UTF-8") from error
