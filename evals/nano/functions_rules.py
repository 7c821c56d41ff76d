"""Function templates that apply a rule: thresholds, grades, discounts, flags."""

from evals.nano.forms import decides
from evals.nano.pieces import Template

_LIMIT = ("($p, $p)", "($q, $p)", "($p, $q)")
_FLAGS = ("(True, True)", "(True, False)", "(False, True)", "(False, False)")

RULES = (
    Template(
        "is_at_least_$noun reaches_$noun",
        "Tell whether $a is $b or more.",
        decides("$a, $b", "$a >= $b"),
        edges=_LIMIT,
    ),
    Template(
        "is_more_than_$noun exceeds_$noun",
        "Tell whether $a is more than $b.",
        decides("$a, $b", "$a > $b"),
        edges=_LIMIT,
    ),
    Template(
        "is_at_most_$noun fits_in_$noun",
        "Tell whether $a is $b or less.",
        decides("$a, $b", "$a <= $b"),
        edges=_LIMIT,
    ),
    Template(
        "is_less_than_$noun stays_below_$noun",
        "Tell whether $a is less than $b.",
        decides("$a, $b", "$a < $b"),
        edges=_LIMIT,
    ),
    Template(
        "is_in_range_$noun within_range_$noun",
        "Tell whether $a is from low to high, both included.",
        (
            "def $f($a, low, high):\n    return low <= $a <= high",
            "def $f($a, low, high):\n    return $a >= low and $a <= high",
        ),
        edges=("(3, 3, 9)", "(9, 3, 9)", "(12, $p, 11)", "(1, $p, 11)"),
        needs_doc=True,
    ),
    Template(
        "both_$nouns is_full_$noun",
        "Tell whether both are true.",
        decides("$a, $b", "$a and $b"),
        edges=_FLAGS[:3],
    ),
    Template(
        "either_$noun one_or_other_$noun",
        "Tell whether one of them is true.",
        decides("$a, $b", "$a or $b"),
        edges=_FLAGS[1:],
    ),
    Template(
        "neither_$noun none_of_$nouns",
        "Tell whether neither is true.",
        decides("$a, $b", "not $a and not $b"),
        edges=_FLAGS[1:],
    ),
    Template(
        "passes_$noun passed_$noun",
        "Tell whether $a is at least PASS_$NOUN.",
        (
            "PASS_$NOUN = $A\n\n\ndef $f($a):\n    return $a >= PASS_$NOUN",
            """
PASS_$NOUN = $A


def $f($a):
    if $a >= PASS_$NOUN:
        return True
    return False
""",
        ),
        edges=("($A,)", "($A - 1,)", "($A + 5,)"),
        slots={"A": "40 50 60"},
        without=("constant",),
        needs_doc=True,
    ),
    Template(
        "shipping_for_$noun delivery_fee_$noun",
        "Return $B, or 0 when $a is $A or more.",
        (
            "def $f($a):\n    if $a >= $A:\n        return 0\n    return $B",
            "def $f($a):\n    return 0 if $a >= $A else $B",
        ),
        edges=("($A,)", "($A - 1,)", "($A + 9,)"),
        slots={"A": "30 50 80", "B": "4 5 7"},
        needs_doc=True,
    ),
    Template(
        "discount_$noun reduce_$noun",
        "Take percent off the $a.",
        (
            "def $f($a, percent):\n    return $a - $a * percent / 100",
            "def $f($a, percent):\n    $b = $a * percent / 100\n    return $a - $b",
            "def $f($a, percent):\n    return $a * (100 - percent) / 100",
        ),
        "hundred percent",
    ),
    Template(
        "discount_by_default_$noun sale_price_$noun",
        "Take percent off the $a.",
        (
            "def $f($a, percent=10):\n    return $a - $a * percent / 100",
            "def $f($a, percent=10):\n    $b = $a * percent / 100\n    return $a - $b",
        ),
        edges=("(200,)", "(300, 50)", "(${p}00,)"),
    ),
    Template(
        "with_tax_$noun add_tax_$noun",
        "Add percent to the $a.",
        (
            "def $f($a, percent):\n    return $a + $a * percent / 100",
            "def $f($a, percent):\n    tax = $a * percent / 100\n    return $a + tax",
        ),
        "hundred percent",
    ),
    Template(
        "tip_for_$noun with_tip_$noun",
        "Return the bill with the tip.",
        (
            "def $f(bill, percent=20):\n    return bill + bill * percent / 100",
            "def $f(bill, percent=20):\n    tip = bill * percent / 100\n    return bill + tip",
        ),
        edges=("(50,)", "(${p}00, 10)", "(30,)"),
    ),
    Template(
        "total_cost_$nouns price_of_$nouns",
        "Return price times quantity, plus shipping.",
        (
            "def $f(price, quantity, shipping=5):\n    return price * quantity + shipping",
            """
def $f(price, quantity, shipping=5):
    goods = price * quantity
    return goods + shipping
""",
        ),
        edges=("(10, 3)", "($p, 4, 0)", "(8, 2)"),
    ),
)
