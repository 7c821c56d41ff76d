"""Several attempts against one: the statistics, a file that is gone on with, and two real bugs."""

from pathlib import Path

import pytest

from agent.wording import prompt
from evals.nano.compare import Comparison, Pair, compare, read_pairs
from evals.nano.evaluate import Settings, TaskReport
from inference.local import NANO_FOLDER, LocalChat, open_chat
from inference.messages import Message
from inference.profiles import NANO
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript

SETTINGS = Settings(num_bugs=2, attempts=4, temperature=0.8)
SEED = 940_002


@pytest.fixture(scope="module")
def nano() -> LocalChat:
    return open_chat("nano")


@pytest.fixture(scope="module")
def pair(nano: LocalChat) -> Pair:
    (only,) = compare(range(SEED, SEED + 1), SETTINGS, lambda _request: nano)
    return only


@pytest.mark.slow
def test_sampled_attempts_repair_two_bugs_where_a_greedy_one_repairs_one(pair: Pair) -> None:
    assert (pair.one.exit_code, pair.one.num_attempts) == (3, 1)
    assert (pair.several.exit_code, pair.several.num_attempts) == (0, 2)
    assert pair.gain == 1


@pytest.mark.slow
def test_a_later_attempt_reads_nothing_of_the_shared_prefix(pair: Pair) -> None:
    transcript = Transcript(Tokenizer.from_folder(NANO_FOLDER), NANO)
    messages = [Message("system", prompt("nano_system")), Message("user", "The tests fail.")]
    num_shared = transcript.render(messages, thinking=False).boundaries[0]
    (_, num_reused) = pair.several.starts[1]
    assert num_reused >= num_shared > 0
    assert Comparison.of([pair], SETTINGS).num_shared == num_reused


def task(exit_code: int, num_attempts: int) -> TaskReport:
    return TaskReport(
        seed=SEED,
        bug_kind="range+swap",
        function="one+two",
        exit_code=exit_code,
        sentence="",
        num_attempts=num_attempts,
        num_turns=4,
        num_calls=4,
        num_prompt=100,
        num_reused=60,
        num_prefilled=40,
        num_generated=9,
        transcript_tokens=99,
        seconds=1.5,
        starts=((40, 0), (30, 14), (20, 15))[:num_attempts],
        replies_sha256="",
    )


def test_a_comparison_counts_pairs_and_what_later_attempts_found_read() -> None:
    pairs = [
        Pair(one=task(3, 1), several=task(0, 3)),
        Pair(one=task(0, 1), several=task(0, 1)),
        Pair(one=task(0, 1), several=task(3, 2)),
        Pair(one=task(3, 1), several=task(0, 1)),
    ]
    found = Comparison.of(pairs, SETTINGS)
    assert (found.fixed_by_one, found.fixed_by_several, found.gained, found.lost) == (2, 3, 2, 1)
    assert (found.difference, found.num_attempts) == (0.25, 7)
    assert (found.num_later, found.num_shared, found.num_read_at_start) == (3, 14, 80)
    assert "up to 4 attempts at temperature 0.8: 3 of 4 fixed, in 7 attempts" in found.words()


def test_a_comparison_is_gone_on_with_and_never_mixed_with_another(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    pair = Pair(one=task(3, 1), several=task(0, 3))
    file.write_text(Comparison.of([pair], SETTINGS).model_dump_json())
    assert read_pairs(file, SETTINGS) == [pair]
    with pytest.raises(ValueError, match="other settings"):
        read_pairs(file, Settings(num_bugs=2, attempts=3, temperature=0.8))
    file.write_text("{}")
    with pytest.raises(ValueError, match="holds no comparison"):
        read_pairs(file, SETTINGS)
