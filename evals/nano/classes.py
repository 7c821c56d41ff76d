"""Templates of small classes with state: stacks, queues, counters, accounts, boxes."""

from evals.nano.pieces import Template

CLASSES = (
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
