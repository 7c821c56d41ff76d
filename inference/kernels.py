"""The loops of `native/` from Python: compiled once for this processor, then called on tensors.

torch has no kernel that multiplies a few rows by int8 or NF4 at the speed of memory
(docs/decisions/0010-kernels-in-c.md), so that these are compiled with the compiler of the machine
when a model is first opened, and kept in the user's cache folder. Where there is none, everything
is computed as before, later. They work in float32, on tensors of a CPU; which layers they stand
for is `decode_step.py` and `stack.py`.
"""

import ctypes
import hashlib
import logging
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference import nf4
from inference.user_folders import cache_folder

LOG = logging.getLogger(__name__)
SOURCES = Path(__file__).with_name("native")
COMPILERS = ("gcc", "cc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fopenmp", "-fPIC")
NEEDED = {"avx2", "fma"}
"""What the processor must have."""
SHARED = Path(sys.prefix) / "share" / "qwen-agent" / "kernels"
"""Where the set-up of an environment puts them, for all: `python -m inference.kernels`."""
COMPILE_TIMEOUT_S = 120.0
CPU = torch.device("cpu")
KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
NF4 = 3
"""Numbers of `simd.h`."""


class Matrix(Structure):
    """A matrix as `matrices.c` has it."""

    _fields_ = [
        *((name, c_void_p) for name in ("numbers", "scale", "nested", "offset")),
        ("kind", c_int64),
        ("rows", c_int64),
    ]  # fmt: skip


def _sizes(name: str, *fields: str) -> type[Structure]:
    return type(name, (Structure,), {"_fields_": [(field, c_int64) for field in fields]})


MultiplySizes = _sizes("MultiplySizes", "num_matrices", "num", "columns", "is_gated", "adds")
DeltaSizes = _sizes("DeltaSizes", "tokens", "key_heads", "heads", "key_dim", "value_dim", "width")
NormSizes = _sizes("NormSizes", "tokens", "heads", "dim", "token_apart", "head_apart", "turned")
AttendSizes = _sizes(
    "AttendSizes",
    "kind", "kv_heads", "rows", "dim", "tokens", "head_apart", "scale_head_apart", "parts",
)  # fmt: skip
MAX_HEAD_DIM = 512
PART_TOKENS, MAX_PARTS = 256, 8
"""Keys that are worth a thread's while, and in how many parts they are read at most."""


@dataclass(frozen=True)
class Matrices:
    """Matrices that the same rows are multiplied by, one beside the other."""

    structs: ctypes.Array[Matrix]
    num_rows: tuple[int, ...]
    columns: int
    held: tuple[Tensor, ...]
    """What the addresses in `structs` are of."""

    @cached_property
    def num_products(self) -> int:
        """How many numbers a row becomes."""
        return sum(self.num_rows)


@dataclass(frozen=True)
class Norm:
    """A root mean square norm."""

    weight: Tensor
    """float32 [D]."""
    eps: float
    """Added under the root."""


def plain_matrix(weight: Tensor) -> tuple[Matrix, tuple[Tensor, ...]]:
    """Return a float32, bfloat16 or int8 matrix [rows, columns] without scales."""
    matrix = Matrix(numbers=weight.data_ptr(), kind=KINDS[weight.dtype], rows=len(weight))
    return matrix, (weight,)


class Kernels:
    """The functions of a compiled library."""

    def __init__(self, library: ctypes.CDLL, notice: str = "") -> None:
        self.notice = notice
        """What a user may want to know of how it came about."""
        self._code, self._byte_scales = nf4.code(CPU), nf4.scale_code(CPU)
        self._multiply = _function(
            library.multiply, POINTER(MultiplySizes), POINTER(Matrix), c_void_p, c_void_p, c_float,
            *(c_void_p,) * 3,
        )  # fmt: skip
        self._delta = _function(library.delta, POINTER(DeltaSizes), *(c_void_p,) * 9)
        self._norm = _function(
            library.norm, POINTER(NormSizes), c_void_p, c_void_p, c_float, c_void_p, c_int64,
            *(c_void_p,) * 3,
        )  # fmt: skip
        self._attend = _function(library.attend, POINTER(AttendSizes), *(c_void_p,) * 8)

    def multiply(
        self,
        matrices: Matrices,
        x: Tensor,
        norm: Norm | None = None,
        is_gated: bool = False,
        onto: Tensor | None = None,
    ) -> Tensor:
        """Multiply rows by each of some matrices.

        Args:
            matrices: of the same number of columns.
            x: float32 [T, columns]; or, where it is gated, [T, 2 * columns], and silu of the first
                half times the second half is multiplied.
            norm: what the rows are brought to before.
            is_gated: see `x`.
            onto: float32 [T, sum of their rows], to which the products are added, in place.

        Returns:
            [T, sum of their rows].
        """
        x = x.contiguous()
        num = len(x)
        out = torch.empty(num, matrices.num_products) if onto is None else onto
        self._multiply(
            MultiplySizes(
                len(matrices.num_rows), num, matrices.columns, is_gated, onto is not None
            ),
            matrices.structs,
            x.data_ptr(),
            None if norm is None else norm.weight.data_ptr(),
            0.0 if norm is None else norm.eps,
            self._code.data_ptr(),
            self._byte_scales.data_ptr(),
            out.data_ptr(),
        )
        return out

    def delta(
        self,
        sizes: Structure,
        mixed: Tensor,
        conv_weight: Tensor,
        log_decay: Tensor,
        beta: Tensor,
        conv: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Convolve and run the gated delta rule, all float32 and contiguous.

        Args:
            sizes: `DeltaSizes`, T tokens among them.
            mixed: [T, C]; what the projection gave.
            conv_weight: [C, K].
            log_decay, beta: [T, H].
            conv: [C, K - 1], the inputs before; left as it was, like
            state: [H, Dk, Dv].

        Returns:
            Outputs [T, H, Dv], the inputs of after and the state of after.
        """
        after, new_state = torch.empty_like(conv), torch.empty_like(state)
        out = torch.empty(len(mixed), state.shape[0], state.shape[2])
        tensors = (mixed, conv, conv_weight, log_decay, beta, state, after, new_state, out)
        assert all(tensor.is_contiguous() for tensor in tensors)
        self._delta(sizes, *(tensor.data_ptr() for tensor in tensors))
        return out, after, new_state

    def norm(
        self,
        x: Tensor,
        norm: Norm,
        gate: Tensor | None = None,
        angles: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return `x`, [T, H, D] with D side by side, brought to a norm over D.

        Args:
            x: float32.
            norm: its weight is [D].
            gate: [T, H, D]; its silu is a factor. Heads are as far apart as in `x`.
            angles: cosines and sines [T, R / 2]; the first R of each head are turned by them.
        """
        num_tokens, num_heads, dim = x.shape
        turned = 0 if angles is None else 2 * angles[0].shape[1]
        sizes = NormSizes(num_tokens, num_heads, dim, x.stride(0), x.stride(1), turned)
        out = torch.empty(num_tokens, num_heads, dim)
        self._norm(
            sizes,
            x.data_ptr(),
            norm.weight.data_ptr(),
            norm.eps,
            None if gate is None else gate.data_ptr(),
            0 if gate is None else gate.stride(0),
            None if angles is None else angles[0].data_ptr(),
            None if angles is None else angles[1].data_ptr(),
            out.data_ptr(),
        )
        return out

    def attend(
        self, query: Tensor, stored: Sequence[Tensor], seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let queries read keys and values that lie side by side, as they are stored.

        Args:
            query: float32 [Hkv, R, D], R queries of each key head, times what scores are scaled by.
            stored: [2, Hkv, N, D], and for int8 its scales [2, Hkv, N, 1] (`kv_codec.py`).
            seen: int64 [R], how many of the N keys each query may see.

        Returns:
            Outputs [P, Hkv, R, D] of P parts of the keys, and the logarithms of their sums of
            exponentials [P, Hkv, R], -inf where nothing is seen.
        """
        numbers, scales = stored[0], stored[-1]
        num_heads, num_rows, dim = query.shape
        num_tokens = numbers.shape[2]
        parts = min(MAX_PARTS, -(-num_tokens // PART_TOKENS))
        sizes = AttendSizes(
            KINDS[numbers.dtype], num_heads, num_rows, dim, num_tokens,
            numbers.stride(1), scales.stride(1), parts,
        )  # fmt: skip
        out = torch.empty(parts, num_heads, num_rows, dim)
        weights = torch.empty(parts, num_heads, num_rows)
        read = (numbers[0], numbers[1], scales[0], scales[1], query, seen, out, weights)
        self._attend(sizes, *(tensor.data_ptr() for tensor in read))
        return out, weights


def _function(function: Any, *types: Any) -> Callable[..., None]:
    function.argtypes, function.restype = types, None
    typed: Callable[..., None] = function
    return typed


@cache
def kernels() -> Kernels | None:
    """Return the kernels of this process; None where there can be none. The log says why."""
    lacking = NEEDED - _features()
    if lacking:
        LOG.info("no kernels: the processor lacks %s", ", ".join(sorted(lacking)))
        return None
    own = cache_folder() / "kernels"
    try:
        return _opened(SHARED if _file(SHARED).exists() else own)
    except (OSError, subprocess.SubprocessError) as error:
        LOG.warning("no kernels, a reply is written more slowly: %s", error)
        return None


def _opened(folder: Path) -> Kernels:
    """Open the library of this processor and these sources; compile it if it is not there.

    Raises:
        OSError: no compiler, no place for the library, or it cannot be opened.
        SubprocessError: the compiler failed.
    """
    file = _file(folder)
    notice = ""
    if not file.exists():
        compiler = _compiler()
        if compiler is None:
            raise OSError(f"there is no C compiler; install one of {', '.join(COMPILERS)}")
        started = time.perf_counter()
        _compile(compiler, file)
        notice = (
            f"Loops for this processor were compiled in {time.perf_counter() - started:.1f} s; "
            f"they are kept in {folder}."
        )
    return Kernels(ctypes.CDLL(str(file)), notice)


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def _file(folder: Path) -> Path:
    return folder / f"{_key()}.so"


def _compile(compiler: str, file: Path) -> None:
    """Make the library; two processes may do so at once."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        made = Path(name) / file.name
        objects = []
        for source in sorted(SOURCES.glob("*.c")):
            objects.append(str(made.with_name(f"{source.stem}.o")))
            _run(compiler, *FLAGS, "-c", str(source), "-o", objects[-1])
        # Not linked to OpenMP: torch has it open, and a second one would have threads of its own.
        _run(compiler, "-shared", *objects, "-o", str(made), "-lm")
        made.replace(file)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
    if done.returncode:
        raise OSError(f"{command[0]} failed: {done.stderr.strip()[:500]}")


def _key() -> str:
    """Return the name of a library: of all that it is made of and for."""
    digest = hashlib.sha256(" ".join((*FLAGS, platform.machine())).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    digest.update(" ".join(sorted(_features())).encode())
    return digest.hexdigest()[:16]


@cache
def _features() -> frozenset[str]:
    """What the processor can do, as Linux names it; nothing where that cannot be asked."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


def main() -> int:
    """Compile them for all users of this environment."""
    if _features() >= NEEDED and _compiler() is not None:
        print(_opened(SHARED).notice)
    return 0


if __name__ == "__main__":
    sys.exit(main())
