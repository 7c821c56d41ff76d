"""Lines of many tokens for tests: a model so narrow that ten thousand tokens take a second."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers

from inference.branch import Branch
from inference.door import GenerationEnd
from inference.engine import Engine
from inference.identity import Identity
from inference.messages import SamplingOptions
from inference.model import Model
from inference.store import Store

VOCAB = 97
GREEDY = SamplingOptions()
IDENTITY = Identity("narrow", "", "", "float32", "float32", "", "1 attention layer, 1 linear")


def narrow_model(vocab_size: int = VOCAB, window: int = 1 << 20) -> Model:
    """One linear layer, then one of full attention with one head; the same weights every time."""
    config = transformers.Qwen3_5TextConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"],
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=1,
        linear_num_value_heads=1,
        max_position_embeddings=window,
    )
    torch.manual_seed(7)
    module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)
    return Model(module)


def drawn(seed: int, num_tokens: int, vocab_size: int = VOCAB) -> tuple[int, ...]:
    """Tokens that no other seed begins with."""
    return tuple(random.Random(seed).choices(range(vocab_size), k=num_tokens))


def engine_on(model: Model, folder: Path, notices: list[str], **options: int) -> Engine:
    """An engine whose states lie in `folder`; what the store says goes to `notices`.

    All of them, however far the thread that writes falls behind.
    """
    store = Store(folder, IDENTITY, 1 << 30, notices.append)
    engine = Engine(model, **({"cache_bytes": 1 << 30} | options), store=store)
    assert engine.shelf._writer is not None
    engine.shelf._writer._max_waiting = 10_000
    return engine


def never() -> bool:
    return False


def ask(
    engine: Engine,
    prompt: Sequence[int],
    num_new: int = 8,
    *,
    live: Branch | None = None,
    cancel: Callable[[], bool] = never,
    marks: Sequence[int] = (),
    reuse: bool = True,
) -> GenerationEnd:
    """Answer a whole prompt as a front end's request is answered."""
    branch = engine.find(prompt, live, reuse)
    *_, end = engine.generate(
        branch,
        prompt[len(branch) :],
        GREEDY,
        max_new_tokens=num_new,
        cancel=cancel,
        marks=marks,
    )
    assert isinstance(end, GenerationEnd)
    assert end.usage.num_prompt == end.usage.num_reused + end.usage.num_prefilled
    return end


def cold(model: Model, prompt: Sequence[int], num_new: int = 8) -> tuple[int, ...]:
    """What an engine that knows nothing answers."""
    return ask(Engine(model, cache_bytes=0), prompt, num_new, reuse=False).token_ids
