"""The name of a model to a running engine: what the engine host and in-process front ends share.

It reads no tokenizer and no conversation. torch is loaded when this file is imported.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.door import EngineSettings, OnProgress
from inference.engine import Engine
from inference.errors import ModelUnavailable
from inference.grammar import Grammars
from inference.identity import Identity, fingerprint
from inference.loader import Loaded, load
from inference.module import Placement
from inference.mtp import read_mtp
from inference.speculate import Speculation
from inference.store import Store
from inference.tokenizer import Tokenizer
from inference.vision import Vision

LOG = logging.getLogger(__name__)
RAM_SHARE = 0.25
"""Of the machine's free memory, for states that a GPU evicts."""
INT4_WARNING = (
    "Keys and values are kept in 4 bits, which saves memory; "
    "in a long conversation the model makes more mistakes than with --kv int8."
)


@dataclass(frozen=True)
class OpenedEngine:
    """An engine, the folder that its weights came from, and that folder's config.json."""

    engine: Engine
    folder: Path
    config: Mapping[str, Any]


def open_engine(settings: EngineSettings, on_progress: OnProgress | None = None) -> OpenedEngine:
    """Load a model and put an engine around it.

    Raises:
        ModelUnavailable: not found, offline, damaged, or of a family we do not know.
    """
    loaded = load(
        settings.source,
        device=settings.device,
        dtype=settings.dtype,
        weights=settings.weights,
        kv=settings.kv,
        state=settings.state,
        fast_kernels=settings.fast_kernels,
        placement=Placement(settings.embedding_on_cpu, settings.num_cpu_expert_layers),
        on_progress=on_progress,
    )
    model = loaded.model
    if "vision_config" in loaded.config:
        model.vision = Vision(loaded.folder, loaded.config, model.device, model.dtype)
    speculation = None
    if settings.speculation == "auto":
        speculation = Speculation(read_mtp(loaded.folder, model))
    notices = [INT4_WARNING] if settings.kv == "int4" else []
    if model.notice:
        notices.append(model.notice)
    store = open_store(loaded, settings, notices) if settings.store_folder else None
    engine = Engine(
        model,
        cache_bytes=settings.cache_bytes,
        prefill_chunk=settings.prefill_chunk,
        store=store,
        ram_bytes=int(RAM_SHARE * _free_bytes()) if model.device.type == "cuda" else 0,
        notices=notices,
        grammars=grammars_of(loaded.folder),
        speculation=speculation,
    )
    return OpenedEngine(engine, loaded.folder, loaded.config)


def grammars_of(folder: Path) -> Grammars | None:
    """Return what holds calls to their form; None where the folder has no vocabulary."""
    try:
        return Grammars(Tokenizer.from_folder(folder))
    except ModelUnavailable:  # whoever reads and writes text needs it, and says so
        return None


def open_store(loaded: Loaded, settings: EngineSettings, notices: list[str]) -> Store:
    """Open the stored states of a model as it is run; what goes wrong there is noted."""

    def note(sentence: str) -> None:
        LOG.warning(sentence)
        notices.append(sentence)

    where = Path(settings.store_folder)
    return Store(where, identity_of(loaded), settings.store_bytes, note)


def identity_of(loaded: Loaded) -> Identity:
    """Return what a state of this model belongs to.

    The prompt's fixed part is not in it: states are found by their tokens, and it is among them.
    """
    model, folder = loaded.model, loaded.folder
    layout = model.layout
    return Identity(
        model=fingerprint(folder),
        revision=folder.name if folder.parent.name == "snapshots" else "",
        quantization=model.quantization,
        kv_dtype=model.pool.shape.codec.name,
        state_dtype=_name(model.recurrent_dtype),
        template="",
        shape=f"{len(layout.attention)} attention layers of {layout.num_kv_heads} x "
        f"{layout.head_dim}, {len(layout.linear)} linear layers",
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
