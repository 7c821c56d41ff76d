"""`qwen-agent serve`: loads the model, opens the port, and says where it is.

Codes: 0 when it was ended, 2 for what cannot be meant, 7 where the model cannot be had.
"""

import ipaddress
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import uvicorn

from agent.compose import load_chat
from agent.config import config_file, load_config
from agent.errors import UsageError
from agent.frontends.asked import with_kv
from agent.frontends.load_words import NowAndThen
from agent.frontends.serve.app import make_app
from agent.frontends.serve.desk import Desk
from agent.frontends.serve.gate import LOOPBACK, Gate
from agent.frontends.serve.service import Service
from agent.load_news import LoadNews, window_words
from agent.loading import Loading
from agent.models import resolve
from agent.request import FixRequest
from inference.chat import never
from inference.local import LocalChat
from inference.messages import Usage

KEY = "QWEN_AGENT_SERVE_KEY"
"""The name of the variable that holds the key; it is read nowhere else."""


def run(arguments: Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Serve until the process is told to end; return the exit code.

    Raises:
        UsageError: the address cannot be meant, or is taken.
        ModelUnavailable: the model cannot be had.
    """
    key = environment.get(KEY, "").strip()
    if not key and not _is_loopback(arguments.host):
        raise UsageError(
            f"{arguments.host} can be reached from elsewhere; set {KEY} to a key that clients send"
        )
    config = with_kv(load_config(config_file()), arguments)
    if config.engine.url:
        raise UsageError("serve is for the engine inside; [engine] url names another server")
    request = FixRequest(
        Path.cwd(), model=resolve(arguments.model or config.model.name), config=config
    )
    with (
        _listening(arguments.host, arguments.port) as listener,
        TemporaryDirectory(prefix="qwen-agent-serve-") as pictures,
    ):
        chat = _loaded(request)
        desk = Desk(chat, lambda: _seat(request, LoadNews()), arguments.parallel)
        service = Service(chat, desk, Path(pictures))
        hosts = () if arguments.host in LOOPBACK else (arguments.host,)
        app = Gate(make_app(service, _tell), key, (*LOOPBACK, *hosts))
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
        asked = f"the key is that of {KEY}" if key else "no key is asked for"
        window = window_words(chat.context_tokens)
        print(
            f"{service.name} ({chat.weights}, {window}) answers at {address}; {asked}.", flush=True
        )
        settings = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off")
        _Server(settings, service).run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """Ends with its replies when a signal says so, and leaves nothing behind."""

    def __init__(self, settings: uvicorn.Config, service: Service) -> None:
        super().__init__(settings)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let replies end where they are; a second signal waits for none."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.end()


def _loaded(request: FixRequest) -> LocalChat:
    """Load the model, and tell how far it is."""
    loading, lines = Loading(request.model, lambda news: _seat(request, news)), NowAndThen()
    steps = loading.steps(never)
    while True:
        try:
            event = next(steps)
        except StopIteration as done:
            chat: LocalChat = done.value
            return chat
        if line := lines.line(event):
            print(line, file=sys.stderr, flush=True)


def _seat(request: FixRequest, news: LoadNews) -> LocalChat:
    """Open a conversation with the engine that all seats share."""
    chat = load_chat(request, news, is_shared=True)
    assert isinstance(chat, LocalChat), "the engine inside"
    return chat


def _tell(usage: Usage) -> None:
    """Print what a reply cost."""
    share = 100 * usage.num_reused / max(1, usage.num_prompt)
    speed = usage.num_generated / usage.decode_s if usage.decode_s else 0.0
    print(
        f"{usage.num_prompt:,} tokens asked ({share:.0f} % reused, {usage.num_prefilled:,} read in "
        f"{usage.prefill_s:.1f} s), {usage.num_generated:,} written ({speed:.0f} a second)",
        flush=True,
    )


def _listening(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises:
        UsageError: that is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened at ({error.strerror}); choose another with --port"
        ) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
