"""One node of the prefix tree as a safetensors file: what is where in it, and whether it is whole.

Any reader of safetensors can open such a file; we read it ourselves, because what was verified
must be what is used, and that takes one opening for both. Names, folders and locks are `store.py`.

A file is its header's length, the header, the tensors. The header begins with its own checksum,
counted with eight zeros in its place, and then the format's number; every later format keeps this
much. Each tensor's checksum stands in the header, so that nothing is left uncovered and a part can
be read alone. CRC-32, because it runs at 3 GB/s a core and the enemy is a disk, not a person.
"""

import json
import mmap
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.errors import DamagedState
from inference.identity import FORMAT
from inference.packed import ROOT, LinearStates, Packed, line_key
from inference.pictures import Shift

MAX_HEADER_BYTES = 1 << 24
FIRST_READ_BYTES = 1 << 15
OPENING = re.compile(rb'\{"__metadata__":\{"checksum":"([0-9a-f]{8})","format":"(\d{1,9})"')
CHECKSUM = slice(29, 37)
NO_CHECKSUM = b"00000000"
DTYPES = {
    "I32": torch.int32,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "U8": torch.uint8,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class NewerFormat(DamagedState):
    """A later version of this program wrote it; it is left for that version."""


@dataclass(frozen=True)
class Slot:
    """Where a tensor lies in the file, and its checksum."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int
    checksum: int


@dataclass(frozen=True)
class Head:
    """All of a file but its tensors."""

    identity: str
    key: str
    parent: str
    num_before: int
    linear: tuple[tuple[int, int], ...] | None
    """Conv and recurrent states that each linear layer declares; None: kept without states."""
    shifts: tuple[Shift, ...]
    """Of the pictures of the whole line."""
    slots: dict[str, Slot]
    nbytes: int
    """Of the whole file."""

    @property
    def num_tokens(self) -> int:
        """Length of the whole line."""
        return self.num_before + self.slots["edge"].shape[0]

    @property
    def has_state(self) -> bool:
        """Whether a reply can go on from here."""
        return self.linear is not None

    @property
    def state_nbytes(self) -> int:
        """What dropping its states and logits would free."""
        kept = ("edge", "kv")
        return sum(slot.stop - slot.start for name, slot in self.slots.items() if name not in kept)


def compose(packed: Packed, identity: str) -> list[memoryview]:
    """Return the bytes of a file, in order; the tensors are not copied if they are contiguous."""
    tensors = _in_file_order(packed)
    parts = [_bytes_of(tensor) for tensor in tensors.values()]
    stops = [0]
    for part in parts:
        stops.append(stops[-1] + part.nbytes)
    layout = packed.linear and [[len(one.conv), len(one.recurrent)] for one in packed.linear]
    header: dict[str, object] = {
        "__metadata__": {
            "checksum": NO_CHECKSUM.decode(),
            "format": str(FORMAT),
            "identity": identity,
            "key": packed.key,
            "parent": packed.parent,
            "num_before": str(packed.num_before),
            "linear": json.dumps(layout, separators=(",", ":")),
            "shifts": json.dumps(packed.shifts, separators=(",", ":")),
            "checksums": " ".join(f"{zlib.crc32(part):08x}" for part in parts),
        }
    }
    for (name, tensor), offsets in zip(tensors.items(), pairwise(stops), strict=True):
        dtype, shape = DTYPE_NAMES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}
    text = bytearray(json.dumps(header, separators=(",", ":")).encode())
    text += b" " * (-len(text) % 8)  # the tensors begin where any of their types may
    text[CHECKSUM] = b"%08x" % zlib.crc32(text)
    return [memoryview(len(text).to_bytes(8, "little")), memoryview(text), *parts]


def read_head(fd: int, path: Path) -> Head:
    """Read and verify all but the tensors of an open file, which is what its `path` says.

    Raises:
        DamagedState: it is not whole, not ours, another node or of another model.
        NewerFormat: a later version wrote it.
        OSError: the disk does not give it.
    """
    name = path.stem[:8]
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise DamagedState(f"the stored state {name} is no file")
    first = os.pread(fd, FIRST_READ_BYTES, 0)
    num_bytes = int.from_bytes(first[:8], "little")
    if len(first) < 8 or num_bytes > min(status.st_size - 8, MAX_HEADER_BYTES):
        raise DamagedState(f"the stored state {name} is cut short or damaged")
    text = bytearray(first[8 : 8 + num_bytes])
    if len(text) < num_bytes:
        text += os.pread(fd, num_bytes - len(text), 8 + len(text))
    opening = OPENING.match(text)
    if opening is None:
        raise DamagedState(f"the stored state {name} is no file of this program, or is damaged")
    checksum, number = int(opening[1], 16), int(opening[2])
    text[CHECKSUM] = NO_CHECKSUM
    if zlib.crc32(text) != checksum:
        raise DamagedState(f"the stored state {name} is damaged")
    if number > FORMAT:
        raise NewerFormat(f"the stored state {name} is of a newer format")
    head = _parse(json.loads(text), 8 + num_bytes, status.st_size)
    if max(slot.stop for slot in head.slots.values()) != status.st_size:
        raise DamagedState(f"the stored state {name} is cut short")
    if head.identity != path.parent.name:
        raise DamagedState(f"the stored state {name} belongs to another model")
    if head.key != path.stem:
        raise DamagedState(f"the stored state {name} is that of other tokens")
    return head


def read_edge(fd: int, head: Head) -> tuple[int, ...]:
    """Read the tokens alone.

    Raises:
        DamagedState: they are not those that were written.
    """
    slot = head.slots["edge"]
    content = os.pread(fd, slot.stop - slot.start, slot.start)
    if len(content) != slot.stop - slot.start or zlib.crc32(content) != slot.checksum:
        raise DamagedState(f"the stored state {head.key[:8]} is damaged")
    return tuple(memoryview(content).cast("i"))


def read_node(fd: int, head: Head, *, state: bool = True) -> Packed:
    """Map the tensors into memory and verify them; without `state`, tokens and KV only.

    They look into the file, which nobody changes in place; copy what is to be kept for long.

    Raises:
        DamagedState: some are not those that were written.
        OSError: the file cannot be mapped.
    """
    try:
        content = mmap.mmap(fd, head.nbytes, access=mmap.ACCESS_COPY)
    except ValueError as error:  # it has shrunk since its head was read
        raise DamagedState(f"the stored state {head.key[:8]} is cut short") from error
    content.madvise(mmap.MADV_WILLNEED)

    def tensor(name: str) -> Tensor | None:
        slot = head.slots.get(name)
        return None if slot is None else _view(content, slot, head.key[:8])

    layers = enumerate(head.linear or ()) if state else ()
    linear = tuple(
        LinearStates(
            conv=tuple(tensor(f"linear.{i}.conv.{j}") for j in range(num_conv)),
            recurrent=tuple(tensor(f"linear.{i}.recurrent.{j}") for j in range(num_recurrent)),
        )
        for i, (num_conv, num_recurrent) in layers
    )
    edge = read_edge(fd, head)
    if head.parent == ROOT and line_key(edge) != head.key:
        raise DamagedState(f"the stored state {head.key[:8]} holds other tokens than its name says")
    kv = tensor("kv")
    assert kv is not None
    return Packed(
        key=head.key,
        parent=head.parent,
        num_before=head.num_before,
        edge=edge,
        kv=kv,
        linear=linear if state and head.has_state else None,
        logits=tensor("logits") if state else None,
        shifts=head.shifts,
    )


def _in_file_order(packed: Packed) -> dict[str, Tensor]:
    """The tensors by name: tokens first, then wide types before narrow, so that all are aligned."""
    named = {"kv": packed.kv}
    for i, layer in enumerate(packed.linear or ()):
        named |= {f"linear.{i}.{name}": state for name, state in _states(layer)}
    if packed.logits is not None:
        named["logits"] = packed.logits
    edge = {"edge": torch.tensor(packed.edge, dtype=torch.int32)}
    return edge | dict(sorted(named.items(), key=lambda item: -item[1].element_size()))


def _states(layer: LinearStates) -> Iterator[tuple[str, Tensor]]:
    for kind, states in (("conv", layer.conv), ("recurrent", layer.recurrent)):
        for i, state in enumerate(states):
            if state is not None:
                yield f"{kind}.{i}", state


def _bytes_of(tensor: Tensor) -> memoryview:
    if not tensor.numel():
        return memoryview(b"")
    flat = tensor.detach().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]  # it is a buffer


def _parse(header: dict[str, dict[str, Any]], data_start: int, nbytes: int) -> Head:
    """Make a `Head` of a header whose checksum was right, so that its form is known."""
    words: dict[str, str] = header.pop("__metadata__")
    checksums = words["checksums"].split()
    slots = {}
    for (name, entry), checksum in zip(header.items(), checksums, strict=True):
        shape, (start, stop) = entry["shape"], entry["data_offsets"]
        slots[name] = Slot(
            dtype=DTYPES[entry["dtype"]],
            shape=tuple(shape),
            start=data_start + start,
            stop=data_start + stop,
            checksum=int(checksum, 16),
        )
    layout = json.loads(words["linear"])
    return Head(
        identity=words["identity"],
        key=words["key"],
        parent=words["parent"],
        num_before=int(words["num_before"]),
        linear=None if layout is None else tuple((conv, rec) for conv, rec in layout),
        shifts=tuple((end, shift) for end, shift in json.loads(words["shifts"])),
        slots=slots,
        nbytes=nbytes,
    )


def _view(content: mmap.mmap, slot: Slot, name: str) -> Tensor:
    """Verify a tensor's bytes and return it, without a copy."""
    if slot.start == slot.stop:
        return torch.empty(slot.shape, dtype=slot.dtype)
    if zlib.crc32(memoryview(content)[slot.start : slot.stop]) != slot.checksum:
        raise DamagedState(f"the stored state {name} is damaged")
    count = (slot.stop - slot.start) // slot.dtype.itemsize
    flat = torch.frombuffer(content, dtype=slot.dtype, count=count, offset=slot.start)
    return flat.reshape(slot.shape)
