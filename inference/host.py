"""The engine in a process of its own: one for each model and user, shared by every front end.

It listens on a private Unix socket, loads the model once, and leaves when no front end has been
there for a while. One thread does sockets and lifetime (here), another runs the model
(`host_worker.py`); it sees token ids only. `host_start.py` starts it; nothing imports it but that.
"""

import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from inference import wire
from inference.door import EngineSettings, LoadProgress, OnProgress
from inference.errors import EngineGone, InferenceError, kind_and_line
from inference.fallback import too_large
from inference.host_address import HostAddress, peer
from inference.host_connection import Connection
from inference.watchdog import Watchdog, is_out_of_memory

if TYPE_CHECKING:  # torch: seconds, in which the host must already answer
    from inference.engine import Engine
    from inference.host_worker import Worker
    from inference.opened import OpenedEngine

GOODBYE_S = 1.0
"""How long the last words to a front end may take."""

SAVE_S = 10.0
"""How long a host that hangs may take to write the states that it has."""

LOOK_S = 1.0
"""How often the engine is looked at while a front end is there."""

ENDING = (signal.SIGTERM, signal.SIGINT)
"""Signals that end a host, once its step is done."""

log = logging.getLogger(__name__)


class Opener(Protocol):
    """Loads the model."""

    def __call__(self, on_progress: OnProgress) -> "OpenedEngine":
        """Return the engine; raises ModelUnavailable."""
        ...


class Host:
    """Serves one engine until it is told to stop or nobody has come for a while."""

    def __init__(
        self,
        listener: socket.socket,
        address: HostAddress,
        settings: EngineSettings,
        idle_limit_s: float,
        opener: Opener,
    ) -> None:
        self._listener = listener
        self._address = address
        self._settings = settings
        self._idle_limit_s = idle_limit_s
        self._opener = opener
        self._worker: Worker | None = None
        self._engine: Engine | None = None
        self._watchdog = Watchdog(settings.stall_s)
        self._connections: set[Connection] = set()
        self._idle_since = time.monotonic()
        self._is_stopping = False
        self._state_lock = threading.Lock()
        self._state: wire.Loading | wire.Ready | wire.Failed | None = None
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        for sock in (listener, self._wake_out, self._wake_in):
            sock.setblocking(False)

    def run(self) -> None:
        """Serve until the end; then take the socket away and finish what is being written."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        model_thread = threading.Thread(target=self._run_model, name="model", daemon=True)
        model_thread.start()
        while not self._is_over():
            for key, events in self._selector.select(self._patience_s()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    self._drain_wakes()
                elif key.data in self._connections:
                    self._attend(key.data, events)
            self._watch_unsent()
            if self._watchdog.is_stalled:
                self._give_up()
                return
        self._leave(model_thread)

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler or another thread."""
        self._is_stopping = True
        self._wake()

    # --- lifetime ---

    def _is_over(self) -> bool:
        return self._is_stopping or isinstance(self._state, wire.Failed) or self._is_left()

    def _is_left(self) -> bool:
        """Whether nobody has come for a while; who is at the door just now is heard first."""
        if self._connections or self._idle_s < self._idle_limit_s:
            return False
        return not self._accept()

    def _patience_s(self) -> float:
        if self._connections:  # the other thread may begin a step at any moment
            return min(LOOK_S, self._settings.stall_s / 4)
        return max(0.0, self._idle_limit_s - self._idle_s)

    @property
    def _num_clients(self) -> int:
        return sum(connection.is_client for connection in self._connections)

    @property
    def _idle_s(self) -> float:
        return 0.0 if self._num_clients else time.monotonic() - self._idle_since

    def _leave(self, model_thread: threading.Thread) -> None:
        """Let the next front end start another host, then end the work and hang up."""
        log.info("leaving")
        self._close_door()
        if self._worker is not None:
            self._worker.stop()
            model_thread.join()
        self._hang_up_on_all()

    def _give_up(self) -> None:
        """Leave although the model's thread hangs, which ends with the process."""
        text = f"The engine made no progress for {self._watchdog.limit_s:.0f} s and was ended."
        log.error("%s", text)
        self._close_door()
        if self._engine is not None and not self._engine.shelf.flush(SAVE_S):
            log.warning("not all states were stored")
        self._state = wire.failed(0, EngineGone(text))
        self._hang_up_on_all()

    def _close_door(self) -> None:
        with self._address.locked():
            # Nobody else can have put a socket there: this one has been answering until now.
            self._address.remove_socket()
            while self._accept():
                pass
            self._listener.close()

    def _hang_up_on_all(self) -> None:
        """Say the last words, if there are any."""
        deadline = time.monotonic() + GOODBYE_S
        for connection in self._connections:
            if isinstance(self._state, wire.Failed):
                connection.send(self._state)
            while connection.num_unsent and time.monotonic() < deadline:
                time.sleep(0.01)
                connection.flush()
            connection.close()
        self._selector.close()
        self._wake_out.close()
        self._wake_in.close()

    # --- the model's thread ---

    def _run_model(self) -> None:
        """Load the model and work with it."""
        start = time.monotonic()
        try:
            from inference.host_worker import Worker

            opened = self._opener(self._tell_progress)
        except InferenceError as error:
            log.warning("not loaded: %s", error)
            self._tell(wire.failed(0, error))
            return
        except Exception as error:
            log.exception("loading failed")
            if is_out_of_memory(error):
                too_much = too_large(self._settings.source, self._settings.weights)
                self._tell(wire.failed(0, too_much))
                return
            text = (
                f"The engine could not start ({kind_and_line(error)}); "
                f"its log is {self._address.log}."
            )
            self._tell(wire.failed(0, InferenceError(text)))
            return
        log.info("loaded %s in %.1f s", self._settings.source, time.monotonic() - start)
        self._worker, self._engine = Worker(self._watchdog), opened.engine
        model = opened.engine.model
        about = (str(opened.folder), dict(opened.config), model.context_tokens, model.weights)
        self._tell(wire.Ready(*about))
        try:
            self._worker.run(opened.engine)
        finally:
            self.stop()  # without this thread there is nothing to serve

    def _tell_progress(self, seen: LoadProgress) -> None:
        self._tell(wire.Loading(**asdict(seen)))

    def _tell(self, state: wire.Loading | wire.Ready | wire.Failed) -> None:
        """Tell every front end how far the model is, those that come later included."""
        with self._state_lock:
            self._state = state
            if not isinstance(state, wire.Failed):  # that is said last, when the socket is gone
                for connection in tuple(self._connections):
                    if connection.is_client:
                        connection.send(state)
        self._wake()

    # --- sockets ---

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"\0")
        except (BlockingIOError, OSError):  # full, so it will wake; or closed, so it is over
            return

    def _drain_wakes(self) -> None:
        self._wake_out.recv(4096)

    def _accept(self) -> bool:
        """Take one connection; whether there was one."""
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return False
        if peer(sock)[1] != os.getuid():
            log.warning("refused a connection of user %d", peer(sock)[1])
            sock.close()
            return True
        connection = Connection(sock, self._wake)
        with self._state_lock:
            self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        return True

    def _attend(self, connection: Connection, events: int) -> None:
        """Read and write what can be; what is no message of ours ends the connection."""
        if events & selectors.EVENT_WRITE:
            connection.flush()
            if self._worker is not None and connection.has_room():
                self._worker.look_again()
        if not events & selectors.EVENT_READ:
            return
        try:
            data = connection.sock.recv(2**18)
            if not data:
                self._hang_up(connection)
                return
            for body in connection.frames.feed(data):
                self._answer(connection, wire.read_request(body))
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(connection)
        except wire.BadFrame as error:
            log.warning("hung up on what is no message: %s", error)
            self._hang_up(connection)

    def _hang_up(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        with self._state_lock:
            self._connections.discard(connection)
        if connection.is_client and not self._num_clients:
            self._idle_since = time.monotonic()
        if connection.seat is not None and self._worker is not None:
            self._worker.leave(connection.seat)
        connection.close()

    def _watch_unsent(self) -> None:
        """Wait for room on the sockets that were full."""
        for connection in self._connections:
            wanted = selectors.EVENT_READ
            if connection.num_unsent:
                wanted |= selectors.EVENT_WRITE
            if self._selector.get_key(connection.sock).events != wanted:
                self._selector.modify(connection.sock, wanted, connection)

    def _answer(self, connection: Connection, request: wire.Request) -> None:
        match request:
            case wire.AskStatus():
                connection.send(self._status())
            case wire.Open():
                with self._state_lock:
                    connection.is_client = True
                    connection.send(wire.Hello(os.getpid(), self._address.identity))
                    if self._state is not None and not isinstance(self._state, wire.Failed):
                        connection.send(self._state)
            case wire.Cancel():
                if connection.seat is not None and self._worker is not None:
                    self._worker.cancel(connection.seat, request.number)
            case _:
                self._submit(connection, request)

    def _submit(self, connection: Connection, request: wire.Work | wire.Close) -> None:
        if self._worker is None or not connection.is_client:
            raise wire.BadFrame("work is asked for before the model is ready")
        if connection.seat is None:
            from inference.host_worker import Seat

            connection.seat = Seat(connection.send, connection.has_room)
        self._worker.submit(connection.seat, request)

    def _status(self) -> wire.HostStatus:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return wire.HostStatus(
            pid=os.getpid(),
            source=self._settings.source,
            device=self._settings.device,
            dtype=self._settings.dtype,
            is_ready=isinstance(self._state, wire.Ready),
            num_clients=self._num_clients,
            num_branches=0 if self._worker is None else self._worker.num_branches,
            idle_s=self._idle_s,
            idle_limit_s=self._idle_limit_s,
            rss_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
            log=str(self._address.log),
        )


@dataclass(frozen=True)
class Launch:
    """What `host_start.py` passes to the new process."""

    listener: int
    """The descriptor of the socket, the only one that is inherited besides the log."""
    identity: str
    folder: str
    log: str
    settings: EngineSettings
    idle_limit_s: float

    @classmethod
    def from_json(cls, text: str) -> "Launch":
        """Read what `dataclasses.asdict` gave."""
        facts = json.loads(text)
        return cls(**{**facts, "settings": EngineSettings(**facts["settings"])})


def main() -> None:
    """Detach from whoever started this, and be the host."""
    launch = Launch.from_json(sys.argv[1])
    if os.fork():  # the child is nobody's: it leaves no zombie, and can get no terminal
        os._exit(0)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
    )
    address = HostAddress(launch.identity, Path(launch.folder), Path(launch.log))
    listener = socket.socket(fileno=launch.listener)
    listener.listen(64)  # again: the kernel now names this process as the other end

    def opener(on_progress: OnProgress) -> "OpenedEngine":
        from inference.opened import open_engine

        return open_engine(launch.settings, on_progress)

    host = Host(listener, address, launch.settings, launch.idle_limit_s, opener)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in ENDING:
        signal.signal(number, lambda _number, _frame: host.stop())
    # Whoever started this may have held them back, and children inherit that.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    log.info("started for %s", launch.settings.source)
    host.run()
    logging.shutdown()
    # A load that was broken off is still running in its thread, in code that cannot be stopped.
    os._exit(0)


if __name__ == "__main__":
    main()
