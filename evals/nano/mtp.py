"""The multi-token-prediction layer: from the trunk's state and the next token, the one after it.

    python -m evals.nano.mtp --data DIR --out DIR --minutes M

Names and wiring are the family's (`mtp.*`; DeepSeek-V3, arXiv:2412.19437, section 2.2): the
embedding of token t+1 and the trunk's normed hidden state at t are normed, joined, projected to one
width, and go through one full-attention layer; the trunk's own head reads the result. It is
trained with the trunk frozen, so the model's own replies stay as they are. Nothing uses it yet
but its test: it is there to draft tokens.
"""

import argparse
import copy
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import (
    Qwen3_5DecoderLayer,
    Qwen3_5RMSNorm,
    Qwen3_5TextRotaryEmbedding,
)

from evals.nano.shards import Shards
from evals.nano.train import IGNORE, batches


class MultiTokenPredictor(nn.Module):
    """Predicts token t+2 from the trunk's hidden state at t and token t+1."""

    def __init__(self, config: Qwen3_5TextConfig) -> None:
        super().__init__()
        one_layer = copy.deepcopy(config)
        one_layer.num_hidden_layers, one_layer.layer_types = 1, ["full_attention"]
        one_layer._attn_implementation = "sdpa"
        width = config.hidden_size
        self.fc = nn.Linear(2 * width, width, bias=False)
        self.pre_fc_norm_embedding = Qwen3_5RMSNorm(width, eps=config.rms_norm_eps)
        self.pre_fc_norm_hidden = Qwen3_5RMSNorm(width, eps=config.rms_norm_eps)
        self.layers = nn.ModuleList([Qwen3_5DecoderLayer(one_layer, 0)])
        self.norm = Qwen3_5RMSNorm(width, eps=config.rms_norm_eps)
        self._rotary = Qwen3_5TextRotaryEmbedding(config=one_layer)

    def forward(self, hidden: Tensor, following: Tensor) -> Tensor:
        """Return the hidden states for the head.

        Args:
            hidden: [B, T, D], the trunk's output after its last norm, positions 0..T-1.
            following: [B, T, D], the embeddings of the tokens at positions 1..T.
        """
        joined = [self.pre_fc_norm_embedding(following), self.pre_fc_norm_hidden(hidden)]
        states = self.fc(torch.cat(joined, dim=-1))
        positions = torch.arange(1, states.shape[1] + 1, device=states.device)
        positions = positions.view(1, 1, -1).expand(3, len(states), -1)
        states = self.layers[0](
            states, position_embeddings=self._rotary(states, positions), attention_mask=None
        )
        normed: Tensor = self.norm(states)
        return normed


def _loss(
    trunk: Qwen3_5ForCausalLM, head: MultiTokenPredictor, tokens: Tensor, is_reply: Tensor
) -> tuple[Tensor, float]:
    """Cross-entropy on the replies, and how often the draft is the token that came."""
    with torch.no_grad():
        ids = tokens.clamp(min=0)
        hidden = trunk.model(input_ids=ids, use_cache=False).last_hidden_state
        embedded = trunk.model.embed_tokens(ids)
    states = head(hidden[:, :-2], embedded[:, 1:-1])
    targets, keep = tokens[:, 2:], is_reply[:, 2:]
    logits = trunk.lm_head(states[keep]).float()
    right = (logits.argmax(-1) == targets[keep]).float().mean().item()
    return F.cross_entropy(logits, targets[keep], ignore_index=IGNORE), right


def main() -> None:
    """Train on the trunk in `--out`/export, and write `mtp.safetensors` there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    trunk = Qwen3_5ForCausalLM.from_pretrained(arguments.out / "export", dtype=torch.float32)
    trunk.requires_grad_(False)
    head = MultiTokenPredictor(trunk.config)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, betas=(0.9, 0.98))
    train = batches(Shards(arguments.data / "train"), 6144, random.Random(3))
    test = [next(batches(Shards(arguments.data / "test"), 6144, random.Random(0)))]
    started, step = time.perf_counter(), 0
    while (share := (time.perf_counter() - started) / (arguments.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 20) * (1 - 0.95 * share)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, right = _loss(trunk, head, *next(train))
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 10 == 0:
            print(json.dumps({"step": step, "loss": round(loss.item(), 4), "right": right}))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        shares = [_loss(trunk, head, *batch)[1] for batch in test]
    print(json.dumps({"held_right": sum(shares) / len(shares)}))
    weights = {
        f"mtp.{name}": value.to(torch.bfloat16).contiguous()
        for name, value in head.state_dict().items()
    }
    save_file(weights, arguments.out / "mtp.safetensors")


if __name__ == "__main__":
    main()
