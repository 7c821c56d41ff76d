"""Pictures in a line of tokens: how many places one takes, and which ids stand there.

A model sees a picture as a grid of patches, each at a place of its own in the line. The ids at
these places are made from the picture's digest, so lines are the same only where their pictures
are, and a state is found by them as by words. Positions count otherwise there: a grid takes as
many as its longer side (M-RoPE, Qwen2-VL, arXiv:2409.12191). No patch is computed here: that is
`vision.py`. No torch.
"""

import hashlib
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from inference.errors import ModelUnavailable, PictureUnreadable
from inference.messages import Picture

FIRST_ID = 2**30
"""Ids from here on stand for places of pictures; no vocabulary is that large."""

MAX_TOKENS = 2048
"""A larger picture is made smaller: a page of 1920 x 1080 is just readable, and is read at once."""

MAX_FILE_BYTES = 20_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What is decoded, whatever a file is called; Pillow knows more, and runs Ghostscript for one."""
PREPROCESSOR = "preprocessor_config.json"
MAX_ASPECT = 200
"""The family's own limit; what is longer is no picture of anything."""

Shift = tuple[int, int]
"""The length of a line where a picture ends, and how far positions after it are moved."""


@dataclass(frozen=True)
class Place:
    """A picture where it stands in a line."""

    start: int
    """The number of its first token in the line."""
    picture: Picture
    num_rows: int
    num_columns: int

    @property
    def end(self) -> int:
        """The number of the first token after it."""
        return self.start + self.num_rows * self.num_columns

    @property
    def shift(self) -> Shift:
        """What it does to the positions after it."""
        return self.end, max(self.num_rows, self.num_columns) - self.num_rows * self.num_columns

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """What stands in the line: 30 bits a token of what the picture is and how it is cut."""
        name = f"{self.picture.digest} {self.num_rows} x {self.num_columns}"
        num_tokens = self.num_rows * self.num_columns
        bits = memoryview(hashlib.shake_128(name.encode()).digest(4 * num_tokens)).cast("I")
        return tuple(FIRST_ID + number % FIRST_ID for number in bits)


@dataclass(frozen=True)
class Sight:
    """How a checkpoint cuts pictures; all that a front end must know to count their tokens."""

    side: int
    """Pixels of a square that becomes one token."""
    min_pixels: int
    max_pixels: int

    def __post_init__(self) -> None:
        assert self.side > 0 <= self.min_pixels <= self.max_pixels

    def grid(self, picture: Picture) -> tuple[int, int]:
        """Return the rows and columns of tokens of a picture that is scaled to fit the limits."""
        side, area = self.side, picture.width * picture.height
        rows, columns = (max(1, round(n / side)) for n in (picture.height, picture.width))
        if rows * columns * side**2 > self.max_pixels:
            scale = math.sqrt(self.max_pixels / area) / side
            rows, columns = (max(1, math.floor(n * scale)) for n in (picture.height, picture.width))
        elif rows * columns * side**2 < self.min_pixels:
            scale = math.sqrt(self.min_pixels / area) / side
            rows, columns = (math.ceil(n * scale) for n in (picture.height, picture.width))
        return rows, columns

    def place(self, picture: Picture, start: int) -> Place:
        """Put a picture where the line is `start` tokens long."""
        return Place(start, picture, *self.grid(picture))


def past(length: int, places: Sequence[Place]) -> int:
    """Return a length of the line, or the end of the picture that it lies inside."""
    return next((place.end for place in places if place.start < length < place.end), length)


FAMILY = Sight(32, 64 * 32**2, MAX_TOKENS * 32**2)
"""How Qwen3.5 to 3.8 cut pictures."""


def num_tokens_of(picture: Picture) -> int:
    """Return how many tokens a picture is, about: as the family cuts it."""
    rows, columns = FAMILY.grid(picture)
    return rows * columns


def sight_of(config: Mapping[str, Any], folder: Path) -> Sight | None:
    """Read how a checkpoint cuts pictures; None of one that sees none.

    Raises:
        ModelUnavailable: its preprocessor_config.json says something that is no size.
    """
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return None
    side = int(vision.get("patch_size", 16)) * int(vision.get("spatial_merge_size", 2))
    size = preprocessor(folder).get("size") or {}
    try:
        ceiling = min(int(size.get("longest_edge", MAX_TOKENS * side**2)), MAX_TOKENS * side**2)
        floor = min(int(size.get("shortest_edge", 64 * side**2)), ceiling)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelUnavailable(
            f"{folder / PREPROCESSOR} holds a size that is none ({error}); download it again."
        ) from error
    return Sight(side, floor, ceiling)


def preprocessor(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint says of how it cuts pictures; nothing where there is none."""
    try:
        content = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_picture(path: Path) -> Picture:
    """Look at a file that is to be shown to the model; it is decoded once, to see that it can be.

    Raises:
        PictureUnreadable: it cannot be read, is damaged, no picture of a known kind, or too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise PictureUnreadable(f"{path} is no file; give a PNG, JPEG, WebP or GIF.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PictureUnreadable(
                f"{path} is larger than {MAX_FILE_BYTES // 1_000_000} MB; make the picture smaller."
            )
        content = path.read_bytes()
    except OSError as error:
        raise PictureUnreadable(f"{path} cannot be read ({error.strerror}).") from error
    width, height = _size_of(content, path)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureUnreadable(f"{path} is {width} x {height} pixels: too long a strip to see.")
    digest = hashlib.sha256(content).hexdigest()
    return Picture(str(path.resolve()), digest, width, height, path.name)


def content_of(picture: Picture) -> bytes:
    """Return the bytes of a picture's file, which must be the one that was shown.

    Raises:
        PictureUnreadable: it has changed since, or is gone.
    """
    try:
        content = Path(picture.path).read_bytes()
    except OSError as error:
        raise PictureUnreadable(
            f"{picture.path} cannot be read any more ({error.strerror}); put it back."
        ) from error
    if hashlib.sha256(content).hexdigest() != picture.digest:
        raise PictureUnreadable(f"{picture.path} is not the picture it was; show it again.")
    return content


def _size_of(content: bytes, path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.load()
                return image.size
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureUnreadable(f"{path} has far too many pixels; make it smaller.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureUnreadable(
            f"{path} is no picture that can be read here; give a PNG, JPEG, WebP or GIF."
        ) from error
