"""Function templates on lists: sums, counts, filters, slices, searches, orders."""

from evals.nano.forms import counts, decides, every, keeps, maps, returns, some, sums, sums_where
from evals.nano.pieces import Template

LISTS = (
    Template(
        "total_$nouns sum_$nouns",
        "Add all $as.",
        (*sums("$as", "$x"), "def $f($as):\n    return sum($as)"),
        "ints",
    ),
    Template(
        "product_of_$nouns multiply_all_$nouns",
        "Multiply all $as.",
        ("def $f($as):\n    $t = 1\n    for $x in $as:\n        $t *= $x\n    return $t",),
        "digits",
        edges=("([2, 3, 4],)",),
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
        "second_highest_$noun runner_up_$noun",
        "Return the second highest of the $as.",
        (
            "def $f($as):\n    return sorted($as)[-2]",
            "def $f($as):\n    ordered = sorted($as)\n    return ordered[-2]",
            "def $f($as):\n    return sorted($as, reverse=True)[1]",
        ),
        edges=("([4, 9, 2, 7],)", "([5, 3, $q],)"),
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
        "first_or_default_$noun first_${noun}_or",
        "Return the first of the $as, or fallback when there is none.",
        (
            "def $f($as, fallback=0):\n    if not $as:\n        return fallback\n    return $as[0]",
            "def $f($as, fallback=0):\n    return $as[0] if $as else fallback",
        ),
        edges=("([],)", "([$q, 4],)", "([], 7)"),
    ),
    Template(
        "central_$noun middle_of_$nouns",
        "Return the one in the middle of the $as.",
        returns("$as", "$as[len($as) // 2]"),
        edges=("([3, 1, 8],)", "([7, 4, $q, 2, 6],)"),
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
        "skip_$nouns after_first_$nouns",
        "Return the $as after the first size.",
        returns("$as, size", "$as[size:]"),
        edges=("([3, 1, 8, 5], 1)", "([7, 4, $q], 2)"),
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
        "inner_$nouns trim_$nouns",
        "Return all $as but the first and the last.",
        returns("$as", "$as[1:-1]"),
        "words",
    ),
    Template(
        "every_second_$noun alternate_$nouns",
        "Return the first of the $as, the third and so on.",
        returns("$as", "$as[::2]"),
        edges=("([3, 1, 8, 5],)", "([7, 4, $q, 2, 6],)"),
    ),
    Template(
        "page_of_$nouns slice_of_$nouns",
        "Return the $as from start up to stop.",
        returns("$as, start, stop", "$as[start:stop]"),
        edges=("([3, 1, 8, 5], 1, 3)", "([7, 4, $q, 2, 6], 0, 2)"),
    ),
    Template(
        "rotate_$nouns shift_$nouns",
        "Move the first size of the $as to the end.",
        returns("$as, size", "$as[size:] + $as[:size]"),
        edges=("([3, 1, 8, 5], 1)", "([7, 4, $q], 2)"),
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
        "sort_${nouns}_down descending_$nouns",
        "Return the $as from high to low.",
        returns("$as", "sorted($as, reverse=True)"),
        edges=("([3, 1, 8, 5],)", "([7, 4, $q],)"),
        bugs=(("default", "reverse=True", "reverse=False"),),
        without=("default",),
    ),
    Template(
        "best_${nouns} top_three_$nouns",
        "Return the three highest $as, the highest first.",
        returns("$as", "sorted($as, reverse=True)[:3]"),
        edges=("([3, 1, 8, 5],)", "([7, 4, $q, 2, 6],)"),
        bugs=(("constant", "[:3]", "[:2]"), ("constant", "[:3]", "[:4]")),
    ),
    Template(
        "${nouns}_above more_than_$nouns",
        "Return the $as that are more than limit.",
        keeps("$as, limit", "$x > limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 1], $p)"),
    ),
    Template(
        "at_least_$nouns minimum_$nouns",
        "Return the $as that are limit or more.",
        keeps("$as, limit", "$x >= limit"),
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
        "odd_$nouns keep_odd_$nouns",
        "Return the odd $as.",
        keeps("$as", "$x % 2 == 1"),
        edges=("([3, 8, 6, 9],)", "([$p, $q, 5],)"),
    ),
    Template(
        "remove_$noun without_$noun",
        "Return the $as other than unwanted.",
        keeps("$as, unwanted", "$x != unwanted"),
        edges=("([3, 8, 5, 3], 3)", '(["${v}", "${w}"], "${w}")'),
    ),
    Template(
        "long_$nouns lengthy_$nouns",
        "Return the $as of more than limit letters.",
        keeps("$as, limit", "len($x) > limit"),
        edges=('(["red", "green", "blue"], 4)', '(["${v}", "to", "${w}"], 2)'),
    ),
    Template(
        "common_$nouns shared_$nouns",
        "Return the $as that are among the others too.",
        keeps("$as, others", "$x in others"),
        edges=("([3, 8, 5], [5, 3, 1])", "([$p, $q], [$q])"),
    ),
    Template(
        "missing_$nouns new_$nouns",
        "Return the $as that are not among the others.",
        keeps("$as, others", "$x not in others"),
        edges=("([3, 8, 5], [5, 3, 1])", "([$p, $q], [$q])"),
    ),
    Template(
        "filled_$nouns non_empty_$nouns",
        "Return the $as that are not empty.",
        keeps("$as", "$x"),
        edges=('(["red", "", "blue"],)', '(["", "${w}"],)'),
        without=("variable",),
    ),
    Template(
        "count_${nouns}_below num_${nouns}_below",
        "Count the $as that are less than limit.",
        counts("$as, limit", "$x < limit"),
        edges=("([3, 8, 5, 9], 9)", "([$p, 1, 2], $p)"),
    ),
    Template(
        "count_${nouns}_above num_${nouns}_above",
        "Count the $as that are more than limit.",
        counts("$as, limit", "$x > limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 10, 12], $p)"),
    ),
    Template(
        "count_even_$nouns num_even_$nouns",
        "Count the even $as.",
        counts("$as", "$x % 2 == 0"),
        edges=("([3, 8, 6, 9, 4],)", "([$p, $q, 4],)"),
    ),
    Template(
        "count_same_$nouns occurrences_of_$noun",
        "Count how often wanted is among the $as.",
        (
            *counts("$as, wanted", "$x == wanted"),
            "def $f($as, wanted):\n    return $as.count(wanted)",
        ),
        edges=("([3, 8, 3, 9, 3], 3)", "([$p, $q, $q], $q)", "([1, 2], 5)"),
    ),
    Template(
        "sum_even_$nouns total_even_$nouns",
        "Add the even $as.",
        sums_where("$as", "$x", "$x % 2 == 0"),
        edges=("([3, 8, 6, 9],)", "([$p, $q, 4],)"),
    ),
    Template(
        "sum_positive_$nouns total_positive_$nouns",
        "Add the $as above zero.",
        sums_where("$as", "$x", "$x > 0"),
        edges=("([3, -8, 6],)", "([-$p, $q, 4],)"),
    ),
    Template(
        "sum_${nouns}_from total_${nouns}_from",
        "Add the $as that are limit or more.",
        sums_where("$as, limit", "$x", "$x >= limit"),
        edges=("([3, 8, 5, 9], 5)", "([$p, 1, $q], $p)"),
    ),
    Template(
        "sum_squared_$nouns squared_total_$nouns",
        "Add the squares of the $as.",
        sums("$as", "$x * $x"),
        "digits",
        edges=("([2, 3],)",),
    ),
    Template(
        "total_length_$nouns combined_length_$nouns",
        "Add the lengths of the $as.",
        sums("$as", "len($x)"),
        "short_words",
    ),
    Template(
        "double_all_$nouns doubled_$nouns",
        "Return the $as, each times 2.",
        maps("$as", "$x * 2"),
        "ints",
        edges=("([3, 7],)",),
    ),
    Template(
        "square_all_$nouns squares_of_$nouns",
        "Return the square of each of the $as.",
        maps("$as", "$x * $x"),
        "digits",
        edges=("([3, 5],)",),
    ),
    Template(
        "raise_all_$nouns shift_up_$nouns",
        "Add step to each of the $as.",
        maps("$as, step=1", "$x + step"),
        edges=("([3, 7],)", "([$p, $q, 1],)", "([2, 4], 3)"),
    ),
    Template(
        "upper_all_$nouns shout_all_$nouns",
        "Return the $as in capitals.",
        maps("$as", "$x.upper()"),
        "short_words",
    ),
    Template(
        "lengths_of_$nouns sizes_of_$nouns",
        "List how long each of the $as is.",
        maps("$as", "len($x)"),
        "short_words",
    ),
    Template(
        "without_negative_$nouns zero_negative_$nouns",
        "Return the $as with 0 for each below zero.",
        maps("$as", "max($x, 0)"),
        edges=("([3, -7, 2],)", "([-$p, $q],)"),
    ),
    Template(
        "cap_all_$nouns limit_all_$nouns",
        "Return the $as, none more than limit.",
        maps("$as, limit", "min($x, limit)"),
        edges=("([3, 7, 2], 5)", "([$p, $q], 10)"),
    ),
    Template(
        "numbered_$nouns number_$nouns",
        "Write a number, from 1 on, before each of the $as.",
        (
            'def $f($as):\n    return [f"{$i}. {$x}" for $i, $x in enumerate($as, 1)]',
            """
def $f($as):
    $t = []
    for $i, $x in enumerate($as, start=1):
        $t.append(f"{$i}. {$x}")
    return $t
""",
        ),
        "short_words",
        bugs=(("constant", "start=1", "start=0"), ("constant", "$as, 1)", "$as)")),
        without=("builtin",),
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
        "is_missing_$noun lacks_any_$noun",
        "Tell whether wanted is not among the $as.",
        decides("$as, wanted", "wanted not in $as"),
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
        "all_even_$nouns only_even_$nouns",
        "Tell whether all $as are even.",
        every("$as", "$x % 2 == 0", "$x % 2 != 0"),
        edges=("([4, 8],)", "([6, $q, 5],)"),
    ),
    Template(
        "all_over_$nouns only_over_$nouns",
        "Tell whether all $as are more than limit.",
        every("$as, limit", "$x > limit", "$x <= limit"),
        edges=("([4, 8], 3)", "([6, 5], 5)", "([2, 9], 4)"),
    ),
    Template(
        "any_over_$noun some_over_$noun",
        "Tell whether one of the $as is more than limit.",
        some("$as, limit", "$x > limit"),
        edges=("([4, 8], 6)", "([4, 5], 5)", "([2, 1], 4)"),
    ),
    Template(
        "is_sorted_$nouns are_in_order_$nouns",
        "Tell whether the $as go from low to high.",
        decides("$as", "$as == sorted($as)"),
        edges=("([1, 4, 8],)", "([6, 2, 9],)", "([$q, $p],)"),
        without=("variable",),
    ),
    Template(
        "has_duplicate_$nouns any_repeated_$nouns",
        "Tell whether one of the $as occurs twice.",
        decides("$as", "len($as) != len(set($as))"),
        edges=("([1, 4, 8],)", "([6, 2, 6],)"),
        without=("swap",),
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
    Template(
        "changes_of_$nouns differences_of_$nouns",
        "Return each of the $as less the one before it.",
        (
            """
def $f($as):
    $t = []
    for $i in range(1, len($as)):
        $t.append($as[$i] - $as[$i - 1])
    return $t
""",
            "def $f($as):\n    return [$as[$i] - $as[$i - 1] for $i in range(1, len($as))]",
        ),
        edges=("([1, 4, 8],)", "([$q, $p, 20],)"),
    ),
    Template(
        "pairwise_sum_$nouns add_pairs_of_$nouns",
        "Add $as and $bs one by one.",
        (
            "def $f($as, $bs):\n    return [left + right for left, right in zip($as, $bs)]",
            """
def $f($as, $bs):
    $t = []
    for left, right in zip($as, $bs):
        $t.append(left + right)
    return $t
""",
        ),
        edges=("([1, 4], [2, 3])", "([$q, $p, 20], [1, 2, 3])"),
    ),
    Template(
        "dot_product_$nouns weighted_sum_$nouns",
        "Multiply $as and $bs one by one and add up.",
        (
            "def $f($as, $bs):\n    return sum(left * right for left, right in zip($as, $bs))",
            """
def $f($as, $bs):
    $t = 0
    for left, right in zip($as, $bs):
        $t += left * right
    return $t
""",
        ),
        edges=("([1, 4], [2, 3])", "([5, $p, 20], [1, 2, 3])"),
    ),
    Template(
        "flatten_$nouns merge_lists_of_$nouns",
        "Put the lists of $as together into one.",
        (
            """
def $f($as):
    $t = []
    for $x in $as:
        $t.extend($x)
    return $t
""",
            "def $f($as):\n    return [number for $x in $as for number in $x]",
        ),
        "grid",
    ),
    Template(
        "chunk_$nouns groups_of_$nouns",
        "Cut the $as into lists of size.",
        ("def $f($as, size):\n    return [$as[$i:$i + size] for $i in range(0, len($as), size)]",),
        edges=("([3, 1, 8, 5], 2)", "([7, 4, $q, 2], 3)"),
        general_bugs=False,
        bugs=(
            ("slice", "$as[$i:$i + size]", "$as[$i:size]"),
            ("slice", "$as[$i:$i + size]", "$as[$i:$i + 1]"),
            ("slice", "$as[$i:$i + size]", "$as[$i + size:$i]"),
            ("range", "range(0,", "range(1,"),
            ("arithmetic", "$i + size]", "$i - size]"),
        ),
    ),
    Template(
        "split_${nouns}_at partition_$nouns",
        "Return the $as below limit, then the others.",
        (
            """
def $f($as, limit):
    small = [$x for $x in $as if $x < limit]
    large = [$x for $x in $as if $x >= limit]
    return small, large
""",
            """
def $f($as, limit):
    small = []
    large = []
    for $x in $as:
        if $x < limit:
            small.append($x)
        else:
            large.append($x)
    return small, large
""",
        ),
        edges=("([3, 8, 5, 9], 5)", "([$p, 1, $q], 10)"),
    ),
    Template(
        "longest_of_$nouns widest_of_$nouns",
        "Return the longest of the $as.",
        (
            "def $f($as):\n    return max($as, key=len)",
            """
def $f($as):
    best = $as[0]
    for $x in $as:
        if len($x) > len(best):
            best = $x
    return best
""",
        ),
        edges=('(["ab", "stone", "red"],)', '(["tea", "${v}"],)'),
        bugs=(("builtin", "max(", "min("),),
    ),
    Template(
        "shortest_of_$nouns briefest_of_$nouns",
        "Return the shortest of the $as.",
        (
            "def $f($as):\n    return min($as, key=len)",
            """
def $f($as):
    best = $as[0]
    for $x in $as:
        if len($x) < len(best):
            best = $x
    return best
""",
        ),
        edges=('(["red", "stone", "ab"],)', '(["${v}", "tea"],)'),
    ),
    Template(
        "${nouns}_by_length sort_${nouns}_by_length",
        "Return the $as, the shortest first.",
        ("def $f($as):\n    return sorted($as, key=len)",),
        edges=('(["stone", "red", "to"],)', '(["${v}", "tea"],)'),
        bugs=(
            ("builtin", "key=len", "key=str"),
            ("default", "key=len)", "key=len, reverse=True)"),
        ),
    ),
    Template(
        "swap_ends_$nouns exchange_ends_$nouns",
        "Return the pair of the $as the other way round.",
        (
            "def $f($as):\n    first, last = $as\n    return last, first",
            "def $f($as):\n    return $as[1], $as[0]",
        ),
        edges=("((1, 2),)", "((8, $q),)"),
    ),
    Template(
        "column_of_$nouns column_from_$nouns",
        "Return one column of the rows.",
        (
            "def $f(rows, $i):\n    return [row[$i] for row in rows]",
            """
def $f(rows, $i):
    $t = []
    for row in rows:
        $t.append(row[$i])
    return $t
""",
        ),
        edges=("([[1, 2], [3, 4]], 1)", "([[5, $p], [7, 8]], 0)"),
    ),
    Template(
        "grid_total_$nouns sum_rows_of_$nouns",
        "Add all numbers of the rows.",
        (
            """
def $f(rows):
    $t = 0
    for row in rows:
        for $x in row:
            $t += $x
    return $t
""",
            "def $f(rows):\n    return sum(sum(row) for row in rows)",
        ),
        "grid",
    ),
    Template(
        "row_totals_$nouns total_of_each_$noun",
        "Return the sum of each row.",
        ("def $f(rows):\n    return [sum(row) for row in rows]",),
        "grid",
    ),
)
