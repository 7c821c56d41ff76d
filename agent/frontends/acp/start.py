"""`qwen-agent acp`, from its first line to its last: streams, log, signals, and a clean end."""

import logging
import os
import signal
import threading
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import config_file, load_config, state_folder
from agent.engine import meant, wanted_model, with_engine
from agent.errors import AgentError
from agent.frontends.acp.handshake import Client, Handshake
from agent.frontends.acp.rpc import Handler, Peer
from agent.frontends.acp.stdio import take_standard_streams
from agent.shown import may_see

if TYPE_CHECKING:
    from agent.compose import ChatFactory

LOG = "acp.log"
LOADER = "load the model"
"""The thread of `agent/loading.py`, which is not imported for its name."""
MAX_NAME = 80
LEAVE_S = 2.0
"""How long a client may take to read the last words."""
MAX_LOG_BYTES = 4 * 1024 * 1024
"""A larger one is begun anew."""
log = logging.getLogger(__name__)


def run(arguments: Namespace, chat_factory: "ChatFactory | None" = None) -> int:
    """Serve one client until it leaves, or a signal says to; return the exit code."""
    wire = take_standard_streams()
    peer = Peer(wire)
    _open_log(state_folder())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: the reading ends
    handshake = Handshake(
        peer, lambda *known: _make_agent(arguments, chat_factory, *known), _may_see(arguments)
    )
    try:
        peer.serve(handshake)
    except KeyboardInterrupt:
        log.info("told to stop")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    peer.leave()
    handshake.close()
    has_read = wire.flush(LEAVE_S)
    if not has_read or any(thread.name == LOADER for thread in threading.enumerate()):
        os._exit(0)  # Python would wait for threads that hang, or crash beside them
    return 0


def _make_agent(
    arguments: Namespace, chat_factory: "ChatFactory | None", peer: Peer, client: Client
) -> Handler:
    """Load the words of the protocol and the agent's own rooms, all but the model."""
    from agent.compose import load_chat
    from agent.frontends.acp.agent_v1 import AgentV1
    from agent.frontends.acp.commands import Commands
    from agent.frontends.acp.desk import Desk, Setup
    from agent.frontends.acp.shared_models import SharedModels
    from agent.frontends.asked import absolute, command_of
    from agent.talk_request import TalkRequest

    log.info("serving %r", client.name[:MAX_NAME])
    config = with_engine(load_config(config_file()), arguments.engine)
    request = TalkRequest(
        path=Path(),
        model=wanted_model(config, arguments.model),
        mode=arguments.mode or "ask",
        test_command=command_of(arguments.test_cmd) if arguments.test_cmd is not None else (),
        python=arguments.python and absolute(arguments.python),
        sandbox=arguments.sandbox,
        config=config,
    )
    setup = Setup(
        request,
        state_folder(),
        SharedModels(chat_factory or load_chat),
        str if chat_factory else lambda name: meant(name, config.engine),
        Commands(config_file().with_name("commands")),
        client,
    )
    return AgentV1(Desk(peer, setup))


def _may_see(arguments: Namespace) -> bool:
    """Say whether the model that talks begin with may see pictures; it is not loaded yet."""
    try:
        config = with_engine(load_config(config_file()), arguments.engine)
        if config.engine.url:
            return config.engine.can_see
        return may_see(arguments.model or config.model.name)
    except AgentError:  # told when the first talk is opened
        return True


def _open_log(state: Path) -> None:
    """Write what only we need to know to a file; without one, nothing is written."""
    path = state / LOG
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        state.mkdir(mode=0o700, exist_ok=True)
        is_large = path.is_file() and path.stat().st_size > MAX_LOG_BYTES
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if is_large else os.O_APPEND)
        file = os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8", errors="replace")
    except OSError:
        logging.getLogger().addHandler(logging.NullHandler())
        return
    logging.basicConfig(
        stream=file,
        level=logging.INFO,
        format=f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s",
    )
