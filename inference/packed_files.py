"""The files of packed weights in the user's cache folder: what each is of, and which are replaced.

Reads headers only, and loads no torch: a front end lists them. How one is written is
`weight_file.py`; when, `weight_cache.py`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inference.user_folders import cache_folder

SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 1 << 27


@dataclass(frozen=True)
class PackedFile:
    """One of them."""

    path: Path
    source: str
    """The checkpoint folder that it was made of; "" where it does not say."""
    nbytes: int

    @property
    def kind(self) -> str:
        """What the weights are kept in, in a word: `nf4`."""
        return self.path.stem.split("-")[-2]

    @property
    def is_orphan(self) -> bool:
        """Whether its checkpoint is not there, for ever or until its disk is there again."""
        return bool(self.source) and not Path(self.source).is_dir()


def weights_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where packed weights are kept."""
    return cache_folder(environment) / "weights"


def packed_files(folder: Path) -> tuple[PackedFile, ...]:
    """Return the files in a folder, by name; what cannot be read is left out."""
    return tuple(_readable(sorted(folder.glob(f"*-*-*{SUFFIX}"))))


def replaced_by(written: Path, source: Path) -> Iterator[PackedFile]:
    """Yield the files that one just written replaces.

    No other: a checkpoint that is not there may be on a disk that is, and packing takes long.

    Args:
        written: the new file.
        source: the checkpoint folder that it was made of; it has changed since older ones.
    """
    (new,) = _readable([written])
    for other in packed_files(written.parent):
        is_of_it = other.source == str(source.resolve()) and other.kind == new.kind
        if other.path != written and is_of_it:
            yield other


def _readable(paths: list[Path]) -> Iterator[PackedFile]:
    for path in paths:
        with suppress(OSError, ValueError, AttributeError):
            yield PackedFile(path, _source(path), path.stat().st_size)


def _source(path: Path) -> str:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError("no header")
        header = json.loads(stream.read(length))
    return str(header.get("__metadata__", {}).get("source", ""))
