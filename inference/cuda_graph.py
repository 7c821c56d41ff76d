"""One function on a CUDA device, recorded once and then launched as a whole.

A graph is the kernels that the function launched, with the addresses that they read and wrote; what
Python did between them is not in it. So the function may ask the device nothing, and whatever
changes from call to call has to lie in tensors that stay where they are. Nothing here knows what is
computed.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

NUM_WARM_UPS = 2
"""Calls before the recording: kernels are compiled and libraries make their workspaces then."""

Result = TypeVar("Result")


class CudaGraph(Generic[Result]):
    """A recorded function."""

    def __init__(self, function: Callable[[], Result], device: torch.device, memory: Any) -> None:
        """Record it; it is called several times for that, so it must not mind.

        Args:
            function: what is recorded.
            device: where it computes.
            memory: of `torch.cuda.graph_pool_handle()`; graphs that share it overwrite what the
                others returned.

        Raises:
            RuntimeError: it does something that cannot be recorded.
        """
        apart = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        apart.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(apart):
            for _ in range(NUM_WARM_UPS):
                function()
        torch.cuda.current_stream(device).wait_stream(apart)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads move states to RAM meanwhile: what they ask of the device is theirs.
        with torch.cuda.graph(self._graph, memory, apart, capture_error_mode="thread_local"):
            self._result = function()

    def __call__(self) -> Result:
        """Launch it; what it returned when it was recorded is overwritten, and returned."""
        self._graph.replay()
        return self._result
