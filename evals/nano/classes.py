"""Templates of small classes with state: stacks, queues, counters, accounts, boxes."""

from evals.nano.pieces import Template

CLASSES = (
    Template(
        "${Noun}Stack ${Noun}Pile",
        "Holds $as; the newest comes out first.",
        (
            """
class $f:
    def __init__(self):
        self.$as = []

    def $add(self, $a):
        self.$as.append($a)

    def $top(self):
        return self.$as[-1]

    def $size(self):
        return len(self.$as)

    def $empty(self):
        return len(self.$as) == 0
""",
        ),
        slots={
            "add": "push put_on lay",
            "top": "peek newest upper",
            "size": "size height how_many",
            "empty": "is_empty has_nothing",
            "o": "stack pile box",
        },
        scenes=(
            ("$top", "$o = $f(); $o.$as = [$p, $q]", "$o.$top()"),
            ("$add", "$o = $f(); $o.$add($p); $o.$add($q)", "$o.$as"),
            ("$size", "$o = $f(); $o.$as = [$p, $q, 4]", "$o.$size()"),
            ("$empty", "$o = $f()", "$o.$empty()"),
            ("$empty", "$o = $f(); $o.$as = [$p]", "$o.$empty()"),
        ),
    ),
    Template(
        "${Noun}Queue ${Noun}Line",
        "Holds $as; the oldest comes out first.",
        (
            """
class $f:
    def __init__(self, $as):
        self.$as = list($as)

    def $join(self, $a):
        self.$as.append($a)

    def $next(self):
        return self.$as.pop(0)

    def $last(self):
        return self.$as[-1]

    def $waiting(self):
        return len(self.$as)
""",
        ),
        slots={
            "join": "join enqueue arrive",
            "next": "serve take_first dequeue",
            "last": "newest last_in tail",
            "waiting": "waiting size how_many",
            "o": "queue line",
        },
        scenes=(
            ("$join", "$o = $f([$p]); $o.$join($q)", "$o.$as"),
            ("$next", "$o = $f([$p, $q, 4])", "$o.$next()"),
            ("$last", "$o = $f([$p, $q, 4])", "$o.$last()"),
            ("$waiting", "$o = $f([$p, $q, 4])", "$o.$waiting()"),
        ),
        bugs=(("slice", ".pop(0)", ".pop()"), ("slice", ".pop(0)", ".pop(1)")),
    ),
    Template(
        "${Noun}Counter ${Noun}Tally",
        "Counts up, down and back to start.",
        (
            """
class $f:
    def __init__(self, start=0):
        self.count = start

    def $up(self, step=1):
        self.count += step

    def $down(self, step=1):
        self.count -= step

    def $reset(self):
        self.count = 0
""",
        ),
        slots={
            "up": "up increment count_up",
            "down": "down decrement count_down",
            "reset": "reset clear restart",
            "o": "counter tally",
        },
        scenes=(
            ("$up", "$o = $f($q); $o.$up()", "$o.count"),
            ("$up", "$o = $f($p); $o.$up(3)", "$o.count"),
            ("$down", "$o = $f($q); $o.$down()", "$o.count"),
            ("$down", "$o = $f($q); $o.$down(5)", "$o.count"),
            ("$reset", "$o = $f($p); $o.$reset()", "$o.count"),
        ),
    ),
    Template(
        "${Noun}Account ${Noun}Purse",
        "Holds money and never owes any.",
        (
            """
class $f:
    def __init__(self, balance=0):
        self.balance = balance

    def $deposit(self, amount):
        self.balance += amount

    def $withdraw(self, amount):
        if amount > self.balance:
            return False
        self.balance -= amount
        return True

    def $can_pay(self, amount):
        return amount <= self.balance
""",
        ),
        slots={
            "deposit": "deposit put_in earn",
            "withdraw": "withdraw take_out spend",
            "can_pay": "can_pay affords covers",
            "o": "account purse",
        },
        scenes=(
            ("$deposit", "$o = $f($q); $o.$deposit($p)", "$o.balance"),
            ("$withdraw", "$o = $f($q); $o.$withdraw($p)", "$o.balance"),
            ("$withdraw", "$o = $f($p)", "$o.$withdraw($q)"),
            ("$withdraw", "$o = $f($p)", "$o.$withdraw($p)"),
            ("$can_pay", "$o = $f($q)", "$o.$can_pay($q)"),
            ("$can_pay", "$o = $f($p)", "$o.$can_pay($q)"),
        ),
    ),
    Template(
        "${Noun}Box ${Noun}Rectangle",
        "A rectangle of some width and height.",
        (
            """
class $f:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def $area(self):
        return self.width * self.height

    def $border(self):
        return 2 * (self.width + self.height)

    def $square(self):
        return self.width == self.height
""",
        ),
        slots={
            "area": "area surface",
            "border": "perimeter border",
            "square": "is_square has_equal_sides",
            "o": "box shape",
        },
        scenes=(
            ("$area", "$o = $f($p, $q)", "$o.$area()"),
            ("$border", "$o = $f($p, $q)", "$o.$border()"),
            ("$square", "$o = $f($p, $p)", "$o.$square()"),
            ("$square", "$o = $f($p, $q)", "$o.$square()"),
        ),
    ),
    Template(
        "${Noun}Book ${Noun}Ledger",
        "Remembers $as by name.",
        (
            """
class $f:
    def __init__(self):
        self.$as = {}

    def $store(self, name, $a):
        self.$as[name] = $a

    def $fetch(self, name):
        return self.$as.get(name, 0)

    def $knows(self, name):
        return name in self.$as

    def $whole(self):
        return sum(self.$as.values())
""",
        ),
        slots={
            "store": "store enter remember",
            "fetch": "fetch look_up read",
            "knows": "knows holds contains",
            "whole": "total whole grand_sum",
            "o": "book ledger",
        },
        scenes=(
            ("$store", '$o = $f(); $o.$store("${v}", $p)', "$o.$as"),
            ("$fetch", '$o = $f(); $o.$as = {"${v}": $p}', '$o.$fetch("${v}")'),
            ("$fetch", "$o = $f()", '$o.$fetch("${w}")'),
            ("$knows", '$o = $f(); $o.$as = {"${v}": $p}', '$o.$knows("${v}")'),
            ("$whole", '$o = $f(); $o.$as = {"${v}": $p, "${w}": $q}', "$o.$whole()"),
        ),
    ),
    Template(
        "${Noun}Scores ${Noun}History",
        "Keeps numbers in the order they came.",
        (
            """
class $f:
    def __init__(self, $as):
        self.$as = $as

    def $best(self):
        return max(self.$as)

    def $first(self):
        return self.$as[0]

    def $mean(self):
        return sum(self.$as) / len(self.$as)

    def $above(self, limit):
        return [$x for $x in self.$as if $x > limit]
""",
        ),
        slots={
            "best": "best highest peak",
            "first": "first oldest earliest",
            "mean": "mean average",
            "above": "above more_than over",
            "o": "scores history",
        },
        scenes=(
            ("$best", "$o = $f([$p, $q, 4])", "$o.$best()"),
            ("$first", "$o = $f([$p, $q, 4])", "$o.$first()"),
            ("$mean", "$o = $f([2, 4, 9, 6])", "$o.$mean()"),
            ("$above", "$o = $f([$p, $q, 1])", "$o.$above($p)"),
        ),
    ),
    Template(
        "${Noun}Dial ${Noun}Knob",
        "A level between 0 and top.",
        (
            """
class $f:
    def __init__(self, level, top=10):
        self.level = level
        self.top = top

    def $raise_it(self, step):
        self.level = min(self.level + step, self.top)

    def $lower_it(self, step):
        self.level = max(self.level - step, 0)

    def $full(self):
        return self.level == self.top
""",
        ),
        slots={
            "raise_it": "turn_up louder more",
            "lower_it": "turn_down quieter less",
            "full": "is_full at_top",
            "o": "dial knob",
        },
        scenes=(
            ("$raise_it", "$o = $f(4); $o.$raise_it(3)", "$o.level"),
            ("$raise_it", "$o = $f(8); $o.$raise_it($p)", "$o.level"),
            ("$lower_it", "$o = $f($p); $o.$lower_it(1)", "$o.level"),
            ("$lower_it", "$o = $f(4); $o.$lower_it($q)", "$o.level"),
            ("$full", "$o = $f(10)", "$o.$full()"),
            ("$full", "$o = $f($p)", "$o.$full()"),
        ),
    ),
    Template(
        "${Noun}Switch ${Noun}Lamp",
        "Is on or off and counts its changes.",
        (
            """
class $f:
    def __init__(self, is_on=False):
        self.is_on = is_on
        self.changes = 0

    def $flip(self):
        self.is_on = not self.is_on

    def $note(self):
        self.changes += 1

    def $text(self):
        return "on" if self.is_on else "off"
""",
        ),
        slots={
            "flip": "flip toggle change",
            "note": "note_change register",
            "text": "describe as_text label",
            "o": "lamp switch",
        },
        scenes=(
            ("$flip", "$o = $f(True); $o.$flip()", "$o.is_on"),
            ("$flip", "$o = $f(False); $o.$flip()", "$o.is_on"),
            ("$note", "$o = $f(True); $o.$note()", "$o.changes"),
            ("$text", "$o = $f(True)", "$o.$text()"),
            ("$text", "$o = $f(False)", "$o.$text()"),
        ),
    ),
    Template(
        "${Noun}Span ${Noun}Interval",
        "The numbers from start up to end.",
        (
            """
class $f:
    def __init__(self, start, end):
        self.start = start
        self.end = end

    def $length(self):
        return self.end - self.start

    def $holds(self, number):
        return self.start <= number < self.end

    def $middle(self):
        return (self.start + self.end) / 2

    def $before(self, other):
        return self.end <= other.start
""",
        ),
        slots={
            "length": "length duration",
            "holds": "holds contains covers",
            "middle": "middle center",
            "before": "ends_before is_before",
            "o": "span interval",
        },
        scenes=(
            ("$length", "$o = $f($p, $q)", "$o.$length()"),
            ("$holds", "$o = $f($p, $q)", "$o.$holds($p)"),
            ("$holds", "$o = $f($p, $q)", "$o.$holds($q)"),
            ("$middle", "$o = $f($p, $q)", "$o.$middle()"),
            ("$before", "$o = $f(1, $p)", "$o.$before($f($p, $q))"),
            ("$before", "$o = $f($p, $q)", "$o.$before($f(1, 5))"),
        ),
        needs_doc=True,
    ),
)
