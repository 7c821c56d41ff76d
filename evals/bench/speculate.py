"""How much sooner is a reply there when tokens are guessed, and does it cost anything when not?

    python -m evals.bench.speculate [--shape 0.8b] [--lines 200] [--json FILE]

Method: random weights in the true shape, so a text is forced upon the model: what it thinks is
computed and thrown away, in all its width. The text is a file of the standard library that stands
in the prompt, with hunks of lines changed for others, as when a model writes a file anew. It is
written in parts; of each part, both ways in turn, the plain way only the first tokens, since all of
its tokens cost the same. The unpredictable text is random ids, in parts of the same length for
both. Then nano, which has learnt something: it answers the steps of ideal sessions of held-out
seeds, and its replies are compared token by token. First of all the cost of one forward is
measured for each width, the widths in turn. Medians of `--runs`. Where the machine does other
things too, the CPU's seconds say more than the clock's. Last line: JSON, with the machine.
"""

import argparse
import inspect
import json
import random
import sys
import tempfile
import textwrap
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from agent.errors import UsageError
from evals.bench.arguments import add_threads, at_least, count, layers, run_alone
from evals.bench.machine import describe_machine
from evals.bench.random_model import KINDS, model_of_kind
from evals.bench.shapes import SHAPES, Shape
from evals.nano.corpus import HELD_OUT, generate
from evals.nano.sessions import ideal_session, tokenize
from evals.nano.warm import WarmPytest
from inference.branch import Branch
from inference.chat import never
from inference.door import SMALL_PARAMS, CallGrammar, GenerationEnd
from inference.engine import Engine
from inference.loader import cpu_dtype
from inference.local import NANO_FOLDER, open_chat
from inference.messages import SamplingOptions, Usage
from inference.model import Model
from inference.mtp import MAX_CHAIN, MtpSource
from inference.odds import Costs
from inference.prefix import num_common
from inference.profiles import NANO
from inference.speculate import Drafts, Speculation
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript

GOALS = {"copying": 3.0, "random": 0.97}
"""Times as fast as plain, by the clock: where much is copied, and where nothing can be guessed."""
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
MIN_PART = 2
"""Tokens: the first of a part is not timed."""
NUM_KEPT, NUM_CHANGED = 20, 5
"""Lines between changes, and of a change: a fifth of the file is new."""
GREEDY = SamplingOptions()
FORCED = CallGrammar("xml", "")


class Dictation:
    """Lets nothing be drawn but the next token of a text: the rule of all replies to come."""

    def __init__(self) -> None:
        self.text: list[int] = []

    def rule(self, _grammar: CallGrammar) -> "Dictation":
        """Be the rule of a reply."""
        return self

    def mask(self, logits: Tensor) -> None:
        """Forbid all else; what the model thought is looked through as always."""
        logits.argmax()
        logits.fill_(float("-inf"))
        logits[self.text[0]] = 0.0

    def advance(self, token: int) -> None:
        """Go on to the next."""
        assert token == self.text.pop(0), "what was dictated is what was written"

    def forced(self) -> tuple[int, ...]:
        """Nothing is taken without thinking."""
        return ()


class Writer:
    """Writes dictated text on one line of tokens."""

    def __init__(self, model: Model, speculation: Speculation | None) -> None:
        self._words = Dictation()
        self._engine = Engine(
            model, cache_bytes=0, speculation=speculation, grammars=self._words
        )  # no snapshot is kept
        self._branch: Branch | None = None
        self._unread: Sequence[int] = ()

    def read(self, tokens: Sequence[int]) -> None:
        """Take tokens in as a prompt."""
        line = (*(() if self._branch is None else self._branch.tokens), *self._unread, *tokens)
        self._branch = self._engine.branch(line, never, live=self._branch)
        self._unread = ()

    def write(self, text: Sequence[int]) -> tuple[float, float, Usage]:
        """Write a text; return a token's seconds by the clock and of the CPU, and the usage."""
        started = time.process_time()
        self._words.text = list(text)
        assert self._branch is not None, "it has read a prompt"
        events = self._engine.generate(
            self._branch,
            self._unread,
            GREEDY,
            max_new_tokens=len(text),
            cancel=never,
            grammar=FORCED,
        )
        *_, end = events
        assert isinstance(end, GenerationEnd)
        self._unread = text[-1:]
        cpu_s = time.process_time() - started
        num_read = len(text) - 1  # the first is drawn from what was read before
        return end.usage.decode_s / num_read, cpu_s / num_read, end.usage


def file_and_rewriting(num_lines: int) -> tuple[list[int], list[int]]:
    """Return a file as it was and as it is written: every change is of lines of another file."""
    words = Tokenizer.from_folder(NANO_FOLDER)
    old = inspect.getsource(argparse).splitlines(keepends=True)[100 : 100 + num_lines]
    others = iter(inspect.getsource(types).splitlines(keepends=True))
    lines = [line for line in others if line.strip()] + inspect.getsource(textwrap).splitlines(True)
    fresh = iter(lines)
    period = NUM_KEPT + NUM_CHANGED
    new = [next(fresh) if number % period >= NUM_KEPT else line for number, line in enumerate(old)]
    return list(words.encode("".join(old))), list(words.encode("".join(new)))


def width_costs(model: Model, context: Sequence[int], num_runs: int) -> dict[int, float]:
    """Return the seconds of a forward over each number of tokens, roll-back of half included."""
    state = model.new_state()
    model.forward(context, state)
    times: dict[int, list[float]] = {width: [] for width in WIDTHS}
    for number in range(num_runs + 1):
        for width in WIDTHS:
            state.allow_rollback(width)
            started = time.perf_counter()
            if width == 1:
                model.forward(context[:1], state)
            else:
                model.forward_all(context[:width], state)
                state.rollback(width // 2)
            if number:  # the first is to warm up
                times[width].append(time.perf_counter() - started)
            state.rollback(width if width == 1 else width - width // 2)
    return {width: median(each) for width, each in times.items()}


def compare(
    model: Model, prompt: Sequence[int], text: Sequence[int], num_plain: int, num_runs: int
) -> dict[str, Any]:
    """Write a text in parts, plainly and with guesses in turn; return the medians of the parts.

    Args:
        model: writes.
        prompt: what stands before.
        text: is written.
        num_plain: tokens of each part that are written plainly; the rest is read.
        num_runs: parts.
    """
    plain, guessing = Writer(model, None), Writer(model, Speculation())
    for writer in (plain, guessing):
        writer.read(prompt)
    plain_s, guess_s, plain_cpu_s, guess_cpu_s, usages = [], [], [], [], []
    step = len(text) // num_runs
    for number, first in enumerate(range(0, step * num_runs, step)):
        part = text[first : first + step]
        for writer in (plain, guessing) if number % 2 else (guessing, plain):
            if writer is plain:
                seconds, cpu_s, _ = plain.write(part[:num_plain])
                plain_s.append(seconds)
                plain_cpu_s.append(cpu_s)
                if part[num_plain:]:
                    plain.read(part[num_plain:])
            else:
                seconds, cpu_s, usage = guessing.write(part)
                guess_s.append(seconds)
                guess_cpu_s.append(cpu_s)
                usages.append(usage)
    ratios = [one / other for one, other in zip(plain_s, guess_s, strict=True)]
    cpu_ratios = [one / other for one, other in zip(plain_cpu_s, guess_cpu_s, strict=True)]
    return {
        "num_tokens": step * num_runs,
        "plain_tok_s": round(1 / median(plain_s), 2),
        "guessing_tok_s": round(1 / median(guess_s), 2),
        "times_plain": round(median(ratios), 3),
        "all_times_plain": [round(ratio, 3) for ratio in ratios],
        "cpu_times_plain": round(median(cpu_ratios), 3),
        "all_cpu_times_plain": [round(ratio, 3) for ratio in cpu_ratios],
        "num_drafted": sum(usage.num_drafted for usage in usages),
        "num_accepted": sum(usage.num_accepted for usage in usages),
    }


class _EvenCosts(Costs):
    """All that may come true is guessed."""

    def of(self, num_tokens: int) -> float | None:
        return 1.0


class _Chain(MtpSource):
    """Counts how often each guess in a chain was right where those before it were."""

    counts: list[tuple[int, int]]

    def learn(self, came: Sequence[int]) -> None:
        right = num_common(self._guess, came)
        for number in range(min(right + 1, len(self._guess), len(came))):
            num, num_right = self.counts[number]
            self.counts[number] = num + 1, num_right + (number < right)
        super().learn(came)


class _OnlyMtp(Speculation):
    """Guesses a whole chain of the draft layer each time."""

    def __init__(self, before: Speculation) -> None:
        super().__init__(before.mtp)
        self.counts = [(0, 0)] * MAX_CHAIN

    def drafts(self, branch: Branch, stop_ids: frozenset[int]) -> Drafts:
        assert self.mtp is not None, "nano has a draft layer"
        source = _Chain(self.mtp, branch.state)
        source.counts = self.counts
        return Drafts([source], _EvenCosts(), stop_ids)


def nano(num_seeds: int) -> dict[str, Any]:
    """Let nano answer every step of some sessions, in three ways; return what came true."""
    chat = open_chat("nano")
    engine: Any = chat.engine
    prompts = list(_prompts(Transcript(chat.tokenizer, NANO), num_seeds))
    stop_ids = chat.tokenizer.controls_of(NANO.stop_tokens)
    auto, chain = Speculation(engine.speculation.mtp), _OnlyMtp(engine.speculation)
    replies: list[list[tuple[int, ...]]] = []
    usages: list[list[Usage]] = []
    for speculation in (None, auto, chain):
        engine.speculation = speculation
        ends = [_reply(engine, prompt, stop_ids) for prompt in prompts]
        replies.append([end.token_ids for end in ends])
        usages.append([end.usage for end in ends])
    return {
        "nano_replies": len(prompts),
        "nano_tokens": sum(usage.num_generated for usage in usages[0]),
        "nano_same": replies[0] == replies[1] == replies[2],
        "nano_drafted": sum(usage.num_drafted for usage in usages[1]),
        "nano_accepted": sum(usage.num_accepted for usage in usages[1]),
        "mtp_acceptance": [round(right / max(1, num), 3) for num, right in chain.counts],
    }


def _prompts(transcript: Transcript, num_seeds: int) -> Iterator[tuple[int, ...]]:
    """Yield what stands before each reply of ideal sessions."""
    for seed in range(HELD_OUT, HELD_OUT + num_seeds):
        with tempfile.TemporaryDirectory() as folder:
            messages = ideal_session(generate(seed), Path(folder), WarmPytest())
        tokens, is_reply = tokenize(messages, transcript)
        for number in range(1, len(tokens)):
            if is_reply[number] and not is_reply[number - 1]:
                yield tuple(tokens[:number])


def _reply(engine: Engine, prompt: tuple[int, ...], stop_ids: frozenset[int]) -> GenerationEnd:
    branch = engine.find(prompt)
    *_, end = engine.generate(
        branch,
        prompt[len(branch) :],
        GREEDY,
        max_new_tokens=300,
        cancel=never,
        stop_ids=stop_ids,
    )
    assert isinstance(end, GenerationEnd)
    return end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench speculate`."""
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="0.8b")
    add("--layers", type=layers, metavar="N", help="of the shape's, and as much of its vocabulary")
    add("--weights", choices=KINDS, default="nf4")
    add("--lines", type=at_least(0), default=200, metavar="N", help="of the file (200); 0 for none")
    plain = "tokens of a part that are written plainly (32)"
    add("--plain", type=at_least(MIN_PART), default=32, metavar="N", help=plain)
    drawn = "random tokens in a part (48); 0 for none"
    add("--random", type=at_least(0), default=48, metavar="N", help=drawn)
    add("--runs", type=count, default=5, metavar="N", help="parts, of which the median counts (5)")
    sessions = "sessions of nano (4); 0 for none"
    add("--seeds", type=at_least(0), default=4, metavar="N", help=sessions)
    add_threads(parser)
    add("--json", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 0 if all goals are met, and nano wrote the same both ways."""
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        raise UsageError(f"there is no folder for {arguments.json}")
    torch.set_num_threads(arguments.threads)
    figures: dict[str, Any] = {"shape": arguments.shape, "layers": arguments.layers or "all"}
    if arguments.lines or arguments.random:
        figures |= forced(arguments)
    if arguments.seeds:
        figures |= nano(arguments.seeds)
    for name, value in figures.items():
        print(f"{name:16} {value}")
    shares = {
        name: round(figures[name]["times_plain"] / goal, 3)
        for name, goal in GOALS.items()
        if name in figures
    }
    for name, share in shares.items():
        words = "reached" if share >= 1 else "missed"
        times = figures[name]["times_plain"]
        print(f"{name}: {times} times plain, the goal is {GOALS[name]}: {words}")
    figures |= {"goals": GOALS, "share_of_goal": shares}
    report = {"bench": "speculate", **figures, "machine": describe_machine(arguments.threads)}
    print(json.dumps(report))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    is_met = all(share >= 1 for share in shares.values())
    return 0 if is_met and figures.get("nano_same", True) else 1


def forced(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what a forward costs, then texts that copy and texts that do not."""
    num_runs = arguments.runs
    texts = file_and_rewriting(arguments.lines or 200)
    if min(len(texts[1]) // num_runs, arguments.random or MIN_PART) < MIN_PART:
        raise UsageError(f"a part of each text needs {MIN_PART} tokens at least")
    model = _model(SHAPES[arguments.shape], arguments.layers, arguments.weights)
    old, new = ([id % model.vocab_size for id in text] for text in texts)
    costs = width_costs(model, (old * WIDTHS[-1])[:512], num_runs)
    figures: dict[str, Any] = {
        "weights": model.weights,
        "step_s": {width: round(seconds, 4) for width, seconds in costs.items()},
        "step_costs": {width: round(seconds / costs[1], 2) for width, seconds in costs.items()},
    }
    if arguments.lines:
        figures["lines"] = arguments.lines
        figures["copying"] = compare(model, old, new, arguments.plain, num_runs)
        print(figures, flush=True)
    if arguments.random:
        draw, num = random.Random(0), arguments.random
        noise = [draw.randrange(model.vocab_size) for _ in range(num * num_runs)]
        figures["random"] = compare(model, old[:512], noise, num, num_runs)
    return figures


def _model(shape: Shape, num_layers: int | None, weights: str) -> Model:
    """Make a model of a shape, or of some of its layers and that share of its vocabulary."""
    if num_layers:
        vocabulary = shape.vocab_size * num_layers // shape.num_hidden_layers
        shape = replace(shape, num_hidden_layers=num_layers, vocab_size=vocabulary)
    return model_of_kind(shape.config(), weights, cpu_dtype(SMALL_PARAMS))


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
