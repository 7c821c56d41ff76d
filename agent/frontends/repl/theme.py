"""The few colours there are, by what they mean; sixteen of them, so that each terminal's own fit.

A terminal with a dark ground and one with a light ground differ in what can be read on them:
yellow is lost on white. Without colours there are still bold and dim letters.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ThemeName = Literal["dark", "light", "mono"]
NAMES: tuple[ThemeName, ...] = get_args(ThemeName)


@dataclass(frozen=True)
class Theme:
    """Styles in the words that rich knows; `mono` uses no colour."""

    name: ThemeName
    syntax: str
    """The highlighting of code, one of pygments' or rich's."""
    call: str = "bold"
    good: str = "bold"
    bad: str = "bold"
    warn: str = "bold"
    accent: str = "bold"
    dim: str = "dim"
    added: str = ""
    removed: str = "dim"

    @property
    def has_colour(self) -> bool:
        """Whether anything is coloured."""
        return self.name != "mono"


THEMES: Mapping[ThemeName, Theme] = {
    "dark": Theme(
        *("dark", "ansi_dark", "bold cyan", "green", "red", "yellow", "cyan"),
        added="green",
        removed="red",
    ),
    "light": Theme(
        *("light", "ansi_light", "bold blue", "green", "red", "magenta", "blue"),
        added="green",
        removed="red",
    ),
    "mono": Theme("mono", "ansi_dark"),
}


def theme_for(name: str, environment: Mapping[str, str] = os.environ) -> Theme:
    """Return a theme by name, or for `auto` the one that the environment asks for."""
    if environment.get("NO_COLOR"):
        return THEMES["mono"]
    for known in NAMES:
        if name == known:
            return THEMES[known]
    return THEMES["light" if _is_light(environment.get("COLORFGBG", "")) else "dark"]


def _is_light(colours: str) -> bool:
    """Read `COLORFGBG`, as rxvt, konsole and others set it: `0;15` is black on white."""
    ground = colours.rpartition(";")[2]
    return ground in ("7", "15")
