"""Function templates on dictionaries and lists of pairs: look-ups, counts, groups, totals."""

from evals.nano.forms import decides
from evals.nano.pieces import Template

_TABLE = '{"${v}": 4, "${w}": $q}'

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
)
