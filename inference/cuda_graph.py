"""One function on a CUDA device, recorded once and then launched as a whole.

A graph is the kernels that the function launched, with the addresses that they read and wrote; what
Python did between them is not in it. So the function may ask the device nothing, and whatever
changes from call to call has to lie in tensors that stay where they are. Nothing here knows what is
computed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

Result = TypeVar("Result")


class Recorder:
    """Where the graphs of a device are recorded: they share a stream and its memory.

    What one of them returned is overwritten by the others.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._memory: Any = torch.cuda.graph_pool_handle()

    def record(self, function: Callable[[], Result]) -> "CudaGraph[Result]":
        """Record a function; it is called several times for that, so it must not mind.

        Raises:
            RuntimeError: it does something that cannot be recorded.
        """
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            function()  # kernels are compiled, and libraries make their workspaces
            with _nothing_asked():
                function()
        here.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads move states to RAM meanwhile: what they ask of the device is theirs. The
        # outer context is for a recording that fails: the inner one then stays on its stream.
        with (
            torch.cuda.stream(here),
            torch.cuda.graph(graph, self._memory, self._stream, capture_error_mode="thread_local"),
        ):
            result = function()
        return CudaGraph(graph, result)


class CudaGraph(Generic[Result]):
    """A recorded function."""

    def __init__(self, graph: torch.cuda.CUDAGraph, result: Result) -> None:
        self._graph, self._result = graph, result

    def __call__(self) -> Result:
        """Launch it; what it returned when it was recorded is overwritten, and returned."""
        self._graph.replay()
        return self._result


@contextmanager
def _nothing_asked() -> Iterator[None]:
    """Make it an error to wait for the device: found in time, it costs no broken recording."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
