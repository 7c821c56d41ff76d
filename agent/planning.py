"""Which models this machine can run, and how: the planner asked for the family, or for one model.

It knows what is on this disk and what the machine has; the arithmetic is `inference/planner.py`,
the words on a screen are `frontends/plan.py`.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config import shapes_folder
from agent.errors import UsageError
from agent.hardware import Hardware, read_hardware
from agent.models import (
    HUB_ID,
    NANO,
    CachedModel,
    cached_models,
    checked,
    named_family,
    released_shape,
    resolve,
)
from agent.settings import ModelConfig
from agent.short_start import ShortStart, short_start
from inference.door import SMALL_PARAMS
from inference.errors import ModelUnavailable
from inference.extras import vision_params
from inference.headers import read_json
from inference.models import FAMILY, find, newest
from inference.plan import Offer, Plan, Room, Wanted
from inference.planner import Refusal, plan, to_run
from inference.profiles import profile_for
from inference.runnable import GPU_ONLY, check_usable
from inference.shapes import ModelShape

VALUE_BYTES = 2
"""Of a number of a checkpoint that nobody quantized."""
DEFAULTS = ModelConfig()
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
    method: str = ""
    """How its makers quantized it; "" where they did not."""


@dataclass(frozen=True)
class Answer:
    """What the planner says of one model."""

    candidate: Candidate
    result: Plan | Refusal
    run: Offer | None
    """What a run takes by itself: the plan, or the nearest offer that costs no quality."""
    start: ShortStart | None = None
    """What it takes in the place of that, where an earlier start found that it does not fit."""


def all_answers(
    hardware: Hardware, how: ModelConfig = DEFAULTS, context_tokens: int | None = None
) -> tuple[Answer, ...]:
    """Ask for the newest release of every size, and for what else is here, the smallest first."""
    found = _answers(hardware, how, context_tokens)
    return tuple(sorted(found, key=lambda each: each.candidate.shape.num_params))


def _answers(hardware: Hardware, how: ModelConfig, context_tokens: int | None) -> Iterator[Answer]:
    here = {model.hub_id: model for model in cached_models()}
    shown = {model.hub_id for model in newest()}
    for release in FAMILY:
        if release.hub_id in shown or release.hub_id in here:
            yield answer(named(release.hub_id, how, context_tokens), hardware)
    for model in here.values():
        if find(model.hub_id) is None:
            with suppress(ModelUnavailable):  # a list goes on without what cannot be read
                yield answer(_cached(model, how, context_tokens), hardware)


def answer(candidate: Candidate, hardware: Hardware) -> Answer:
    """Ask for one model: the GPU if there is one, else or if it is too small the CPU.

    Raises:
        ModelUnavailable: what reads its weights is not here.
    """
    if candidate.method:
        check_usable(candidate.method, has_gpu=hardware.gpu is not None)
    others = named_family(newest())
    best, *rest = [
        plan(candidate.name, candidate.shape, room, candidate.wanted, others)
        for room in _rooms(hardware, candidate)
    ]
    run = to_run(best, candidate.wanted.kv)
    if isinstance(best, Plan):
        return Answer(candidate, best, run)
    same = [offer for offer in best.offers if not offer.is_other_model]
    same += [
        Offer(found, ON_CPU, is_other_device=True) for found in rest if isinstance(found, Plan)
    ]
    offers = (*same, *(offer for offer in best.offers if offer.is_other_model))
    is_for_more = candidate.needs_several_gpus
    sentence = f"{best.sentence} It is for {SERVER}." if is_for_more else best.sentence
    return Answer(candidate, Refusal(sentence, offers), run)


def as_started(each: Answer, how: ModelConfig) -> Answer:
    """Add how a start runs the model on this machine, by what earlier ones have found.

    Args:
        each: what the planner says of it here.
        how: what the settings say of models.
    """
    candidate = each.candidate
    if each.run is None or candidate.shape.num_params < SMALL_PARAMS:
        return each  # nobody plans those
    return replace(each, start=short_start(candidate.name, how, each.run))


def _rooms(hardware: Hardware, candidate: Candidate) -> tuple[Room, ...]:
    """Return where a model can be run; a small one is kept in float32 on a CPU."""
    if candidate.method in GPU_ONLY:
        return (hardware.room,)
    if candidate.shape.num_params >= SMALL_PARAMS:
        return hardware.rooms
    return tuple(
        replace(room, value_bytes=4) if room.device == "cpu" else room for room in hardware.rooms
    )


def plan_to_run(source: str, hardware: Hardware, how: ModelConfig = DEFAULTS) -> Offer | None:
    """Return how a folder or hub id is run here as the settings ask for it, and what that costs.

    None where that is not known, or nothing fits that may be taken unasked: the engine then does as
    it can, and says what it lacks.
    """
    with suppress(UsageError, ModelUnavailable):
        return answer(named(source, how), hardware).run
    return None


def plan_of(source: str, how: ModelConfig) -> Offer | None:
    """Return how a model is run on this machine, where it is large enough for that to matter.

    Args:
        source: a folder or a hub id.
        how: what the settings say of models.
    """
    folder = Path(source).expanduser()
    nbytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if find(source) is None and nbytes < VALUE_BYTES * SMALL_PARAMS:
        return None  # it is kept as it is, and fits anywhere
    return plan_to_run(source, read_hardware(), how)


def named(name: str, how: ModelConfig = DEFAULTS, context_tokens: int | None = None) -> Candidate:
    """Find the model that is called so: a size, a release, nano, one of the hub cache, a folder.

    Args:
        name: as a person types it.
        how: what the settings say of models.
        context_tokens: a window that is asked for, whatever they say.

    Raises:
        UsageError: its shape cannot be known.
        ModelUnavailable: it is here and would not load, or it is a path that leads nowhere.
    """
    here = {model.hub_id: model for model in cached_models()}
    release = find(name)
    if release is not None:
        shape = _drafting(released_shape(release), how)
        if release.hub_id in here:
            shape = replace(shape, vision_params=vision_params(here[release.hub_id].config))
        return Candidate(
            name=release.hub_id,
            size=release.size if release in newest() else release.hub_id.rpartition("/")[2],
            shape=shape,
            is_here=release.hub_id in here,
            wanted=_wanted(shape, how, context_tokens),
            license=release.license,
            template=release.profile.name,
            needs_several_gpus=release.needs_several_gpus,
        )
    if name in here:
        return _cached(here[name], how, context_tokens)
    if name == NANO:
        from inference.local import NANO_FOLDER  # tokenizers, and only now

        return replace(_folder(NANO_FOLDER, how, context_tokens), name=NANO)
    if name.strip() and (folder := Path(name).expanduser()).is_dir():
        return _folder(Path(checked(folder)), how, context_tokens)
    if "/" in name and not HUB_ID.fullmatch(name):
        resolve(name)  # a path that leads nowhere is refused as where a model is run
    sizes = ", ".join(model.size for model in newest())
    raise UsageError(
        f"the shape of {name.strip() or 'a model without a name'} is not known here; name a size "
        f"({sizes}), the folder of a checkpoint, or a model that was pulled"
    )


def _wanted(shape: ModelShape, how: ModelConfig, context_tokens: int | None) -> Wanted:
    """Return what is to be planned for a model of this shape."""
    is_small = shape.num_params < SMALL_PARAMS  # the loader packs none of these unasked
    return Wanted(
        context_tokens or min(how.context, shape.context_tokens) or None,
        None if how.kv == "auto" else how.kv,
        how.weights if how.weights != "auto" else "16bit" if is_small else None,
        how.embedding_on_cpu,
        how.cpu_expert_layers,
        how.state,
    )


def _drafting(shape: ModelShape, how: ModelConfig) -> ModelShape:
    """Leave the draft layer out where no tokens are to be guessed."""
    return replace(shape, has_draft=shape.has_draft and how.speculation == "auto")


def _cached(model: CachedModel, how: ModelConfig, context_tokens: int | None) -> Candidate:
    method = model.check()
    shape = _drafting(model.shape(shapes_folder()), how)
    wanted = _wanted(shape, how, context_tokens)
    if model.weights is not None:  # by others: it stays as it is, and where it is loaded
        wanted = replace(wanted, weights=model.weights, is_whole=True)
    return Candidate(
        name=model.hub_id,
        size=model.hub_id.rpartition("/")[2],
        shape=shape,
        is_here=True,
        wanted=wanted,
        template=model.family,
        method=method,
    )


def _folder(folder: Path, how: ModelConfig, context_tokens: int | None) -> Candidate:
    config = read_json(folder / "config.json")
    family = profile_for(config, folder).name
    model = CachedModel(str(folder.resolve()), folder, 0, family, config)
    return _cached(model, how, context_tokens)
