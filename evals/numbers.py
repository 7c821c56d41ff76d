"""Numbers that a person types, read as argparse wants it: each with a sentence if it is wrong."""

import argparse

MAX_TEMPERATURE = 2.0
"""Beyond that every token is as good as any other."""


def count(text: str) -> int:
    """Read a number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """Read a time of more than nothing."""
    return _number(text, 1e-3, 1e9)


def temperature(text: str) -> float:
    """Read a temperature."""
    return _number(text, 0, MAX_TEMPERATURE)


def seed(text: str) -> int:
    """Read a seed."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {2**31 - 1}")
    return int(text)


def seeds(text: str) -> range:
    """Read A:B."""
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A < B, like 900000:900100")
    return range(int(first), int(last))


def _number(text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
    return number
