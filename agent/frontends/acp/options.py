"""What a person can set in the editor: the mode and the model, in both forms that v1 has."""

from typing import get_args

from acp import schema

from agent.conversation import Conversation
from agent.frontends.acp.rpc import INVALID_PARAMS, RpcError
from agent.models import NANO, cached_models
from agent.settings import ABOUT_MODES, ApprovalMode

MODE, MODEL = "mode", "model"
Options = list[schema.SessionConfigOptionSelect | schema.SessionConfigOptionBoolean]


def mode_of(name: str) -> ApprovalMode:
    """Read a mode.

    Raises:
        RpcError: there is none of that name.
    """
    for mode in ABOUT_MODES:
        if mode == name:
            return mode
    modes = ", ".join(get_args(ApprovalMode))
    raise RpcError(INVALID_PARAMS, f"there is no mode {name!r}; there are {modes}")


def modes_of(talk: Conversation) -> schema.SessionModeState:
    """Say which modes there are, and which one is in force."""
    return schema.SessionModeState(
        current_mode_id=talk.mode,
        available_modes=[
            schema.SessionMode(id=mode, name=mode.capitalize(), description=about)
            for mode, about in ABOUT_MODES.items()
        ],
    )


def options_of(talk: Conversation) -> Options:
    """Say what can be set, and how it is."""
    modes = [
        schema.SessionConfigSelectOption(value=mode, name=mode.capitalize(), description=about)
        for mode, about in ABOUT_MODES.items()
    ]
    model = talk.status().model
    names = [model, *(cached.hub_id for cached in cached_models()), NANO]
    models = [
        schema.SessionConfigSelectOption(value=name, name=name) for name in dict.fromkeys(names)
    ]
    return [
        schema.SessionConfigOptionSelect(
            type="select",
            id=MODE,
            name="Mode",
            category="mode",
            description="What runs without asking",
            current_value=talk.mode,
            options=modes,
        ),
        schema.SessionConfigOptionSelect(
            type="select",
            id=MODEL,
            name="Model",
            category="model",
            description="Which model answers from the next prompt on",
            current_value=model,
            options=models,
        ),
    ]
