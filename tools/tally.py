"""Counts the tests that a runner says it ran, in the summaries it prints.

A printed count is never taken for an outcome: anything can be printed. It only counts against a
run: one that speaks of fewer tests than before has lost some.
"""

import re
from collections.abc import Iterator

MAX_LINE_BYTES = 10_000
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

CARGO = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed;")
GO = re.compile(r"(?:ok|FAIL|=== RUN)[ \t]+\S+.*(?<!\[no tests to run\])")
"""A package, and with -v each test as it begins: without -v only a red one would be named later."""
NODE = re.compile(r"(?:#|\u2139) (?:pass|fail) (\d+)")
JEST = re.compile(r"Tests:? +((?:\d+ \w+[,| ]*)+)(?:\(\d+\))?")
MOCHA = re.compile(r"\s+(\d+) (?:passing|failing)\b.*")
PYTEST = re.compile(r"=* ?((?:\d+ [a-z]+,? ?)+)in \d[\d.]*s.*")
UNITTEST = re.compile(r"Ran (\d+) tests? in [\d.]+s")
TAP = re.compile(r"(?:not )?ok \d+(?! .*# ?(?i:skip|todo)).*")
RAN = re.compile(r"(\d+) (?:passed|failed|errors?|xfailed|xpassed)\b")


class Tally:
    """Reads what a command prints as it comes, however long it gets."""

    def __init__(self) -> None:
        self._rest = b""
        self._num_summed: int | None = None
        self._num_lines: int | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-MAX_LINE_BYTES:]
        for line in lines:
            self._read(line)

    @property
    def num_ran(self) -> int | None:
        """How many tests ran, by all summaries; None if there was none."""
        if self._rest:
            self._read(self._rest)
            self._rest = b""
        # TAP and go have a line for each test or package, and other runners print such lines too.
        return self._num_lines if self._num_summed is None else self._num_summed

    def _read(self, line: bytes) -> None:
        text = COLOURS.sub("", line[:MAX_LINE_BYTES].decode(errors="replace")).rstrip()
        counts = list(_summary(text))
        if counts:
            self._num_summed = (self._num_summed or 0) + sum(counts)
        elif TAP.fullmatch(text) or GO.fullmatch(text):
            self._num_lines = (self._num_lines or 0) + 1


def _summary(text: str) -> Iterator[int]:
    """Give the numbers of tests that one line of a summary speaks of."""
    for pattern in (CARGO, NODE, MOCHA, UNITTEST):
        found = pattern.match(text.lstrip() if pattern is not MOCHA else text)
        if found:
            yield from map(int, found.groups())
            return
    for pattern in (JEST, PYTEST):
        found = pattern.fullmatch(text.strip())
        if found:
            yield from (int(count) for count in RAN.findall(found[1]))
            return
