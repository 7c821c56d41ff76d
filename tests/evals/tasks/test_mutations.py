"""Mistakes are made where they mean something, in each language that is changed."""

import pytest

from evals.tasks.mutations import mutations, still_parses

PYTHON = b'''
LIMIT = 3 + 4

def price(amount: int, rate=1, *more):
    """Return 1 < 2, in words."""
    if amount < rate and not more:
        return charge(amount, rate, limit=2)
    total += 1
    names.append(total)
    return -1 if amount else True
'''
JAVASCRIPT = b"""
const LIMIT = 3 + 4;
function price(amount, rate) {
  if (amount < rate && !(amount === 3)) { return charge(amount, rate); }
  names.push(amount);
  return amount ? true : null;
}
"""
GO = b"""package shop

var limit = 3 + 4

func Price(amount int, rate int) (int, bool) {
	if amount < rate && !(amount == 3) {
		return charge(amount, rate), true
	}
	note(amount)
	total := 0
	total += 2
	return total, false
}
"""
EXPECTED = {
    "shop.py": """
        negation: amount < rate and not more -> not (amount < rate and not more)
        boundary: < -> <=
        comparison: < -> >
        boolean: and -> or
        negation: not more -> more
        return: return charge(amount, rate, limit=2) -> return None
        arguments: amount, rate -> rate, amount
        constant: 2 -> 3
        constant: 2 -> 1
        removed: total += 1 -> pass
        arithmetic: += -> -=
        constant: 1 -> 2
        constant: 1 -> 0
        removed: names.append(total) -> pass
        call: append -> extend
        return: return -1 if amount else True -> return None
        constant: 1 -> 2
        constant: 1 -> 0
        constant: True -> False
    """,
    "shop.js": """
        negation: amount < rate && !(amount === 3) -> !(amount < rate && !(amount === 3))
        boundary: < -> <=
        comparison: < -> >
        boolean: && -> ||
        negation: !(amount === 3) -> (amount === 3)
        comparison: === -> !==
        constant: 3 -> 4
        constant: 3 -> 2
        return: return charge(amount, rate); -> return;
        arguments: amount, rate -> rate, amount
        removed: names.push(amount); -> ;
        return: return amount ? true : null; -> return;
        constant: true -> false
    """,
    "shop.go": """
        negation: amount < rate && !(amount == 3) -> !(amount < rate && !(amount == 3))
        boundary: < -> <=
        comparison: < -> >
        boolean: && -> ||
        negation: !(amount == 3) -> (amount == 3)
        comparison: == -> !=
        constant: 3 -> 4
        constant: 3 -> 2
        arguments: amount, rate -> rate, amount
        constant: true -> false
        removed: note(amount) ->
        constant: 0 -> 1
        arithmetic: += -> -=
        constant: 2 -> 3
        constant: 2 -> 1
        constant: false -> true
    """,
}
SOURCES = {"shop.py": PYTHON, "shop.js": JAVASCRIPT, "shop.go": GO}


@pytest.mark.parametrize("path", SOURCES)
def test_every_mistake_is_in_a_function_and_leaves_a_file_of_the_language(path: str) -> None:
    source = SOURCES[path]
    found = mutations(path, source)
    shown = [
        f"{one.operator}: {source[one.start : one.end].decode()} -> {one.new}".strip()
        for one in found
    ]
    assert shown == [line.strip() for line in EXPECTED[path].strip().split("\n")]
    assert all(still_parses(one, source) for one in found)
    first = found[0]
    assert source.split(b"\n")[first.line - 1].lstrip().startswith(b"if")


def test_a_file_that_is_no_code_has_none() -> None:
    assert mutations("shop.txt", PYTHON) == ()
    assert mutations("shop.py", b"def f(:\n    return 1 < 2\n") == ()
