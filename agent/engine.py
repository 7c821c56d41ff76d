"""Which engine answers: the one inside, or a server that the person has named.

A server is the person's alone to name, by `--engine` or in their own settings: a repository's file
may not, since whoever answers decides what is run.
"""

from dataclasses import replace

from agent.errors import UsageError
from agent.models import resolve
from agent.settings import Config, EngineConfig
from inference.remote_server import (
    AUTO,
    Server,
    ServerSettings,
    base_url,
    key_of,
    served,
)


def is_address(text: str) -> bool:
    """Say whether what was typed as a model is the address of a server."""
    return text.startswith(("http://", "https://"))


def with_engine(config: Config, url: str | None) -> Config:
    """Put an address that was typed in the place of the settings', whose model is another server's.

    Raises:
        UsageError: it is none.
    """
    if url is None or url == config.engine.url:
        return config
    try:
        return replace(config, engine=replace(config.engine, url=url, model=AUTO))
    except ValueError as error:
        raise UsageError(f"--engine: {error}") from error


def wanted_model(config: Config, typed: str | None) -> str:
    """Return the name of the model that is meant, as it was typed or set for this engine."""
    return typed or (config.engine.model if config.engine.url else config.model.name)


def meant(name: str, engine: EngineConfig) -> str:
    """Return what a name stands for; that of a model in a server is taken as it is.

    Raises:
        ModelUnavailable: it stands for nothing that could be loaded.
    """
    return name if engine.url else resolve(name)


def found(name: str, engine: EngineConfig) -> str:
    """Return the same, after a server was asked what it has; raises as `meant`."""
    if not engine.url:
        return resolve(name)
    return served(name, server_of(engine)).name


def server_of(engine: EngineConfig) -> Server:
    """Return the server of the settings, with the key of the environment."""
    return Server(settings_of(engine), key_of())


def settings_of(engine: EngineConfig) -> ServerSettings:
    """Return what the other room has to know of a server."""
    return ServerSettings(
        base_url(engine.url),
        context_tokens=engine.context_tokens,
        can_see=engine.can_see,
        connect_s=engine.connect_s,
        first_token_s=engine.first_token_s,
        between_tokens_s=engine.between_tokens_s,
    )
