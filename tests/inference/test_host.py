"""One engine for several front ends over a real socket; here the host is a thread of the test.

What only a process of its own can show is in test_host_process.py.
"""

import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from inference import host_worker, wire
from inference.door import (
    EngineSettings,
    GenerationEnd,
    LoadProgress,
    OnProgress,
    ThinkingLimit,
    Token,
)
from inference.engine import Engine
from inference.errors import Cancelled, EngineGone, InferenceError, ModelUnavailable
from inference.host import Host
from inference.host_address import address_of, identity_of, runtime_folder
from inference.host_client import HostBranch, HostEngine, host_status
from inference.host_start import find_or_start, host_environment
from inference.messages import Prefill, SamplingOptions, Usage
from inference.model import Model
from inference.opened import OpenedEngine
from tests.inference.guesses import Told

GREEDY = SamplingOptions()
SETTINGS = EngineSettings("owner/tiny")
PROMPT = tuple(range(1, 41))


def never() -> bool:
    return False


class Served:
    """A host in a thread, and the environment in which front ends find it."""

    def __init__(
        self, environment: dict[str, str], opener: Callable[[OnProgress], OpenedEngine]
    ) -> None:
        self.environment = environment
        self.address = address_of(SETTINGS, environment)
        self._opener = opener
        self._clients: list[HostEngine] = []
        self.start()

    def start(self) -> None:
        with self.address.locked():
            listener = self.address.listen()
        self.run_on(listener, idle_limit_s=600.0)

    def run_on(self, listener: socket.socket, idle_limit_s: float) -> None:
        self.host = Host(listener, self.address, SETTINGS, idle_limit_s, self._opener)
        self.thread = threading.Thread(target=self.host.run)
        self.thread.start()

    def client(self, on_progress: OnProgress | None = None) -> HostEngine:
        client = HostEngine(SETTINGS, on_progress=on_progress, environment=self.environment)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        self.host.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.stop()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Folders of their own, with a name longer than a socket's may be."""
    runtime = tmp_path / ("long" * 30)
    runtime.mkdir()
    return {
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


@pytest.fixture
def served(environment: dict[str, str], tiny_hybrid: Model, tmp_path: Path) -> Iterator[Served]:
    def opener(on_progress: OnProgress) -> OpenedEngine:
        engine = Engine(tiny_hybrid, cache_bytes=10_000_000, prefill_chunk=8)
        return OpenedEngine(engine, tmp_path, {"model_type": "qwen3_5"})

    with closing(Served(environment, opener)) as served:
        yield served


def ask(
    engine: HostEngine | Engine, tokens: Sequence[int], num: int = 8, live: HostBranch | None = None
) -> tuple[HostBranch, GenerationEnd]:
    branch = engine.find(tokens, live)
    *_, end = engine.generate(
        branch, tokens[len(branch) :], GREEDY, max_new_tokens=num, cancel=never
    )
    return branch, end


def wait_for(what: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


@pytest.fixture
def waits_for_an_end(tiny_hybrid: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model read no more after a while until somebody cancels, leaves or stops the host.

    So whoever is to end its work finds it at work, however late.
    """
    ended, numbers, run = threading.Event(), itertools.count(), tiny_hybrid._run

    def forward(*given: object) -> object:
        assert next(numbers) != 30 or ended.wait(60)
        return run(*given)  # type: ignore[arg-type]

    def telling(do: Callable[..., None]) -> Callable[..., None]:
        def told(*given: object) -> None:
            do(*given)
            ended.set()

        return told

    monkeypatch.setattr(tiny_hybrid, "_run", forward)
    for name in ("cancel", "leave", "stop"):
        monkeypatch.setattr(host_worker.Worker, name, telling(getattr(host_worker.Worker, name)))


def counts(usage: Usage) -> tuple[int, int, int, int]:
    return usage.num_prompt, usage.num_reused, usage.num_prefilled, usage.num_generated


# --- the same engine ------------------------------------------------------------------------------


def test_tokens_and_usage_are_those_of_the_engine_in_this_process(
    served: Served, tiny_hybrid: Model
) -> None:
    here = Engine(tiny_hybrid, cache_bytes=10_000_000, prefill_chunk=8)
    there = served.client()
    tokens = PROMPT
    branches = [None, None]
    for turn in range(3):
        ends = []
        for n, engine in enumerate((here, there)):
            branches[n], end = ask(engine, tokens, live=branches[n])
            ends.append(end)
        assert ends[0].token_ids == ends[1].token_ids
        assert ends[0].stop_reason == ends[1].stop_reason
        assert counts(ends[0].usage) == counts(ends[1].usage)
        assert len(branches[0]) == len(branches[1])
        tokens = (*tokens, *ends[0].token_ids, 50 + turn, 51)
    assert there.model.context_tokens == here.model.context_tokens


def test_what_was_guessed_in_the_host_is_told_and_the_reply_is_the_same(
    environment: dict[str, str], tiny_hybrid: Model, tmp_path: Path
) -> None:
    _, plain = ask(Engine(tiny_hybrid, cache_bytes=0), PROMPT, 40)

    def opener(_on_progress: OnProgress) -> OpenedEngine:
        engine = Engine(tiny_hybrid, cache_bytes=0, speculation=Told(plain.token_ids))
        return OpenedEngine(engine, tmp_path, {"model_type": "qwen3_5"})

    with closing(Served(environment, opener)) as served:
        branch, end = ask(served.client(), PROMPT, 40)
    assert end.token_ids == plain.token_ids
    assert end.usage.num_drafted > end.usage.num_accepted > 30
    assert len(branch) == len(PROMPT) + 39


def test_a_budget_of_thinking_holds_in_the_host(served: Served, tiny_hybrid: Model) -> None:
    limit = ThinkingLimit(4, 1, 95, 3, before=(90,), after=(91, 92), is_open=True)
    here = Engine(tiny_hybrid, cache_bytes=10_000_000, prefill_chunk=8)
    ends = []
    for engine in (here, served.client()):
        branch = engine.find(PROMPT)
        *_, end = engine.generate(
            branch, PROMPT, GREEDY, max_new_tokens=12, cancel=never, thinking=limit
        )
        ends.append(end)
    assert ends[0].token_ids == ends[1].token_ids
    assert ends[1].token_ids[5:9] == (90, 3, 91, 92)


def test_a_generation_streams_its_chunks_and_tokens(served: Served) -> None:
    engine = served.client()
    branch = engine.find(PROMPT)
    events = list(engine.generate(branch, PROMPT, GREEDY, max_new_tokens=5, cancel=never))
    kinds = [type(event) for event in events]
    assert kinds == [Prefill] * 5 + [Token] * 5 + [GenerationEnd]
    assert events[-1].token_ids == tuple(event.id for event in events if isinstance(event, Token))


def test_stop_ids_end_a_reply_over_the_host_too(served: Served) -> None:
    engine = served.client()
    _, end = ask(engine, PROMPT)
    branch = engine.find((*PROMPT, 3))
    events = engine.generate(
        branch, (3,), GREEDY, max_new_tokens=8, cancel=never, stop_ids=frozenset(range(97))
    )
    *_, end = events
    assert (end.stop_reason, len(end.token_ids)) == ("end_turn", 1)


def test_what_was_prefilled_ahead_counts_for_the_reply_that_follows(served: Served) -> None:
    engine = served.client()
    seen: list[Prefill] = []
    branch = engine.branch(PROMPT, never, seen.append)
    assert len(branch) == len(PROMPT)
    assert seen[-1].num_done == len(PROMPT)
    *_, end = engine.generate(branch, (), GREEDY, max_new_tokens=2, cancel=never)
    assert counts(end.usage) == (40, 0, 40, 2)


def test_a_fork_goes_its_own_way(served: Served) -> None:
    engine = served.client()
    branch = engine.branch(PROMPT, never)
    fork = engine.fork(branch)
    *_, one = engine.generate(branch, (7,), GREEDY, max_new_tokens=6, cancel=never)
    *_, two = engine.generate(fork, (9,), GREEDY, max_new_tokens=6, cancel=never)
    assert one.token_ids == ask(engine, (*PROMPT, 7), 6)[1].token_ids
    assert two.token_ids == ask(engine, (*PROMPT, 9), 6)[1].token_ids
    assert len(fork) == len(branch) == 46


def test_two_replies_of_one_front_end_can_be_read_in_turns(served: Served) -> None:
    engine = served.client()
    base = engine.branch(PROMPT, never)
    fork = engine.fork(base)
    streams = [
        engine.generate(branch, (new,), GREEDY, max_new_tokens=6, cancel=never)
        for branch, new in ((base, 7), (fork, 9))
    ]
    pairs = list(zip(*streams, strict=True))
    assert pairs[-1][0].token_ids == ask(engine, (*PROMPT, 7), 6)[1].token_ids
    assert pairs[-1][1].token_ids == ask(engine, (*PROMPT, 9), 6)[1].token_ids


def test_a_snapshot_taken_by_one_is_found_by_another(served: Served) -> None:
    one, two = served.client(), served.client()
    branch = one.branch(PROMPT, never)
    one.snapshot(branch)
    assert len(two.find((*PROMPT, 5))) == len(PROMPT)


# --- front ends beside each other -----------------------------------------------------------------


def test_neither_of_two_front_ends_loses_its_live_branch(
    environment: dict[str, str], tiny_hybrid: Model, tmp_path: Path
) -> None:
    def opener(on_progress: OnProgress) -> OpenedEngine:
        return OpenedEngine(Engine(tiny_hybrid, cache_bytes=0, prefill_chunk=8), tmp_path, {})

    usages: dict[int, list[Usage]] = {0: [], 1: []}
    with closing(Served(environment, opener)) as served:
        start = threading.Barrier(2)

        def talk(name: int, engine: HostEngine) -> None:
            tokens, live = (name + 1, *PROMPT), None
            start.wait()
            for turn in range(3):
                live = engine.find(tokens, live)
                new = tokens[len(live) :]
                events = engine.generate(live, new, GREEDY, max_new_tokens=40, cancel=never)
                *_, end = events
                assert isinstance(end, GenerationEnd)
                usages[name].append(end.usage)
                tokens = (*tokens, *end.token_ids, 60 + turn)

        engines = [served.client(), served.client()]
        threads = [threading.Thread(target=talk, args=pair) for pair in enumerate(engines)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    for name in (0, 1):
        # All of the last turn but its last token, which was drawn and not read.
        assert [usage.num_prefilled for usage in usages[name]] == [41, 2, 2]


def test_what_is_read_ahead_waits_until_the_others_are_quiet(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_worker, "QUIET_S", 600.0)
    reader, asker = served.client(), served.client()

    def read(tokens: Sequence[int], cancel: Callable[[], bool]) -> list[object]:
        branch = reader.find(tokens)
        new = tokens[len(branch) :]
        return list(reader.generate(branch, new, GREEDY, max_new_tokens=0, cancel=cancel))

    alone = read(PROMPT[:20], never)
    assert [type(event) for event in alone] == [Prefill, Prefill, GenerationEnd]

    ask(asker, PROMPT[::-1])
    is_over, events = threading.Event(), list[object]()
    thread = threading.Thread(target=lambda: events.extend(read(PROMPT, is_over.is_set)))
    thread.start()
    _, end = ask(asker, (*PROMPT[::-1], 5))
    assert end.stop_reason == "max_tokens"
    is_over.set()  # and then it need not be waited for
    thread.join(60)
    (left_out,) = events
    assert isinstance(left_out, GenerationEnd)
    assert (left_out.stop_reason, left_out.usage.num_prefilled) == ("cancelled", 0)


def test_a_front_end_that_does_not_listen_holds_up_nobody(served: Served) -> None:
    deaf, engine = served.client(), served.client()
    branch = deaf.branch(PROMPT, never)
    stream = deaf.generate(branch, (7,), GREEDY, max_new_tokens=100_000, cancel=never)
    next(stream)
    assert ask(engine, (5, *PROMPT), 10)[1].usage.num_generated == 10
    stream.close()
    assert len(branch) < 100_000  # nobody listened, so it was cancelled
    assert ask(deaf, PROMPT, 3)[1].usage.num_generated == 3


def test_a_front_end_that_goes_frees_its_branches_and_leaves_its_snapshots(
    served: Served,
) -> None:
    one, two = served.client(), served.client()
    long = tuple(1 + n % 90 for n in range(2000))
    branch = one.find(long)
    stream = one.generate(branch, long, GREEDY, max_new_tokens=5, cancel=never)
    for _ in range(3):
        next(stream)
    assert two.status().num_branches == 1
    one.close()  # what the kernel does for a process that was killed
    wait_for(lambda: two.status().num_branches == 0)
    assert two.status().num_clients == 1
    assert len(two.find(long)) >= 24


def test_a_branch_that_is_dropped_here_is_dropped_there(served: Served) -> None:
    engine = served.client()
    branches = [engine.find((n, 1, 2)) for n in range(4)]
    assert engine.status().num_branches == 4
    del branches
    live = engine.find(PROMPT)
    wait_for(lambda: engine.status().num_branches == 1)
    assert len(live) == 0


# --- cancelling -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("waits_for_an_end")
def test_cancel_acts_between_two_chunks_and_keeps_what_was_read(served: Served) -> None:
    engine = served.client()
    long = tuple(1 + n % 90 for n in range(3000))
    seen: list[Prefill] = []
    with pytest.raises(Cancelled, match=r"of 3000 prompt tokens"):
        engine.branch(long, lambda: len(seen) > 2, seen.append)
    assert seen[-1].num_done < 1500
    assert len(engine.find(long)) >= seen[2].num_done


def test_cancel_is_looked_at_while_nothing_comes(
    served: Served, monkeypatch: pytest.MonkeyPatch, tiny_hybrid: Model
) -> None:
    engine = served.client()
    num_looks, looked_often = itertools.count(), threading.Event()

    def look() -> bool:
        if next(num_looks) > 8:
            looked_often.set()
        return False

    read = tiny_hybrid.forward_past

    def forward(*args, **kwargs):
        assert looked_often.wait(60), "it was looked at before something came"
        return read(*args, **kwargs)

    monkeypatch.setattr(tiny_hybrid, "forward_past", forward)
    *_, end = engine.generate(
        engine.find(PROMPT[:4]), PROMPT[:4], GREEDY, max_new_tokens=1, cancel=look
    )
    assert end.usage.num_generated == 1


@pytest.mark.usefixtures("waits_for_an_end")
def test_a_cancelled_reply_ends_with_what_was_said(served: Served) -> None:
    engine = served.client()
    said: list[int] = []
    branch = engine.find(PROMPT)
    for event in engine.generate(
        branch, PROMPT, GREEDY, max_new_tokens=2000, cancel=lambda: len(said) >= 3
    ):
        if isinstance(event, Token):
            said.append(event.id)
    assert isinstance(event, GenerationEnd)
    assert event.stop_reason == "cancelled"
    assert 3 <= len(said) < 2000
    assert event.token_ids == tuple(said)
    assert event.memory is not None
    assert event.memory.weights_bytes > 0
    assert len(branch) == len(PROMPT) + len(said) - 1


# --- loading --------------------------------------------------------------------------------------


def test_progress_and_failure_of_loading_reach_every_front_end(
    environment: dict[str, str],
) -> None:
    go_on = threading.Event()

    def opener(on_progress: OnProgress) -> OpenedEngine:
        on_progress(LoadProgress(30, 100))
        go_on.wait(60)
        raise ModelUnavailable("weights.safetensors is damaged; download it again.")

    seen: list[LoadProgress] = []
    errors: list[str] = []

    def open_one(served: Served) -> None:
        try:
            served.client(seen.append)
        except ModelUnavailable as error:
            errors.append(str(error))

    with closing(Served(environment, opener)) as served:
        threads = [threading.Thread(target=open_one, args=(served,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(seen) == 2)
        (status,) = host_status(environment)
        assert not status.is_ready
        go_on.set()
        for thread in threads:
            thread.join(60)
    assert seen == [LoadProgress(30, 100)] * 2
    assert errors == ["weights.safetensors is damaged; download it again."] * 2
    assert host_status(environment) == ()


# --- the end of a host ----------------------------------------------------------------------------


def test_a_host_leaves_when_nobody_is_there(served: Served) -> None:
    client = served.client()
    served.host._idle_limit_s = 0.3  # not before: who comes late would find nobody
    time.sleep(0.5)
    assert served.thread.is_alive()  # somebody is there
    client.close()
    served.thread.join(60)
    assert not served.thread.is_alive()
    assert served.address.connect() is None


def test_who_is_at_the_door_when_a_host_would_leave_is_let_in(served: Served) -> None:
    served.stop()
    listener = served.address.listen()
    sock = served.address.connect()
    assert sock is not None
    with sock:
        served.run_on(listener, idle_limit_s=0.0)
        sock.sendall(wire.pack_request(wire.Open()))
        assert not is_hung_up(sock)
    served.thread.join(60)
    assert not served.thread.is_alive()


def test_asking_for_its_status_does_not_keep_a_host(served: Served) -> None:
    (status,) = host_status(served.environment)
    assert (status.pid, status.source, status.num_clients) == (os.getpid(), "owner/tiny", 0)
    assert status.rss_bytes > 2**20
    time.sleep(0.05)
    (later,) = host_status(served.environment)
    assert later.idle_s > status.idle_s


@pytest.mark.usefixtures("waits_for_an_end")
def test_a_host_that_ends_in_mid_reply_costs_the_reply(served: Served) -> None:
    engine = served.client()
    branch = engine.find(PROMPT)
    stream = engine.generate(branch, PROMPT, GREEDY, max_new_tokens=3000, cancel=never)
    next(stream)
    served.stop()
    with pytest.raises(EngineGone, match="The engine's process ended"):
        list(stream)
    served.start()
    after, end = ask(engine, PROMPT, live=branch)
    assert after is not branch
    assert end.usage.num_generated == 8
    with pytest.raises(EngineGone):  # a branch of the old one
        list(engine.generate(branch, (1,), GREEDY, max_new_tokens=1, cancel=never))


# --- who may come, and with what ------------------------------------------------------------------


def test_socket_and_folders_are_private(served: Served) -> None:
    folder = runtime_folder(served.environment)
    assert folder.stat().st_mode & 0o777 == 0o700
    (path,) = folder.glob("*.sock")
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_runtime_folder_the_cache_folder_is_used(
    environment: dict[str, str], tmp_path: Path
) -> None:
    gone = {**environment, "XDG_RUNTIME_DIR": str(tmp_path / "nothing")}
    assert runtime_folder(gone) == tmp_path / "cache" / "qwen-agent" / "run"


def test_a_folder_that_is_a_link_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    (Path(environment["XDG_RUNTIME_DIR"]) / "qwen-agent").symlink_to(tmp_path)
    with pytest.raises(ModelUnavailable, match="not a folder of yours"):
        runtime_folder(environment)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_is_hung_up_on_even_where_the_files_let_him_in(served: Served) -> None:
    socket_file = served.address.folder / f"{served.address.identity}.sock"
    handle = os.open(served.address.folder, os.O_PATH)
    served.address.folder.chmod(0o711)
    socket_file.chmod(0o666)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with sock:
        os.seteuid(65534)
        try:
            sock.connect(f"/proc/self/fd/{handle}/{socket_file.name}")
        finally:
            os.seteuid(0)
            os.close(handle)
        assert is_hung_up(sock)


def is_hung_up(sock: socket.socket) -> bool:
    sock.settimeout(60)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


GARBAGE = {
    "a length of gigabytes": struct.pack(">I", 2**32 - 1) + b"x",
    "no JSON": struct.pack(">I", 3) + b"abc",
    "an unknown kind": struct.pack(">I", 16) + b'{"kind":"shell"}',
    "true for a token": None,
    "work before hello": wire.pack_request(wire.Measure(1, 1)),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_message_ends_its_own_connection_only(served: Served, garbage: str) -> None:
    engine = served.client()
    branch = engine.branch(PROMPT, never)
    body = b'{"kind":"branch","number":1,"tokens":[true],"live":null}'
    data = GARBAGE[garbage] or struct.pack(">I", len(body)) + body
    sock = served.address.connect()
    assert sock is not None
    with sock:
        sock.sendall(data)
        assert is_hung_up(sock)
    *_, end = engine.generate(branch, (4,), GREEDY, max_new_tokens=3, cancel=never)
    assert end.usage.num_generated == 3
    assert engine.status().num_clients == 1


def test_a_token_beyond_the_vocabulary_is_refused_in_words(served: Served) -> None:
    engine = served.client()
    with pytest.raises(InferenceError, match="Token 97 is not in the model's vocabulary of 97"):
        engine.find((1, 97))
    branch = engine.find(PROMPT)
    with pytest.raises(InferenceError, match="Token 97 is not in the model's vocabulary of 97"):
        list(
            engine.generate(
                *(branch, PROMPT, GREEDY),
                max_new_tokens=2,
                cancel=never,
                thinking=ThinkingLimit(1, 0, 97, 3),
            )
        )
    assert ask(engine, PROMPT, 2)[1].usage.num_generated == 2


def test_a_request_that_cannot_be_done_leaves_the_others(served: Served) -> None:
    engine = served.client()
    branch = engine.find(PROMPT)
    with pytest.raises(InferenceError, match="The engine could not do this"):
        list(engine.generate(branch, (), GREEDY, max_new_tokens=1, cancel=never))  # nothing to read
    assert ask(engine, PROMPT, 2)[1].usage.num_generated == 2


# --- identity and environment ---------------------------------------------------------------------


def test_hosts_are_told_apart_by_what_they_would_compute(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    settings = EngineSettings(str(tmp_path))
    first = identity_of(settings)
    assert identity_of(EngineSettings(str(tmp_path), cache_bytes=1)) == first
    assert identity_of(EngineSettings(str(tmp_path), dtype="float32")) != first
    assert identity_of(EngineSettings(str(tmp_path), kv="int8")) != first
    assert identity_of(EngineSettings("owner/tiny")) != first
    assert identity_of(settings, {"CUDA_VISIBLE_DEVICES": "1"}) != first
    weights.write_bytes(b"other")
    assert identity_of(settings) != first


def test_the_host_gets_no_secret_of_the_user() -> None:
    given = {
        "PATH": "/bin",
        "HF_HOME": "/hf",
        "https_proxy": "http://proxy",
        "OMP_NUM_THREADS": "2",
        "OPENAI_API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PYTHONPATH": "/elsewhere",
    }
    kept = host_environment(given)
    assert set(kept) == {"PATH", "HF_HOME", "https_proxy", "OMP_NUM_THREADS", "PYTHONPATH"}
    assert kept["PYTHONPATH"] == str(Path(wire.__file__).parent.parent)


def test_a_socket_left_behind_is_replaced(served: Served, tmp_path: Path) -> None:
    address = address_of(EngineSettings("owner/other"), served.environment)
    address.listen().close()  # as after kill -9: the name stays, nobody listens
    assert (address.folder / f"{address.identity}.sock").exists()
    assert address.connect() is None
    assert [status.source for status in host_status(served.environment)] == ["owner/tiny"]
    with closing(address.listen()) as listener:
        connection = address.connect()
        assert connection is not None
        connection.close()
        assert listener.accept()[0].close() is None
    address.remove_socket()


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("socket", Path.mkdir),
        ("lock", Path.mkdir),
        ("lock", lambda path: path.symlink_to(path)),
        ("log", Path.mkdir),
        ("log", lambda path: path.symlink_to(path)),
        ("log", os.mkfifo),
    ],
)
def test_what_is_in_the_way_of_the_hosts_files_is_named_with_its_path(
    what: str, make: Callable[[Path], None], environment: dict[str, str]
) -> None:
    address = address_of(SETTINGS, environment)
    path = {
        "socket": address.folder / f"{address.identity}.sock",
        "lock": address.folder / f"{address.identity}.lock",
        "log": address.log,
    }[what]
    make(path)
    with pytest.raises(ModelUnavailable) as caught:
        find_or_start(SETTINGS, address, environment=environment)
    assert caught.value.exit_code == 7
    assert str(caught.value).startswith(f"{path} cannot be the engine's {what} (")
    assert str(caught.value).endswith(
        "remove what is there, and make sure that you may write there."
    )


def test_the_wire_costs_little_a_token(served: Served) -> None:
    """Measured without a model, by this thread's own time: one token is packed, read, queued."""
    start = time.thread_time()
    frames = wire.Frames()
    for n in range(1000):
        for body in frames.feed(wire.pack_reply(wire.OneToken(1, n))):
            assert wire.read_reply(body) == wire.OneToken(1, n)
    assert (time.thread_time() - start) / 1000 < 0.02
