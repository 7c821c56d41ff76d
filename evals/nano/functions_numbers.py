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
        "add_three_$nouns sum_of_three_$nouns",
        "Add $a, $b and $c.",
        returns("$a, $b, $c", "$a + $b + $c"),
        "int int int",
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
        "divide_$noun ratio_$noun quotient_$noun",
        "Divide $a by $b.",
        (
            *returns("$a, $b", "$a / $b"),
            "def $f($a, $b):\n    if $b == 0:\n        return 0\n    return $a / $b",
        ),
        edges=("(9, 2)", "($q, 4)", "(2, 4)"),
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
        "largest_of_three_$nouns biggest_of_three_$nouns",
        "Return the largest of three.",
        (
            """
def $f($a, $b, $c):
    best = $a
    if $b > best:
        best = $b
    if $c > best:
        best = $c
    return best
""",
            "def $f($a, $b, $c):\n    return max($a, $b, $c)",
        ),
        edges=("(3, 8, 5)", "(9, 2, 4)", "(1, $p, $q)"),
    ),
    Template(
        "middle_$noun median_of_three_$nouns",
        "Return the middle of three.",
        ("def $f($a, $b, $c):\n    return sorted([$a, $b, $c])[1]",),
        edges=("(3, 8, 5)", "(9, 2, 4)", "(1, $p, $q)"),
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
        "floor_$noun raise_${noun}_to_floor",
        "Return $a, but not less than floor.",
        (
            "def $f($a, floor):\n    if $a < floor:\n        return floor\n    return $a",
            "def $f($a, floor):\n    return max($a, floor)",
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
        "sum_between_$nouns total_from_${noun}_on",
        "Add the numbers from $b to $c, both included.",
        (
            """
def $f($b, $c):
    $t = 0
    for $i in range($b, $c + 1):
        $t += $i
    return $t
""",
            "def $f($b, $c):\n    return sum(range($b, $c + 1))",
        ),
        edges=("(3, 6)", "($p, 12)", "(2, 2)"),
    ),
    Template(
        "sum_of_squares_$noun total_squares_$noun",
        "Add the squares from 1 to $a.",
        (
            """
def $f($a):
    $t = 0
    for $i in range(1, $a + 1):
        $t += $i * $i
    return $t
""",
            "def $f($a):\n    return sum($i * $i for $i in range(1, $a + 1))",
        ),
        edges=("(3,)", "(4,)", "(6,)"),
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
        "power_of_$noun raise_$noun",
        "Multiply base by itself, exponent times.",
        (
            "def $f(base, exponent):\n    return base ** exponent",
            """
def $f(base, exponent):
    $t = 1
    for $i in range(exponent):
        $t *= base
    return $t
""",
        ),
        edges=("(2, 5)", "(3, 2)", "(4, 3)"),
    ),
    Template(
        "fibonacci_$noun nth_fibonacci_$noun",
        "Return the Fibonacci number of $a, from 0 and 1.",
        (
            """
def $f($a):
    previous, current = 0, 1
    for $i in range($a):
        previous, current = current, previous + current
    return previous
""",
        ),
        edges=("(5,)", "(7,)", "(10,)"),
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
        "is_prime_$noun has_prime_$noun",
        "Tell whether $a is a prime number.",
        (
            """
def $f($a):
    if $a < 2:
        return False
    for $i in range(2, $a):
        if $a % $i == 0:
            return False
    return True
""",
        ),
        edges=("(1,)", "(2,)", "(9,)", "(13,)"),
        without=("variable",),
    ),
    Template(
        "sign_of_$noun direction_of_$noun",
        "Return 1, 0 or -1, as $a is above, at or below zero.",
        (
            """
def $f($a):
    if $a > 0:
        return 1
    if $a < 0:
        return -1
    return 0
""",
        ),
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
        "square_of_$noun squared_$noun",
        "Return $a times $a.",
        ("def $f($a):\n    return $a * $a", "def $f($a):\n    return $a ** 2"),
        "int",
        edges=("(5,)",),
    ),
    Template(
        "cube_of_$noun cubed_$noun",
        "Return $a to the third.",
        ("def $f($a):\n    return $a * $a * $a", "def $f($a):\n    return $a ** 3"),
        "digit",
        edges=("(3,)",),
    ),
    Template(
        "double_$noun twice_$noun",
        "Return two times $a.",
        ("def $f($a):\n    return $a * 2", "def $f($a):\n    return 2 * $a"),
        "int",
        edges=("(7,)",),
    ),
    Template(
        "triple_$noun threefold_$noun",
        "Return three times $a.",
        ("def $f($a):\n    return $a * 3", "def $f($a):\n    return 3 * $a"),
        "int",
        edges=("(7,)",),
    ),
    Template(
        "half_of_$noun halve_$noun",
        "Return half of $a.",
        returns("$a", "$a / 2"),
        "int",
        edges=("(7,)",),
    ),
    Template(
        "midpoint_$noun halfway_$noun",
        "Return the number halfway between $a and $b.",
        returns("$a, $b", "($a + $b) / 2"),
        "int int",
        edges=("(4, 9)",),
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
        "volume_of_$noun space_in_$noun",
        "Return the volume of a box.",
        returns("width, height, depth", "width * height * depth"),
        "digit digit digit",
        edges=("(2, 3, 5)",),
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
        "increase_$noun advance_$noun",
        "Add step to $a.",
        returns("$a, step=1", "$a + step"),
        edges=("($q,)", "($p, 3)", "(20, 5)"),
    ),
    Template(
        "decrease_$noun lower_${noun}_by",
        "Take step from $a.",
        returns("$a, step=1", "$a - step"),
        edges=("($q,)", "($p, 3)", "(20, 5)"),
    ),
    Template(
        "scale_$noun magnify_$noun",
        "Multiply $a by factor.",
        returns("$a, factor=2", "$a * factor"),
        edges=("($q,)", "($p, 3)", "(20,)"),
    ),
    Template(
        "full_${nouns} complete_$nouns",
        "Return how many whole times $b fits into $a.",
        returns("$a, $b", "$a // $b"),
        edges=("(17, 5)", "($q, 3)", "(9, 10)"),
    ),
    Template(
        "leftover_$nouns rest_of_$nouns",
        "Return what remains of $a after sharing by $b.",
        returns("$a, $b", "$a % $b"),
        edges=("(17, 5)", "($q, 4)", "(9, 10)"),
    ),
    Template(
        "needed_$nouns num_${nouns}_needed",
        "Return how many groups of size hold $a, rounded up.",
        returns("$a, size", "($a + size - 1) // size"),
        edges=("(17, 5)", "(20, 5)", "($q, 4)"),
    ),
    Template(
        "wrap_$noun cycle_$noun",
        "Return the place after $a in a circle of size places.",
        returns("$a, size", "($a + 1) % size"),
        edges=("(2, 5)", "(6, 7)", "($p, 12)"),
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
    Template(
        "${nouns}_up_to list_${nouns}_to",
        "List the numbers from 1 to $a.",
        (
            "def $f($a):\n    return list(range(1, $a + 1))",
            "def $f($a):\n    return [$i for $i in range(1, $a + 1)]",
        ),
        edges=("(3,)", "(5,)"),
    ),
    Template(
        "even_${nouns}_to evens_up_to_$noun",
        "List the even numbers from 0 to $a.",
        (
            "def $f($a):\n    return [$i for $i in range($a + 1) if $i % 2 == 0]",
            "def $f($a):\n    return list(range(0, $a + 1, 2))",
        ),
        edges=("(4,)", "(7,)"),
        bugs=(("range", "$a + 1, 2", "$a, 2"), ("range", "0, $a + 1, 2", "1, $a + 1, 2")),
    ),
    Template(
        "multiples_of_$noun table_of_$noun",
        "List the first size multiples of $a.",
        (
            "def $f($a, size):\n    return [$a * $i for $i in range(1, size + 1)]",
            """
def $f($a, size):
    $t = []
    for $i in range(1, size + 1):
        $t.append($a * $i)
    return $t
""",
        ),
        edges=("(3, 4)", "($p, 3)"),
    ),
    Template(
        "count_divisors_$noun num_divisors_$noun",
        "Count the numbers that divide $a.",
        (
            """
def $f($a):
    count = 0
    for $i in range(1, $a + 1):
        if $a % $i == 0:
            count += 1
    return count
""",
        ),
        edges=("(6,)", "(7,)", "(12,)"),
        without=("swap",),
    ),
    Template(
        "digit_sum_$noun sum_digits_of_$noun",
        "Add the digits of $a.",
        (
            "def $f($a):\n    return sum(int(digit) for digit in str($a))",
            """
def $f($a):
    $t = 0
    for digit in str($a):
        $t += int(digit)
    return $t
""",
            """
def $f($a):
    $t = 0
    while $a > 0:
        $t += $a % 10
        $a //= 10
    return $t
""",
        ),
        edges=("(123,)", "(70,)", "(4,)"),
        general_bugs=False,
        bugs=(
            ("builtin", "sum(", "max("),
            ("builtin", "int(digit)", "len(digit)"),
            ("assignment", "$t += int", "$t = int"),
            ("assignment", "+=", "-="),
            ("constant", "$t = 0", "$t = 1"),
            ("arithmetic", "$a % 10", "$a // 10"),
            ("constant", "//= 10", "//= 100"),
            ("constant", "% 10", "% 100"),
            ("early_return", "    return $t", "        return $t"),
        ),
    ),
    Template(
        "common_divisor_$noun gcd_of_$nouns",
        "Return the greatest number that divides $a and $b.",
        (
            """
def $f($a, $b):
    while $b != 0:
        $a, $b = $b, $a % $b
    return $a
""",
        ),
        edges=("(12, 8)", "(9, 6)", "(7, 5)"),
        general_bugs=False,
        bugs=(
            ("variable", "return $a", "return $b"),
            ("comparison", "!= 0", "== 0"),
            ("early_return", "    return $a", "        return $a"),
        ),
    ),
)
