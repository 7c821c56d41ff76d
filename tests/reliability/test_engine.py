"""R15 to R17: an engine that hangs or runs out of memory costs a reply, and no conversation.

What the agent does then, one more try and after that an end to resume from, is in
tests/agent/test_engine_gone.py; what of the state is still there, in
tests/inference/test_host_store.py.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch

from inference import host_link
from inference.chat import Cancel
from inference.door import EngineSettings, GenerationEnd, OnProgress, Weights
from inference.engine import Engine
from inference.errors import EngineGone, TooLarge
from inference.fallback import Fallback
from inference.host import Host
from inference.host_address import HostAddress, address_of, identity_of
from inference.host_client import HostEngine
from inference.messages import SamplingOptions
from inference.model import Model
from inference.models import SHAPES
from inference.opened import OpenedEngine
from inference.plan import GIB, Plan, Room
from inference.planner import plan
from inference.shapes import shape_of
from inference.shortage import Shortage
from inference.watchdog import FIRST_FACTOR, SLOWEST_FACTOR, Watchdog, is_out_of_memory
from sandbox.base import View
from sandbox.direct import Direct
from sandbox.limits import Limits
from tests.inference.conftest import random_module
from tests.inference.faults import is_ended, wait_for

ROOT = Path(__file__).parent.parent.parent
PROMPT = tuple(range(1, 41))
SETTINGS = EngineSettings("owner/tiny", stall_s=0.1)
CPU_OUT_OF_MEMORY = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(random_module("qwen3_5"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    names = {"RUNTIME_DIR": "", "STATE_HOME": "state", "CACHE_HOME": "cache"}
    return {f"XDG_{name}": str(tmp_path / folder) for name, folder in names.items()}


class Start(Protocol):
    def __call__(
        self, opener: Callable[[OnProgress], OpenedEngine], settings: EngineSettings = SETTINGS
    ) -> threading.Thread: ...


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Starts a host in a thread."""
    running: list[tuple[Host, threading.Thread]] = []

    def begin(
        opener: Callable[[OnProgress], OpenedEngine], settings: EngineSettings = SETTINGS
    ) -> threading.Thread:
        address = address_of(settings, environment)
        with address.locked():
            listener = address.listen()
        host = Host(listener, address, settings, 60.0, opener)
        thread = threading.Thread(target=host.run)
        running.append((host, thread))
        thread.start()
        return thread

    yield begin
    for host, thread in running:
        if thread.is_alive():
            host.stop()
        thread.join(20)
        assert not thread.is_alive()


def opener_of(model: Model, folder: Path) -> Callable[[OnProgress], OpenedEngine]:
    def opener(on_progress: OnProgress) -> OpenedEngine:
        return OpenedEngine(Engine(model, cache_bytes=10_000_000, prefill_chunk=8), folder, {})

    return opener


def planned(size: str) -> Plan:
    found = plan(size, shape_of(SHAPES[size]), Room.of_gpu(24 * GIB, 64 * GIB))
    assert isinstance(found, Plan)
    return found


def ask(
    engine: HostEngine, prompt: tuple[int, ...] = PROMPT, cancel: Cancel = lambda: False
) -> GenerationEnd:
    branch = engine.find(prompt)
    new = prompt[len(branch) :]
    *_, end = engine.generate(branch, new, SamplingOptions(), max_new_tokens=6, cancel=cancel)
    assert isinstance(end, GenerationEnd)
    return end


def test_r16_an_engine_that_hangs_is_ended_and_another_goes_on(
    start: Start,
    model: Model,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opener = opener_of(model, tmp_path)
    thread = start(opener)
    shortage = Shortage(tmp_path / "kept.json")
    with closing(HostEngine(SETTINGS, shortage=shortage, environment=environment)) as engine:
        before = ask(engine)
        go_on = threading.Event()
        with monkeypatch.context() as patch:
            patch.setattr(model, "forward_past", lambda *_args, **_more: go_on.wait(20))
            with pytest.raises(EngineGone, match=r"The engine made no progress for \d+ s"):
                ask(engine, (9, *PROMPT))
            thread.join(10)
            assert not thread.is_alive(), "it left although its other thread hangs"
        start(opener)
        assert ask(engine).token_ids == before.token_ids
        assert engine._fallback.settings.prefill_chunk < SETTINGS.prefill_chunk
        assert shortage.steps() == (), "it may have hung for another reason than memory"
        go_on.set()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(CPU_OUT_OF_MEMORY)]
)
def test_r15_an_engine_out_of_memory_makes_room_for_one_with_a_smaller_plan(
    start: Start,
    model: Model,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    opener, shortage = opener_of(model, tmp_path), Shortage(tmp_path / "kept.json")
    thread = start(opener)

    def fail(*_args: Any, **_more: Any) -> Any:
        raise error

    with closing(HostEngine(SETTINGS, shortage=shortage, environment=environment)) as engine:
        before = ask(engine)
        with monkeypatch.context() as patch:
            patch.setattr(model, "forward_past", fail)
            with pytest.raises(EngineGone, match="ran out of memory"):
                # Its last words are read when it is gone, and stay the reason.
                ask(engine, (9, *PROMPT), cancel=lambda: bool(thread.join(10)))
            assert not thread.is_alive()
        assert shortage.steps() == (), "nobody knows yet whether that is enough"
        start(opener)
        assert ask(engine).token_ids == before.token_ids
        assert engine._fallback.settings.prefill_chunk < SETTINGS.prefill_chunk
        assert shortage.steps() == ("work",)


@pytest.mark.parametrize(
    ("weights", "way"),
    [
        ("16bit", "--weights int8 or nf4 needs less"),
        ("int8", "--weights nf4 needs less"),
        ("nf4", "choose a smaller model"),
    ],
)
def test_r15_a_model_that_does_not_fit_is_one_sentence(
    start: Start, environment: dict[str, str], weights: Weights, way: str
) -> None:
    settings = replace(SETTINGS, weights=weights)

    def opener(on_progress: OnProgress) -> OpenedEngine:
        time.sleep(0.3)  # a load takes its time: whoever asks for it has come by then
        raise RuntimeError(CPU_OUT_OF_MEMORY)

    start(opener, settings)
    with pytest.raises(TooLarge, match=f"owner/tiny does not fit into memory; {way}"):
        HostEngine(settings, environment=environment)


@pytest.fixture
def loads_after(
    start: Start, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], list[EngineSettings]]:
    """Has hosts run out of memory at so many loads; what they were to load is in the list."""
    works, loads = opener_of(model, tmp_path), list[EngineSettings]()
    threads: list[threading.Thread] = []
    num_failing = 0

    def open_in_a_thread(
        settings: EngineSettings, address: HostAddress, *_more: object
    ) -> tuple[socket.socket, bool]:
        def opener(on_progress: OnProgress) -> OpenedEngine:
            loads.append(settings)
            time.sleep(0.5)
            if len(loads) <= num_failing:
                raise RuntimeError(CPU_OUT_OF_MEMORY)
            return works(on_progress)

        for thread in threads:
            thread.join(20)
        threads.append(start(opener, settings))
        sock = address.connect()
        assert sock is not None
        return sock, True

    def fail(num: int) -> list[EngineSettings]:
        nonlocal num_failing
        num_failing = num
        return loads

    monkeypatch.setattr("inference.host_client.find_or_start", open_in_a_thread)
    return fail


def test_r15_a_model_that_does_not_fit_is_loaded_by_a_smaller_plan_and_so_the_next_time(
    environment: dict[str, str],
    loads_after: Callable[[int], list[EngineSettings]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads, patient = loads_after(1), replace(SETTINGS, stall_s=20.0)
    shortage = Shortage(tmp_path / "kept" / "it.json")

    def opened() -> closing[HostEngine]:
        plan = planned("35B-A3B")
        return closing(HostEngine(patient, plan=plan, shortage=shortage, environment=environment))

    with opened() as engine:
        (notice,) = ask(engine).notices
        assert notice == "Memory is short: the embedding goes to the CPU."
        assert [one.embedding_on_cpu for one in loads] == [False, True]

    def find(settings: EngineSettings, address: HostAddress, *_more: object) -> object:
        loads.append(settings)
        return address.connect(), False

    monkeypatch.setattr("inference.host_client.find_or_start", find)
    with opened() as engine:
        (notice,) = ask(engine).notices
        known = f"That is known from an earlier start; remove {shortage.file} to try more."
        assert notice == f"Memory is short: the embedding goes to the CPU. {known}"
        assert loads[-1].embedding_on_cpu
    shortage.file.write_text("{")
    with opened():
        assert not loads[-1].embedding_on_cpu


def test_r15_a_model_that_does_not_fit_is_loaded_with_its_weights_in_fewer_bits(
    environment: dict[str, str], loads_after: Callable[[int], list[EngineSettings]]
) -> None:
    loads, patient = loads_after(2), replace(SETTINGS, stall_s=20.0)
    with closing(HostEngine(patient, environment=environment)) as engine:
        notices = ask(engine).notices
    assert [one.weights for one in loads] == ["auto", "int8", "nf4"]
    assert [text.split(";")[0] for text in notices] == [
        "Memory is short: the weights are kept in 8 bits",
        "Memory is short: the weights are kept in 4 bits",
    ]


def test_r15_fewer_bits_are_taken_on_a_cpu_with_a_plan_too_and_never_against_a_wish() -> None:
    found = plan("2B", shape_of(SHAPES["2B"]), Room.of_cpu(64 * GIB))
    assert isinstance(found, Plan)
    fallback = Fallback(SETTINGS, found)
    kept = [fallback.settings.weights]
    while fallback.step_to_lighter_weights() is not None:
        kept.append(fallback.settings.weights)
    assert kept == ["16bit", "int8", "nf4"]
    fallback.step()
    assert (fallback.settings.weights, fallback.settings.device) == ("nf4", "cpu")
    wish = replace(SETTINGS, weights="16bit")
    assert Fallback(wish, found).step_to_lighter_weights() is None


def test_r15_a_plan_is_gone_down_step_by_step() -> None:
    found = planned("35B-A3B")
    fallback, sentences = Fallback(SETTINGS, found), list[str]()
    window = fallback.context_tokens
    assert fallback.settings == found.settings(SETTINGS)
    while (sentence := fallback.step()) is not None:
        sentences.append(sentence)
    assert fallback.settings.num_cpu_expert_layers == 40
    assert fallback.settings.cache_bytes < found.cache_bytes
    assert (fallback.context_tokens or 0) < (window or 0)
    assert len({*sentences}) == len(sentences)


def test_r15_a_smaller_plan_is_of_the_same_engine_and_has_an_end() -> None:
    fallback = Fallback(SETTINGS)
    assert "128 tokens at a time" in (fallback.step() or "")
    less = fallback.settings
    assert (less.prefill_chunk, less.cache_bytes) == (128, SETTINGS.cache_bytes // 4)
    assert identity_of(less) == identity_of(SETTINGS), "no second copy of the weights beside it"
    assert "64 tokens at a time" in (fallback.step() or "")
    assert fallback.step() is None
    assert Fallback(replace(SETTINGS, prefill_chunk=8)).step() is None
    assert not is_out_of_memory(RuntimeError("a size does not fit"))


def test_r16_progress_is_a_measure_and_a_slow_machine_gets_its_time() -> None:
    watchdog = Watchdog(stall_s=0.02)
    assert watchdog.limit_s == FIRST_FACTOR * 0.02
    watchdog.begin()
    assert not watchdog.is_stalled
    time.sleep(0.05)
    watchdog.end(is_progress=True)
    assert watchdog.limit_s >= SLOWEST_FACTOR * 0.05
    watchdog.begin()
    time.sleep(0.1)
    assert not watchdog.is_stalled, "a step on this machine takes its time"
    watchdog.end(is_progress=False)
    assert not watchdog.is_stalled, "who does nothing does not hang"


FROZEN = """
import socket, sys
from inference import wire
listener = socket.socket(fileno=int(sys.argv[1]))
sock, _ = listener.accept()
sock.recv(65536)
import os
for reply in (wire.Hello(os.getpid(), sys.argv[2]), wire.Ready("/", {}, 4096, "fp32")):
    sock.sendall(wire.pack_reply(reply))
sys.stdin.read()
"""


def test_r16_a_process_in_which_nothing_runs_any_more_is_killed(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = address_of(SETTINGS, environment)
    with address.locked(), address.listen() as listener:
        number = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", FROZEN, str(number), address.identity],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            pass_fds=(number,),
        )
    try:
        monkeypatch.setattr(host_link, "peer", lambda _sock: (process.pid, os.getuid()))
        with closing(HostEngine(SETTINGS, environment=environment)) as engine:
            monkeypatch.setattr(host_link, "SILENT_S", 0.2)
            monkeypatch.setattr(host_link, "DEAF_S", 0.2)
            with pytest.raises(EngineGone, match=rf"\(pid {process.pid}\) hung and was ended"):
                engine._link.ask(host_link.wire.Measure(engine._link.number(), 1))
            wait_for(lambda: is_ended(process.pid), limit_s=10)
    finally:
        process.kill()
        process.communicate()


def test_r17_the_kernel_takes_a_command_before_the_engine(tmp_path: Path) -> None:
    words = ("cat", "/proc/self/oom_score_adj")
    result = Direct().run(words, View(tmp_path, tmp_path), Limits(wall_s=20))
    # An engine's host inherits what we have, and keeps it.
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(result.output) == 1000 > ours
