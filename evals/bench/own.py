"""Our own engine behind the benchmark's door, with its reuse or, to compare, without it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from evals.bench.adapter import Answer, BenchFailed, Restarted
from evals.bench.machine import forget_peak, peak_rss_bytes
from inference.branch import Branch
from inference.chat import never
from inference.door import CACHE_BYTES, DType, GenerationEnd, Token
from inference.engine import Engine
from inference.errors import ModelUnavailable
from inference.identity import Identity
from inference.loader import load
from inference.messages import SamplingOptions
from inference.model import Model
from inference.store import Store

STORE_BYTES = 20 << 30
UNNAMED = Identity(
    model="bench", revision="", quantization="", kv_dtype="", state_dtype="", template="", shape=""
)


def open_engine(model: Model, folder: Path | None) -> Engine:
    """Make the engine that is measured, as the agent makes it.

    Args:
        model: what to run.
        folder: where states may be stored; None for an engine that reuses nothing.
    """
    if folder is None:
        return Engine(model, cache_bytes=CACHE_BYTES)
    identity = replace(UNNAMED, shape=repr(model.layout))
    store = Store(folder, identity, STORE_BYTES, _complain)
    return Engine(model, cache_bytes=CACHE_BYTES, store=store)


def _complain(sentence: str) -> None:
    raise BenchFailed(sentence)


class OwnEngine:
    """The engine, in this process."""

    def __init__(self, model: Model, folder: Path | None, opener: int | None = None) -> None:
        """Open the engine.

        Args:
            model: what to run.
            folder: as in `open_engine`.
            opener: the token that begins a message. An agent knows where messages begin; from
                token ids alone they are found by it.
        """
        self.model = model
        self.folder = folder
        self.opener = opener
        self._engine = open_engine(model, folder)
        self._live: Branch | None = None

    def ask(self, ids: Sequence[int], n_gen: int, seed: int = 0) -> Answer:
        """Read what is new of `ids`, write `n_gen` tokens."""
        forget_peak()
        tokens, times = list(ids), []
        started = time.perf_counter()
        branch = self._live = self._engine.find(tokens, self._live, self.folder is not None)
        for event in self._engine.generate(
            branch,
            tokens[len(branch) :],
            SamplingOptions(temperature=1.0, seed=seed) if seed else SamplingOptions(),
            max_new_tokens=n_gen,
            cancel=never,
            marks=[place for place, token in enumerate(tokens) if token == self.opener],
        ):
            if isinstance(event, Token):
                times.append(time.perf_counter())
            elif isinstance(event, GenerationEnd):
                end = event
        return {
            "tokens": list(end.token_ids),
            "prompt_n": end.usage.num_prefilled,
            "cached_n": end.usage.num_reused,
            "ttft": times[0] - started,
            "total": time.perf_counter() - started,
            "gen_tok_s": (n_gen - 1) / (times[-1] - times[0]) if n_gen > 1 else None,
            "peak_rss_bytes": peak_rss_bytes(),
        }

    def restart(self) -> Restarted:
        """Close the engine and open another on the same folder; the weights stay."""
        started = time.perf_counter()
        self.close()
        self._engine = open_engine(self.model, self.folder)
        return {"restart_s": time.perf_counter() - started}

    def close(self) -> None:
        """Give the live branch up and close the engine."""
        self._live = None
        self._engine.close()


def open_own(
    checkpoint: Path, folder: Path | None, dtype: DType, num_threads: int, opener: int | None
) -> OwnEngine:
    """Load a checkpoint and open the engine on it.

    Raises:
        BenchFailed: the checkpoint cannot be used.
    """
    torch.set_num_threads(num_threads)
    try:
        model = load(str(checkpoint), device="cpu", dtype=dtype).model
    except ModelUnavailable as error:
        raise BenchFailed(str(error)) from error
    engine = OwnEngine(model, folder, opener)
    OwnEngine(model, None).ask(range(64), 2)  # warm-up: nothing of it stays
    return engine
