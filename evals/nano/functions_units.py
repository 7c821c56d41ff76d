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
        "minutes_to_seconds_$noun seconds_of_$noun",
        "Turn minutes into seconds.",
        _constant("SECONDS_PER_MINUTE", "60", "minutes", "minutes * K"),
        "digit",
    ),
    Template(
        "days_to_hours_$noun hours_of_$noun",
        "Turn days into hours.",
        _constant("HOURS_PER_DAY", "24", "days", "days * K"),
        "digit",
    ),
    Template(
        "cents_to_dollars_$noun dollars_of_$noun",
        "Turn cents into dollars.",
        _constant("CENTS_PER_DOLLAR", "100", "cents", "cents / K"),
        edges=("(150,)", "(25,)", "(${p}00,)"),
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
