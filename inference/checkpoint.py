"""The weight files of a checkpoint's folder: what is in them, and any part of it as a tensor.

Files are read in order and not mapped: what was read is in the memory of whoever asked for it, and
nowhere else. What a tensor is for is `sources.py`; whether it is quantized, `quantize.py`.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.errors import ModelUnavailable

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""What weights that are not quantized may be."""


@dataclass(frozen=True)
class Entry:
    """A tensor in a file."""

    name: str
    file: Path
    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]
    start: int
    """Where its bytes begin in the file."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """The same for torch.

        Raises:
            ModelUnavailable: no weight is of that kind.
        """
        if self.dtype not in DTYPES:
            raise ModelUnavailable(
                f"{self.file} holds {self.name} as {self.dtype}, which no weight of this family "
                f"is; take a checkpoint in {', '.join(DTYPES)}, or one that says how it was "
                "quantized."
            )
        return DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * self.torch_dtype.itemsize

    def read(self, rows: slice = slice(None)) -> Tensor:
        """Return the tensor, or some of its rows where it is seen as one long list of them.

        A row is what lies along the last dimension.

        Raises:
            ModelUnavailable: the file cannot be read.
        """
        columns = self.shape[-1] if self.shape else 1
        first, last, _ = rows.indices(math.prod(self.shape) // columns)
        row_bytes = columns * self.torch_dtype.itemsize
        content = torch.empty((last - first) * row_bytes, dtype=torch.uint8)
        _read_into(self.file, content, self.start + first * row_bytes)
        values = content.view(self.torch_dtype)
        return values.view(self.shape) if rows == slice(None) else values.view(-1, columns)


class Checkpoint:
    """A folder with weights, all files of which are there and whole."""

    def __init__(self, folder: Path) -> None:
        """Look at the files.

        Raises:
            ModelUnavailable: one is missing, cut off or damaged.
        """
        self.folder = folder
        self.files = weight_files(folder)
        self.entries = {name: e for file in self.files for name, e in read_header(file).items()}

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """While a file is read; afterwards the system may forget what it holds of it."""
        yield
        fd = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


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
    except (OSError, ValueError) as error:
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
    files = [folder / str(name) for name in sorted(set(weight_map.values()))]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise ModelUnavailable(
            f"{folder} lacks {missing[0]} ({len(missing)} of {len(files)} weight files are "
            "missing); download the rest."
        )
    return files


def read_header(file: Path) -> Mapping[str, Entry]:
    """Return the tensors of a safetensors file, whose size must be what they need.

    Raises:
        ModelUnavailable: it is damaged.
    """
    try:
        with file.open("rb") as stream:
            num_header_bytes = int.from_bytes(stream.read(8), "little")
            if num_header_bytes > MAX_HEADER_BYTES:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(stream.read(num_header_bytes))
        header.pop("__metadata__", None)
        start = 8 + num_header_bytes
        end = start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        entries = {name: _entry(name, file, entry, start) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelUnavailable(f"{file} is damaged ({error}); download it again.") from error
    if (actual := file.stat().st_size) != end:
        raise ModelUnavailable(
            f"{file} is {actual:,} bytes where its header says {end:,}; download it again."
        )
    return entries


def _entry(name: str, file: Path, described: Mapping[str, Any], start: int) -> Entry:
    first, last = described["data_offsets"]
    entry = Entry(name, file, described["dtype"], tuple(described["shape"]), start + first)
    if entry.dtype in DTYPES and entry.nbytes != last - first:
        raise ValueError(f"the bytes of {name} are not those of its shape")
    return entry


def _read_into(file: Path, content: Tensor, start: int) -> None:
    """Fill a tensor of bytes from a place in a file."""
    view = memoryview(content.numpy())  # type: ignore[arg-type]  # it is a buffer
    try:
        with file.open("rb", buffering=0) as stream:
            stream.seek(start)
            while len(view):
                num_read = stream.readinto(view)
                if not num_read:
                    raise ModelUnavailable(f"{file} ends too early; download it again.")
                view = view[num_read:]
    except OSError as error:
        raise ModelUnavailable(f"{file} cannot be read ({error.strerror}).") from error
