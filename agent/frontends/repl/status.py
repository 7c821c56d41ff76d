"""The line below the input: which model, how full its window is, what runs without asking."""

from typing import TYPE_CHECKING

from rich.cells import cell_len

from agent.frontends.repl.text import count_words, join_ends, one_line
from inference.messages import Memory

GIB, MIB = 2**30, 2**20

if TYPE_CHECKING:
    from agent.status import Status


LEFT = ("mode", "danger", "model", "branch", "sandbox", "plan")
RIGHT = ("window", "loading", "reused", "speed", "memory")
LEFT_OUT = ("plan", "memory", "speed", "reused", "branch", "sandbox", "window")
"""What gives way where there is no room, in this order; the rest stays."""


def status_line(status: "Status", memory: Memory | None, width: int) -> str:
    """Say where the talk stands, as much of it as fits: what matters least is left out first."""
    parts = _parts(status, memory)
    for name in LEFT_OUT:
        if cell_len(_joined(parts, LEFT)) + cell_len(_joined(parts, RIGHT)) + 2 <= width:
            break
        parts.pop(name)
    return join_ends(_joined(parts, LEFT), _joined(parts, RIGHT), width)


def _parts(status: "Status", memory: Memory | None) -> dict[str, str]:
    """Say each thing by itself; empty where there is nothing to say."""
    is_contained = status.sandbox != "direct"
    return {
        "mode": status.mode,
        "danger": "" if is_contained else "no sandbox",
        "model": one_line(status.model, 28),
        "branch": one_line(status.branch, 24),
        "sandbox": f"sandbox {status.sandbox}" if is_contained else "",
        "plan": one_line(status.plan, 24),
        "window": _window(status) if status.context_tokens else "",
        "loading": "" if status.is_loaded else "no model" if status.fault else "loading",
        "reused": f"{count_words(status.num_reused)} reused" if status.num_reused else "",
        "speed": _speed(status) if status.tokens_per_s else "",
        "memory": memory_words(memory) if memory else "",
    }


def memory_words(memory: Memory) -> str:
    """Say what weights, keys and values, and snapshots hold: `16.2+0.4+1.1 GiB`."""
    parts = (memory.weights_bytes, memory.kv_bytes, memory.snapshot_bytes)
    if max(parts) < GIB:
        return "+".join(f"{part / MIB:.0f}" for part in parts) + " MiB"
    return "+".join(f"{part / GIB:.1f}" for part in parts) + " GiB"


def _speed(status: "Status") -> str:
    guessed = f", {status.acceptance:.0%} guessed right" if status.acceptance else ""
    return f"{status.tokens_per_s:,.0f} tok/s{guessed}"


def _window(status: "Status") -> str:
    share = status.num_context / status.context_tokens
    counts = f"{count_words(status.num_context)}/{count_words(status.context_tokens)}"
    return f"{counts} {share:.0%}"


def _joined(parts: dict[str, str], names: tuple[str, ...]) -> str:
    return " · ".join(words for name in names if (words := parts.get(name, "")))
