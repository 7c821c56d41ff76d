"""Cost against context length as an SVG: what a benchmark's figures say at a glance.

One panel a unit, one line a name, x doubling from gridline to gridline, y from zero. A bar is the
range of the runs, a dashed line the ceiling of the hardware. Plain text is written; no library
draws. What the figures are is for the benchmark to know.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from evals.bench.roofline import Figure

WIDTH, PANEL, LEGEND = 720, 300, 18
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 34, 40
COLORS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#9a6700", "#cf222e", "#57606a")
STYLE = "font-family='system-ui, sans-serif' font-size='12' fill='#24292f'"


def plot(title: str, figures: Sequence[Figure]) -> str:
    """Return an SVG of what was measured at two lengths or more; "" if nothing was."""
    counts = Counter(figure.name for figure in figures if figure.at is not None)
    placed = [figure for figure in figures if counts[figure.name] > 1]
    if not placed:
        return ""
    units = list(dict.fromkeys(figure.unit for figure in placed))
    parts: list[str] = []
    top = 0
    for unit in units:
        panel = _Panel(f"{title}, {unit}", [one for one in placed if one.unit == unit], top)
        parts += panel.draw()
        top += panel.height
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {top}' {STYLE}>"
    return "\n".join(
        [head, f"<rect width='{WIDTH}' height='{top}' fill='white'/>", *parts, "</svg>\n"]
    )


@dataclass(frozen=True)
class _Panel:
    """The figures of one unit, from `top` on."""

    title: str
    figures: Sequence[Figure]
    top: int

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(figure.name for figure in self.figures))

    @property
    def height(self) -> int:
        return PANEL + LEGEND * len(self.names)

    @property
    def lengths(self) -> list[int]:
        return sorted({figure.at for figure in self.figures if figure.at is not None})

    @property
    def step(self) -> float:
        """Between two gridlines of y: 1, 2 or 5 of some power of ten, so that four or more fit."""
        most = max(max(figure.high, figure.ceiling or 0) for figure in self.figures) or 1.0
        power: float = 10.0 ** math.floor(math.log10(most))
        return next(step * power for step in (0.2, 0.5, 1.0, 2.0) if most <= 5 * step * power)

    def x(self, length: int) -> float:
        first, last = (self._doublings(self.lengths[place]) for place in (0, -1))
        share = (self._doublings(length) - first) / max(last - first, 1.0)
        return round(LEFT + 10 + share * (WIDTH - LEFT - RIGHT - 20), 1)

    def _doublings(self, length: int) -> float:
        """Where a length is; nothing at all is one step before the shortest."""
        shortest = next((each for each in self.lengths if each), 2)
        return math.log2(length or shortest / 2)

    def y(self, value: float) -> float:
        share = value / (5 * self.step)
        return round(self.top + PANEL - BOTTOM - share * (PANEL - TOP - BOTTOM), 1)

    def draw(self) -> Iterator[str]:
        yield _text(LEFT, self.top + 20, self.title, "start", weight="bold")
        yield from self._grid()
        for number, name in enumerate(self.names):
            color = COLORS[number % len(COLORS)]
            yield from self._line(name, color)
            y = self.top + PANEL + LEGEND * number
            yield f"<rect x='{LEFT}' y='{y - 9}' width='10' height='10' fill='{color}'/>"
            yield _text(LEFT + 16, y, name, "start")

    def _grid(self) -> Iterator[str]:
        for number in range(6):
            y = self.y(number * self.step)
            yield f"<path d='M{LEFT} {y}H{WIDTH - RIGHT}' stroke='#d0d7de'/>"
            yield _text(LEFT - 6, y + 4, f"{number * self.step:,.10g}", "end")
        for length in self.lengths:
            yield _text(self.x(length), self.top + PANEL - BOTTOM + 18, _short(length), "middle")

    def _line(self, name: str, color: str) -> Iterator[str]:
        points = sorted(
            (one for one in self.figures if one.name == name), key=lambda one: one.at or 0
        )
        yield _path([(self.x(one.at or 0), self.y(one.value)) for one in points], color)
        limits = [(self.x(one.at or 0), self.y(one.ceiling)) for one in points if one.ceiling]
        if limits:
            yield _path(limits, color, " stroke-dasharray='5 4' opacity='0.6'")
        for one in points:
            x = self.x(one.at or 0)
            yield f"<circle cx='{x}' cy='{self.y(one.value)}' r='3' fill='{color}'/>"
            yield f"<path d='M{x} {self.y(one.low)}V{self.y(one.high)}' stroke='{color}'/>"


def _path(points: Sequence[tuple[float, float]], color: str, more: str = "") -> str:
    places = "L".join(f"{x} {y}" for x, y in points)
    return f"<path d='M{places}' fill='none' stroke='{color}' stroke-width='2'{more}/>"


def _text(x: float, y: float, words: str, anchor: str, weight: str = "normal") -> str:
    place = f"x='{x}' y='{y}' text-anchor='{anchor}' font-weight='{weight}'"
    return f"<text {place}>{escape(words)}</text>"


def _short(length: int) -> str:
    """Tokens as people say them: 512, 2K, 256K."""
    return f"{length // 1024}K" if length >= 1024 and length % 1024 == 0 else f"{length:,}"
