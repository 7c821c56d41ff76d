"""Train nano: a few-million-parameter Qwen3.5 that has learned to repair the corpus.

    python -m evals.nano.train --data DIR --out DIR --minutes M [--device cuda]

Two things are learned at once. *Sessions*: the ideal repair sessions of `sessions.py`, the loss
taken on the replies, and with a small weight on a share of everything else. *Copying*: random
tokens, repeated once; a model this small does not find out by itself how to copy a name it has
never seen, and all of editing is copying (docs/nano.md tells what happened without).

Matrices are updated by Muon (Jordan et al. 2024), everything else by AdamW. The optimizer state
stays in `--out`, where a run that was stopped goes on; the weights are exported at every save.
Not here: where the data comes from (`sessions.py`), the model's code (transformers' own).
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

from evals.nano.shards import Shards, pad_batch

IGNORE = -100
REFRESH_BATCHES = 60
"""So often a look whether the generator has written more."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, besides data and seed."""

    tokens_per_batch: int = 6144
    matrix_lr: float = 0.01
    other_lr: float = 2e-3
    weight_decay: float = 0.05
    warm_up_steps: int = 40
    copy_only_steps: int = 150
    """First steps on copying alone, at lengths 16 and then 32."""
    copy_every: int = 5
    """Afterwards a copy batch is added to every fifth step, until `copy_until` of the time."""
    copy_until: float = 0.2
    context_share: float = 0.25
    """Share of the tokens outside replies on which the loss is taken too."""
    context_weight: float = 0.02
    """Small: what a repository holds cannot be foreseen, and with 0.3 that noise drowned the few
    tokens of a session that decide, which line and what instead (docs/nano.md)."""
    final_lr: float = 0.04
    """What is left of the learning rates at the end of the linear decay."""


def nano_config(vocab_size: int) -> Qwen3_5TextConfig:
    """Shape nano: the family's architecture, every second layer full attention."""
    return Qwen3_5TextConfig(
        vocab_size=vocab_size,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        linear_num_key_heads=4,
        linear_num_value_heads=4,
        linear_key_head_dim=32,
        linear_value_head_dim=64,
        layer_types=["linear_attention", "full_attention"] * 3,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )


def optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Give the hidden matrices to Muon and the rest (embedding, norms, gates, conv) to AdamW."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        wide = parameter.ndim == 2 and min(parameter.shape) >= 32
        (matrices if wide and "embed" not in name else others).append(parameter)
    return [
        torch.optim.Muon(
            matrices,
            lr=recipe.matrix_lr,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="original",
        ),
        torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def copy_batch(num_tokens: int, length: int, vocab_size: int, rng: random.Random) -> Tensor:
    """Make [B, 2 * length] random tokens whose second half repeats the first."""
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    half = torch.randint(16, vocab_size, (num_tokens // (2 * length), length), generator=generator)
    return torch.cat([half, half], dim=1)


def copy_loss(model: Qwen3_5ForCausalLM, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the second half given the first."""
    length = tokens.shape[1] // 2
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, length:-1]).float()
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, length + 1 :].flatten())


def session_loss(
    model: Qwen3_5ForCausalLM, tokens: Tensor, is_reply: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Loss on replies, and on a random share of the rest. tokens, is_reply: [B, T]; pad is -100."""
    inputs = tokens.clamp(min=0)
    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state[:, :-1]
    targets, reply = tokens[:, 1:], is_reply[:, 1:]
    context = (~reply) & (targets != IGNORE)
    context &= torch.rand(targets.shape, device=targets.device) < recipe.context_share
    keep = reply | context
    losses = F.cross_entropy(model.lm_head(hidden[keep]).float(), targets[keep], reduction="none")
    on_reply = reply[keep]
    return losses[on_reply].mean(), losses[~on_reply].mean()


@torch.no_grad()
def held_out(
    model: Qwen3_5ForCausalLM, batches: list[tuple[Tensor, Tensor]]
) -> tuple[float, float]:
    """Share of reply tokens, and of whole sessions, that teacher-forced greedy gets right."""
    num_right = num_all = num_whole = num_sessions = 0
    for tokens, is_reply in batches:
        predicted = model(input_ids=tokens.clamp(min=0), use_cache=False).logits[:, :-1].argmax(-1)
        right = (predicted == tokens[:, 1:]) | ~is_reply[:, 1:]
        num_all += int(is_reply[:, 1:].sum())
        num_right += int((right & is_reply[:, 1:]).sum())
        num_whole += int(right.all(dim=1).sum())
        num_sessions += len(tokens)
    return num_right / num_all, num_whole / num_sessions


class Trainer:
    """One run: model, optimizers, where it stands; saved and resumed as a whole."""

    def __init__(self, out: Path, recipe: Recipe, vocab_size: int, seed: int, device: str) -> None:
        torch.manual_seed(seed)
        self.out, self.recipe, self.device = out, recipe, device
        with torch.device(device):
            self.model = Qwen3_5ForCausalLM(nano_config(vocab_size))
        self.optimizers = optimizers(self.model, recipe)
        self.rng = random.Random(seed)
        self.step = self.num_tokens = 0
        self.elapsed_s = 0.0

    @property
    def checkpoint(self) -> Path:
        """The file a stopped run goes on from."""
        return self.out / "trainer.pt"

    def save(self) -> None:
        """Write the resumable state and export the weights beside it."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": self.rng.getstate(),
            "counts": (self.step, self.num_tokens, self.elapsed_s),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def export(self) -> None:
        """Write the weights as a checkpoint folder in bfloat16."""
        weights = {k: v.to(torch.bfloat16) for k, v in self.model.state_dict().items()}
        self.model.save_pretrained(self.out / "export", state_dict=weights)

    def resume(self, *, keep_schedule: bool) -> None:
        """Go on from the last save; a new stage (`keep_schedule` false) starts its clock anew."""
        state = torch.load(self.checkpoint, weights_only=False, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.setstate(state["rng"])
        self.step, self.num_tokens, elapsed_s = state["counts"]
        self.elapsed_s = elapsed_s if keep_schedule else 0.0

    def learn(self, loss: Tensor, share_of_time: float) -> None:
        """One optimizer step at the learning rate of this moment."""
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        warm = min(1.0, (self.step + 1) / self.recipe.warm_up_steps)
        decay = 1.0 - (1.0 - self.recipe.final_lr) * share_of_time
        rates = (self.recipe.matrix_lr, self.recipe.other_lr)
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * warm * decay
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1

    def run(
        self,
        train: Iterator[tuple[Tensor, Tensor]],
        test: list[tuple[Tensor, Tensor]],
        minutes: float,
        report_every: int,
    ) -> None:
        """Train until `minutes` of this schedule are over; print a JSON line a report."""
        last_report = last_save = time.perf_counter()
        started = time.perf_counter() - self.elapsed_s
        curve = (self.out / "curve.jsonl").open("a")
        while (share := (time.perf_counter() - started) / (minutes * 60)) < 1:
            with torch.autocast(self.device, dtype=torch.bfloat16):
                loss, numbers = self._loss(train, share)
            self.learn(loss, share)
            self.elapsed_s = time.perf_counter() - started
            if self.step % report_every == 0:
                if "reply" in numbers and self.step % (report_every * 4) == 0:
                    with torch.autocast(self.device, dtype=torch.bfloat16):
                        numbers["held_tokens"], numbers["held_whole"] = held_out(self.model, test)
                seconds = (time.perf_counter() - last_report) / report_every
                line = {
                    "step": self.step,
                    "minutes": self.elapsed_s / 60,
                    "s_per_step": seconds,
                    "mtokens": self.num_tokens / 1e6,
                    **numbers,
                }
                text = json.dumps({k: round(v, 4) for k, v in line.items()})
                print(text, flush=True)
                curve.write(text + "\n")
                curve.flush()
                last_report = time.perf_counter()
            if time.perf_counter() - last_save > 120:
                self.save()
                last_save = time.perf_counter()
        curve.close()
        self.save()

    def _loss(
        self, train: Iterator[tuple[Tensor, Tensor]], share_of_time: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the next step, and the parts of it that are reported."""
        recipe = self.recipe
        if self.step < recipe.copy_only_steps:
            loss = self._copy_loss(4096, 16 if self.step < recipe.copy_only_steps // 2 else 32)
            return loss, {"copy": loss.item()}
        tokens, is_reply = (x.to(self.device) for x in next(train))
        on_reply, on_rest = session_loss(self.model, tokens, is_reply, recipe)
        loss = on_reply + recipe.context_weight * on_rest
        self.num_tokens += tokens.numel()
        if self.step % recipe.copy_every == 0 and share_of_time < recipe.copy_until:
            loss = loss + 0.3 * self._copy_loss(2048, self.rng.choice([16, 24, 32, 48]))
        return loss, {"reply": on_reply.item(), "context": on_rest.item()}

    def _copy_loss(self, num_tokens: int, length: int) -> Tensor:
        tokens = copy_batch(num_tokens, length, self.model.config.vocab_size, self.rng)
        return copy_loss(self.model, tokens.to(self.device))


def batches(
    shards: Shards, tokens_per_batch: int, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield padded batches of sessions of like length for ever; new shards join as they appear."""
    while True:
        shards.refresh()
        order = sorted(range(len(shards)), key=lambda i: (shards.length(i), rng.random()))
        groups: list[list[int]] = [[]]
        for index in order:
            if (len(groups[-1]) + 1) * (shards.length(index) + 1) > tokens_per_batch:
                groups.append([])
            groups[-1].append(index)
        rng.shuffle(groups)
        for number, group in enumerate(groups, 1):
            yield pad_batch([shards.session(index) for index in group], IGNORE)
            if number % REFRESH_BATCHES == 0 and shards.refresh():
                break


def main() -> None:
    """Read the arguments, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="length of the schedule")
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report-every", type=int, default=25)
    parser.add_argument("--resume", choices=["no", "same", "new-stage"], default="no")
    parser.add_argument("--copy-only-steps", type=int, default=Recipe.copy_only_steps)
    parser.add_argument("--matrix-lr", type=float, default=Recipe.matrix_lr)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(copy_only_steps=arguments.copy_only_steps, matrix_lr=arguments.matrix_lr)
    trainer = Trainer(arguments.out, recipe, arguments.vocab_size, arguments.seed, arguments.device)
    if arguments.resume != "no":
        trainer.resume(keep_schedule=arguments.resume == "same")
    test = batches(Shards(arguments.data / "test"), recipe.tokens_per_batch, random.Random(0))
    held = [next(test) for _ in range(4)]
    train = batches(Shards(arguments.data / "train"), recipe.tokens_per_batch, trainer.rng)
    trainer.run(train, held, arguments.minutes, arguments.report_every)
    trainer.export()


if __name__ == "__main__":
    main()
