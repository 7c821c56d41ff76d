"""A server that speaks OpenAI's API: where it is, its key, and what it says of itself.

It is asked which models it has, how long their windows are and how many tokens a text is. Replies
are not asked for here: that is `remote.py`. The key comes from the environment and stays there: no
setting, no session and no sentence holds it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from inference.errors import ModelUnavailable, NoSuchModel
from inference.remote_faults import Fault, fault_of

KEY_NAMES = ("QWEN_AGENT_ENGINE_KEY", "OPENAI_API_KEY")
"""Variables that may hold the key; the first that is set."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
AUTO = "auto"
"""The name that stands for the only model of a server."""
MAX_LISTED = 8
UNASKED = (0, 401, 403)
"""Statuses of a server that was not reached, or does not talk with us."""
WINDOW_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
"""What servers call the window in their list of models; the first is vLLM's and SGLang's."""


@dataclass(frozen=True)
class ServerSettings:
    """Where a server is, and what has to be known of it that it may not say."""

    url: str
    """The base of its API, as `http://localhost:8000/v1`."""
    context_tokens: int = 0
    """Use no more of its window; 0 is all of it."""
    can_see: bool = False
    """Whether its model sees pictures."""
    connect_s: float = 10.0
    """Seconds until a connection is there, or a question about the server is answered."""
    first_token_s: float = 900.0
    """Seconds until a reply begins: as long as a prompt takes to be read, and to wait for that."""
    between_tokens_s: float = 120.0
    """Seconds without a word in the midst of a reply, after which it counts as broken off."""
    first_wait_s: float = 0.5
    """Seconds before a second try; each further one waits twice as long."""


@dataclass(frozen=True)
class ServedModel:
    """A model of a server's list."""

    name: str
    context_tokens: int = 0
    """Its window; 0 if the list does not say."""


def base_url(text: str) -> str:
    """Return the base of an API from what a person typed; a bare host gets the usual `/v1`.

    Raises:
        ValueError: it is no such address; the text says what is wrong with it.
    """
    refusal = f"{text!r} is no address of a server, as http://localhost:8000/v1 is"
    try:
        parts = urlsplit(text.strip())
        is_usable = parts.port is None or parts.port > 0
    except ValueError as error:  # a port too high, a bracket too many
        raise ValueError(refusal) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_usable:
        raise ValueError(refusal)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"an engine's address holds no key; set {KEY_NAMES[0]} instead")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def key_of(environment: Mapping[str, str] = os.environ) -> str:
    """Return the key for servers; empty if none is set."""
    return next((environment[name] for name in KEY_NAMES if environment.get(name)), "")


class NoList(ModelUnavailable):
    """A server answers, and has no list of models to show."""


class Server:
    """A server as it can be asked about itself."""

    def __init__(self, settings: ServerSettings, key: str = "") -> None:
        self.settings = settings
        self.key = key

    @property
    def url(self) -> str:
        """The base of its API."""
        return self.settings.url

    @property
    def is_near(self) -> bool:
        """Whether it runs on this machine, so that no proxy leads to it."""
        return urlsplit(self.url).hostname in LOOPBACK

    @property
    def sends_key_in_clear(self) -> bool:
        """Whether others on the way can read the key."""
        return bool(self.key) and not self.is_near and self.url.startswith("http:")

    @cached_property
    def tls(self) -> Any:
        """What certificates are checked against: the system's, or those of SSL_CERT_FILE.

        Reading them takes a while, so an address without TLS trusts nobody: none is to come.
        """
        import ssl

        if self.url.startswith("https:"):
            return ssl.create_default_context()
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def models(self) -> tuple[ServedModel, ...]:
        """Ask which models it has.

        Raises:
            ModelUnavailable: it does not answer, or refuses the key.
            NoList: it answers something else.
        """
        try:
            answer = self._asked("GET", f"{self.url}/models")
        except Fault as fault:
            if fault.status in UNASKED:
                raise fault.error from fault
            raise NoList(str(fault.error)) from fault
        listed = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise NoList(f"{self.url}/models gives no list of models; is it the address?")
        return tuple(
            ServedModel(one["id"], _window_in(one))
            for one in listed
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        )

    def window(self, model: ServedModel) -> int:
        """Return how many tokens prompt and reply may have together; 0 if it does not say."""
        if model.context_tokens:
            return model.context_tokens
        try:  # llama.cpp's
            answer = self._asked("GET", f"{self._root}/props")
        except Fault:
            return 0
        defaults = answer.get("default_generation_settings") if isinstance(answer, dict) else None
        return _window_in(defaults) if isinstance(defaults, dict) else 0

    def count(self, model: str, text: str) -> int | None:
        """Return how many tokens a text is; None if it does not count any."""
        # `prompt` is what vLLM and SGLang read, `content` what llama.cpp does.
        body = {"model": model, "prompt": text, "content": text, "add_special_tokens": False}
        try:
            answer = self._asked("POST", f"{self._root}/tokenize", body)
        except Fault:
            return None
        if not isinstance(answer, dict):
            return None
        tokens = answer.get("tokens")
        count = answer.get("count", len(tokens) if isinstance(tokens, list) else None)
        return count if isinstance(count, int) else None

    @property
    def _root(self) -> str:
        return self.url.removesuffix("/v1")

    def _asked(self, method: str, url: str, body: object = None) -> Any:
        """Return the JSON of a short answer.

        Raises:
            Fault: there is none.
        """
        import httpx2

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            answer = httpx2.request(
                method,
                url,
                json=body,
                headers=headers,
                timeout=self.settings.connect_s,
                verify=self.tls,
                trust_env=not self.is_near,
            )
            answer.raise_for_status()
            return answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise fault_of(error, self) from error


def served(name: str, server: Server) -> ServedModel:
    """Return the model of a server that a name means; raises as `chosen` and `Server.models` do."""
    try:
        models = server.models()
    except NoList:
        if name == AUTO:
            raise
        return ServedModel(name)
    return chosen(name, models, server.url)


def chosen(name: str, models: tuple[ServedModel, ...], url: str) -> ServedModel:
    """Return the model that a name means; `auto` is the only one there is.

    A name that is not listed is taken as it is: some servers load what they are asked for.

    Raises:
        NoSuchModel: it has to be said which one.
    """
    if name != AUTO:
        return next((model for model in models if model.name == name), ServedModel(name))
    if len(models) == 1:
        return models[0]
    if not models:
        raise NoSuchModel(f"{url} lists no model; name one with --model.")
    names = [model.name for model in models]
    more = ", ..." if len(names) > MAX_LISTED else ""
    raise NoSuchModel(
        f"{url} has several models; choose one with --model: {', '.join(names[:MAX_LISTED])}{more}"
    )


def _window_in(record: Mapping[str, Any]) -> int:
    """Find a window in what a server says of a model."""
    meta = record.get("meta")
    places = (record, meta) if isinstance(meta, dict) else (record,)
    found = (place.get(key) for place in places for key in WINDOW_KEYS)
    return next((n for n in found if isinstance(n, int) and n > 0), 0)
