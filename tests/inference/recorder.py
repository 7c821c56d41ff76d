"""What a CUDA graph does, on a CPU: kernels are taken down once, and done again without Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASKS = {"_local_scalar_dense", "nonzero", "is_nonzero", "item", "masked_select", "equal"}
"""Kernels that make the host wait for the device: these cannot be recorded."""


class Recorder(TorchDispatchMode):
    """Takes down every kernel that torch calls, with its own tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Callable[[], object]] = []

    def __torch_dispatch__(
        self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a kernel and take it down."""
        if kernel.overloadpacket.__name__ in ASKS:
            raise RuntimeError(f"{kernel} asks the device")
        kwargs = kwargs or {}
        with self:
            result = kernel.decompose(*args, **kwargs)
        if result is not NotImplemented:  # it was made of others, which have been taken down
            return result
        result = kernel(*args, **kwargs)
        self.kernels.append(_again(kernel, args, kwargs, result))
        return result

    def launch(self, kernel: Callable[[], Any]) -> Any:
        """Do the same with a kernel that is not torch's."""
        with torch._C._DisableTorchDispatch():
            result = kernel()
        self.kernels.append(lambda: _copy(kernel(), result))
        return result

    def replay(self, result: Any) -> Any:
        """Call all kernels again; return what came of them the first time, overwritten."""
        for kernel in self.kernels:
            kernel()
        return result


def _again(kernel: Any, args: Any, kwargs: Any, result: Any) -> Callable[[], object]:
    if kernel._schema.is_mutable:
        return lambda: kernel(*args, **kwargs)
    return lambda: _copy(kernel(*args, **kwargs), result)


def _copy(new: Any, old: Any) -> None:
    """Write new tensors where the old ones are; views of what is there already are left."""
    for source, target in zip(tree_leaves(new), tree_leaves(old), strict=True):
        if isinstance(source, Tensor) and source.data_ptr() != target.data_ptr():
            assert source.shape == target.shape
            target.copy_(source)
