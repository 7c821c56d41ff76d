"""Which red tests are green at times on the very same files: to mend them takes no repair.

One that is green whenever it is run alone may be red because of those before it, which is a bug to
mend like any other; so what decides about that one is a run of all tests.
"""

from collections.abc import Callable, Collection, Sequence

from tools.test_report import TestReport

NUM_RUNS = 2
MAX_NAMED = 100
"""More tests than that are too many for one command line, and are run with all others."""

RunTests = Callable[[Sequence[str]], TestReport]
"""Runs some tests on the original files; all where none is named."""


def green_by_chance(tests: Collection[str], run: RunTests) -> frozenset[str]:
    """Return those of the red `tests` that some further run shows green."""
    only = sorted(tests) if len(tests) <= MAX_NAMED else []
    greens = [run(only).green & frozenset(tests) for _ in range(NUM_RUNS)]
    always = frozenset.intersection(*greens)
    by_chance = frozenset.union(*greens) - always
    return by_chance | (always & run([]).green) if always else by_chance
