"""Functions that call another generated function, in another file of the repository."""

from random import Random

from evals.nano.pieces import Check, Piece, Template, literal, run_source, value_of

_NUMBER = (
    ("twice_$h", ("return 2 * $c", "$t = $c\nreturn 2 * $t", "return $c * 2")),
    ("negative_$h", ("return -$c", "$t = $c\nreturn -$t")),
    ("next_after_$h", ("return $c + 1", "$t = $c\nreturn $t + 1")),
    ("describe_$h", ('return "value: " + str($c)', '$t = $c\nreturn f"value: {$t}"')),
)
_TEXT = (
    ("quoted_$h", ('return "<" + $c + ">"', '$t = $c\nreturn f"<{$t}>"')),
    ("length_of_$h", ("return len($c)", "$t = $c\nreturn len($t)")),
    ("loud_$h", ('return $c + "!"', '$t = $c\nreturn $t + "!"')),
)
_LIST = (
    ("size_of_$h", ("return len($c)", "$t = $c\nreturn len($t)")),
    ("sorted_$h", ("return sorted($c)", "$t = $c\nreturn sorted($t)")),
)


def call_through(helper: Piece, random: Random) -> Piece | None:
    """Return a function that calls the helper, or None where none of the forms fits."""
    if helper.template.scenes or any(check.expected == "None" for check in helper.checks):
        return None
    values = [eval(check.expected) for check in helper.checks]
    if any("=" in param for param in helper.params):
        return None
    params = ", ".join(helper.params)
    forms = _forms(values)
    if not forms:
        return None
    pattern, bodies = random.choice(forms)
    name = pattern.replace("$h", helper.name)
    body = random.choice(bodies).replace("$c", f"{helper.name}({params})")
    body = body.replace("$t", random.choice(("result", "answer", "inner", "base")))
    lines = (f"def {name}({params}):", *(f"    {line}" for line in body.split("\n")))
    names = run_source(helper.source + "\n".join(lines) + "\n")
    checks = []
    for check in helper.checks:
        call = f"{name}({', '.join(check.arguments)})"
        bare = Check(name, call, "", arguments=check.arguments)
        checks.append(Check(name, call, literal(value_of(bare, names)), (), check.arguments))
    return Piece(
        name, (), lines, tuple(checks), Template(name, "", ()), helper.params, helper=helper
    )


def _forms(values: list[object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the forms that fit the type of all the values."""
    if all(type(value) in (int, float) for value in values):
        return _NUMBER
    if all(type(value) is str for value in values):
        return _TEXT
    return _LIST if all(type(value) is list for value in values) else ()
