"""`qwen-agent plan`: what fits this machine, as a table, as the parts of one model, or as JSON.

It reads arguments and settings and prints; the planner is asked by `agent/planning.py`. It ends
with 0, or with 7 where the model that was named does not fit as it was asked for.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence

from agent.config import config_file, load_config
from agent.errors import UsageError
from agent.frontends.console import visible
from agent.hardware import GIB, Hardware, read_hardware
from agent.models import auto_plan, largest_here, largest_of_family
from agent.outcome import NO_MODEL
from agent.planning import Answer, all_answers, answer, named
from inference.footprint import Kv, Weights
from inference.plan import Offer, Plan, Room
from inference.planner import Refusal

SCHEMA_VERSION = 1
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
            yield f"{_mark(each)} {size:<{width}}  {_row(each.result)}"
        else:
            yield f"{_mark(each)} {size:<{width}}  {_why_not(each)}"
    yield ""
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
            continue
        yield f"  {visible(each.result.sentence)}"
        for offer in each.result.offers:
            yield ""
            other = f": {offer.plan.name}" if offer.is_other_model else ""
            yield f"  {offer.sentence}{other}"
            by_itself = "taken by itself, or " if _is_run(each, offer) else ""
            yield f"  {by_itself}with {visible(_way(each, offer))}"
            yield from _parts(offer.plan)


def document(hardware: Hardware, answers: Sequence[Answer]) -> dict[str, object]:
    """Write everything as the object that `--json` prints."""
    here, largest = auto_plan(hardware), largest_of_family(hardware)
    gpu = hardware.gpu
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": {
            "gpu": {"name": gpu.name, "bytes": gpu.total_bytes} if gpu else None,
            "ram_bytes": hardware.ram_bytes,
            "note": hardware.note,
        },
        "models": [_answer_document(each) for each in answers],
        "auto": here[0].hub_id if here else None,
        "largest": largest.name if largest else None,
    }


def bar(plan: Plan, width: int, letters: str) -> str:
    """Draw how the device's memory is filled: weights, keys and values, states, chunk, free."""
    sizes = (
        plan.weights_bytes + plan.draft_bytes,
        plan.kv_bytes,
        plan.state_bytes + plan.cache_bytes,
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


def _row(plan: Plan) -> str:
    weights = f"{_bits(plan, plan.weights):>6} {_gib(plan.weights_bytes)}"
    drawn = bar(plan, SMALL_BAR_WIDTH, _letters())
    need = _gib(plan.needed_bytes)
    return f"{weights}  {_bits(plan, plan.kv):>6}  {plan.context_tokens:>9,}  {drawn} {need}"


def _why_not(each: Answer) -> str:
    assert isinstance(each.result, Refusal), "only what does not fit has a reason"
    if each.candidate.needs_several_gpus:
        return "does not fit: for several GPUs, or for a server"
    if each.result.offers:
        return f"does not fit; possible: {each.result.offers[0].sentence}"
    return "does not fit"


def _parts(plan: Plan) -> Iterator[str]:
    """Write the parts of a plan and its bar."""
    letters = _letters()
    few, kept = _bits(plan, plan.weights), f"keys and values, {_bits(plan, plan.kv)}"
    rows = [
        (letters[0], plan.weights_bytes, f"weights, {few}"),
        (letters[0], plan.draft_bytes, f"draft layer, which guesses tokens, {few}"),
        (letters[1], plan.kv_bytes, f"{plan.context_tokens:,} tokens: {kept}"),
        (letters[2], plan.state_bytes + plan.cache_bytes, "states: the live one and snapshots"),
        (letters[3], plan.workspace_bytes, f"reading {plan.prefill_chunk:,} tokens at a time"),
    ]
    for letter, size, words in rows:
        if size:
            yield f"    {letter} {_gib(size)}  {words}"
    if plan.ram_bytes:
        yield f"      {_gib(plan.ram_bytes)}  in the machine's memory: {_beside(plan)}"
    if plan.footprint.vision:
        yield f"      {_gib(plan.footprint.vision)}  more once a picture is sent: the vision tower"
    yield f"    {bar(plan, BAR_WIDTH, letters)}  of {_gib(plan.room.device_bytes)}"


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


def _is_run(each: Answer, offer: Offer) -> bool:
    return each.run is not None and each.run.plan == offer.plan


def _way(each: Answer, offer: Offer) -> str:
    """Write what a person types or sets to run a model like this."""
    plan, wanted = offer.plan, each.candidate.wanted
    if offer.is_other_model:
        return f"qwen-agent --model {plan.name}"
    if offer.is_other_device:
        return f"CUDA_VISIBLE_DEVICES= qwen-agent --model {plan.name}"
    keys = [f"cpu_expert_layers = {plan.experts_on_cpu}"] if plan.experts_on_cpu else []
    if wanted.context_tokens or not keys:
        keys.append(f"context = {plan.context_tokens}")
    if plan.kv == "int4":
        keys.append('kv = "int4"')
    return f"[model] {', '.join(keys)}"


def _letters() -> str:
    """Choose what this screen can show."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return LETTERS
    return BLOCKS


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:5.1f} GiB"


def _answer_document(each: Answer) -> dict[str, object]:
    candidate, result = each.candidate, each.result
    return {
        "name": candidate.name,
        "size": candidate.size,
        "is_here": candidate.is_here,
        "license": candidate.license,
        "template": candidate.template,
        "needs_several_gpus": candidate.needs_several_gpus,
        "num_params": candidate.shape.num_params,
        "plan": _plan_document(result) if isinstance(result, Plan) else None,
        "refusal": result.sentence if isinstance(result, Refusal) else "",
        "offers": [
            {
                "sentence": offer.sentence,
                "is_run": _is_run(each, offer),
                "way": _way(each, offer),
                "plan": _plan_document(offer.plan),
            }
            for offer in (result.offers if isinstance(result, Refusal) else ())
        ],
    }


def _plan_document(plan: Plan) -> dict[str, object]:
    room: Room = plan.room
    return {
        "name": plan.name,
        "device": room.device,
        "weights": plan.weights,
        "kv": plan.kv,
        "value_bytes": room.value_bytes,
        "context_tokens": plan.context_tokens,
        "prefill_chunk": plan.prefill_chunk,
        "embedding_on_cpu": plan.embedding_on_cpu,
        "experts_on_cpu": plan.experts_on_cpu,
        "bytes": {
            "weights": plan.weights_bytes,
            "draft": plan.draft_bytes,
            "kv": plan.kv_bytes,
            "state": plan.state_bytes,
            "snapshots": plan.cache_bytes,
            "workspace": plan.workspace_bytes,
            "needed": plan.needed_bytes,
            "usable": room.device_bytes,
            "beside_gpu": plan.ram_bytes,
            "vision": plan.footprint.vision,
        },
    }
