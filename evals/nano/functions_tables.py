"""Function templates on dictionaries and lists of pairs: look-ups, counts, groups, totals."""

from evals.nano.forms import decides, returns, sums
from evals.nano.pieces import Template

_TABLE = '{"${v}": 4, "${w}": $q}'
_TABLE_3 = '{"${v}": 9, "${w}": 2, "red": 5}'
_PAIRS = '[("${v}", 4), ("${w}", $q)]'

TABLES = (
    Template(
        "look_up_$noun get_$noun",
        "Return the value of the name, 0 when there is none.",
        (
            "def $f($as, name):\n    return $as.get(name, 0)",
            "def $f($as, name):\n    if name in $as:\n        return $as[name]\n    return 0",
            "def $f($as, name):\n    if name not in $as:\n        return 0\n    return $as[name]",
        ),
        edges=(f'({_TABLE}, "${{w}}")', f'({_TABLE}, "blue")'),
    ),
    Template(
        "find_or_fallback_$noun get_${noun}_or",
        "Return the value of the name, or the fallback.",
        (
            'def $f($as, name, fallback=""):\n    return $as.get(name, fallback)',
            """
def $f($as, name, fallback=""):
    if name in $as:
        return $as[name]
    return fallback
""",
        ),
        edges=(
            '({"a": "${v}"}, "a")',
            '({"a": "${v}"}, "b")',
            '({"a": "${v}"}, "b", "none")',
        ),
    ),
    Template(
        "knows_$noun is_known_$noun",
        "Tell whether the name is in $as.",
        decides("$as, name", "name in $as"),
        edges=(f'({_TABLE}, "${{w}}")', f'({_TABLE}, "blue")'),
    ),
    Template(
        "total_value_$nouns sum_values_of_$nouns",
        "Add the values of $as.",
        (
            "def $f($as):\n    return sum($as.values())",
            """
def $f($as):
    $t = 0
    for $x in $as.values():
        $t += $x
    return $t
""",
        ),
        "tally",
    ),
    Template(
        "names_of_$nouns sorted_names_$nouns",
        "Return the names in $as, in order.",
        (
            "def $f($as):\n    return sorted($as)",
            "def $f($as):\n    return sorted($as.keys())",
        ),
        edges=('({"red": 4, "blue": 2},)', '({"c": $p, "a": 3, "b": 7},)'),
    ),
    Template(
        "values_of_$nouns sorted_values_$nouns",
        "Return the values in $as, in order.",
        ("def $f($as):\n    return sorted($as.values())",),
        edges=('({"red": 4, "blue": 2},)', '({"c": $p, "a": 3, "b": 7},)'),
    ),
    Template(
        "most_common_$noun leading_$noun",
        "Return the name with the highest value.",
        (
            "def $f($as):\n    return max($as, key=$as.get)",
            """
def $f($as):
    best = None
    for name in $as:
        if best is None or $as[name] > $as[best]:
            best = name
    return best
""",
        ),
        edges=('({"blue": 4, "red": 7},)', f"({_TABLE_3},)"),
        bugs=(("builtin", "max($as, key=$as.get)", "max($as)"),),
    ),
    Template(
        "least_common_$noun rarest_$noun",
        "Return the name with the lowest value.",
        ("def $f($as):\n    return min($as, key=$as.get)",),
        edges=('({"blue": 4, "red": 2},)', f"({_TABLE_3},)"),
        bugs=(("builtin", "min($as, key=$as.get)", "min($as)"),),
    ),
    Template(
        "count_each_$noun tally_$nouns",
        "Count how often each of the $as occurs.",
        (
            """
def $f($as):
    counts = {}
    for $x in $as:
        counts[$x] = counts.get($x, 0) + 1
    return counts
""",
            """
def $f($as):
    counts = {}
    for $x in $as:
        if $x not in counts:
            counts[$x] = 0
        counts[$x] += 1
    return counts
""",
        ),
        edges=('(["${v}", "${w}", "${v}"],)', '(["red", "red", "red"],)'),
    ),
    Template(
        "group_by_length_$nouns group_${nouns}_by_length",
        "Group the $as by their length.",
        (
            """
def $f($as):
    groups = {}
    for $x in $as:
        groups.setdefault(len($x), []).append($x)
    return groups
""",
            """
def $f($as):
    groups = {}
    for $x in $as:
        if len($x) not in groups:
            groups[len($x)] = []
        groups[len($x)].append($x)
    return groups
""",
        ),
        edges=('(["red", "${v}", "tea"],)', '(["to", "of", "sugar"],)'),
        without=("method",),
    ),
    Template(
        "group_by_letter_$nouns group_${nouns}_by_letter",
        "Group the $as by their first letter.",
        (
            """
def $f($as):
    groups = {}
    for $x in $as:
        groups.setdefault($x[0], []).append($x)
    return groups
""",
            """
def $f($as):
    groups = {}
    for $x in $as:
        first = $x[0]
        if first not in groups:
            groups[first] = []
        groups[first].append($x)
    return groups
""",
        ),
        edges=('(["red", "${v}", "rose"],)', '(["to", "tea", "sugar"],)'),
        without=("method",),
    ),
    Template(
        "invert_$nouns names_by_$noun",
        "Return $as with names and values exchanged.",
        (
            "def $f($as):\n    return {value: name for name, value in $as.items()}",
            """
def $f($as):
    $t = {}
    for name, value in $as.items():
        $t[value] = name
    return $t
""",
        ),
        edges=(f"({_TABLE},)", '({"red": $p},)'),
    ),
    Template(
        "select_$nouns keep_large_$nouns",
        "Return the names whose value is more than limit.",
        (
            "def $f($as, limit):\n"
            "    return [name for name, value in $as.items() if value > limit]",
            """
def $f($as, limit):
    $t = []
    for name, value in $as.items():
        if value > limit:
            $t.append(name)
    return $t
""",
        ),
        edges=(f"({_TABLE}, 4)", '({"red": $p, "blue": 1}, 1)'),
    ),
    Template(
        "merge_$nouns combine_tables_$nouns",
        "Put both together; the second wins.",
        (
            "def $f(first, second):\n    return {**first, **second}",
            "def $f(first, second):\n    return first | second",
            """
def $f(first, second):
    $t = dict(first)
    $t.update(second)
    return $t
""",
        ),
        edges=('({"red": 4}, {"red": $q})', '({"a": 1, "b": $p}, {"b": 10})'),
        bugs=(
            ("swap", "{**first, **second}", "{**second, **first}"),
            ("swap", "first | second", "second | first"),
            ("variable", "update(second)", "update(first)"),
            ("variable", "dict(first)", "dict(second)"),
        ),
        general_bugs=False,
    ),
    Template(
        "table_of_$nouns pair_up_$nouns",
        "Return each of the $as with its value of $bs.",
        ("def $f($as, $bs):\n    return dict(zip($as, $bs))",),
        edges=('(["${v}", "${w}"], [4, $q])', '(["red"], [$p])'),
    ),
    Template(
        "value_of_stock_$nouns worth_of_$nouns",
        "Add price times quantity of each pair.",
        sums("$as", "price * quantity", "price, quantity"),
        "points",
        edges=("([(3, 4), (5, 2)],)",),
    ),
    Template(
        "first_parts_$nouns names_in_$nouns",
        "Return the names of the pairs.",
        (
            "def $f($as):\n    return [name for name, value in $as]",
            "def $f($as):\n    return [$x[0] for $x in $as]",
        ),
        edges=(f"({_PAIRS},)", '([("red", $p)],)'),
    ),
    Template(
        "second_parts_$nouns numbers_in_$nouns",
        "Return the numbers of the pairs.",
        (
            "def $f($as):\n    return [value for name, value in $as]",
            "def $f($as):\n    return [$x[1] for $x in $as]",
        ),
        edges=(f"({_PAIRS},)", '([("red", $p)],)'),
    ),
    Template(
        "sum_pairs_$nouns total_pairs_$nouns",
        "Add the numbers of the pairs.",
        sums("$as", "value", "name, value"),
        "pairs",
    ),
    Template(
        "by_value_$nouns sort_pairs_$nouns",
        "Return the pairs, the lowest number first.",
        (
            "def $f($as):\n    return sorted($as, key=lambda pair: pair[1])",
            "def $f($as):\n    return sorted($as, key=lambda pair: pair[1], reverse=False)",
        ),
        edges=('([("a", 7), ("b", 4)],)', '([("x", 2), ("z", 1), ("y", $p)],)'),
        without=("constant",),
    ),
    Template(
        "best_pair_$noun winner_of_$nouns",
        "Return the name of the pair with the highest number.",
        (
            "def $f($as):\n    return max($as, key=lambda pair: pair[1])[0]",
            """
def $f($as):
    best = max($as, key=lambda pair: pair[1])
    return best[0]
""",
        ),
        edges=('([("a", 7), ("b", 4)],)', '([("x", 1), ("z", 2), ("y", $q)],)'),
    ),
    Template(
        "raise_values_$nouns add_to_values_$nouns",
        "Return $as with extra added to each value.",
        (
            "def $f($as, extra):\n    return {name: value + extra for name, value in $as.items()}",
            """
def $f($as, extra):
    $t = {}
    for name, value in $as.items():
        $t[name] = value + extra
    return $t
""",
        ),
        edges=(f"({_TABLE}, 3)", '({"red": $p}, 10)'),
    ),
    Template(
        "order_total_$nouns basket_total_$nouns",
        "Add the prices of the names.",
        (
            "def $f(names, prices):\n    return sum(prices[name] for name in names)",
            """
def $f(names, prices):
    $t = 0
    for name in names:
        $t += prices[name]
    return $t
""",
        ),
        edges=('(["red", "tea"], {"red": 4, "tea": $q})', '(["a"], {"a": $p, "b": 2})'),
    ),
    Template(
        "full_title_$noun describe_$noun",
        "Write the name and the place of a record.",
        (
            'def $f($a):\n    return $a["name"] + " in " + $a["place"]',
            """
def $f($a):
    name = $a["name"]
    place = $a["place"]
    return f"{name} in {place}"
""",
        ),
        edges=('({"name": "${v}", "place": "${w}"},)', '({"name": "Ann", "place": "Rome"},)'),
        bugs=(
            ("constant", '"name"]', '"place"]'),
            ("constant", '"place"]', '"name"]'),
            ("constant", '" in "', '" at "'),
        ),
        without=("constant",),
    ),
    Template(
        "difference_in_$nouns stock_left_$nouns",
        "Return how many of the name are left after taking some.",
        (
            *returns("$as, name, taken", "$as[name] - taken"),
            """
def $f($as, name, taken):
    held = $as.get(name, 0)
    return held - taken
""",
        ),
        edges=(f'({_TABLE}, "${{v}}", 3)', '({"red": $q}, "red", 5)'),
    ),
)
