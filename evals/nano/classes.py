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
)
