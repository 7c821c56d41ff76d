"""The status line tells what matters most, at any width."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from agent.events import ModelProgress
from agent.frontends.load_words import NowAndThen
from agent.frontends.repl.activity import loading
from agent.frontends.repl.status import memory_words, status_line
from agent.frontends.repl.text import count_words, seconds_words
from agent.frontends.repl.view_commands import speeds
from agent.status import Status
from inference.messages import Memory, Usage

MEMORY = Memory(16 * 2**30, 2**29, 5 * 2**28)
STATUS = Status(
    model="Qwen/Qwen3.5-4B",
    is_loaded=True,
    plan="bf16, 256K",
    progress=None,
    fault="",
    mode="ask",
    sandbox="bubblewrap",
    branch="世界",
    num_context=12_345,
    context_tokens=262_144,
    num_reused=12_000,
    num_prefilled=345,
    tokens_per_s=41.6,
)
COMING = ModelProgress("download", 1_200_000_000, 8_700_000_000, 31e6)


def test_the_status_line_tells_the_window_and_what_was_reused() -> None:
    line = status_line(STATUS, None, 100)
    assert line.startswith("ask · Qwen/Qwen3.5-4B · 世界 · ")
    assert line.endswith("12.3k/262k 5% · 12.0k reused · 42 tok/s")


def test_the_status_line_tells_how_many_guesses_came_true_where_any_did() -> None:
    line = status_line(replace(STATUS, acceptance=0.62), None, 120)
    assert line.endswith("42 tok/s, 62% guessed right")


@pytest.mark.parametrize("width", [20, 33, 50, 79, 200])
def test_the_status_line_fits(width: int) -> None:
    line = status_line(STATUS, MEMORY, width)
    assert cell_len(line) <= width
    assert line.startswith("ask · ")


def test_the_plan_is_told_where_there_is_room_and_whether_there_is_a_model() -> None:
    assert "sandbox bubblewrap · bf16, 256K  " in status_line(STATUS, None, 120)
    assert "256K" not in status_line(STATUS, None, 80)
    away = replace(STATUS, is_loaded=False, context_tokens=0, num_reused=0, tokens_per_s=0.0)
    assert status_line(away, None, 100).endswith(" loading")
    assert status_line(replace(away, fault="It is offline."), None, 100).endswith(" no model")


def test_a_download_is_told_with_its_speed_and_the_time_that_is_left() -> None:
    line = loading(COMING)
    assert line == "downloading ██░░░░░░░░░░░░░░ 1.2 of 8.7 GB, 31.0 MB/s, 4 min left"
    assert "MB/s" not in loading(replace(COMING, bytes_per_s=0.0))
    assert loading(replace(COMING, bytes_per_s=1e5)).endswith("0.1 MB/s, 20 h 50 min left")
    plain = NowAndThen()
    assert plain.line(COMING) == "Downloading: 1.2 of 8.7 GB, 31.0 MB/s, 4 min left"
    assert plain.line(COMING) == "", "not again at once"


def test_that_nothing_is_contained_is_never_left_out() -> None:
    line = status_line(replace(STATUS, sandbox="direct"), MEMORY, 40)
    assert line.startswith("ask · no sandbox · Qwen")


def test_the_sandbox_is_told_before_speeds_and_memory() -> None:
    line = status_line(replace(STATUS, model="nano", sandbox="full"), MEMORY, 79)
    assert line.startswith("ask · nano · 世界 · sandbox full  ")
    assert line.endswith("12.3k/262k 5% · 12.0k reused · 42 tok/s")


def test_memory_is_told_where_there_is_room() -> None:
    assert status_line(STATUS, MEMORY, 120).endswith("42 tok/s · 16.0+0.5+1.2 GiB")
    assert "GiB" not in status_line(STATUS, MEMORY, 79)
    assert memory_words(Memory(11 * 2**20, 3 * 2**20, 0)) == "11+3+0 MiB"


def test_speeds_are_summed_over_the_replies() -> None:
    rows = dict(speeds([Usage(100, 0, 100, 10, 0.5, 1.0), Usage(300, 200, 100, 30, 1.5, 1.0)]))
    assert rows["reused"] == "200 tokens, 50% of the prompts"
    assert rows["read"] == "200 tokens in 2.0 s, 100 a second"
    assert rows["written"] == "40 tokens in 2.0 s, 20 a second"
    assert dict(speeds([Usage(0, 0, 0, 0, 0.0, 0.0)]))["read"] == "0 tokens in 0.0 s"


def test_numbers_are_short() -> None:
    assert [count_words(n) for n in (7, 950, 1_000, 99_949, 262_144)] == [
        *("7", "950", "1.0k", "99.9k", "262k")
    ]
    assert [seconds_words(s) for s in (0.42, 12.4, 185.0)] == ["0.4 s", "12 s", "3 min 5 s"]
