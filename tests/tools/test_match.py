import random
import time
from itertools import pairwise

import pytest

from tools.match import closest, find_all, find_words, has_line_numbers, line_at


def test_every_occurrence_is_found_overlapping_ones_too() -> None:
    assert find_all("aaa", "aa") == [0, 1]
    assert find_all("abc", "x") == []
    assert line_at("a\nb\nc", 4) == 3


def test_words_are_found_whole() -> None:
    assert find_words("total = a - b", "a - b") == 8
    assert find_words("data - base; a - b", "a - b") == 13
    assert find_words("data - base", "a - b") is None
    assert find_words("", "a - b") is None


@pytest.mark.parametrize("part", ["x", "==", "() +", "", " \n"])
def test_a_lone_word_or_sign_proves_nothing(part: str) -> None:
    assert find_words("x == () + x\n", part) is None


def test_text_copied_with_its_line_numbers_is_recognised() -> None:
    assert has_line_numbers("   1\tdef f():\n   2\t    return 1")
    assert not has_line_numbers("1\tx\ny")
    assert not has_line_numbers("\n")


def make_lines(num_lines: int) -> list[str]:
    rng = random.Random(num_lines)
    words = ["total", "price", "item", "count", "order", "value", "index", "self", "result"]
    return [
        "    " * rng.randint(0, 3)
        + f"{rng.choice(words)}_{i} = {rng.choice(words)}({rng.choice(words)}, {i % 97})"
        for i in range(num_lines)
    ]


@pytest.mark.parametrize("num_wanted", [1, 5, 40, 400])
def test_the_closest_region_of_a_long_file_is_found_soon(num_wanted: int) -> None:
    lines = make_lines(5000)
    wanted = [line.replace("_", ".") for line in lines[3000 : 3000 + num_wanted]]
    start = time.process_time()  # of this process alone: others may keep the machine busy
    best = closest("\n".join(lines) + "\n", "\n".join(wanted))[0]
    assert time.process_time() - start < 10
    assert (best.first, best.last) == (3001, 3000 + num_wanted)
    assert best.percent >= 90


def test_regions_are_at_most_three_best_first_and_do_not_overlap() -> None:
    text = "\n".join(f"value_{i % 7} = compute(value_{i})" for i in range(60))
    regions = closest(text, "value_3 = compute(value_X)\nvalue_4 = compute(value_Y)")
    assert len(regions) == 3
    assert [r.ratio for r in regions] == sorted((r.ratio for r in regions), reverse=True)
    ordered = sorted(regions, key=lambda region: region.first)
    assert all(a.last < b.first for a, b in pairwise(ordered))


def test_nothing_is_close_to_text_of_another_kind() -> None:
    assert closest("alpha = beta\n", "{{{ 9 }}}") == []
    assert closest("", "x") == []
    assert closest("x\n", "  \n") == []
    assert closest("\n", "  \nx") == []


def test_a_text_longer_than_the_file_is_compared_with_all_of_it() -> None:
    (region,) = closest("a = 1\nb = 2\n", "a = 1\nb = 3\nc = 4")
    assert (region.first, region.last) == (1, 2)
    assert region.percent < 90
