"""`qwen-agent plan --json`: the planner's answers as one object; what its keys are is documented.

Keys are added, and none is renamed or removed (docs/models.md).
"""

from collections.abc import Sequence

from agent.hardware import Hardware
from agent.models import auto_plan, largest_of_family
from agent.planning import Answer
from agent.short_start import ShortStart
from inference.plan import Offer, Plan, Room
from inference.planner import Refusal

SCHEMA_VERSION = 1


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


def is_run(each: Answer, offer: Offer) -> bool:
    """Say whether an offer is what a run takes by itself."""
    return each.run is not None and each.run.plan == offer.plan


def way_of(each: Answer, offer: Offer) -> str:
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
                "is_run": is_run(each, offer),
                "way": way_of(each, offer),
                "plan": _plan_document(offer.plan),
            }
            for offer in (result.offers if isinstance(result, Refusal) else ())
        ],
        "start": _start_document(each.start) if each.start else None,
    }


def _start_document(start: ShortStart) -> dict[str, object]:
    return {
        "did_not_fit_on": start.day,
        "remembered_in": str(start.file),
        "plan": _plan_document(start.plan, start.cache_bytes),
    }


def _plan_document(plan: Plan, cache_bytes: int | None = None) -> dict[str, object]:
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
            "snapshots": plan.cache_bytes if cache_bytes is None else cache_bytes,
            "workspace": plan.workspace_bytes,
            "needed": plan.needed_bytes,
            "usable": room.device_bytes,
            "beside_gpu": plan.ram_bytes,
            "vision": plan.footprint.vision,
        },
    }
