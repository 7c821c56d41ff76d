"""Pictures as inline SVG: how much is solved within a budget, and how far a difference reaches.

They take figures and give markup, with no script and no file beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.report.markup import Markup, tag

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 16, 34
NUM_TICKS = 4
BAR_LEFT, BAR_WIDTH = 110, 210
COLOURS = ("a", "b")


@dataclass(frozen=True)
class Curve:
    """One run in a plot."""

    name: str
    spent: Sequence[float]
    """By each task that was solved."""
    num_tasks: int


def solved_within(title: str, unit: str, curves: Sequence[Curve]) -> Markup:
    """Draw which share of tasks was solved by attempts that spent at most so much."""
    ticks = ticks_to(max((value for curve in curves for value in curve.spent), default=1.0))
    end = ticks[-1]
    shares = [_share_line(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    marks = [
        tag("text", short(tick), x=_x(tick / end), y=HEIGHT - 18, text_anchor="middle")
        for tick in ticks
    ]
    paths = [
        tag("path", d=_steps(curve, end), class_=f"curve {colour}")
        for curve, colour in zip(curves, COLOURS, strict=False)
    ]
    label = tag("text", unit, x=_x(0.5), y=HEIGHT - 3, text_anchor="middle")
    names = [
        tag("span", f" {curve.name}", class_=colour)
        for curve, colour in zip(curves, COLOURS, strict=False)
    ]
    view = f"0 0 {WIDTH} {HEIGHT}"
    drawn = [*shares, *marks, *paths, label]
    drawing = tag("svg", drawn, viewBox=view, role="img", aria_label=title)
    return tag("div", tag("h3", title, names), drawing, class_="plot")


def interval_bar(mean: float, low: float, high: float) -> Markup:
    """Draw a mean and its interval about zero; the ends of the line are as far as it reaches."""
    reach = max(abs(low), abs(high)) or 1.0

    def at(value: float) -> float:
        return round(100 + 90 * value / reach, 1)

    zero = tag("line", x1=100, x2=100, y1=2, y2=22, class_="grid")
    line = tag("line", x1=at(low), x2=at(high), y1=12, y2=12, class_="a", stroke_width=2)
    dot = tag("circle", cx=at(mean), cy=12, r=4, class_="fill-a")
    return tag("svg", zero, line, dot, viewBox="0 0 200 24", role="img", aria_label="interval")


def bars(title: str, rows: Sequence[tuple[str, int]]) -> Markup:
    """Draw counts as bars, each with its name and number."""
    most = max((num for _, num in rows), default=1)
    drawn = [_bar(name, num, num / max(1, most), 26 * n) for n, (name, num) in enumerate(rows)]
    height = max(26, 26 * len(rows))
    drawing = tag("svg", drawn, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title)
    return tag("div", tag("h3", title), drawing, class_="plot")


def ticks_to(value: float) -> list[float]:
    """Return a few round numbers from 0 on; the last is not below `value`."""
    if value <= 0:
        return [0.0, 1.0]
    rough = value / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough * 0.999)
    return [step * n for n in range(math.ceil(value / step - 1e-9) + 1)]


def short(value: float) -> str:
    """Write a number in a few characters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _bar(name: str, num: int, share: float, top: int) -> Markup:
    length = max(2.0, round(share * BAR_WIDTH, 1))
    bar = tag("rect", x=BAR_LEFT, y=top + 4, width=length, height=18, rx=2, class_="fill-b")
    text = tag("text", name, x=0, y=top + 17)
    return Markup(text + bar + tag("text", str(num), x=BAR_LEFT + length + 6, y=top + 17))


def _share_line(share: float) -> Markup:
    y = _y(share)
    line = tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
    text = tag("text", f"{share:.0%}", x=LEFT - 4, y=y + 4, text_anchor="end")
    return Markup(line + text)


def _steps(curve: Curve, end: float) -> str:
    """Write the path that goes up by one task at what each has spent."""
    words = [f"M{_x(0)} {_y(0)}"]
    for number, value in enumerate(sorted(curve.spent), 1):
        words += [f"H{_x(value / end)}", f"V{_y(number / max(1, curve.num_tasks))}"]
    return " ".join([*words, f"H{_x(1)}"])


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)
