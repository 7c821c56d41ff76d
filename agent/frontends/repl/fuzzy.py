"""How well a name fits what was typed: its letters in their order, best where words begin."""

from collections.abc import Iterable

STARTS = "/_-. "
"""What a word of a name begins after."""


def score(typed: str, name: str) -> float | None:
    """Rate a name, the higher the better; None if a letter is missing. Case matters little."""
    if not typed:
        return 0.0
    low, wanted = name.lower(), typed.lower()
    if (at := low.rfind(wanted)) >= 0:  # in one piece; the last part of a path says most
        end = at + len(wanted)
        begins, ends = at == 0 or low[at - 1] in STARTS, end == len(low) or low[end] in STARTS
        return 200.0 + 20 * begins + 10 * ends - len(name) / 10
    total, at = 0.0, -1
    for letter in wanted:
        found = low.find(letter, at + 1)
        if found < 0:
            return None
        begins = found == 0 or low[found - 1] in STARTS
        total += 3 * begins + 2 * (found == at + 1)
        at = found
    return total - len(name) / 10


def best(typed: str, names: Iterable[str], limit: int) -> list[str]:
    """Return the names that fit, the best first, `limit` of them at most."""
    rated = [(rate, name) for name in names if (rate := score(typed, name)) is not None]
    return [name for _, name in sorted(rated, key=lambda pair: (-pair[0], pair[1]))[:limit]]
