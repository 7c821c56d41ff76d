"""How much two lines share at their front: as much as a state of one is of use to the other."""

from collections.abc import Sequence


def num_common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return the length of the longest common prefix."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return number
    return min(len(one), len(other))
