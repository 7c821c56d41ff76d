"""An engine whose stored states were tampered with says what an engine says that has none.

What each damage does to a single file is test_store_faults.py; here a conversation goes on over
it: the same tokens, no exception, and the next restart is as cheap as if nothing had happened.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.engine import Engine
from inference.model import Model
from inference.store import Store
from tests.inference.faults import mounted, needs_root
from tests.inference.long_lines import IDENTITY, ask, cold, drawn, engine_on, narrow_model

ROOT = Path(__file__).parents[2]
NUM_TURNS = 4
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.fault) for seed in range(1, 4))]


@pytest.fixture(scope="module")
def model() -> Model:
    return narrow_model()


@pytest.fixture(scope="module")
def written(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, ...]]:
    """A store that an engine has written, and the conversation that it was about."""
    folder = tmp_path_factory.mktemp("written") / "states"
    engine = engine_on(model, folder, [], prefill_chunk=64)
    line = converse(engine, drawn(1, 700))
    engine.close()
    assert len(list(folder.glob("*/*.safetensors"))) >= 2 * NUM_TURNS
    return folder, line


@pytest.fixture(scope="module")
def expected(model: Model, written: tuple[Path, tuple[int, ...]]) -> tuple[int, ...]:
    return cold(model, written[1], num_new=12)


MARKS = tuple(700 - 40 + 79 * turn for turn in range(NUM_TURNS + 2))
"""Where messages of people begin in it: before the last 40 tokens of each prompt."""


def converse(engine: Engine, line: tuple[int, ...], num_turns: int = NUM_TURNS) -> tuple[int, ...]:
    """Take turns; return the prompt of one more."""
    for turn in range(num_turns):
        line += ask(engine, line, num_new=9, marks=MARKS).token_ids
        line += drawn(200 + turn, 70)
    return line


# --- what is done to a store's folder


def some_file(folder: Path, dice: random.Random) -> Path:
    return dice.choice(sorted(folder.glob("*/*.safetensors")))


def flip_a_bit(folder: Path, dice: random.Random) -> None:
    path = some_file(folder, dice)
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def flip_a_bit_of_every_file(folder: Path, dice: random.Random) -> None:
    for path in folder.glob("*/*.safetensors"):
        content = bytearray(path.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)


def cut_short(folder: Path, dice: random.Random) -> None:
    path = some_file(folder, dice)
    os.truncate(path, dice.randrange(path.stat().st_size))


def write_half(folder: Path, dice: random.Random) -> None:
    """Leave zeros where the rest of a file should be, and a file that was never renamed."""
    path = some_file(folder, dice)
    content = path.read_bytes()
    half = dice.randrange(len(content))
    path.write_bytes(content[:half] + bytes(len(content) - half))
    path.with_suffix(".99.tmp").write_bytes(content[:half])


def swap_two_files(folder: Path, dice: random.Random) -> None:
    one, other = dice.sample(sorted(folder.glob("*/*.safetensors")), 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def take_away(folder: Path, dice: random.Random) -> None:
    some_file(folder, dice).unlink()


def bring_in_another_models(folder: Path, dice: random.Random) -> None:
    """States of the same tokens, of a model with other weights, under the names of ours."""
    module = narrow_model().module
    for weight in module.parameters():
        weight.data.mul_(0.5)
    other = replace(IDENTITY, model=f"other {dice.random()}")
    engine = Engine(
        Model(module), cache_bytes=1 << 30, store=Store(folder, other, 1 << 30, pytest.fail)
    )
    converse(engine, drawn(1, 700), num_turns=1)
    engine.close()
    for path in (folder / other.digest).glob("*.safetensors"):
        shutil.copy(path, folder / IDENTITY.digest / path.name)


def put_something_else_there(folder: Path, dice: random.Random) -> None:
    path = some_file(folder, dice)
    path.unlink()
    dice.choice([path.mkdir, lambda: path.symlink_to("nowhere"), lambda: os.mkfifo(path)])()


DAMAGES = [
    flip_a_bit,
    flip_a_bit_of_every_file,
    cut_short,
    write_half,
    swap_two_files,
    take_away,
    bring_in_another_models,
    put_something_else_there,
]


def check_goes_on(
    engine: Engine, folder: Path, line: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """The answer is the cold one, the next turn costs its tokens, and so does one after that in a
    new process."""
    end = ask(engine, line, num_new=len(expected), marks=MARKS)
    assert end.token_ids == expected
    line += (*end.token_ids, 5)
    assert ask(engine, line, num_new=4, marks=MARKS).usage.num_prefilled == 2
    engine.close()

    notices: list[str] = []
    engine = engine_on(engine.model, folder, notices, prefill_chunk=64)
    again = ask(engine, (*line, 6), num_new=4)
    assert again.usage.num_prefilled == 1
    assert again.token_ids == cold(engine.model, (*line, 6), 4)
    engine.close()
    check_words(notices)


def check_words(notices: list[str]) -> None:
    for notice in notices:
        assert notice[0].isupper()
        assert notice.endswith(".")
        assert "\n" not in notice


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_that_was_damaged_between_two_runs_changes_no_token(
    damage: Callable[[Path, random.Random], None],
    seed: int,
    model: Model,
    written: tuple[Path, tuple[int, ...]],
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(written[0], tmp_path / "states")
    damage(folder, random.Random(seed))
    notices: list[str] = []
    engine = engine_on(model, folder, notices, prefill_chunk=64)
    check_goes_on(engine, folder, written[1], expected)
    check_words(notices)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_that_is_damaged_while_it_is_open_changes_no_token(
    damage: Callable[[Path, random.Random], None],
    seed: int,
    model: Model,
    written: tuple[Path, tuple[int, ...]],
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    """The tree still believes in every file."""
    folder = shutil.copytree(written[0], tmp_path / "states")
    notices: list[str] = []
    engine = engine_on(model, folder, notices, prefill_chunk=64)
    damage(folder, random.Random(100 + seed))
    check_goes_on(engine, folder, written[1], expected)
    check_words(notices)


@pytest.mark.parametrize("is_open", [False, pytest.param(True, marks=pytest.mark.fault)])
def test_whichever_file_is_lost_what_was_built_on_it_is_stored_again(
    is_open: bool,
    model: Model,
    written: tuple[Path, tuple[int, ...]],
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    for victim in sorted(written[0].glob("*/*.safetensors")):
        folder = shutil.copytree(written[0], tmp_path / victim.stem)
        before = [engine_on(model, folder, [], prefill_chunk=64)] if is_open else []
        (folder / victim.relative_to(written[0])).unlink()
        engine = before[0] if is_open else engine_on(model, folder, [], prefill_chunk=64)
        check_goes_on(engine, folder, written[1], expected)


# --- a disk that refuses


@needs_root
@pytest.mark.fault
@pytest.mark.parametrize("num_kib", [16, 60, 90, 110, 120, 130, 140, 150])
def test_a_disk_that_fills_up_in_the_middle_of_a_conversation_changes_no_token(
    num_kib: int, model: Model, expected: tuple[int, ...], tmp_path: Path
) -> None:
    notices: list[str] = []
    with mounted(tmp_path / "small", f"{num_kib}k", mode="755") as disk:
        engine = engine_on(model, disk / "states", notices, prefill_chunk=64)
        line = converse(engine, drawn(1, 700))
        assert ask(engine, line, num_new=12).token_ids == expected
        engine.close()
        assert any("No space left" in notice for notice in notices)
        check_words(notices)
        # A new process finds what was written in time, and nothing that is half.
        engine = engine_on(model, disk / "states", [], prefill_chunk=64)
        assert ask(engine, line, num_new=12).token_ids == expected
        engine.close()


@needs_root
@pytest.mark.fault
def test_a_disk_that_has_become_read_only_is_read_and_costs_no_turn(
    model: Model,
    written: tuple[Path, tuple[int, ...]],
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    notices: list[str] = []
    with mounted(tmp_path / "small", "8m", mode="755") as disk:
        folder = shutil.copytree(written[0], disk / "states")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
        engine = engine_on(model, folder, notices, prefill_chunk=64)
        end = ask(engine, written[1], num_new=12)
        assert end.token_ids == expected
        assert end.usage.num_prefilled == 71
        engine.close()
    assert notices
    check_words(notices)


DENIED = """
import json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.inference.long_lines import ask, cold, engine_on, narrow_model

line = tuple(json.loads(sys.argv[1]))
model, notices = narrow_model(), []
cold(model, line)  # all that is imported late is there now
os.setgroups([]); os.setgid(65534); os.setuid(65534)
engine = engine_on(model, Path("states"), notices, prefill_chunk=64)
ids = ask(engine, line, num_new=12).token_ids
num_again = ask(engine, (*line, *ids, 5), num_new=4).usage.num_prefilled
engine.close()
print(json.dumps([ids, num_again, notices]))
"""


@needs_root
@pytest.mark.fault
@pytest.mark.parametrize("closed", ["states", "states/*", "states/*/*"])
def test_states_that_may_not_be_read_are_as_if_there_were_none(
    closed: str,
    written: tuple[Path, tuple[int, ...]],
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    """Run as somebody else, to whom one level of the store is closed."""
    with mounted(tmp_path / "others", "8m", mode="755") as disk:
        folder = shutil.copytree(written[0], disk / "states")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        for path in disk.glob(closed):
            path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", DENIED, json.dumps(written[1])],
            cwd=disk,  # the folders above are closed to others too
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr.decode()
        ids, num_again, notices = json.loads(done.stdout)
        assert tuple(ids) == expected
        assert num_again == 2
        assert notices
        check_words(notices)
