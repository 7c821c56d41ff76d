"""Says yes or no to a call before it runs, or that a person is to be asked.

This labels what a call would do; what contains it is the sandbox. A label may be wrong about a
clever script, never about what reaches the machine.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.preview import preview
from agent.rules import EDITOR, changes_file, covering
from agent.settings import ApprovalConfig
from agent.shell_words import Script, read_script
from inference.messages import ToolCall

READING_TOOLS = frozenset({"search", "outline", "todo", "finish", "explore", "skill"})


@dataclass(frozen=True)
class Allowed:
    """The call may run."""


@dataclass(frozen=True)
class Denied:
    """The call may not run, and why, in words for the model."""

    reason: str
    unanswered: bool = False
    """A person was to be asked, and there was none."""


@dataclass(frozen=True)
class Ask:
    """A person decides."""

    call: ToolCall
    preview: str
    """Exactly what would happen, the command or the diff, as `preview.py` writes it."""
    key: str
    """What an answer for always is remembered by."""
    exact: str
    """The same as `preview` with nothing cut or spelled, for a screen that nothing can hide on."""


Decision = Allowed | Denied | Ask


@dataclass(frozen=True)
class Answer:
    """What a person says to an `Ask`."""

    allowed: bool
    always: bool = False
    """Not to be asked again in this repository, while what would run stays the same; a no, too."""
    reason: str = ""
    """Why not, in words that go to the model."""
    arguments: Mapping[str, Any] | None = None
    """Other arguments for the call, which is then decided on anew; None to leave them."""
    by_nobody: bool = False
    """There is no person."""


@dataclass(frozen=True)
class Effects:
    """How a call is shown and remembered; the tools know, this room only asks."""

    preview: Callable[[ToolCall], str] = field(default=lambda call: _plainly(call))
    key: Callable[[ToolCall], str] = field(default=lambda call: _plainly(call))
    path: Callable[[str], str] = field(default=lambda path: path)
    """From the path of a call to the one from the workspace, so that rules fit however written."""


PLAIN = Effects()


def decide(
    call: ToolCall,
    config: ApprovalConfig,
    effects: Effects = PLAIN,
    remembered: Collection[str] = (),
) -> Decision:
    """Decide on a call: what is denied first, then what the mode and the rules allow."""
    if call.name in config.denied_tools:
        return Denied(f"{call.name} is not allowed in this repository; use another tool.")
    script = read_script(str(call.arguments.get("command", ""))) if call.name == "bash" else None
    path = effects.path(str(call.arguments.get("path", "")))
    if denied := _denied(call, config, script, path):
        return Denied(denied)
    if _only_reads(call, script):
        return Allowed()
    if config.mode == "plan":
        return Denied("Plan mode: nothing may be changed. Read, then call finish with your plan.")
    if remembered and refused(effects.key(call)) in remembered:
        return Denied("The user does not want this call to run, now or later.")
    if config.mode == "auto" or _allowed(call, config, script, path):
        return Allowed()
    if call.name == "run_tests" or (config.mode == "edit" and changes_file(call)):
        return Allowed()
    key = effects.key(call)
    if key in remembered:
        return Allowed()
    exact = effects.preview(call)
    return Ask(call, preview(exact, is_diff=changes_file(call)), key, exact)


def refused(key: str) -> str:
    """Return what a no for always is remembered by."""
    return f"no {key}"


def answered(ask: Ask, answer: Answer) -> ToolCall | Denied:
    """Turn a person's answer into the call to run, or into the reason for the model."""
    if not answer.allowed:
        said = f" They say: {answer.reason}" if answer.reason else ""
        return Denied(f"The user does not want this call to run.{said}", answer.by_nobody)
    return ask.call


def _denied(call: ToolCall, config: ApprovalConfig, script: Script | None, path: str) -> str:
    for rule in covering(config.deny, call.name):
        if script is not None:
            named = [words for words in script.commands if rule.covers_command(words)]
            if named or (not rule.pattern):
                return f"`{' '.join(named[0]) if named else 'bash'}` is denied by the user's rules."
        elif call.name == EDITOR:
            if changes_file(call) and rule.covers_path(path):
                return f"Changing {path} is denied by the user's rules."
        else:
            return f"{call.name} is denied by the user's rules."
    return ""


def _allowed(call: ToolCall, config: ApprovalConfig, script: Script | None, path: str) -> bool:
    rules = covering(config.allow, call.name)
    if script is not None:
        is_plain = script.is_clear and not script.assigns  # PATH says which program a word means
        return is_plain and all(
            any(rule.covers_command(words) for rule in rules) for words in script.commands
        )
    if call.name == EDITOR:
        return any(rule.covers_path(path) for rule in rules)
    return bool(rules)


def _only_reads(call: ToolCall, script: Script | None) -> bool:
    if script is not None:
        return script.only_reads
    if call.name == EDITOR:
        return not changes_file(call)
    return call.name in READING_TOOLS


def _plainly(call: ToolCall) -> str:
    """The exact command, or every argument on a line of its own."""
    if call.name == "bash":
        return str(call.arguments.get("command", ""))
    return "\n".join([call.name, *(f"{name}: {value}" for name, value in call.arguments.items())])
