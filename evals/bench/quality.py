"""What do quantized weights do to the next token?

Method: held-out generated repositories (`evals/nano/corpus.py`), as plain text, are read in windows
by the model with its weights as they are and by the same model with quantized ones. After each
token: the Kullback-Leibler divergence of the two distributions, in nats, and whether the most
likely token is the same. With `--chunk 1` they are read as a reply is, by what is made for few
tokens, with 256 as a prompt is. The mean, the tail (the divergence that 1 in 100 and 1 in 1,000
exceed), and the share of equal first choices. A folder without tokenizer is given random tokens.
Last line: JSON, figures and machine.
"""

import argparse
import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from evals.bench.arguments import add_threads, count, run_alone
from evals.bench.machine import describe_machine
from evals.nano.corpus import HELD_OUT, generate
from inference.errors import ModelUnavailable
from inference.loader import load
from inference.local import NANO_FOLDER
from inference.model import Model
from inference.tokenizer import Tokenizer

CHUNK = 256
"""Tokens that are read at a time; their logits are held."""


@dataclass(frozen=True)
class Quality:
    """How far one model's next tokens are from another's."""

    num_tokens: int
    mean_kld: float
    kld_99: float
    kld_999: float
    top1_agreement: float


def compare(
    reference: Model, other: Model, windows: Sequence[Sequence[int]], chunk: int = CHUNK
) -> Quality:
    """Say how far `other` is from the reference over the windows."""
    divergences, agreements = differences(reference, other, windows, chunk)
    return _quality(divergences.double(), agreements)


def differences(
    reference: Model, other: Model, windows: Sequence[Sequence[int]], chunk: int
) -> tuple[Tensor, Tensor]:
    """Let both models read the same windows of tokens, each from an empty state.

    Returns, for every token, how far the second distribution is from the first, in nats, and
    whether both find the same token best.
    """
    divergences, agreements = [], []
    for window in windows:
        states = [(model, model.new_state()) for model in (reference, other)]
        for first in range(0, len(window), chunk):
            tokens = window[first : first + chunk]
            expected, actual = (
                model.forward_all(tokens, state).cpu().log_softmax(dim=-1)
                for model, state in states
            )
            divergences.append((expected.exp() * (expected - actual)).sum(dim=-1))
            agreements.append(expected.argmax(dim=-1) == actual.argmax(dim=-1))
    return torch.cat(divergences), torch.cat(agreements)


def _quality(divergences: Tensor, agreements: Tensor) -> Quality:
    tail = divergences.quantile(torch.tensor([0.99, 0.999], dtype=torch.float64))
    return Quality(
        num_tokens=len(divergences),
        mean_kld=round(divergences.mean().item(), 6),
        kld_99=round(tail[0].item(), 6),
        kld_999=round(tail[1].item(), 6),
        top1_agreement=round(agreements.double().mean().item(), 5),
    )


def windows_of(folder: Path, vocab_size: int, num_tokens: int, window: int) -> list[list[int]]:
    """Return tokens of held-out text in windows; random ones where there is no tokenizer."""
    if (folder / "tokenizer.json").exists():
        ids = _text_tokens(Tokenizer.from_folder(folder), num_tokens)
    else:
        ids = random.Random(0).choices(range(vocab_size), k=num_tokens)
    return [ids[first : first + window] for first in range(0, num_tokens, window)]


def _text_tokens(tokenizer: Tokenizer, num_tokens: int) -> list[int]:
    ids: list[int] = []
    for seed in itertools.count(HELD_OUT):
        ids += tokenizer.encode("\n".join(_texts(seed)))
        if len(ids) >= num_tokens:
            return ids[:num_tokens]
    raise AssertionError("seeds do not end")


def _texts(seed: int) -> Iterator[str]:
    for path, text in sorted(generate(seed).files.items()):
        yield f"# {path}\n{text}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--model", default="nano", metavar="nano|FOLDER|HUB-ID", help="default nano")
    add("--weights", choices=("nf4", "int8"), nargs="+", default=["nf4", "int8"])
    add("--tokens", type=count, default=8192, metavar="N", help="that are read (default 8192)")
    add("--window", type=count, default=1024, metavar="N", help="tokens at a time (default 1024)")
    few = "tokens read at a time (default 256); a reply is read one by one"
    add("--chunk", type=count, default=CHUNK, metavar="N", help=few)
    add("--device", default="auto", metavar="cpu|cuda")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print."""
    torch.set_num_threads(arguments.threads)
    where = str(NANO_FOLDER) if arguments.model == "nano" else arguments.model
    figures = {}
    try:
        plain = load(where, device=arguments.device, weights="16bit")
        windows = windows_of(
            plain.folder, plain.model.vocab_size, arguments.tokens, arguments.window
        )
        for kind in arguments.weights:
            other = load(where, device=arguments.device, weights=kind).model
            quality = compare(plain.model, other, windows, arguments.chunk)
            figures[kind] = {**asdict(quality), "weights_bytes": other.weights_nbytes}
            print(f"{kind:5}", *(f"{key} {value}" for key, value in figures[kind].items()))
    except ModelUnavailable as error:
        print(f"qwen-agent: {error}", file=sys.stderr)
        return error.exit_code
    plain_bytes = plain.model.weights_nbytes
    beside = {"model": arguments.model, "chunk": arguments.chunk, "plain_bytes": plain_bytes}
    record = {"bench": "quality", **beside, **figures}
    print(json.dumps({**record, "machine": describe_machine(arguments.threads)}))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
