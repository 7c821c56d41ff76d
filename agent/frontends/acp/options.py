"""What a person can set in the editor: the mode in both forms that v1 has, all else as options."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from acp import schema

from agent.conversation import Conversation
from agent.frontends.acp.rpc import INVALID_PARAMS, RpcError
from agent.models import NANO, cached_models
from agent.settings import ABOUT_EFFORTS, ABOUT_MODES, MAX_ATTEMPTS, ApprovalMode, Effort

MODE, MODEL, THINKING, ATTEMPTS = "mode", "model", "thinking", "attempts"
Options = list[schema.SessionConfigOptionSelect | schema.SessionConfigOptionBoolean]
Category = Literal["mode", "model", "thought_level"] | None
Values = Mapping[Any, str]
"""What can be chosen, each a text, and a word about it."""


def mode_of(name: str) -> ApprovalMode:
    """Read a mode.

    Raises:
        RpcError: there is none of that name.
    """
    for mode in ABOUT_MODES:
        if mode == name:
            return mode
    raise _unknown(MODE, name, get_args(ApprovalMode))


def effort_of(name: str) -> Effort:
    """Read how much is to be thought; raises as `mode_of` does."""
    for effort in ABOUT_EFFORTS:
        if effort == name:
            return effort
    raise _unknown(THINKING, name, get_args(Effort))


def number_of(text: str) -> int:
    """Read a number of attempts; raises as `mode_of` does."""
    if text not in _numbers():
        raise _unknown(ATTEMPTS, text, ("1", "...", str(MAX_ATTEMPTS)))
    return int(text)


def modes_of(talk: Conversation) -> schema.SessionModeState:
    """Say which modes there are, and which one is in force."""
    return schema.SessionModeState(
        current_mode_id=talk.mode,
        available_modes=[
            schema.SessionMode(id=mode, name=mode.capitalize(), description=about)
            for mode, about in ABOUT_MODES.items()
        ],
    )


def chosen(talk: Conversation) -> tuple[object, ...]:
    """Return the current values, to see whether one of them has changed."""
    request = talk.request
    return talk.mode, talk.status().model, request.config.model.thinking, request.attempts


def options_of(talk: Conversation) -> Options:
    """Say what can be set, and how it is; nano never thinks, so there that is none."""
    mode, model, thinking, number = map(str, chosen(talk))
    others = [*(cached.hub_id for cached in cached_models()), NANO]
    if talk.request.config.engine.url:  # what a server has is not asked for here
        others = []
    names = dict.fromkeys([model, *others], "")
    options: Options = [
        _select(MODE, "mode", "What runs without asking", mode, ABOUT_MODES),
        _select(MODEL, "model", "Which model answers from the next prompt on", model, names),
    ]
    if model != NANO:
        about = "How much the model thinks from the next prompt on"
        options.append(_select(THINKING, "thought_level", about, thinking, ABOUT_EFFORTS))
    about = "How many attempts a prompt may take; more than one are made on copies, unasked, "
    about += "and the first with green tests is applied"
    return [*options, _select(ATTEMPTS, None, about, number, _numbers())]


def _select(
    name: str, category: Category, about: str, value: str, values: Values
) -> schema.SessionConfigOptionSelect:
    return schema.SessionConfigOptionSelect(
        type="select",
        id=name,
        name=name.capitalize(),
        category=category,
        description=about,
        current_value=value,
        options=[
            schema.SessionConfigSelectOption(
                value=one, name=_named(name, one), description=words or None
            )
            for one, words in values.items()
        ],
    )


def _named(option: str, value: str) -> str:
    return value if option == MODEL else value.capitalize()


def _numbers() -> Values:
    return {str(number): "" for number in range(1, MAX_ATTEMPTS + 1)}


def _unknown(option: str, value: str, known: Iterable[str]) -> RpcError:
    return RpcError(INVALID_PARAMS, f"there is no {option} {value!r}; there are {', '.join(known)}")
