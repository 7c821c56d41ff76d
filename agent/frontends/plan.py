"""`qwen-agent plan`: what fits this machine, as a table or as the parts of one model.

It reads arguments and settings and prints; the planner is asked by `agent/planning.py`. It ends
with 0, or with 7 where the model that was named does not fit as it was asked for.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from agent.config import config_file, load_config
from agent.errors import UsageError
from agent.frontends.console import visible
from agent.frontends.plan_json import document, is_run, way_of
from agent.hardware import GIB, Hardware, read_hardware
from agent.models import auto_plan, largest_here, largest_of_family
from agent.outcome import NO_MODEL
from agent.planning import Answer, all_answers, answer, as_started, named
from agent.short_start import ShortStart
from inference.footprint import Kv, Weights
from inference.plan import Plan
from inference.planner import Refusal

BAR_WIDTH = 44
SMALL_BAR_WIDTH = 12
MAX_NAME = 16
"""Characters of a name in the table, which then fits 80 columns."""
FEW_BITS: Mapping[Weights | Kv, str] = {"int8": "8 bit", "int4": "4 bit", "nf4": "4 bit"}
MAX_GIB = 1_000_000.0
MAX_TOKENS = 10_000_000
BLOCKS, LETTERS = "█▓▒░·", "wksc."
"""Weights, keys and values, states, chunk, free; as letters where the screen has no blocks."""


def run(arguments: Namespace) -> int:
    """Print what was asked for; return the exit code.

    Raises:
        UsageError: it cannot be meant.
        ModelUnavailable: the model that was named cannot be read, or none is here for `auto`.
    """
    hardware = read_hardware(
        _checked(arguments.vram, "--vram"), _checked(arguments.ram, "--ram", least=1e-3)
    )
    context, how = arguments.context, load_config(config_file()).model
    if context is not None and not 1 <= context <= MAX_TOKENS:
        raise UsageError(f"--context must be 1 to {MAX_TOKENS:,} tokens, not {context:,}")
    name = arguments.model
    if name == "auto":
        name = largest_here(hardware).hub_id
    if name is None:
        answers = [*all_answers(hardware, how, context)]
    else:
        answers = [answer(named(name, how, context), hardware)]
    if arguments.vram is None and arguments.ram is None:  # of others nothing is remembered
        settings = replace(how, context=context or how.context)
        answers = [as_started(each, settings) for each in answers]
    if arguments.json:
        print(json.dumps(document(hardware, answers), indent=2))
    else:
        for line in (table if name is None else details)(hardware, answers):
            print(line)
    return NO_MODEL if name is not None and isinstance(answers[0].result, Refusal) else 0


def table(hardware: Hardware, answers: Sequence[Answer]) -> Iterator[str]:
    """Write a line a model, and which one `--model auto` takes."""
    yield from _machine(hardware)
    yield ""
    width = min(MAX_NAME, max(len(each.candidate.size) for each in answers))
    yield f"  {'model':<{width}}  {'weights':<15}  {'keys':<6}  {'window':>9}  memory"
    for each in answers:
        size = visible(each.candidate.size)[:width]
        if isinstance(each.result, Plan):
            row = _row(each.start.plan, each.start.cache_bytes) if each.start else _row(each.result)
            yield f"{_mark(each)} {size:<{width}}  {row}"
        else:
            yield f"{_mark(each)} {size:<{width}}  {_why_not(each)}"
    yield ""
    for each in answers:
        if each.start:
            yield f"  {visible(each.candidate.size)[:width]}: {_too_much(each.start)} less"
    yield "  * is in the hub cache; `qwen-agent plan --model SIZE` says more of one"
    yield from _auto_lines(hardware)


def details(hardware: Hardware, answers: Sequence[Answer]) -> Iterator[str]:
    """Write what one model needs, part by part; or why it does not fit, and what does."""
    yield from _machine(hardware)
    for each in answers:
        yield ""
        about = [each.candidate.license, f"template {each.candidate.template}"]
        about += ["here" if each.candidate.is_here else "not here yet"]
        yield f"{visible(each.candidate.name)}  ({', '.join(word for word in about if word)})"
        if isinstance(each.result, Plan):
            yield from _parts(each.result)
        else:
            yield from _refused(each, each.result)
        if each.start:
            yield ""
            yield f"  It {_too_much(each.start)} this:"
            yield from _parts(each.start.plan, each.start.cache_bytes)
            yield f"  To have more tried, remove {visible(str(each.start.file))}"


def _too_much(start: ShortStart) -> str:
    return f"did not fit as planned on {start.day}; a start takes"


def _refused(each: Answer, refusal: Refusal) -> Iterator[str]:
    """Write why a model does not fit, and what does."""
    yield f"  {visible(refusal.sentence)}"
    for offer in refusal.offers:
        yield ""
        other = f": {offer.plan.name}" if offer.is_other_model else ""
        yield f"  {offer.sentence}{other}"
        by_itself = "taken by itself, or " if is_run(each, offer) else ""
        yield f"  {by_itself}with {visible(way_of(each, offer))}"
        yield from _parts(offer.plan)


def bar(plan: Plan, width: int, letters: str, cache_bytes: int | None = None) -> str:
    """Draw how the device's memory is filled: weights, keys and values, states, chunk, free."""
    sizes = (
        plan.weights_bytes + plan.draft_bytes,
        plan.kv_bytes,
        _states(plan, cache_bytes),
        plan.workspace_bytes,
    )
    drawn, before = "", 0
    for letter, size in zip(letters[:-1], sizes, strict=True):
        before += size
        end = round(width * min(1.0, before / plan.room.device_bytes))
        drawn += letter * (end - len(drawn))
    return drawn.ljust(width, letters[-1])


def _checked(gib: float | None, option: str, least: float = 0.0) -> float | None:
    if gib is not None and not least <= gib <= MAX_GIB:
        raise UsageError(f"{option} must be {least:g} to {MAX_GIB:,.0f} GiB, not {gib:g}")
    return gib


def _machine(hardware: Hardware) -> Iterator[str]:
    """Say what the planner counts with."""
    room = hardware.rooms[0]
    ram = f"{hardware.ram_bytes / GIB:.1f} GiB of memory"
    usable = f"{room.device_bytes / GIB:.1f} GiB of it for a model"
    if hardware.gpu is None:
        yield f"This machine: no GPU; {ram}, {usable}"
    else:
        yield f"This machine: {visible(hardware.gpu.name)}; {ram}"
        yield f"GPU: {hardware.gpu.total_bytes / GIB:.1f} GiB, {usable}"
    if hardware.note:
        yield visible(hardware.note)


def _mark(each: Answer) -> str:
    return "*" if each.candidate.is_here else " "


def _states(plan: Plan, cache_bytes: int | None) -> int:
    """Count the live state and the snapshots, which a start may give less than the plan does."""
    return plan.state_bytes + (plan.cache_bytes if cache_bytes is None else cache_bytes)


def _row(plan: Plan, cache_bytes: int | None = None) -> str:
    weights = f"{_bits(plan, plan.weights):>6} {_gib(plan.weights_bytes)}"
    drawn = bar(plan, SMALL_BAR_WIDTH, _letters(), cache_bytes)
    need = _gib(plan.needed_bytes)
    return f"{weights}  {_bits(plan, plan.kv):>6}  {plan.context_tokens:>9,}  {drawn} {need}"


def _why_not(each: Answer) -> str:
    assert isinstance(each.result, Refusal), "only what does not fit has a reason"
    if each.candidate.needs_several_gpus:
        return "does not fit: for several GPUs, or for a server"
    if each.result.offers:
        return f"does not fit; possible: {each.result.offers[0].sentence}"
    return "does not fit"


def _parts(plan: Plan, cache_bytes: int | None = None) -> Iterator[str]:
    """Write the parts of a plan and its bar."""
    letters = _letters()
    few, kept = _bits(plan, plan.weights), f"keys and values, {_bits(plan, plan.kv)}"
    rows = [
        (letters[0], plan.weights_bytes, f"weights, {few}"),
        (letters[0], plan.draft_bytes, f"draft layer, which guesses tokens, {few}"),
        (letters[1], plan.kv_bytes, f"{plan.context_tokens:,} tokens: {kept}"),
        (letters[2], _states(plan, cache_bytes), "states: the live one and snapshots"),
        (letters[3], plan.workspace_bytes, f"reading {plan.prefill_chunk:,} tokens at a time"),
    ]
    for letter, size, words in rows:
        if size:
            yield f"    {letter} {_gib(size)}  {words}"
    if plan.ram_bytes:
        yield f"      {_gib(plan.ram_bytes)}  in the machine's memory: {_beside(plan)}"
    if plan.footprint.vision:
        yield f"      {_gib(plan.footprint.vision)}  more once a picture is sent: the vision tower"
    yield f"    {bar(plan, BAR_WIDTH, letters, cache_bytes)}  of {_gib(plan.room.device_bytes)}"


def _bits(plan: Plan, form: Weights | Kv) -> str:
    """Name a format; what is not quantized has as many bits as the device computes with."""
    return FEW_BITS.get(form, f"{8 * plan.room.value_bytes} bit")


def _beside(plan: Plan) -> str:
    words = ["the embedding"] if plan.embedding_on_cpu else []
    if plan.experts_on_cpu:
        words.append(f"experts of {plan.experts_on_cpu} layers")
    return ", ".join(words)


def _auto_lines(hardware: Hardware) -> Iterator[str]:
    here, largest = auto_plan(hardware), largest_of_family(hardware)
    if here is not None:
        yield f"  --model auto: {visible(here[0].hub_id)}"
    if largest is not None and (here is None or largest.name != here[0].hub_id):
        yield f"  The largest that fits: qwen-agent models pull {largest.name}"
    if here is None and largest is None:
        yield f"  No model of the family fits {_instead(hardware)}."


def _instead(hardware: Hardware) -> str:
    """Say where none fits, and where one can run."""
    if hardware.gpu:
        return "this GPU; --vram 0 plans for the CPU"
    return "this machine; a server can run one elsewhere"


def _letters() -> str:
    """Choose what this screen can show."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return LETTERS
    return BLOCKS


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:5.1f} GiB"
