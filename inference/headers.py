"""What a checkpoint's folder says that it holds: its JSON files, its weight files, their headers.

No number is read and torch is not loaded: a planner looks at folders too. The numbers themselves
are `checkpoint.py`; whether such a checkpoint can be run is `runnable.py`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from inference.errors import ModelUnavailable

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
NUM_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""Of a number of weights that are not quantized."""
LFS_POINTER = b"version "
"""How a file begins that Git LFS puts in the place of another."""
MAX_KEPT = 64
"""Headers that are remembered; each is some hundred names."""


@dataclass(frozen=True)
class Stored:
    """A tensor in a file."""

    name: str
    file: Path
    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]
    start: int
    """Where its bytes begin in the file."""


def read_json(file: Path) -> dict[str, Any]:
    """Read a file that must hold a JSON object.

    Raises:
        ModelUnavailable: it is missing or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnavailable(
            f"{file.parent} has no {file.name}; give the folder of a checkpoint."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{file} cannot be read ({error}); download it again.") from error
    if not isinstance(content, dict):
        raise ModelUnavailable(f"{file} holds no JSON object; download it again.")
    return content


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files, all of which are there.

    Raises:
        ModelUnavailable: they are not.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        file = folder / "model.safetensors"
        if not file.exists():
            raise ModelUnavailable(
                f"{folder} has no model.safetensors; give a folder with *.safetensors weights."
            )
        return [file]
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelUnavailable(f"{index} lists no weights; download it again.")
    names = sorted({str(name) for name in weight_map.values()})
    if any(Path(name).name != name for name in names):
        raise ModelUnavailable(f"{index} names a file of another folder; download it again.")
    files = [folder / name for name in names]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise ModelUnavailable(
            f"{folder} lacks {missing[0]} ({len(missing)} of {len(files)} weight files are "
            "missing); download the rest."
        )
    return files


def read_header(file: Path) -> Mapping[str, Stored]:
    """Return the tensors of a safetensors file, whose size must be what they need.

    It is read once for as long as it stays as it is: a plan asks several times.

    Raises:
        ModelUnavailable: it is damaged.
    """
    try:
        facts = file.stat()
    except OSError as error:
        raise ModelUnavailable(f"{file} cannot be read ({error}); download it again.") from error
    return _read_header(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(MAX_KEPT)
def _read_header(file: Path, num_bytes: int, _time_ns: int) -> Mapping[str, Stored]:
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            if start == LFS_POINTER:
                raise ValueError("it only points to Git LFS, where `git lfs pull` fetches it")
            num_header_bytes = int.from_bytes(start, "little")
            if num_header_bytes > MAX_HEADER_BYTES:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(stream.read(num_header_bytes))
        header.pop("__metadata__", None)
        first = 8 + num_header_bytes
        end = first + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        entries = {name: _stored(name, file, entry, first) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelUnavailable(f"{file} is damaged ({error}); download it again.") from error
    if num_bytes != end:
        raise ModelUnavailable(
            f"{file} is {num_bytes:,} bytes where its header says {end:,}; download it again."
        )
    return MappingProxyType(entries)


def _stored(name: str, file: Path, described: Mapping[str, Any], start: int) -> Stored:
    first, last = described["data_offsets"]
    stored = Stored(name, file, described["dtype"], tuple(described["shape"]), start + first)
    size = NUM_BYTES.get(stored.dtype)
    if size is not None and math.prod(stored.shape) * size != last - first:
        raise ValueError(f"the bytes of {name} are not those of its shape")
    return stored
