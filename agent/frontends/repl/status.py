"""The line below the input: which model, how full its window is, what runs without asking."""

from typing import TYPE_CHECKING

from agent.frontends.repl.text import count_words, join_ends, one_line
from inference.messages import Memory

GIB, MIB = 2**30, 2**20

if TYPE_CHECKING:
    from agent.status import Status


def status_line(status: "Status", memory: Memory | None, width: int) -> str:
    """Say where the talk stands, as much of it as fits: what matters least is left out first."""
    left = [status.mode, one_line(status.model, 28)]
    if status.branch:
        left.append(one_line(status.branch, 24))
    left.append("no sandbox" if status.sandbox == "direct" else f"sandbox {status.sandbox}")
    if status.plan:
        left.append(one_line(status.plan, 24))
    right = [_window(status)] if status.context_tokens else []
    if not status.is_loaded:
        right.append("no model" if status.fault else "loading")
    if status.num_reused:
        right.append(f"{count_words(status.num_reused)} reused")
    if status.tokens_per_s:
        right.append(f"{status.tokens_per_s:,.0f} tok/s")
    if memory:
        right.append(memory_words(memory))
    while len(left) + len(right) > 2 and len(_joined(left)) + len(_joined(right)) + 2 > width:
        (left if len(left) > 2 else right).pop()
    return join_ends(_joined(left), _joined(right), width)


def memory_words(memory: Memory) -> str:
    """Say what weights, keys and values, and snapshots hold: `16.2+0.4+1.1 GiB`."""
    parts = (memory.weights_bytes, memory.kv_bytes, memory.snapshot_bytes)
    if max(parts) < GIB:
        return "+".join(f"{part / MIB:.0f}" for part in parts) + " MiB"
    return "+".join(f"{part / GIB:.1f}" for part in parts) + " GiB"


def _window(status: "Status") -> str:
    share = status.num_context / status.context_tokens
    counts = f"{count_words(status.num_context)}/{count_words(status.context_tokens)}"
    return f"{counts} {share:.0%}"


def _joined(parts: list[str]) -> str:
    return " · ".join(parts)
