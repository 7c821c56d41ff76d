"""A small byte-level vocabulary with the family's control tokens, trained on the spot."""

import copy
import json

import pytest
import tokenizers
import torch
import transformers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from inference.model import Model
from inference.tokenizer import Tokenizer

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
NOT_SPECIAL = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = """
system user assistant # Tools You have access to the following functions: <function=bash>
<parameter=command>
ls -la src/
</parameter>
</function>
def add(first, second):
    return first + second  # the sum

import pytest
>>> assert add(1, 2) == 3.\n\n
{"name": "bash", "arguments": {"command": "pytest -q tests/test_shop.py"}}
The test fails because the comparison is wrong. I will mend it, then run the tests again.\n
"""


def family_definition(controls: tuple[str, ...] = NOT_SPECIAL) -> str:
    """Return a tokenizer.json like Qwen's: byte-level BPE, NFC, some controls not `special`."""
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    bpe.train_from_iterator(CORPUS.splitlines(keepends=True) * 3, trainer)
    bpe.add_special_tokens(list(SPECIAL))
    bpe.add_tokens([tokenizers.AddedToken(name, normalized=False) for name in controls])
    return str(bpe.to_str())


@pytest.fixture(scope="session")
def definition() -> str:
    return family_definition()


@pytest.fixture(scope="session")
def tokenizer(definition: str) -> Tokenizer:
    return Tokenizer(definition)


@pytest.fixture(scope="session")
def whole_tokenizer(definition: str) -> tokenizers.Tokenizer:
    """The same vocabulary as transformers would use it on a rendered template."""
    assert json.loads(definition)["added_tokens"]
    return tokenizers.Tokenizer.from_str(definition)


@pytest.fixture(scope="session")
def old_tokenizer() -> Tokenizer:
    """Qwen2.5's: calls are control tokens, thoughts and results are not."""
    return Tokenizer(family_definition(("<tool_call>", "</tool_call>")))


@pytest.fixture(scope="session")
def plain_tokenizer() -> Tokenizer:
    """A vocabulary with none of the family's tags but those of turns."""
    return Tokenizer(family_definition(()))


# Random four-layer models, small enough to run whole conversations in milliseconds. The matrices
# are larger than an initialisation would make them: tokens then differ clearly, and no two tie.

TINY = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
TINY_LINEAR = {
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
TINY_EXPERTS = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Use one thread: on matrices this small a second one only waits for the first."""
    torch.set_num_threads(1)


def random_module(family: str) -> transformers.PreTrainedModel:
    """Build a float32 model of `family` with random weights, the same ones every time."""
    config = {
        "qwen3_5": lambda: transformers.Qwen3_5TextConfig(**TINY, **TINY_LINEAR),
        "qwen3_5_moe": lambda: transformers.Qwen3_5MoeTextConfig(
            **TINY, **TINY_LINEAR, **TINY_EXPERTS, shared_expert_intermediate_size=16
        ),
        "qwen3": lambda: transformers.Qwen3Config(**TINY),
        "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**TINY, **TINY_EXPERTS),
        "qwen2": lambda: transformers.Qwen2Config(
            **{name: value for name, value in TINY.items() if name != "head_dim"}
        ),
    }[family]()
    torch.manual_seed(7)
    module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)
    return module.eval()


@pytest.fixture(scope="session")
def make_module():
    """Return `random_module`."""
    return random_module


@pytest.fixture(scope="session")
def modules():
    """Return one module of each family that engine tests run."""
    return {family: random_module(family) for family in ("qwen3_5", "qwen3_5_moe", "qwen3")}


EXPERTS = pytest.param("qwen3_5_moe", marks=pytest.mark.slow)
"""The same layers with a state as in qwen3_5; only what lies between them differs."""


@pytest.fixture(scope="session", params=["qwen3_5", EXPERTS, "qwen3"])
def tiny_model(request, modules):
    """Return a `Model` of each family in turn, with transformers' own module as its oracle."""
    return _with_oracle(modules[request.param])


@pytest.fixture(scope="session")
def tiny_hybrid(modules):
    """Return the `Model` with both kinds of layers."""
    return _with_oracle(modules["qwen3_5"])


def _with_oracle(module: transformers.PreTrainedModel) -> Model:
    """`Model` changes the module that it takes over, so it gets a copy."""
    model = Model(copy.deepcopy(module))
    model.oracle = module
    return model
