"""Function templates on numbers: arithmetic, extremes, clamps, sums over ranges, remainders."""

from evals.nano.forms import decides, returns
from evals.nano.pieces import Template

_PAIR = ("($p, $q)", "($q, $p)")

NUMBERS = (
    Template(
        "add_$nouns sum_of_$nouns combine_$nouns",
        "Add $a and $b.",
        returns("$a, $b", "$a + $b"),
        "int int",
    ),
    Template(
        "subtract_$noun minus_$noun difference_$noun",
        "Take $b from $a.",
        returns("$a, $b", "$a - $b"),
        "int int",
    ),
    Template(
        "multiply_$nouns product_$noun times_$noun",
        "Multiply $a by $b.",
        returns("$a, $b", "$a * $b"),
        "int int",
    ),
    Template(
        "safe_divide_$noun safe_ratio_$noun",
        "Divide $a by $b; 0 when $b is 0.",
        (
            "def $f($a, $b):\n    if $b == 0:\n        return 0\n    return $a / $b",
            "def $f($a, $b):\n    if $b != 0:\n        return $a / $b\n    return 0",
        ),
        edges=("(9, 2)", "($q, 0)", "(3, 4)"),
    ),
    Template(
        "largest_$noun biggest_$noun larger_$noun",
        "Return the larger of $a and $b.",
        (
            "def $f($a, $b):\n    if $a > $b:\n        return $a\n    return $b",
            "def $f($a, $b):\n    return $a if $a > $b else $b",
            "def $f($a, $b):\n    return max($a, $b)",
        ),
        edges=_PAIR,
    ),
    Template(
        "smallest_$noun lower_$noun smaller_$noun",
        "Return the smaller of $a and $b.",
        (
            "def $f($a, $b):\n    if $a < $b:\n        return $a\n    return $b",
            "def $f($a, $b):\n    return $a if $a < $b else $b",
            "def $f($a, $b):\n    return min($a, $b)",
        ),
        edges=_PAIR,
    ),
    Template(
        "clamp_$noun limit_$noun bound_$noun",
        "Keep $a between low and high.",
        (
            """
def $f($a, low, high):
    if $a < low:
        return low
    if $a > high:
        return high
    return $a
""",
            "def $f($a, low, high):\n    return max(low, min($a, high))",
            """
def $f($a, low, high):
    if $a < low:
        return low
    elif $a > high:
        return high
    else:
        return $a
""",
        ),
        edges=("(1, 3, 9)", "(5, 2, $q)", "(20, $p, 10)"),
    ),
    Template(
        "cap_$noun at_most_$noun",
        "Return $a, but not more than limit.",
        (
            "def $f($a, limit):\n    if $a > limit:\n        return limit\n    return $a",
            "def $f($a, limit):\n    return min($a, limit)",
        ),
        edges=_PAIR,
    ),
    Template(
        "remaining_$noun left_over_$noun",
        "Return what is left of $a after $b, never below 0.",
        (
            "def $f($a, $b):\n    return max(0, $a - $b)",
            "def $f($a, $b):\n    if $b > $a:\n        return 0\n    return $a - $b",
        ),
        edges=_PAIR,
    ),
    Template(
        "sum_to_$noun total_up_to_$noun",
        "Add the numbers from 1 to $a, $a included.",
        (
            """
def $f($a):
    $t = 0
    for $i in range(1, $a + 1):
        $t += $i
    return $t
""",
            "def $f($a):\n    return sum(range(1, $a + 1))",
            "def $f($a):\n    return $a * ($a + 1) // 2",
        ),
        edges=("(3,)", "($p,)", "(10,)"),
    ),
    Template(
        "factorial_of_$noun factorial_$noun",
        "Multiply the numbers from 1 to $a.",
        (
            """
def $f($a):
    $t = 1
    for $i in range(2, $a + 1):
        $t *= $i
    return $t
""",
        ),
        edges=("(0,)", "(3,)", "(5,)"),
    ),
    Template(
        "is_even_$noun has_even_$noun",
        "Tell whether $a is even.",
        decides("$a", "$a % 2 == 0"),
        edges=("(4,)", "(7,)", "(9,)"),
    ),
    Template(
        "is_odd_$noun has_odd_$noun",
        "Tell whether $a is odd.",
        decides("$a", "$a % 2 == 1"),
        edges=("(4,)", "(7,)", "(6,)"),
    ),
    Template(
        "is_positive_$noun has_positive_$noun",
        "Tell whether $a is above zero.",
        decides("$a", "$a > 0"),
        edges=("($p,)", "(0,)", "(-$q,)"),
    ),
    Template(
        "is_negative_$noun has_negative_$noun",
        "Tell whether $a is below zero.",
        decides("$a", "$a < 0"),
        edges=("($p,)", "(0,)", "(-$q,)"),
    ),
    Template(
        "absolute_$noun unsigned_$noun",
        "Return $a without its sign.",
        (
            "def $f($a):\n    if $a < 0:\n        return -$a\n    return $a",
            "def $f($a):\n    return abs($a)",
        ),
        edges=("(-$p,)", "($q,)"),
    ),
    Template(
        "distance_between_$nouns gap_between_$nouns",
        "Return how far $a and $b are apart.",
        (
            "def $f($a, $b):\n    return abs($a - $b)",
            "def $f($a, $b):\n    if $a > $b:\n        return $a - $b\n    return $b - $a",
        ),
        edges=_PAIR,
    ),
    Template(
        "is_multiple_$noun is_divisible_$noun",
        "Tell whether $a is a multiple of $b.",
        decides("$a, $b", "$a % $b == 0"),
        edges=("(12, 4)", "(13, 5)", "(3, 9)"),
    ),
    Template(
        "double_$noun twice_$noun",
        "Return two times $a.",
        ("def $f($a):\n    return $a * 2", "def $f($a):\n    return 2 * $a"),
        "int",
        edges=("(7,)",),
    ),
    Template(
        "area_of_$noun covered_area_$noun",
        "Return the area of a rectangle.",
        returns("width, height", "width * height"),
        "int int",
        edges=("(3, 7)",),
    ),
    Template(
        "perimeter_of_$noun border_of_$noun",
        "Return the length of a rectangle's border.",
        returns("width, height", "2 * (width + height)"),
        "int int",
        edges=("(3, 7)",),
    ),
    Template(
        "next_$noun following_$noun",
        "Return the number after $a.",
        returns("$a", "$a + 1"),
        "int",
    ),
    Template(
        "previous_$noun preceding_$noun",
        "Return the number before $a.",
        returns("$a", "$a - 1"),
        "int",
    ),
    Template(
        "countdown_$noun count_down_$noun",
        "List the numbers from $a down to 1.",
        ("def $f($a):\n    return list(range($a, 0, -1))",),
        edges=("(3,)", "(5,)"),
        bugs=(
            ("range", "$a, 0, -1", "$a, 1, -1"),
            ("range", "$a, 0, -1", "$a, -1, -1"),
            ("range", "$a, 0, -1", "$a - 1, 0, -1"),
            ("range", "$a, 0, -1", "0, $a"),
        ),
    ),
)
