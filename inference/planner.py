"""Model, machine and window in, a `Plan` out: formats, window, and what lives where; or why not.

The machine is described by the caller (`agent/hardware.py` reads it), and nothing is loaded. What
costs nothing to speak of has matrices in as many bits as fit, keys and values in 8 bits at least,
the embedding on the CPU, shorter chunks. What does cost something (keys and values in 4 bits,
experts on the CPU, a smaller window, a smaller model) is offered in a `Refusal`, the nearest first;
the first that costs only time or tokens of the window is what a run takes (`to_run`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from inference.door import PREFILL_CHUNK, StateKind
from inference.footprint import WEIGHTS, Footprint, Kv, Weights
from inference.plan import GIB, Offer, Plan, Room, Wanted
from inference.shapes import ModelShape

Named = tuple[str, ModelShape]
"""A model and what it is called."""

GPU_CHUNKS = (2048, PREFILL_CHUNK)
"""Tokens read at a time; more are no faster, and need more workspace."""
STATE_BYTES: Mapping[StateKind, int] = {"float32": 4, "float16": 2}
MIN_CHUNK = 64
"""With fewer a prompt takes several times as long."""
MIN_WINDOW = 8_192
"""With less an agent forgets what it was asked."""
TYPICAL_WINDOW = 32_768
"""What is offered where no window was asked for and none fits."""
WINDOW_STEP = 4_096
STEP_LAYERS = 4
"""So many layers' experts more go to the CPU, each time memory turns out to be short."""


@dataclass(frozen=True)
class Refusal:
    """Nothing fits as it was wanted."""

    sentence: str
    offers: tuple[Offer, ...]
    """The nearest first."""


def plan(
    name: str,
    shape: ModelShape,
    room: Room,
    wanted: Wanted | None = None,
    others: Sequence[Named] = (),
) -> Plan | Refusal:
    """Find the best way to run a model.

    Without a window that is wanted it is the largest one that fits; then matrices get as many bits
    as there is room for. `others` are models that may be offered instead, if it is refused.
    """
    wanted = wanted or Wanted()
    room = replace(room, ram_bytes=0) if wanted.is_whole else room
    if (wanted.context_tokens or 0) > shape.context_tokens:
        return _too_long(name, shape, room, wanted, others)
    start = _start(name, shape, room, wanted)
    window = wanted.context_tokens or max(_window(each) for each in _candidates(start, wanted))
    if wanted.context_tokens or window >= min(MIN_WINDOW, shape.context_tokens):
        found = _first_that_fits(_candidates(replace(start, context_tokens=window), wanted))
        if found is not None:
            return found
    return _refusal(start, wanted, others)


def to_run(found: Plan | Refusal, kv: Kv | None = None) -> Offer | None:
    """Return how a model is run where nobody is asked; None if every way would cost too much.

    Keys and values in 4 bits are taken where `kv` asks for them, another model never.
    """
    if isinstance(found, Plan):
        return Offer(found)
    for offer in found.offers:
        if not offer.is_other_model and (offer.plan.kv != "int4" or kv == "int4"):
            usable, window = _gib(offer.plan.room.device_bytes), offer.plan.context_tokens
            sentence = (
                f"The model does not fit into {usable} whole: it runs with {offer.sentence}; "
                f"its window is {window:,} tokens."
            )
            return replace(offer, sentence=sentence)
    return None


def _too_long(
    name: str, shape: ModelShape, room: Room, wanted: Wanted, others: Sequence[Named]
) -> Refusal:
    """Refuse a window that the model was not made for."""
    found = plan(name, shape, room, replace(wanted, context_tokens=None), others)
    offers = found.offers if isinstance(found, Refusal) else (Offer(found, "a smaller window"),)
    return Refusal(f"{name} was made for {shape.context_tokens:,} tokens.", offers)


def _refusal(start: Plan, wanted: Wanted, others: Sequence[Named]) -> Refusal:
    """Say what is needed and what there is, and offer what fits."""
    shape, room = start.shape, start.room
    window = wanted.context_tokens or min(MIN_WINDOW, shape.context_tokens)
    asked = replace(start, context_tokens=window)
    least = min(each.needed_bytes for each in _candidates(asked, wanted))
    sentence = (
        f"{start.name} with {window:,} tokens needs {_gib(least)} "
        f"where {_gib(room.device_bytes)} can be used."
    )
    if not wanted.context_tokens:
        asked = replace(asked, context_tokens=min(TYPICAL_WINDOW, shape.context_tokens))
    offers = [*_offers(asked, wanted)]
    smaller = [other for other in others if other[1].num_params < shape.num_params]
    if (instead := largest(smaller, room, wanted)) is not None:
        offers.append(Offer(instead, "a smaller model", is_other_model=True))
    return Refusal(sentence, tuple(offers))


def largest(models: Sequence[Named], room: Room, wanted: Wanted | None = None) -> Plan | None:
    """Return the plan of the largest of these models that fits; None if none does."""
    by_size = sorted(models, key=lambda model: model[1].num_params, reverse=True)
    plans = (plan(name, shape, room, wanted) for name, shape in by_size)
    return next((found for found in plans if isinstance(found, Plan)), None)


def next_smaller(before: Plan) -> Offer | None:
    """Return a plan that needs less memory, when this one turned out not to fit; None at the end.

    What costs least goes first: the length of chunks, then where weights live, then the window. The
    formats stay, because states that are kept already belong to them.
    """
    for after, cost in _steps(before):
        if after.needed_bytes < before.needed_bytes and after.ram_bytes <= after.room.ram_bytes:
            return Offer(after, f"Memory is short: {cost}.")
    return None


def shorter_chunk(num_tokens: int) -> int:
    """Return how many tokens are read at a time where so many were too much."""
    return min(num_tokens, max(MIN_CHUNK, num_tokens // 4))


def _start(name: str, shape: ModelShape, room: Room, wanted: Wanted) -> Plan:
    is_gpu = room.device == "cuda"
    footprint = Footprint(shape, room.value_bytes, is_gpu, STATE_BYTES[wanted.state])
    chunk = GPU_CHUNKS[0] if is_gpu else PREFILL_CHUNK
    may_move = is_gpu and wanted.weights != "16bit"
    experts = min(wanted.experts_on_cpu, shape.num_expert_layers) if may_move else 0
    return Plan("16bit", "16bit", 0, chunk, False, experts, name, footprint, room)


def _candidates(start: Plan, wanted: Wanted) -> Iterator[Plan]:
    """Yield the ways to run a model that cost no quality to speak of, the best first."""
    is_gpu = start.room.device == "cuda"
    kvs: tuple[Kv, ...] = ("int8",) if is_gpu else ("16bit", "int8")
    for weights, kv, chunk in product(
        _formats(start, wanted),
        (wanted.kv,) if wanted.kv else kvs,
        GPU_CHUNKS if is_gpu else (start.prefill_chunk,),
    ):
        found = replace(start, weights=weights, kv=kv, prefill_chunk=chunk)
        if not (wanted.embedding_on_cpu and _may_move_embedding(found)):
            yield found
        if _may_move_embedding(found):
            yield replace(found, embedding_on_cpu=True)


def _formats(start: Plan, wanted: Wanted) -> Sequence[Weights]:
    """Return what weights may be kept in, the most bits first."""
    if wanted.weights:
        return (wanted.weights,)
    in_few = replace(start, weights="nf4")
    is_moved = wanted.embedding_on_cpu and _may_move_embedding(in_few)
    return WEIGHTS[1:] if is_moved or start.experts_on_cpu else WEIGHTS


def _may_move_embedding(each: Plan) -> bool:
    """Say whether it can live beside the GPU; the loader moves only what it has packed."""
    return each.room.device == "cuda" and not each.shape.is_tied and each.weights != "16bit"


def _first_that_fits(plans: Iterable[Plan]) -> Plan | None:
    return next((each for each in plans if each.fits), None)


def _window(each: Plan) -> int:
    """Return the largest window, in steps, that fits beside the rest of a plan."""
    empty = replace(each, context_tokens=0)
    if not empty.fits:
        return 0
    spare = each.room.device_bytes - empty.needed_bytes
    tokens = spare // each.footprint.kv_of_a_token(each.kv)
    return min(tokens // WINDOW_STEP * WINDOW_STEP, each.shape.context_tokens)


def _offers(asked: Plan, wanted: Wanted) -> Iterator[Offer]:
    """Yield plans that fit and cost something, the nearest first."""
    in_four = replace(wanted, kv="int4")
    if asked.room.device == "cuda":
        found = _first_that_fits(_candidates(asked, in_four))
        if found is not None:
            yield Offer(found, "keys and values in 4 bits, which costs some quality")
        for each in (wanted, in_four):
            if (moved := _with_experts_on_cpu(asked, each)) is not None:
                yield Offer(moved, _experts_words(moved))
                break
    best = 0
    for each in (wanted, in_four) if asked.room.device == "cuda" else (wanted,):
        found = max(_candidates(asked, each), key=_window)
        window = _window(found)
        if MIN_WINDOW <= window < asked.context_tokens and window > best:
            best = window
            words = " and keys and values in 4 bits" if found.kv == "int4" else ""
            yield Offer(replace(found, context_tokens=window), f"a smaller window{words}")


def _with_experts_on_cpu(asked: Plan, wanted: Wanted) -> Plan | None:
    """Return the plan with the experts of as few layers as possible on the CPU."""
    smallest = min(_candidates(asked, wanted), key=lambda each: each.needed_bytes)
    if smallest.weights == "16bit":
        return None
    layers = range(asked.experts_on_cpu + 1, asked.shape.num_expert_layers + 1)
    return _first_that_fits(replace(smallest, experts_on_cpu=num) for num in layers)


def _experts_words(each: Plan) -> str:
    words = (
        f"the experts of {each.experts_on_cpu} of {each.shape.num_expert_layers} layers "
        "on the CPU, which is slower"
    )
    return f"{words}, and keys and values in 4 bits" if each.kv == "int4" else words


def _steps(before: Plan) -> Iterator[tuple[Plan, str]]:
    """Yield what can be given up, the cheapest first."""
    chunk = shorter_chunk(before.prefill_chunk)
    yield replace(before, prefill_chunk=chunk), f"prompts are read {chunk} tokens at a time"
    if before.room.device == "cuda" and before.weights != "16bit":
        if _may_move_embedding(before):
            yield replace(before, embedding_on_cpu=True), "the embedding goes to the CPU"
        num = min(before.experts_on_cpu + STEP_LAYERS, before.shape.num_expert_layers)
        moved = replace(before, experts_on_cpu=num)
        yield moved, _experts_words(moved)
    window = max(MIN_WINDOW, before.context_tokens // 2)
    yield replace(before, context_tokens=window), f"the window is {window:,} tokens now"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"
