"""Function templates that convert units and reckon with times, distances and dates."""

from evals.nano.forms import returns
from evals.nano.pieces import Template


def _constant(name: str, value: str, param: str, result: str) -> tuple[str, ...]:
    """Write a conversion with a constant of the module and with the plain number."""
    return (
        f"{name} = {value}\n\n\ndef $f({param}):\n    return {result.replace('K', name)}",
        *returns(param, result.replace("K", value)),
    )


UNITS = (
    Template(
        "hours_to_minutes_$noun minutes_of_$noun",
        "Turn hours into minutes.",
        _constant("MINUTES_PER_HOUR", "60", "hours", "hours * K"),
        "digit",
    ),
    Template(
        "clock_to_seconds_$noun total_seconds_$noun",
        "Turn hours, minutes and seconds into seconds.",
        (
            *returns("hours, minutes, seconds", "hours * 3600 + minutes * 60 + seconds"),
            """
def $f(hours, minutes, seconds):
    minutes = hours * 60 + minutes
    return minutes * 60 + seconds
""",
        ),
        edges=("(1, 2, 3)", "(2, 0, 5)", "(0, $p, $q)"),
        without=("default",),
    ),
)
