"""The head and the tail of a long output, whole characters, constant memory."""

import sys

import pytest

from sandbox.output import HeadAndTail


def kept(budget: int, *pieces: bytes) -> str:
    output = HeadAndTail(budget)
    for piece in pieces:
        output.feed(piece)
    return output.text()


@pytest.mark.parametrize("budget", [6, 7, 100])
def test_short_output_is_kept_whole(budget: int) -> None:
    assert kept(budget, b"abc", b"", b"def") == "abcdef"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_middle_is_cut_and_its_length_is_told(size: int) -> None:
    data = b"".join(b"%06d\n" % number for number in range(1000))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    text = kept(70, *pieces)
    head, mark, tail = text.partition("\n[... 6930 bytes cut here]\n")
    assert mark
    assert head.encode() == data[:35]
    assert tail.encode() == data[-35:]


def test_a_character_cut_in_two_is_left_out() -> None:
    text = kept(10, "€".encode() * 100)  # three bytes each: five hold one and two thirds
    assert text == "€\n[... 294 bytes cut here]\n€"


def test_undecodable_bytes_are_replaced() -> None:
    assert kept(10, b"a\xffb\x00") == "a\ufffdb\x00"


def test_memory_stays_constant_whatever_is_fed() -> None:
    output = HeadAndTail(1000)
    for _ in range(200):
        output.feed(b"x" * 100_000)
    assert output.num_bytes == 20_000_000
    assert sum(sys.getsizeof(value) for value in vars(output).values()) < 10_000


def test_a_budget_of_one_byte_keeps_that_byte() -> None:
    assert kept(1, b"abc") == "a\n[... 2 bytes cut here]\n"
