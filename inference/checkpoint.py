"""The weight files of a checkpoint's folder: what is in them, and any part of it as a tensor.

Files are read in order and not mapped: what was read is in the memory of whoever asked for it, and
nowhere else. What a tensor is for is `sources.py`; whether it is quantized, `quantize.py`.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from inference.errors import ModelUnavailable
from inference.headers import Stored, read_header, weight_files

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""What weights that are not quantized may be."""


class Entry(Stored):
    """A tensor in a file, and its numbers."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """What its numbers are.

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
        self.entries = {
            name: Entry(**vars(stored))
            for file in self.files
            for name, stored in read_header(file).items()
        }

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """While a file is read; afterwards the system may forget what it holds of it."""
        yield
        fd = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


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
