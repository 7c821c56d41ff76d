"""Function templates on lists: sums, counts, filters, slices, searches, orders."""

from evals.nano.forms import decides, keeps, returns, some, sums
from evals.nano.pieces import Template

LISTS = (
    Template(
        "total_$nouns sum_$nouns",
        "Add all $as.",
        (*sums("$as", "$x"), "def $f($as):\n    return sum($as)"),
        "ints",
    ),
    Template(
        "average_$noun mean_$noun",
        "Return the mean of the $as, 0 for none.",
        (
            "def $f($as):\n    if not $as:\n        return 0\n    return sum($as) / len($as)",
            """
def $f($as):
    if len($as) == 0:
        return 0
    $t = sum($as)
    return $t / len($as)
""",
            """
def $f($as):
    if not $as:
        return 0
    $t = 0
    for $x in $as:
        $t += $x
    return $t / len($as)
""",
        ),
        edges=("([],)", "([2, 4, 9, $q],)", "([5, 6],)"),
    ),
    Template(
        "count_$nouns number_of_$nouns",
        "Count the $as.",
        (
            """
def $f($as):
    count = 0
    for $x in $as:
        count += 1
    return count
""",
            "def $f($as):\n    return len($as)",
        ),
        "ints",
        edges=("([],)",),
    ),
    Template(
        "highest_$noun max_$noun top_$noun",
        "Return the highest of the $as.",
        (
            """
def $f($as):
    best = $as[0]
    for $x in $as:
        if $x > best:
            best = $x
    return best
""",
            "def $f($as):\n    return max($as)",
            "def $f($as):\n    return sorted($as)[-1]",
        ),
        "ints",
        edges=("([4, 9, 2],)", "([5, 3],)"),
    ),
    Template(
        "lowest_$noun min_$noun cheapest_$noun",
        "Return the lowest of the $as.",
        (
            """
def $f($as):
    best = $as[0]
    for $x in $as:
        if $x < best:
            best = $x
    return best
""",
            "def $f($as):\n    return min($as)",
            "def $f($as):\n    return sorted($as)[0]",
        ),
        "ints",
        edges=("([4, 2, 9],)", "([3, 5],)"),
    ),
    Template(
        "first_$noun opening_$noun",
        "Return the first of the $as.",
        returns("$as", "$as[0]"),
        "words",
    ),
    Template(
        "last_$noun final_$noun",
        "Return the last of the $as.",
        returns("$as", "$as[-1]"),
        "words",
    ),
    Template(
        "first_n_$nouns take_$nouns",
        "Return the first size of the $as.",
        returns("$as, size", "$as[:size]"),
        edges=("([3, 1, 8, 5], 2)", "([7, 4, $q], 1)"),
    ),
    Template(
        "last_n_$nouns newest_$nouns",
        "Return the last size of the $as.",
        returns("$as, size", "$as[-size:]"),
        edges=("([3, 1, 8, 5], 3)", "([7, 4, $q], 1)"),
    ),
    Template(
        "without_last_$noun drop_last_$noun",
        "Return all $as but the last.",
        returns("$as", "$as[:-1]"),
        "words",
    ),
    Template(
        "reverse_$nouns reversed_$nouns",
        "Return the $as in reverse.",
        (
            "def $f($as):\n    return $as[::-1]",
            "def $f($as):\n    return list(reversed($as))",
        ),
        "words",
    ),
    Template(
        "${nouns}_above more_than_$nouns",
        "Return the $as that are more than limit.",
        keeps("$as, limit", "$x > limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 1], $p)"),
    ),
    Template(
        "position_of_$noun find_$noun",
        "Return where wanted is among the $as, or -1.",
        (
            """
def $f($as, wanted):
    for $i, $x in enumerate($as):
        if $x == wanted:
            return $i
    return -1
""",
            """
def $f($as, wanted):
    if wanted in $as:
        return $as.index(wanted)
    return -1
""",
        ),
        edges=("([3, 8, 5], 5)", "([$p, $q], 1)", '(["${v}", "${w}"], "${w}")'),
    ),
    Template(
        "has_$noun includes_$noun",
        "Tell whether wanted is among the $as.",
        (*decides("$as, wanted", "wanted in $as"), *some("$as, wanted", "$x == wanted")),
        edges=("([3, 8, 5], 5)", "([$p, $q], 1)"),
    ),
)
