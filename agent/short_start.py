"""How a start runs a model that turned out not to fit this machine as it was planned.

What did not fit is remembered in a file for each model (`inference/shortage.py`); which one that
is, and what a start then takes, is said here. Nothing is loaded, and nothing is forgotten.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from agent.config import state_folder
from agent.hardware import memory_bytes
from agent.models import cached_models
from agent.settings import ModelConfig
from inference.door import EngineSettings
from inference.fallback import Fallback
from inference.host_address import GPUS
from inference.plan import Offer, Plan
from inference.shortage import Shortage


@dataclass(frozen=True)
class ShortStart:
    """What a start takes in the place of what did not fit."""

    plan: Plan
    cache_bytes: int
    """What snapshots may fill; less than the plan has room for."""
    day: str
    """On which more did not fit."""
    file: Path
    """Who removes it has all of it tried again."""


def short_start(source: str, how: ModelConfig, offer: Offer) -> ShortStart | None:
    """Return how a model is started after what an earlier start found; None as it is planned.

    Args:
        source: a folder or a hub id.
        how: what the settings say of models.
        offer: how it is run here as it is planned.
    """
    shortage = shortage_of(source, how, offer)
    settings = EngineSettings(source, weights=how.weights, kv=how.kv, state=how.state)
    fallback = Fallback(settings, offer.plan)
    steps, _ = fallback.repeat(shortage.steps())
    if not steps or fallback.plan is None:
        return None
    cache_bytes = fallback.settings.cache_bytes
    return ShortStart(fallback.plan, cache_bytes, shortage.day(), shortage.file)


def shortage_of(source: str, how: ModelConfig, offer: Offer | None) -> Shortage:
    """Return where it is remembered what of a model does not fit this machine.

    Of other settings that take memory, or with more or less of it, it is another place: all is
    tried again there. A folder of the hub cache is the model that it holds.

    Args:
        source: a folder or a hub id.
        how: what the settings say of models.
        offer: how it is run here.
    """
    room = offer.plan.room if offer else None
    gpu_bytes = room.device_bytes if room and room.device == "cuda" else 0
    names = {str(model.folder): model.hub_id for model in cached_models()}
    facts = [
        *(names.get(source, source), memory_bytes(), gpu_bytes, os.environ.get(GPUS, "")),
        *(how.weights, how.kv, how.state, how.context, how.speculation, how.fast_kernels),
        *(how.embedding_on_cpu, how.cpu_expert_layers),
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return Shortage(state_folder() / "shortages" / f"{digest}.json")
