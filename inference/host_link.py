"""A front end's end of the socket: requests out, and the answers to each sorted out. No torch.

It knows no branch and no engine (`host_client.py`), and starts no host (`host_start.py`).
"""

import itertools
import os
import select
import signal
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference import wire
from inference.chat import Cancel, never
from inference.door import LoadProgress, OnProgress
from inference.errors import Cancelled, EngineGone, ModelUnavailable
from inference.host_address import HostAddress, peer

POLL_S = 0.02
"""How often `cancel` is looked at while nothing comes."""

HELLO_S = 60.0
"""How long a host may take to say who it is; its other thread may be importing torch."""

STATUS_S = 30.0
"""How long a host may take to say how it is."""

SILENT_S = 60.0
"""After so long without a word a host is asked how it is."""

DEAF_S = 30.0
"""A host that does not answer that so long is ended: nothing in it runs any more."""


@dataclass(frozen=True)
class HostedModel:
    """What is known here of the model."""

    folder: Path
    config: Mapping[str, Any]
    context_tokens: int
    weights: str


class Link:
    """One connection to one host: requests out, the answers to each sorted out."""

    def __init__(self, sock: socket.socket, address: HostAddress) -> None:
        self.address = address
        self.pid = peer(sock)[0]
        self.model = HostedModel(Path(), {}, 0, "")
        self.dropped: deque[int] = deque()
        """Branches that nobody here holds any more; the host is told with the next request."""
        self._sock = sock
        self._heard_s = time.monotonic()
        """When the host was last known to be well."""
        self._frames = wire.Frames()
        self._numbers = itertools.count(1)
        self._answers: dict[int, deque[wire.Outcome]] = {}
        """By request, of those that somebody waits for."""
        self._greetings: deque[wire.Hello | wire.Loading | wire.Ready] = deque()
        self.close = weakref.finalize(self, sock.close)

    def number(self) -> int:
        """Return the number of a new request."""
        return next(self._numbers)

    def gone(self) -> EngineGone:
        """Return what is raised when the host has ended."""
        return EngineGone(
            f"The engine's process ended (pid {self.pid}; its log is {self.address.log})."
        )

    def has_ended(self) -> bool:
        """Say whether the host has hung up; it is not asked, and nothing is waited for."""
        if not self.close.alive:
            return True
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def wait_until_ready(self, on_progress: OnProgress | None, cancel: Cancel) -> None:
        """Say hello and wait for the model.

        Raises:
            Cancelled: nobody wants to wait for it; the host goes on loading.
        """
        self.send(wire.Open())
        deadline = time.monotonic() + HELLO_S
        is_known = False
        while True:
            while not self._greetings:
                self._receive(POLL_S)
                self._watch()
                if cancel():
                    raise Cancelled("stopped while the engine was started")
                if not is_known and time.monotonic() > deadline:
                    raise ModelUnavailable(
                        f"The engine's process (pid {self.pid}) does not answer; end it with "
                        f"`kill -9 {self.pid}` and try again."
                    )
            match self._greetings.popleft():
                case wire.Hello(pid=pid, identity=identity):
                    if identity != self.address.identity:
                        raise ModelUnavailable(
                            f"The engine's process {pid} is of another version; end it with "
                            f"`kill {pid}` and try again."
                        )
                    self.pid, is_known = pid, True
                case wire.Loading(num_bytes, num_total_bytes, stage, elapsed_s):
                    if on_progress is not None:
                        on_progress(LoadProgress(num_bytes, num_total_bytes, stage, elapsed_s))
                case wire.Ready(folder, config, context_tokens, weights):
                    self.model = HostedModel(Path(folder), config, context_tokens, weights)
                    return

    def send(self, request: wire.Request) -> None:
        """Send a request, after what was dropped since the last one."""
        if isinstance(request, wire.Work):
            self._answers[request.number] = deque()
        frames = []
        while self.dropped:
            frames.append(wire.pack_request(wire.Close(self.dropped.popleft())))
        try:
            self._sock.setblocking(True)
            self._sock.sendall(b"".join((*frames, wire.pack_request(request))))
        except OSError as error:
            self.close()
            raise self.gone() from error

    def ask(self, request: wire.Work) -> wire.Done:
        """Send a request that has one answer, and wait for it."""
        self.send(request)
        answer = self.next_answer(request.number, never)
        self.forget(request.number)
        assert isinstance(answer, wire.Done)
        return answer

    def next_answer(self, number: int, poll: Callable[[], object]) -> wire.Outcome:
        """Wait for the next answer to a request; `poll` is called meanwhile.

        Raises:
            InferenceError: the request failed.
            EngineGone: the host ended.
        """
        while not self._answers[number]:
            poll()
            self._receive(POLL_S)
            self._watch()
        answer = self._answers[number].popleft()
        if isinstance(answer, wire.Failed):
            self.forget(number)
            raise wire.error_of(answer)
        return answer

    def forget(self, number: int) -> None:
        """Nobody waits for answers to this request any more."""
        self._answers.pop(number, None)

    def _watch(self) -> None:
        """End a host in which nothing runs any more: one that hangs in a step ends itself."""
        if time.monotonic() - self._heard_s < SILENT_S:
            return
        if status_at(self.address, DEAF_S) is None and self.close.alive:
            self.close()
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            raise EngineGone(f"The engine's process (pid {self.pid}) hung and was ended.")
        self._heard_s = time.monotonic()

    def _receive(self, patience_s: float) -> None:
        """Take what has come, or wait a moment for something to come."""
        if not self.close.alive:
            raise self.gone()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if not poll.poll(patience_s * 1000):
            return
        try:
            data = self._sock.recv(2**18)
            self._heard_s = time.monotonic()
            if not data:
                raise ConnectionResetError
            for body in self._frames.feed(data):
                self._sort(wire.read_reply(body))
        except (OSError, wire.BadFrame) as error:
            self.close()
            raise self.gone() from error

    def _sort(self, reply: wire.Reply) -> None:
        match reply:
            case wire.Hello() | wire.Loading() | wire.Ready():
                self._greetings.append(reply)
            case wire.Failed(number=0):
                self.close()
                raise wire.error_of(reply)
            case wire.HostStatus():
                raise wire.BadFrame("a status that was not asked for")
            case _ if reply.number in self._answers:
                self._answers[reply.number].append(reply)


def status_at(address: HostAddress, patience_s: float = STATUS_S) -> wire.HostStatus | None:
    """Return the status of one host; None if it is gone, or does not answer in time."""
    sock = address.connect()
    if sock is None:
        return None
    frames, deadline = wire.Frames(), time.monotonic() + patience_s
    with sock:
        try:
            sock.sendall(wire.pack_request(wire.AskStatus()))
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                data = sock.recv(2**16)
                if not data:
                    return None
                for body in frames.feed(data):
                    reply = wire.read_reply(body)
                    return reply if isinstance(reply, wire.HostStatus) else None
        except (OSError, wire.BadFrame):  # it left while it was asked, or hangs
            return None
    return None
