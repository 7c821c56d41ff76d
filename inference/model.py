"""A language model of transformers as one function: token ids and a state in, logits out.

It knows weights and a device; it does not know where the weights came from (`loader.py`), which
tokens are worth keeping (`engine.py`) or how one is chosen (`sampling.py`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.state import HybridState


class Model:
    """The text part of a causal model, ready to run."""

    def __init__(self, module: PreTrainedModel) -> None:
        self.module = module
        module.train(False)
        self.config = module.config.get_text_config(decoder=True)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where logits come out."""
        device: torch.device = self.module.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        dtype: torch.dtype = self.module.dtype
        return dtype

    @property
    def vocab_size(self) -> int:
        """How many logits there are."""
        return int(self.config.vocab_size)

    @property
    def context_tokens(self) -> int:
        """The longest sequence that the model was made for."""
        return int(self.config.max_position_embeddings)

    def new_state(self) -> HybridState:
        """A state that has read nothing."""
        return HybridState.empty(self.config)

    def forward(self, tokens: Sequence[int], state: HybridState) -> Tensor:
        """Read one token or more after those in `state`; logits after the last, float32 [V]."""
        return self._run(tokens, state, num_logits=1)[-1]

    def forward_all(self, tokens: Sequence[int], state: HybridState) -> Tensor:
        """Like `forward`, with the logits after every token, float32 [T, V]."""
        return self._run(tokens, state, num_logits=len(tokens))

    def _run(self, tokens: Sequence[int], state: HybridState, num_logits: int) -> Tensor:
        assert tokens, "one token must be left to run"
        assert state.is_whole, "the state's last forward was broken off"
        state.is_whole = False  # until the last layer is through: an exception leaves it so
        with torch.inference_mode():
            output = self.module(
                input_ids=torch.tensor([tokens], dtype=torch.long, device=self.device),
                past_key_values=state.cache,
                use_cache=True,
                logits_to_keep=num_logits,
            )
            logits: Tensor = output.logits[0].float()
        state.tokens.extend(tokens)
        state.is_whole = True
        return logits
