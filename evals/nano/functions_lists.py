"""Function templates on lists: sums, counts, filters, slices, searches, orders."""

from evals.nano.forms import counts, decides, every, keeps, maps, returns, some, sums
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
        "spread_of_$nouns span_of_$nouns",
        "Return the highest less the lowest of the $as.",
        returns("$as", "max($as) - min($as)"),
        "ints",
        edges=("([4, 9, 2],)",),
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
        "without_first_$noun drop_first_$noun",
        "Return all $as but the first.",
        returns("$as", "$as[1:]"),
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
        "sort_$nouns ordered_$nouns",
        "Return the $as from low to high.",
        returns("$as", "sorted($as)"),
        edges=("([3, 1, 8, 5],)", "([7, 4, $q],)"),
    ),
    Template(
        "${nouns}_above more_than_$nouns",
        "Return the $as that are more than limit.",
        keeps("$as, limit", "$x > limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 1], $p)"),
    ),
    Template(
        "${nouns}_below less_than_$nouns",
        "Return the $as that are less than limit.",
        keeps("$as, limit", "$x < limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 1], $p)"),
    ),
    Template(
        "positive_$nouns keep_positive_$nouns",
        "Return the $as above zero.",
        keeps("$as", "$x > 0"),
        edges=("([3, -8, 0, 9],)", "([-$p, 1],)"),
    ),
    Template(
        "even_$nouns keep_even_$nouns",
        "Return the even $as.",
        keeps("$as", "$x % 2 == 0"),
        edges=("([3, 8, 6, 9],)", "([$p, $q, 4],)"),
    ),
    Template(
        "count_${nouns}_above num_${nouns}_above",
        "Count the $as that are more than limit.",
        counts("$as, limit", "$x > limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 10, 12], $p)"),
    ),
    Template(
        "double_all_$nouns doubled_$nouns",
        "Return the $as, each times 2.",
        maps("$as", "$x * 2"),
        "ints",
        edges=("([3, 7],)",),
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
    Template(
        "all_positive_$nouns only_positive_$nouns",
        "Tell whether all $as are above zero.",
        every("$as", "$x > 0", "$x <= 0"),
        edges=("([3, 8],)", "([$p, 0],)", "([-2, 5],)"),
    ),
    Template(
        "any_negative_$noun some_negative_$noun",
        "Tell whether one of the $as is below zero.",
        some("$as", "$x < 0"),
        edges=("([3, 8],)", "([$p, -1],)", "([0, 5],)"),
    ),
    Template(
        "unique_$nouns distinct_$nouns",
        "Return the $as, each once.",
        (
            """
def $f($as):
    $t = []
    for $x in $as:
        if $x not in $t:
            $t.append($x)
    return $t
""",
        ),
        "repeated",
        edges=("([4, 4, 2],)",),
    ),
    Template(
        "running_$nouns cumulative_$nouns",
        "Return the sums of the $as so far.",
        (
            """
def $f($as):
    total = 0
    sums = []
    for $x in $as:
        total += $x
        sums.append(total)
    return sums
""",
        ),
        "ints",
        edges=("([1, 4, 8],)",),
    ),
)
