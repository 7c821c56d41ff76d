"""Which models this machine can run, and how: the planner asked for the family, or for one model.

It knows what is on this disk and what the machine has; the arithmetic is `inference/planner.py`,
the words on a screen are `frontends/plan.py`.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config import shapes_folder
from agent.errors import UsageError
from agent.hardware import Hardware, read_hardware
from agent.models import CachedModel, cached_models, named_family
from inference.errors import ModelUnavailable
from inference.footprint import Kv, Weights
from inference.models import FAMILY, find, newest
from inference.plan import Offer, Plan, Wanted
from inference.planner import Refusal, plan
from inference.profiles import profile_for
from inference.shapes import ModelShape, shape_of

MIN_BYTES = 2_000_000_000
"""Of the weights of a folder; a smaller model fits anywhere as it is."""
ON_CPU = "all of it on the CPU, which is much slower"
SERVER = "several GPUs, or a server that runs it (vLLM, SGLang)"


@dataclass(frozen=True)
class Candidate:
    """A model that may be run here."""

    name: str
    """A hub id, or the folder."""
    size: str
    """In a word, as `27B`."""
    shape: ModelShape
    is_here: bool
    wanted: Wanted
    license: str = ""
    template: str = ""
    needs_several_gpus: bool = False


@dataclass(frozen=True)
class Answer:
    """What the planner says of one model."""

    candidate: Candidate
    result: Plan | Refusal


def all_answers(hardware: Hardware, context_tokens: int | None) -> tuple[Answer, ...]:
    """Ask for the newest release of every size, and for what else is here, the smallest first."""
    found = _answers(hardware, context_tokens)
    return tuple(sorted(found, key=lambda each: each.candidate.shape.num_params))


def _answers(hardware: Hardware, context_tokens: int | None) -> Iterator[Answer]:
    here = {model.hub_id: model for model in cached_models()}
    shown = {model.hub_id for model in newest()}
    for release in FAMILY:
        if release.hub_id in shown or release.hub_id in here:
            yield answer(named(release.hub_id, context_tokens), hardware)
    for model in here.values():
        if find(model.hub_id) is None:
            with suppress(ModelUnavailable):  # a list goes on without what cannot be read
                yield answer(_cached(model, context_tokens), hardware)


def answer(candidate: Candidate, hardware: Hardware) -> Answer:
    """Ask for one model: the GPU if there is one, else or if it is too small the CPU."""
    others = named_family(newest())
    best, *rest = [
        plan(candidate.name, candidate.shape, room, candidate.wanted, others)
        for room in hardware.rooms
    ]
    if isinstance(best, Plan):
        return Answer(candidate, best)
    same = [offer for offer in best.offers if offer.plan.name == candidate.name]
    same += [Offer(found, ON_CPU) for found in rest if isinstance(found, Plan)]
    offers = (*same, *(offer for offer in best.offers if offer.plan.name != candidate.name))
    is_for_more = candidate.needs_several_gpus
    sentence = f"{best.sentence} It is for {SERVER}." if is_for_more else best.sentence
    return Answer(candidate, Refusal(sentence, offers))


def plan_to_run(
    source: str, hardware: Hardware, weights: Weights | None = None, kv: Kv | None = None
) -> Plan | None:
    """Return how a folder or hub id is run here, in the formats that were asked for.

    None where that is not known, or does not fit as it was asked for: the engine then does as it
    can, and says what it lacks.
    """
    with suppress(UsageError, ModelUnavailable):
        found = named(source)
        wanted = Wanted(None, kv, found.wanted.weights or weights)
        result = answer(replace(found, wanted=wanted), hardware).result
        return result if isinstance(result, Plan) else None
    return None


def plan_of(source: str, weights: str, kv: str) -> Plan | None:
    """Return how a model is run here, where it is large enough for that to matter.

    Args:
        source: a folder or a hub id.
        weights: the format that was asked for, or `auto`.
        kv: the same of keys and values.
    """
    folder = Path(source).expanduser()
    nbytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if find(source) is None and nbytes < MIN_BYTES:
        return None
    kinds = [None if kind == "auto" else kind for kind in (weights, kv)]
    return plan_to_run(source, read_hardware(), *kinds)  # type: ignore[arg-type]  # as settings say


def named(name: str, context_tokens: int | None = None) -> Candidate:
    """Find the model that is called so: a size, a release, one of the hub cache, a folder.

    Raises:
        UsageError: its shape cannot be known.
        ModelUnavailable: it is here, but its config.json describes no model.
    """
    wanted = Wanted(context_tokens)
    here = {model.hub_id: model for model in cached_models()}
    release = find(name)
    if release is not None:
        return Candidate(
            name=release.hub_id,
            size=release.size if release in newest() else release.hub_id.rpartition("/")[2],
            shape=shape_of(release.config),
            is_here=release.hub_id in here,
            wanted=wanted,
            license=release.license,
            template=release.profile.name,
            needs_several_gpus=release.needs_several_gpus,
        )
    if name in here:
        return _cached(here[name], context_tokens)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return _folder(folder, context_tokens)
    sizes = ", ".join(model.size for model in newest())
    raise UsageError(
        f"the shape of {name} is not known here; name a size ({sizes}), the folder of a "
        f"checkpoint, or a model that was pulled"
    )


def _cached(model: CachedModel, context_tokens: int | None) -> Candidate:
    return Candidate(
        name=model.hub_id,
        size=model.hub_id.rpartition("/")[2],
        shape=model.shape(shapes_folder()),
        is_here=True,
        wanted=Wanted(context_tokens, weights=model.weights),
        template=model.family,
    )


def _folder(folder: Path, context_tokens: int | None) -> Candidate:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        family = profile_for(config, folder).name
    except (OSError, ValueError, AttributeError) as error:
        raise ModelUnavailable(f"{folder / 'config.json'} cannot be read: {error}") from error
    model = CachedModel(str(folder.resolve()), folder, 0, family, config)
    return _cached(model, context_tokens)
