"""Weights as they lie in memory, in one file: written once and whole, then mapped.

The file is a safetensors file that anything can read; the sums of its tensors are in its metadata.
They tell damage by a disk, not by a person: the file is private to its owner. What is in it is
`packing.py`'s business, where it lies `weight_cache.py`'s.
"""

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.errors import ModelUnavailable
from inference.whole_files import locked

Bytes = npt.NDArray[np.uint8]

SPARE_BYTES = 1 << 28
"""That much of a disk is left free."""
SUM_DIGITS = 16
TEMPORARY = ".tmp"
LOCK = "lock"
"""Of a folder: one file is written at a time, so that what else is unfinished was abandoned."""
WAIT_S = 3600.0
"""So long another process may take."""
NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int8: "I8",
    torch.uint8: "U8",
}


class DamagedWeights(Exception):
    """A file of weights is not what was written; it is written again."""


@dataclass(frozen=True)
class Slot:
    """A tensor of the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class WeightWriter:
    """A file that is being written, in any order; there is none until it is whole."""

    def __init__(self, stream: int, slots: Mapping[str, Slot], source: str) -> None:
        self._stream, self._source = stream, source
        # Whole words first: every tensor is then aligned as its numbers want it.
        self._slots = dict(sorted(slots.items(), key=lambda slot: -slot[1].dtype.itemsize))
        self._sums = dict.fromkeys(self._slots, 0)
        self._starts: dict[str, int] = {}
        self._left = set(self._slots)
        place = self.data_start = len(self._header())
        for name, slot in self._slots.items():
            self._starts[name] = place
            place += slot.nbytes

    def write(self, name: str, pieces: Iterable[Tensor]) -> None:
        """Put a tensor into its place; it comes in pieces of whole words, the last one excepted."""
        slot, place, total = self._slots[name], self._starts[name], 0
        for piece in pieces:
            assert piece.dtype == slot.dtype, name
            content = _bytes_of(piece)
            _write_all(self._stream, content, place)
            place, total = place + len(content), total + _sum(content)
        assert place - self._starts[name] == slot.nbytes, name
        self._sums[name] = total % (1 << 64)
        self._left.discard(name)

    def finish(self) -> None:
        """Write the header."""
        assert not self._left, f"{len(self._left)} tensors were not written"
        _write_all(self._stream, np.frombuffer(self._header(), dtype=np.uint8), 0)

    def _header(self) -> bytes:
        """Return the file's beginning, as long whatever the sums are."""
        sums = ",".join(f"{value:0{SUM_DIGITS}x}" for value in self._sums.values())
        about = {"format": "pt", "source": self._source, "sums": sums}
        header: dict[str, object] = {"__metadata__": about}
        place = 0
        for name, slot in self._slots.items():
            offsets = [place, place := place + slot.nbytes]
            header[name] = {
                "dtype": NAMES[slot.dtype], "shape": slot.shape, "data_offsets": offsets
            }  # fmt: skip
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(len(text) + 8) % 64)
        return len(text).to_bytes(8, "little") + text


@contextmanager
def writing(file: Path, slots: Mapping[str, Slot], source: str = "") -> Iterator[WeightWriter]:
    """Write a file that appears when the block ends well; otherwise nothing is left of it.

    Args:
        file: where.
        slots: what will be in it.
        source: what it was made of; it is kept in the metadata.

    Raises:
        ModelUnavailable: there is no room, or it cannot be written.
    """
    temporary = file.with_suffix(TEMPORARY)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(file.parent / LOCK, WAIT_S):
            for abandoned in file.parent.glob(f"*{TEMPORARY}"):
                abandoned.unlink()
            _check_room(file.parent, sum(slot.nbytes for slot in slots.values()))
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            stream = os.open(temporary, flags, 0o600)
            try:
                writer = WeightWriter(stream, slots, source)
                yield writer
                writer.finish()
                os.fsync(stream)
            except BaseException:
                temporary.unlink()
                raise
            finally:
                os.close(stream)
            temporary.rename(file)
    except OSError as error:
        raise ModelUnavailable(
            f"{file} cannot be written ({error.strerror}); make room there, or set "
            "XDG_CACHE_HOME to a folder on a larger disk."
        ) from error


def mapped(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, which the system reads when they are used.

    Each is read once here, to compare its sum: what is wrong shows now and not in an answer.

    Raises:
        DamagedWeights: they are not those that were written.
    """
    try:
        with safe_open(file, "pt") as stream:
            names = list(stream.offset_keys())
            sums = stream.metadata()["sums"].split(",")
            tensors = {name: stream.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedWeights(f"{file} cannot be read: {error}") from error
    for (name, tensor), expected in zip(tensors.items(), sums, strict=True):
        if f"{_sum(_bytes_of(tensor)):0{SUM_DIGITS}x}" != expected:
            raise DamagedWeights(f"{file} holds other numbers for {name} than were written")
    return tensors


def _check_room(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE_BYTES:
        raise ModelUnavailable(
            f"{folder} has {free / 1e9:.2f} GB free, the quantized weights need "
            f"{num_bytes / 1e9:.2f} GB and {SPARE_BYTES / 1e9:.2f} GB are left free; make room, "
            "or set XDG_CACHE_HOME to a folder on a larger disk."
        )


def _bytes_of(tensor: Tensor) -> Bytes:
    content: Bytes = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return content


def _sum(content: Bytes) -> int:
    """Return the sum of the content's words of 8 bytes, and of what is left, modulo 2^64."""
    num_words = len(content) // 8
    words = np.frombuffer(content.data[: 8 * num_words], dtype="<u8")
    rest = int.from_bytes(content[8 * num_words :].tobytes(), "little")
    return (int(words.sum(dtype=np.uint64)) + rest) % (1 << 64)


def _write_all(stream: int, content: Bytes, place: int) -> None:
    view = memoryview(content)  # type: ignore[arg-type]  # it is a buffer
    while view:
        num_written = os.pwrite(stream, view[: 1 << 26], place)
        view, place = view[num_written:], place + num_written
