"""A language model of transformers as one function: token ids and a state in, logits out.

It knows weights and a device; it does not know where the weights came from (`loader.py`), which
tokens are worth keeping (`engine.py`) or how one is chosen (`sampling.py`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.delta_layer import adopt
from inference.pages import PagePool
from inference.state import ATTENTION, HybridState, Layout


class Model:
    """The text part of a causal model, ready to run. The module is changed: it needs our state."""

    def __init__(
        self, module: PreTrainedModel, recurrent_dtype: torch.dtype = torch.float32
    ) -> None:
        """Take a module over.

        Args:
            module: of transformers, with its weights.
            recurrent_dtype: of recurrent states between forwards; float16 halves a snapshot.
        """
        self.module = module
        self.recurrent_dtype = recurrent_dtype
        module.train(False)
        module.set_attn_implementation(ATTENTION)
        adopt(module)
        self.config = module.config.get_text_config(decoder=True)
        self.layout = Layout.of(self.config)
        self.pool = PagePool(self.layout.kv_shape(self.dtype, self.device))

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
        return HybridState(self.layout, self.pool, self.recurrent_dtype)

    def forward(self, tokens: Sequence[int], state: HybridState) -> Tensor:
        """Read one token or more after those in `state`; logits after the last, float32 [V]."""
        return self._run(tokens, state, num_logits=1)[-1]

    def forward_all(self, tokens: Sequence[int], state: HybridState) -> Tensor:
        """Like `forward`, with the logits after every token, float32 [T, V]."""
        return self._run(tokens, state, num_logits=len(tokens))

    def _run(self, tokens: Sequence[int], state: HybridState, num_logits: int) -> Tensor:
        assert tokens, "one token must be left to run"
        with torch.inference_mode():
            output = self.module(
                input_ids=torch.tensor([tokens], dtype=torch.long, device=self.device),
                past_key_values=state.begin(len(tokens)),
                use_cache=True,
                logits_to_keep=num_logits,
            )
            logits: Tensor = output.logits[0].float()
        state.commit(tokens)
        return logits
