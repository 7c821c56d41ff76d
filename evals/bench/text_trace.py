"""Write a trace of real text in a model's own tokens: what llama-server needs to tell messages.

    python -m evals.bench.text_trace CHECKPOINT OUT.json --base 8192

The text is the source of this Python's standard library; the lengths of the messages are those of
the drawn trace, and so of the published one.
"""

import argparse
import json
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from evals.bench.arguments import at_least
from evals.bench.trace import NUM_CHUNKS, Sizes, Trace
from inference.tokenizer import Tokenizer

SYSTEM = "<|im_start|>system\nYou are a coding agent.<|im_end|>\n<|im_start|>user\n"
MESSAGE = "<|im_start|>user\n<tool_response>\n"
FOOTER = "\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n"
CLOSE = "<|im_end|>\n"
CONTROL = re.compile(r"(<\|\w+\|>|</?tool_response>|<think>)")


def text_trace(tokenizer: Tokenizer, sizes: Sizes) -> Trace:
    """Cut the standard library into a base and messages of the drawn lengths."""
    lengths = random.Random(0)
    text = _library(tokenizer)

    def framed(before: str, after: str, num_tokens: int) -> tuple[int, ...]:
        head, tail = _rendered(tokenizer, before), _rendered(tokenizer, after)
        num_text = max(1, num_tokens - len(head) - len(tail))
        return (*head, *(next(text) for _ in range(num_text)), *tail)

    base = framed(SYSTEM, CLOSE, sizes.num_base)
    chunks = tuple(
        framed(MESSAGE, FOOTER, lengths.randint(sizes.num_shortest, sizes.num_longest))
        for _ in range(NUM_CHUNKS)
    )
    return Trace(base, chunks, _rendered(tokenizer, CLOSE))


def _rendered(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Return tokens in which a control token stands for its name."""
    ids: list[int] = []
    for part in CONTROL.split(text):
        is_control = CONTROL.fullmatch(part) and tokenizer.has_control(part)
        ids += [tokenizer.control(part)] if is_control else tokenizer.encode(part)
    return tuple(ids)


def _library(tokenizer: Tokenizer) -> Iterator[int]:
    """Yield the tokens of the standard library's modules, one file after the other."""
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        yield from tokenizer.encode(file.read_text(encoding="utf-8", errors="replace"))


def main() -> int:
    """Write the trace."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkpoint", type=Path, help="a folder with tokenizer.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", type=at_least(16), default=8192)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_folder(arguments.checkpoint)
    trace = text_trace(tokenizer, Sizes(num_base=arguments.base))
    words = {"base": trace.base, "chunks": trace.chunks, "close": trace.close}
    arguments.out.write_text(json.dumps(words), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
