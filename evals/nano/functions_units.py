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
        "weeks_to_days_$noun days_of_$noun",
        "Turn weeks into days.",
        _constant("DAYS_PER_WEEK", "7", "weeks", "weeks * K"),
        "digit",
    ),
    Template(
        "years_to_months_$noun months_of_$noun",
        "Turn years into months.",
        _constant("MONTHS_PER_YEAR", "12", "years", "years * K"),
        "digit",
    ),
    Template(
        "feet_to_inches_$noun inches_of_$noun",
        "Turn feet into inches.",
        _constant("INCHES_PER_FOOT", "12", "feet", "feet * K"),
        "digit",
    ),
    Template(
        "dozens_to_pieces_$noun pieces_of_$noun",
        "Turn dozens into pieces.",
        _constant("DOZEN", "12", "dozens", "dozens * K"),
        "digit",
    ),
    Template(
        "meters_to_kilometers_$noun kilometers_of_$noun",
        "Turn meters into kilometers.",
        _constant("METERS_PER_KILOMETER", "1000", "meters", "meters / K"),
        edges=("(1500,)", "(250,)", "(${p}000,)"),
    ),
    Template(
        "kilograms_to_grams_$noun grams_of_$noun",
        "Turn kilograms into grams.",
        _constant("GRAMS_PER_KILOGRAM", "1000", "kilograms", "kilograms * K"),
        "digit",
    ),
    Template(
        "cents_to_dollars_$noun dollars_of_$noun",
        "Turn cents into dollars.",
        _constant("CENTS_PER_DOLLAR", "100", "cents", "cents / K"),
        edges=("(150,)", "(25,)", "(${p}00,)"),
    ),
    Template(
        "to_fahrenheit_$noun fahrenheit_of_$noun",
        "Turn degrees Celsius into Fahrenheit.",
        returns("celsius", "celsius * 9 / 5 + 32"),
        edges=("(100,)", "(0,)", "(${p}0,)"),
    ),
    Template(
        "to_celsius_$noun celsius_of_$noun",
        "Turn degrees Fahrenheit into Celsius.",
        returns("fahrenheit", "(fahrenheit - 32) * 5 / 9"),
        edges=("(212,)", "(32,)", "(50,)"),
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
    Template(
        "split_minutes_$noun hours_and_minutes_$noun",
        "Turn minutes into hours and minutes.",
        (
            "def $f(minutes):\n    return minutes // 60, minutes % 60",
            """
def $f(minutes):
    hours = minutes // 60
    rest = minutes % 60
    return hours, rest
""",
        ),
        edges=("(75,)", "(130,)", "(1$q,)"),
        bugs=(("swap", "hours, rest", "rest, hours"),),
    ),
    Template(
        "quarter_of_$noun quarter_for_$noun",
        "Return the quarter of a month from 1 to 12.",
        returns("month", "(month - 1) // 3 + 1"),
        edges=("(1,)", "(3,)", "(4,)", "(12,)"),
    ),
    Template(
        "weekday_after_$noun day_after_$noun",
        "Return the weekday, 0 to 6, some days later.",
        returns("weekday, days", "(weekday + days) % 7"),
        edges=("(2, 3)", "(5, 4)", "(6, 8)"),
    ),
    Template(
        "hour_after_$noun clock_after_$noun",
        "Return the hour of the day, 0 to 23, some hours later.",
        returns("hour, hours", "(hour + hours) % 24"),
        edges=("(2, 3)", "(20, 6)", "(23, 1)"),
    ),
    Template(
        "age_of_$noun years_of_$noun",
        "Return the years from birth to the year.",
        returns("born, year", "year - born"),
        edges=("(1990, 2020)", "(2001, 20$q)"),
    ),
    Template(
        "speed_of_$noun pace_of_$noun",
        "Return distance over time.",
        returns("distance, time", "distance / time"),
        edges=("(100, 4)", "(${p}0, 5)", "(30, 8)"),
    ),
    Template(
        "distance_of_$noun way_of_$noun",
        "Return speed times time.",
        returns("speed, time", "speed * time"),
        "int digit",
        edges=("(30, 4)",),
    ),
    Template(
        "days_between_$nouns days_from_$noun",
        "Count the days from start to end, both included.",
        returns("start, end", "end - start + 1"),
        edges=("(3, 9)", "($p, $q)"),
        needs_doc=True,
    ),
    Template(
        "duration_of_$noun length_of_$noun",
        "Return the time from start to end.",
        returns("start, end", "end - start"),
        edges=("(3, 9)", "($p, $q)"),
    ),
    Template(
        "month_days_$noun days_in_month_$noun",
        "Return the days of a month, 28 for February.",
        (
            """
def $f(month):
    if month == 2:
        return 28
    if month in (4, 6, 9, 11):
        return 30
    return 31
""",
        ),
        edges=("(2,)", "(4,)", "(7,)", "(11,)"),
    ),
)
