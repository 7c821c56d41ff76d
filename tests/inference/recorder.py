"""What a CUDA graph does, on a CPU: kernels are taken down once, and done again without Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASKS = {
    *("_local_scalar_dense", "nonzero", "nonzero_numpy", "is_nonzero", "masked_select", "equal"),
    *("_unique2", "unique_dim", "unique_consecutive", "bincount", "lift_fresh"),
}
"""Kernels that make the host wait for the device, or copy from it: these cannot be recorded."""
ASKING_METHODS = ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__")
"""The same of a tensor's methods: on a CPU some of them call no kernel."""


class Recorder(TorchDispatchMode):
    """Takes down every kernel that torch calls, with its own tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Callable[[], object]] = []

    def __enter__(self) -> "Recorder":
        """Begin; nobody may look into a tensor from now on."""
        self._methods = {name: getattr(Tensor, name) for name in ASKING_METHODS}
        for name in ASKING_METHODS:
            setattr(Tensor, name, partial(_asked, name))
        super().__enter__()
        return self

    def __exit__(self, *trouble: Any) -> None:
        """End."""
        super().__exit__(*trouble)
        for name, method in self._methods.items():
            setattr(Tensor, name, method)

    def __torch_dispatch__(
        self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a kernel and take it down."""
        if kernel.overloadpacket.__name__ in ASKS or _has_mask(kernel, args):
            raise RuntimeError(f"{kernel} asks the device")
        kwargs = kwargs or {}
        with _again_in(self):
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


@contextmanager
def _again_in(mode: TorchDispatchMode) -> Iterator[None]:
    """Be in a mode that is being asked, without what its own beginning does."""
    TorchDispatchMode.__enter__(mode)
    try:
        yield
    finally:
        TorchDispatchMode.__exit__(mode, None, None, None)


def _asked(name: str, *_arguments: Any) -> None:
    raise RuntimeError(f"{name} asks the device")


def _has_mask(kernel: Any, args: Any) -> bool:
    """Say whether a tensor is indexed by what is true: how much that is, only the device knows."""
    if kernel.overloadpacket.__name__ == "repeat_interleave":
        return kernel._overloadname == "Tensor"
    if kernel.overloadpacket.__name__ not in ("index", "index_put_", "index_put"):
        return False
    return any(part is not None and part.dtype is torch.bool for part in args[1])


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
