"""The questions an agent asks, case by case, on the same token ids for every engine.

Each question carries the whole prompt, as a stateless API call does. What a case costs at best is
known beforehand: the tokens after the longest common prefix with anything read so far. It knows
no engine (`adapter.py`) and judges nothing (`reuse.py`).
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.bench.adapter import Adapter, BenchFailed
from inference.prefix import num_common

FIRST = "first turn"
APPEND = "append (turns 2-10)"
RETRY = "retry of the last turn"
REWIND = "rewind to turn 3, fork"
FORKED = "going on in the fork"
NEW = "new conversation, same base"
BACK = "back to the first conversation"
STRIP = "thinking stripped each turn"
TOOL_LOOP = "tool loop, thinking kept"
TOOL_STRIP = "thinking stripped every 3rd turn"
RESTART = "restart, append"
RESTART_BACK = "restart, one turn back"
RESTART_STRIP = "restart, thinking stripped"
SUB_AGENT = "sub-agent, its turns"
PARENT = "sub-agent done, parent goes on"
BEST = "best of 4, replies 2-4"
BEST_ON = "best of 4, each goes on"
INTERLEAVED = "two sessions, turn about"
EDIT = "edit in the middle"
OPENING = "(opening)"
"""A question that only sets the scene of a case."""

NUM_TURNS = 10
NUM_CHUNKS = 40
"""Messages of a trace, after which they come again."""


@dataclass(frozen=True)
class Sizes:
    """How long things are; the defaults are those of the published figures."""

    num_base: int = 8192
    num_shortest: int = 200
    num_longest: int = 500
    num_generated: int = 32
    num_thinking: int = 64


@dataclass(frozen=True)
class Trace:
    """Token ids: a base (system prompt and repository), messages, and what closes a reply."""

    base: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    """Each a user or tool message that ends with the header of the assistant's."""
    close: tuple[int, ...]

    @property
    def opener(self) -> int | None:
        """The token that begins every message; None if they begin differently."""
        firsts = {chunk[0] for chunk in self.chunks}
        return firsts.pop() if len(firsts) == 1 else None

    def chunk(self, index: int) -> list[int]:
        """Return a message; past the last they come again, each with its middle turned round."""
        chunk = list(self.chunks[index % len(self.chunks)])
        ends, shift = min(5, len(chunk) // 3), index // len(self.chunks)
        middle = chunk[ends : len(chunk) - ends]
        return chunk[:ends] + middle[shift:] + middle[:shift] + chunk[len(chunk) - ends :]


def draw_trace(sizes: Sizes, vocab_size: int, seed: int = 0) -> Trace:
    """Draw token ids; with the default sizes and seed, lengths are those of the published trace."""
    lengths, ids = random.Random(seed), random.Random(seed + 1)
    opener, end, header = vocab_size - 1, vocab_size - 2, vocab_size - 3

    def text(num_tokens: int) -> tuple[int, ...]:
        return tuple(ids.choices(range(header), k=num_tokens))

    footer = (end, opener, header, header)
    chunks = [
        (opener, *text(lengths.randint(sizes.num_shortest, sizes.num_longest) - 5), *footer)
        for _ in range(NUM_CHUNKS)
    ]
    return Trace((opener, *text(sizes.num_base - 2), end), tuple(chunks), (end, 0))


def load_trace(file: Path) -> Trace:
    """Read a trace: a JSON object of base (ids), chunks (lists of ids) and close (ids).

    Raises:
        BenchFailed: it is no such file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        base, close = _ids(content["base"]), _ids(content["close"])
        chunks = tuple(_ids(chunk) for chunk in content["chunks"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchFailed(
            f"{file} is no trace ({error}); it must hold base, chunks and close as token ids."
        ) from error
    if len(chunks) < NUM_TURNS or not base or not close or any(len(chunk) < 6 for chunk in chunks):
        raise BenchFailed(f"{file} is too short: {NUM_TURNS} chunks of 6 tokens are the least.")
    return Trace(base, chunks, close)


def _ids(values: object) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise TypeError("token ids are whole numbers")
    return tuple(values)


@dataclass(frozen=True)
class Row:
    """One question and what its answer cost."""

    case: str
    turn: int
    num_prompt: int
    num_new: int
    """After the longest common prefix with anything read before; 0 if all of it was."""
    diverges: bool
    """Whether it leaves every line read before in the middle: a state can then be too long."""
    num_prefilled: int
    num_reused: int
    num_generated: int
    ttft_s: float
    total_s: float
    decode_tok_s: float | None
    peak_rss_bytes: int
    restart_s: float | None = None
    """Of the restart just before it."""


class Run:
    """One pass of the cases over one engine; every answer is reported as a `Row`."""

    def __init__(
        self, engine: Adapter, trace: Trace, sizes: Sizes, on_row: Callable[[Row], None]
    ) -> None:
        self.engine = engine
        self.trace = trace
        self.sizes = sizes
        self._on_row = on_row
        self._lines: list[list[int]] = []
        self._restart_s: float | None = None

    def ask(
        self, case: str, turn: int, ids: list[int], *, num_thinking: int = 0, seed: int = 0
    ) -> list[int]:
        """Ask for a reply, which begins with `num_thinking` tokens of thinking; return it."""
        common = [(num_common(ids, line), line) for line in self._lines]
        num_known = max((num for num, _ in common), default=0)
        goes_on = not common or any(num == num_known == len(line) for num, line in common)
        num_generated = num_thinking + self.sizes.num_generated
        answer = self.engine.ask(ids, num_generated, seed)
        reply = answer["tokens"]
        self._lines.append(ids + reply[:-1])  # the last was drawn, not read
        self._on_row(
            Row(
                case=case,
                turn=turn,
                num_prompt=len(ids),
                num_new=len(ids) - num_known,
                diverges=not goes_on and num_known < len(ids),
                num_prefilled=answer["prompt_n"],
                num_reused=answer["cached_n"],
                num_generated=len(reply),
                ttft_s=answer["ttft"],
                total_s=answer["total"],
                decode_tok_s=answer["gen_tok_s"],
                peak_rss_bytes=answer["peak_rss_bytes"],
                restart_s=self._restart_s,
            )
        )
        self._restart_s = None
        return reply

    def restart(self) -> None:
        """Restart the engine; what it had read still counts as read."""
        self._restart_s = self.engine.restart()["restart_s"]

    def opening(self, index: int) -> list[int]:
        """Return the prompt of a new conversation on the base."""
        return [*self.trace.base, *self.trace.chunk(index)]

    def turn(self, index: int) -> list[int]:
        """Return what stands between a reply and the next: its close and a message."""
        return [*self.trace.close, *self.trace.chunk(index)]


def conversation(run: Run) -> None:
    """Ten turns; the last once more; back to the third; another talk; on with the first."""
    ids, ends = run.opening(0), []
    prompt = ids
    for turn in range(1, NUM_TURNS + 1):
        prompt = ids if turn == 1 else ids + run.turn(turn - 1)
        ids = prompt + run.ask(FIRST if turn == 1 else APPEND, turn, prompt)
        ends.append(len(ids))
    run.ask(RETRY, 1, prompt)
    fork = ids[: ends[2]]
    for turn in range(1, 4):
        fork = fork + run.turn(NUM_TURNS + turn)
        fork += run.ask(REWIND if turn == 1 else FORKED, turn, fork)
    run.ask(NEW, 1, run.opening(15))
    run.ask(BACK, 1, ids + run.turn(16))


def strip(run: Run) -> None:
    """Every turn drops the thinking of the reply before it."""
    ids, thinking = run.opening(17), run.sizes.num_thinking
    for turn in range(1, 6):
        case = OPENING if turn == 1 else STRIP
        reply = run.ask(case, turn, ids, num_thinking=thinking)
        ids = ids + reply[thinking:] + run.turn(17 + turn)


def tools(run: Run) -> None:
    """A tool loop keeps thinking; every third turn a user's message drops all of it."""
    ids, thinking = run.opening(23), run.sizes.num_thinking
    plain = list(ids)
    for turn in range(1, 8):
        case = OPENING if turn == 1 else TOOL_STRIP if turn % 3 == 1 else TOOL_LOOP
        reply = run.ask(case, turn, ids, num_thinking=thinking)
        ids = ids + reply + run.turn(23 + turn)
        plain = plain + reply[thinking:] + run.turn(23 + turn)
        if turn % 3 == 0:
            ids = list(plain)


def restart(run: Run) -> None:
    """Two turns, a restart, a third; then the third once more with another message."""
    ids = run.opening(32)
    ids += run.ask(OPENING, 1, ids)
    ids += run.turn(33)
    ids += run.ask(OPENING, 2, ids)
    run.restart()
    run.ask(RESTART, 1, ids + run.turn(34))
    run.ask(RESTART_BACK, 1, ids + run.turn(35))


def diverge(run: Run) -> None:
    """Two turns, a restart, and a third that drops the thinking of the second."""
    ids, thinking = run.opening(36), run.sizes.num_thinking
    ids += run.ask(OPENING, 1, ids, num_thinking=thinking)
    ids += run.turn(37)
    reply = run.ask(OPENING, 2, ids, num_thinking=thinking)
    run.restart()
    run.ask(RESTART_STRIP, 1, ids + reply[thinking:] + run.turn(38))


def subagent(run: Run) -> None:
    """A parent of two turns; a sub-agent of three on the same base; the parent with its result."""
    parent = run.opening(40)
    parent += run.ask(OPENING, 1, parent)
    parent += run.turn(41)
    parent += run.ask(OPENING, 2, parent)
    child = run.opening(42)
    for turn in range(1, 4):
        child = child if turn == 1 else child + run.turn(42 + turn)
        child = child + run.ask(SUB_AGENT, turn, child)
    run.ask(PARENT, 1, parent + run.turn(46))


def best_of(run: Run) -> None:
    """Four sampled replies to one prompt; then a turn more on each of the four."""
    prompt = run.opening(47)
    replies = [
        run.ask(OPENING if n == 1 else BEST, n, prompt, seed=n) for n in range(1, 5)
    ]  # fmt: skip
    for n, reply in enumerate(replies, 1):
        run.ask(BEST_ON, n, prompt + reply + run.turn(47 + n))


def interleaved(run: Run) -> None:
    """Two conversations of four turns, one turn of each at a time."""
    lines = [run.opening(52), run.opening(53)]
    for turn in range(1, 5):
        for n, ids in enumerate(lines):
            prompt = ids if turn == 1 else ids + run.turn(52 + 2 * turn + n)
            case = OPENING if turn == 1 else INTERLEAVED
            lines[n] = prompt + run.ask(case, turn, prompt)


def edit(run: Run) -> None:
    """Five turns; then one token in the middle of the third message changes, and all else stays."""
    ids, place = run.opening(64), 0
    for turn in range(1, 6):
        if turn > 1:
            message = run.turn(64 + turn)
            if turn == 3:
                place = len(ids) + len(message) // 2
            ids = ids + message
        ids = ids + run.ask(OPENING, turn, ids)
    changed = list(ids)
    changed[place] = next(token for token in run.trace.base[1:] if token != ids[place])
    run.ask(EDIT, 1, changed + run.turn(70))


GROUPS: Mapping[str, Callable[[Run], None]] = {
    "conversation": conversation,
    "strip": strip,
    "tools": tools,
    "restart": restart,
    "diverge": diverge,
    "subagent": subagent,
    "bestof": best_of,
    "interleaved": interleaved,
    "edit": edit,
}
"""In this order: what one case leaves in an engine's memory is there in the next."""
