"""Function templates that apply a rule: thresholds, grades, discounts, flags."""

from evals.nano.forms import decides, returns
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
        "is_same_$noun equals_$noun",
        "Tell whether $a and $b are equal.",
        decides("$a, $b", "$a == $b"),
        edges=_LIMIT,
    ),
    Template(
        "is_other_$noun differs_$noun",
        "Tell whether $a and $b are not equal.",
        decides("$a, $b", "$a != $b"),
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
        "is_between_$noun strictly_between_$noun",
        "Tell whether $a is between low and high, neither included.",
        (
            "def $f($a, low, high):\n    return low < $a < high",
            "def $f($a, low, high):\n    return $a > low and $a < high",
        ),
        edges=("(3, 3, 9)", "(9, 3, 9)", "(5, 2, $q)"),
        needs_doc=True,
    ),
    Template(
        "is_outside_$noun out_of_range_$noun",
        "Tell whether $a is below low or above high.",
        decides("$a, low, high", "$a < low or $a > high"),
        edges=("(3, 3, 9)", "(9, 3, 9)", "(12, $p, 11)", "(1, $p, 11)"),
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
        "only_first_$noun first_without_second_$noun",
        "Tell whether $a is true and $b is not.",
        decides("$a, $b", "$a and not $b"),
        edges=_FLAGS,
    ),
    Template(
        "toggle_$noun opposite_of_$noun",
        "Return the opposite of $a.",
        returns("$a", "not $a"),
        edges=("(True,)", "(False,)"),
    ),
    Template(
        "can_open_$noun may_enter_$noun",
        "Tell whether someone with a key, or a guest with a code, may enter.",
        decides("has_key, is_guest, has_code", "has_key or (is_guest and has_code)"),
        edges=("(True, False, False)", "(False, True, False)", "(False, True, True)"),
        needs_doc=True,
    ),
    Template(
        "can_ride_$noun may_ride_$noun",
        "Tell whether a person of $A or older and $B or taller may ride.",
        decides("age, height", "age >= $A and height >= $B"),
        edges=("($A, $B)", "($A - 1, $B)", "($A, $B - 1)"),
        slots={"A": "8 10 12", "B": "110 120 130"},
        needs_doc=True,
    ),
    Template(
        "is_weekend_$noun weekend_$noun",
        "Tell whether the day is a Saturday or a Sunday.",
        (
            *decides("day", 'day in ("sat", "sun")'),
            *decides("day", 'day == "sat" or day == "sun"'),
        ),
        edges=('("sat",)', '("sun",)', '("mon",)'),
    ),
    Template(
        "is_weekday_$noun working_day_$noun",
        "Tell whether the day is neither Saturday nor Sunday.",
        (
            *decides("day", 'day not in ("sat", "sun")'),
            *decides("day", 'day != "sat" and day != "sun"'),
        ),
        edges=('("sat",)', '("sun",)', '("mon",)'),
    ),
    Template(
        "is_leap_$noun leap_year_$noun",
        "Tell whether the year has a 29 February.",
        (
            *decides("year", "year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)"),
            """
def $f(year):
    if year % 400 == 0:
        return True
    if year % 100 == 0:
        return False
    return year % 4 == 0
""",
        ),
        edges=("(2000,)", "(1900,)", "(2024,)", "(2023,)"),
    ),
    Template(
        "grade_$noun letter_for_$noun",
        "Return A from $A on, B from $B on, else C.",
        (
            """
def $f($a):
    if $a >= $A:
        return "A"
    if $a >= $B:
        return "B"
    return "C"
""",
            """
def $f($a):
    if $a >= $A:
        return "A"
    elif $a >= $B:
        return "B"
    else:
        return "C"
""",
        ),
        edges=("($A,)", "($B,)", "($B - 1,)", "($A - 1,)"),
        slots={"A": "80 85 90", "B": "50 60 70"},
        needs_doc=True,
        bugs=(("constant", '"A"', '"B"'), ("constant", '"B"', '"C"'), ("constant", '"C"', '"A"')),
    ),
    Template(
        "level_of_$noun size_class_$noun",
        "Return small below $A, medium below $B, else large.",
        (
            """
def $f($a):
    if $a < $A:
        return "small"
    if $a < $B:
        return "medium"
    return "large"
""",
        ),
        edges=("($A,)", "($B,)", "($B - 1,)", "($A - 1,)"),
        slots={"A": "5 10 20", "B": "40 50 100"},
        needs_doc=True,
        bugs=(("constant", '"small"', '"large"'), ("constant", '"large"', '"small"')),
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
        "ticket_for_age_$noun entry_$noun",
        "Return half the $a for children under $A.",
        (
            "def $f($a, age):\n    if age < $A:\n        return $a / 2\n    return $a",
            "def $f($a, age):\n    return $a / 2 if age < $A else $a",
        ),
        edges=("(20, $A)", "(30, $A - 1)", "(10, 40)"),
        slots={"A": "6 12 14"},
        needs_doc=True,
    ),
    Template(
        "fizz_$noun fizz_buzz_$noun",
        "Return fizz for multiples of 3, buzz for multiples of 5, both for both.",
        (
            """
def $f($a):
    if $a % 15 == 0:
        return "fizzbuzz"
    if $a % 3 == 0:
        return "fizz"
    if $a % 5 == 0:
        return "buzz"
    return str($a)
""",
        ),
        edges=("(15,)", "(9,)", "(10,)", "(7,)"),
        bugs=(("constant", '"fizz"', '"buzz"'), ("constant", '"buzz"', '"fizz"')),
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
        "percent_of_$noun share_of_$noun",
        "Return percent of the $a.",
        returns("$a, percent", "$a * percent / 100"),
        "hundred percent",
    ),
    Template(
        "percentage_$noun part_in_percent_$noun",
        "Return how many percent of the whole the part is.",
        returns("part, whole", "part * 100 / whole"),
        edges=("(5, 20)", "(3, 4)", "(30, 50)"),
    ),
    Template(
        "growth_of_$noun percent_change_$noun",
        "Return by how many percent old became new.",
        returns("old, new", "(new - old) * 100 / old"),
        edges=("(20, 25)", "(50, 40)", "(4, 8)"),
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
        "share_per_$noun cost_per_$noun",
        "Share the bill and the tip among people.",
        (
            "def $f(bill, tip, people):\n    return (bill + tip) / people",
            "def $f(bill, tip, people):\n    whole = bill + tip\n    return whole / people",
        ),
        edges=("(40, 8, 4)", "(60, 6, 3)", "(30, 3, 2)"),
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
    Template(
        "monthly_fee_$noun base_fee_$noun",
        "Return the base and the rate for each unit.",
        returns("base, rate, units", "base + rate * units"),
        edges=("(10, 2, 7)", "($q, 3, 4)"),
    ),
    Template(
        "late_fee_$noun overdue_fee_$noun",
        "Return $A for each day late, nothing when in time.",
        (
            "def $f(days):\n    if days <= 0:\n        return 0\n    return days * $A",
            "def $f(days):\n    if days > 0:\n        return days * $A\n    return 0",
        ),
        edges=("(3,)", "(-2,)", "($p,)"),
        slots={"A": "2 3 5"},
        needs_doc=True,
    ),
    Template(
        "pay_for_$noun weekly_pay_$noun",
        "Pay hours over 40 twice.",
        (
            """
def $f(hours, rate):
    if hours > 40:
        return 40 * rate + (hours - 40) * rate * 2
    return hours * rate
""",
            """
def $f(hours, rate):
    pay = hours * rate
    if hours > 40:
        pay += (hours - 40) * rate
    return pay
""",
        ),
        edges=("(40, 10)", "(45, 10)", "(20, $q)"),
    ),
    Template(
        "profit_of_$noun gain_on_$noun",
        "Return the income less the expenses.",
        returns("income, expenses", "income - expenses"),
        "ten ten",
    ),
    Template(
        "margin_of_$noun net_$noun",
        "Return what each of the units gains.",
        (
            "def $f(price, cost, units):\n    return (price - cost) * units",
            "def $f(price, cost, units):\n    gain = price - cost\n    return gain * units",
        ),
        edges=("(10, 7, 4)", "($q, 5, 3)"),
    ),
    Template(
        "interest_on_$noun simple_interest_$noun",
        "Return the interest of some years.",
        returns("$a, rate, years", "$a * rate * years / 100"),
        edges=("(200, 5, 3)", "(${p}00, 10, 2)"),
    ),
)
