"""A process that is killed costs what it had not stored yet, and never a token twice after that."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from evals.bench.shapes import SHAPES
from evals.bench.store import fake_line, file_arithmetic
from inference.model import Model
from inference.store import Store
from tests.inference.long_lines import IDENTITY, ask, cold, drawn, engine_on, narrow_model

ROOT = Path(__file__).parents[2]
PROMPT = drawn(11, 40_000)
CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from inference.engine import Prefill, Token
from tests.inference.long_lines import GREEDY, drawn, engine_on, narrow_model, never

engine = engine_on(narrow_model(), Path(sys.argv[1]), [])
prompt = drawn(11, 40_000)[:int(sys.argv[2])]
branch = engine.find(prompt)
events = engine.generate(
    branch, prompt[len(branch) :], GREEDY, max_new_tokens=1_000_000, cancel=never
)
for event in events:
    match event:
        case Prefill():
            print("prefill", event.num_done, flush=True)
        case Token():
            print("token", event.id, flush=True)
"""


@pytest.fixture(scope="module")
def model() -> Model:
    return narrow_model()


@contextmanager
def in_mid_turn(folder: Path, num_prompt: int) -> Iterator[Iterator[tuple[str, int]]]:
    """Run a turn in another process; yield what it says; kill it at the end, whatever it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(num_prompt)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None

    def said() -> Iterator[tuple[str, int]]:
        assert process.stdout is not None
        for line in process.stdout:
            what, number = line.split()
            yield what, int(number)
        pytest.fail("it ended by itself")

    try:
        yield said()
        assert process.poll() is None, "it was still at work"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        process.stdout.close()


def stored(folder: Path, line: tuple[int, ...]) -> int:
    """The longest state on disk that `line` begins with."""
    notices: list[str] = []
    store = Store(folder, IDENTITY, 1 << 30, notices.append)
    lengths, lines = [0], {"": ()}
    for entry in store.entries():
        lines[entry.key] = tokens = lines[entry.parent] + entry.edge
        if entry.has_state and line[: len(tokens)] == tokens:
            lengths.append(len(tokens))
    assert not notices
    return max(lengths)


def is_stored(folder: Path, num_files: int) -> Callable[[], bool]:
    return lambda: len(list(folder.glob("*/*.safetensors"))) >= num_files


@pytest.mark.fault
@pytest.mark.parametrize("seed", range(3))
def test_a_prefill_that_was_killed_goes_on_from_the_last_stored_state(
    model: Model, tmp_path: Path, seed: int
) -> None:
    num_at_least = random.Random(seed).randrange(9_000, 30_000)
    has_files = is_stored(tmp_path, 1 + seed)
    with in_mid_turn(tmp_path, len(PROMPT)) as said:
        num_read = 0
        for what, number in said:
            num_read = max(num_read, number) if what == "prefill" else num_read
            if num_read >= num_at_least and has_files():
                break
    num_stored = stored(tmp_path, PROMPT)
    assert num_stored >= 8_192

    notices: list[str] = []
    engine = engine_on(model, tmp_path, notices)
    end = ask(engine, PROMPT, num_new=16)
    assert end.usage.num_prefilled == len(PROMPT) - num_stored
    assert end.token_ids == cold(model, PROMPT, num_new=16)
    engine.close()
    assert not notices


@pytest.mark.fault
@pytest.mark.parametrize("num_said", [5, 300])
def test_a_reply_that_was_killed_is_said_again_without_its_prompt(
    model: Model, tmp_path: Path, num_said: int
) -> None:
    prompt = PROMPT[:3_900]  # a rung, 4,096, lies in the reply
    ids: list[int] = []
    is_written = is_stored(tmp_path, 2 if num_said < 196 else 3)
    with in_mid_turn(tmp_path, len(prompt)) as said:
        for what, number in said:
            ids += [number] if what == "token" else []
            if len(ids) >= num_said and is_written():
                break
    assert stored(tmp_path, prompt) == len(prompt)

    notices: list[str] = []
    engine = engine_on(model, tmp_path, notices)
    again = ask(engine, prompt, num_new=len(ids))
    assert again.usage.num_prefilled == 0
    assert list(again.token_ids) == ids
    engine.close()
    assert not notices


@pytest.mark.fault
def test_a_reply_that_was_killed_and_kept_by_its_reader_is_gone_on_with(
    model: Model, tmp_path: Path
) -> None:
    prompt = PROMPT[:3_900]
    ids: list[int] = []
    is_written = is_stored(tmp_path, 3)
    with in_mid_turn(tmp_path, len(prompt)) as said:
        for what, number in said:
            ids += [number] if what == "token" else []
            if len(ids) >= 300 and is_written():
                break
    line = prompt + tuple(ids)
    num_stored = stored(tmp_path, line)
    assert num_stored >= 4_096

    engine = engine_on(model, tmp_path, [])
    end = ask(engine, line, num_new=8)
    assert end.usage.num_prefilled == len(line) - num_stored < 2_048
    assert end.token_ids == cold(model, prompt, num_new=len(ids) + 8)[-8:]
    engine.close()


# --- how large a file is


@pytest.mark.parametrize("num_tokens", [1_024, pytest.param(16_384, marks=pytest.mark.slow)])
def test_a_file_is_as_large_as_arithmetic_says(num_tokens: int, tmp_path: Path) -> None:
    shape = SHAPES["0.8b"]
    packed = fake_line(shape, num_tokens)
    store = Store(tmp_path, IDENTITY, 1 << 40, pytest.fail)
    assert store.put(packed)
    expected = file_arithmetic(shape, num_tokens)
    assert store.nbytes == pytest.approx(expected, rel=0.02)
    read = store.get(packed.key)
    assert read is not None
    assert torch.equal(read.kv, packed.kv)
