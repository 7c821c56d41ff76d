"""The words that generated repositories are named with; no grammar, no logic.

Nouns are combined freely, so that a model must copy a name from what it sees and cannot guess it.
"""


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _split(
    "amount badge basket bill block book bottle bucket budget card cart cell "
    "chapter charge client coin column cost coupon course credit deal deposit desk device "
    "door draft driver edge event fare field flight frame gift goal grade grant guest "
    "hotel image invoice job lamp layer lesson level load loan lot mark meal "
    "meter mile mode month motor node note order packet page panel parcel part path payment "
    "pixel plan plant player point power price prize queue rank rate rental reward "
    "road room route row sale sample score seat segment sensor shape share shelf ship "
    "shot signal slot song speed stage stamp stock store stream task team ticket tile "
    "token trip unit user vote wage wallet week weight worker year zone"
)
"""Each is regular: the plural is the noun and an s."""

VALUES = _split(
    "apple river stone cloud tiger lemon ocean piano robot maple amber cedar comet daisy eagle "
    "fable grape honey igloo jelly koala linen mango noble olive pearl quilt raven sugar tulip"
)
"""Strings that tests pass in."""

LOOP_NAMES = ("item", "value", "entry", "element", "current")
"""Names a loop variable may have when it is not the singular of its list."""

TOTAL_NAMES = ("total", "result", "answer", "output", "running")
"""Names an accumulator may have."""

PACKAGES = _split(
    "shop garden school office market station studio workshop kitchen harbor clinic museum "
    "farm factory travel league bakery theater depot airport campus village"
)
"""Names of packages; none is a module of the standard library or of pytest."""

MODULES = _split(
    "core helpers toolbox basics rules metrics pricing counting shapes texts lists sums reports "
    "checks limits ledger scoring billing figures summary routines formulas ranking planner layout"
)
"""Names of modules; none is a module of the standard library or of pytest."""

CASE_NAMES = ("small", "basic", "large", "edge", "other", "again", "more", "typical")
"""Endings of test names when every case is a test of its own."""
