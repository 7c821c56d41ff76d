"""What does it cost to hold calls to their form, and does it hold?

Method, on a vocabulary of 248,320 tokens made of the words of the Python files installed here:
1. the seconds that the grammar of our tools takes to make;
2. the time of the mask and of applying it, for each token of a long edit;
3. tokens a second of a model of random weights inside a text, without and with the mask, in turns
   of 48 tokens, 5 of each. Goal: 99 % with it. On a busy machine two turns differ by more than
   that: the median of the mask beside the median of a token says more;
4. `--calls` calls written by a small random model at temperature 1, each cut after 256 tokens and
   then closed by few tokens that the grammar allows; read by a parser of this file's own and
   checked against the JSON schemas. Goal: none that cannot be read.
Clock: perf_counter, one process. Last line: JSON, figures and machine.
"""

import argparse
import itertools
import json
import random
import re
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import torch
from torch import Tensor

from agent.bench import Materials
from agent.compose import make_bench
from agent.session import Session
from agent.settings import Config
from agent.workplace import Workplace
from evals.bench.arguments import add_threads, at_least, count, run_alone
from evals.bench.random_model import plain_model
from evals.bench.roofline import Figure, Report
from evals.bench.shapes import SHAPES
from inference.door import CallGrammar
from inference.grammar import CallRule, Grammars
from inference.messages import ReplyOptions, ToolSpec
from inference.model import Model
from inference.profiles import CALL_CLOSE, CALL_OPEN
from sandbox.base import View
from sandbox.checkpoint import Checkpoint
from sandbox.direct import Direct
from sandbox.limits import Limits
from tools.project import Environment

VOCABULARY = 248_320
MAX_SOURCE_BYTES = 60_000_000
NUM_TURNS, NUM_TOKENS = 5, 48
MAX_TOKENS = 256
MAX_MASKS = 1500
MAX_DEPTH, MAX_TRIES = 64, 20_000
WORD = re.compile(rb"[ \t]*\w+|[ \t]*[^\w\s]+|\s+")
CALL = re.compile(r"\n<function=([\w.:-]+)>\n(.*)</function>\n", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([\w.:-]+)>\n(.*?)\n</parameter>\n", re.DOTALL)


class Words:
    """A vocabulary as large as Qwen's, of bytes and of words by how often they are written."""

    def __init__(self, size: int) -> None:
        counts: Counter[bytes] = Counter()
        left = MAX_SOURCE_BYTES
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            text = path.read_bytes()[:left]
            left -= len(text)
            counts.update(word for word in WORD.findall(text) if 1 < len(word) < 24)
        names = [CALL_OPEN, CALL_CLOSE, "<|endoftext|>"]
        self.controls = {name: number for number, name in enumerate(names)}
        singles = [bytes([number]) for number in range(256)]
        frequent = (word for word, _ in counts.most_common(size - len(names) - 256))
        made = itertools.chain(frequent, (b"%06x" % n for n in itertools.count()))
        rest = itertools.islice(made, size - len(names) - 256)
        self._tokens = [name.encode() for name in names] + singles + list(dict.fromkeys(rest))
        self._ids = {token: number for number, token in enumerate(self._tokens) if number > 2}
        self.vocab_size = len(self._tokens)

    def encode(self, text: str) -> tuple[int, ...]:
        """Encode word by word, and what is no word of ours byte by byte."""
        ids: list[int] = []
        for word in WORD.findall(text.encode()):
            ids += [self._ids[word]] if word in self._ids else [3 + byte for byte in word]
        return tuple(ids)

    def control(self, name: str) -> int:
        """Return the id of a control token."""
        return self.controls[name]

    def token_bytes(self, token: int) -> bytes:
        """Return what a token stands for."""
        return self._tokens[token] if token < self.vocab_size else b""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")


def read_strictly(text: str, tools: Sequence[ToolSpec]) -> str:
    """Say what is wrong with a call; empty if nothing is. It knows one form and no leniency."""
    call = CALL.fullmatch(text)
    tool = next((tool for tool in tools if call and tool.name == call[1]), None)
    if call is None or tool is None:
        return "no call of a tool"
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    arguments: dict[str, Any] = {}
    rest = call[2]
    while rest:
        found = PARAMETER.match(rest)
        if found is None or found[1] in arguments or found[1] not in properties:
            return f"no parameter: {rest[:60]!r}"
        is_text = properties[found[1]].get("type", "string") == "string"
        try:
            arguments[found[1]] = found[2] if is_text else json.loads(found[2])
        except ValueError:
            return f"no JSON: {found[2][:60]!r}"
        rest = rest[found.end() :]
    try:
        jsonschema.validate(arguments, tool.parameters)
    except jsonschema.ValidationError as error:
        return str(error.message)
    return ""


def short_end(rule: CallRule, words: Words, tools: Sequence[ToolSpec]) -> list[int]:
    """Return few tokens that end a call legally: whatever closes most is tried first."""
    assert rule.call is not None
    names = {name for tool in tools for name in tool.parameters.get("properties", {})}
    texts = ["\n</parameter>\n", "</function>\n", '"', "]", "}", "0", "true", "null", ": ", ", "]
    texts += [f"<parameter={name}>\n" for name in sorted(names)]
    texts += [choice for tool in tools for choice in _choices(tool)]
    steps = [[words.control(CALL_CLOSE)], *(list(words.encode(text)) for text in texts)]
    steps += [[3 + byte] for byte in range(33, 127)]
    num_tries = 0

    def end(matcher: Any, depth: int) -> list[int] | None:
        nonlocal num_tries
        if matcher.is_stopped():
            return []
        forced = matcher.compute_ff_tokens()
        for step in [forced] if forced else steps if depth else []:
            num_tries += 1
            assert num_tries < MAX_TRIES, "every call can be ended"
            copy = matcher.deep_copy()
            is_legal = copy.try_consume_tokens(step) == len(step)
            if is_legal and (rest := end(copy, depth - 1)) is not None:
                return step + rest
        return None

    found = end(rule.call.deep_copy(), MAX_DEPTH)
    assert found is not None, "every call can be ended"
    return found


def _choices(tool: ToolSpec) -> Iterator[str]:
    for schema in tool.parameters.get("properties", {}).values():
        yield from (choice for choice in schema.get("enum", ()) if isinstance(choice, str))


class _Silent:
    """A model that is only asked how large its window is."""

    name, context_tokens, can_see = "silent", 262_144, False

    def count_tokens(self, text: str) -> int:
        return len(text) // 4

    def reply(self, *_asked: Any) -> Iterator[Any]:
        raise AssertionError("nothing is asked")

    def read(self, *_known: Any) -> Iterator[Any]:
        raise AssertionError("nothing is read")


def _tools(folder: Path) -> tuple[ToolSpec, ...]:
    """Return the tools of an attempt."""
    tree, scratch = folder / "tree", folder / "scratch"
    tree.mkdir()
    scratch.mkdir()
    checkpoint = Checkpoint.create(folder / "shadow", tree)
    place = Workplace(
        command=("pytest",),
        environment=Environment(None),
        view=View(tree, tree, scratch=scratch),
        sandbox=Direct(),
        test_limits=Limits(),
        command_limits=Limits(),
        checkpoint=checkpoint,
        base=checkpoint.save("base"),
    )
    session = Session.create(folder / "state", {})
    bench = make_bench(Materials(place, session, _Silent(), ReplyOptions(), Config()))
    session.close()
    return tuple(bench.parts.specs)


def _model(shape: str, vocab_size: int) -> Model:
    config = SHAPES[shape].config()
    config.vocab_size = vocab_size
    return plain_model(config)


def _begun(grammars: Grammars, grammar: CallGrammar, words: Words, text: str) -> CallRule:
    """Return a rule inside a call that has begun with `text`."""
    rule = grammars.rule(grammar)
    assert rule is not None
    for token in (words.control(CALL_OPEN), *words.encode(text)):
        rule.advance(token)
    return rule


def masks(grammars: Grammars, grammar: CallGrammar, words: Words) -> Figure:
    """Measure the mask for every token of a long edit."""
    source = Path(__file__).read_text(encoding="utf-8").replace("</parameter>", "")
    start = "\n<function=str_replace_editor>\n<parameter=command>\ncreate\n</parameter>\n"
    rule = _begun(grammars, grammar, words, f"{start}<parameter=file_text>\n")
    logits = torch.zeros(words.vocab_size)
    milliseconds = []
    for token in words.encode(source)[:MAX_MASKS]:
        before = time.perf_counter()
        rule.mask(logits)
        rule.advance(token)
        milliseconds.append(1e3 * (time.perf_counter() - before))
    return Figure.of("mask", milliseconds, "ms")


def decoding(
    shape: str, grammars: Grammars, grammar: CallGrammar, words: Words
) -> tuple[Figure, Figure]:
    """Measure tokens a second in a text, without and with the mask, turn by turn."""
    model = _model(shape, words.vocab_size)
    speeds: dict[bool, list[float]] = {False: [], True: []}
    for _, is_masked in itertools.product(range(NUM_TURNS + 1), (False, True)):
        rule = _begun(grammars, grammar, words, "\n<function=bash>\n<parameter=command>\n")
        speeds[is_masked].append(_speed(model, rule if is_masked else None))
    plain, masked = (speeds[is_masked][1:] for is_masked in (False, True))  # one to warm up
    names = "decode without masks", "decode with masks"
    return Figure.of(names[0], plain, "tok/s"), Figure.of(names[1], masked, "tok/s")


def _speed(model: Model, rule: CallRule | None) -> float:
    """Return tokens a second after a short prompt, each held to a rule if there is one."""
    state = model.new_state()
    logits = model.forward(tuple(range(300, 364)), state)
    before = time.perf_counter()
    for _ in range(NUM_TOKENS):
        if rule is not None:
            logits = logits.clone()
            rule.mask(logits)
        token = int(logits.argmax())
        if rule is not None:
            rule.advance(token)
        logits = model.forward((token,), state)
    return NUM_TOKENS / (time.perf_counter() - before)


def calls(
    num_calls: int,
    grammars: Grammars,
    grammar: CallGrammar,
    words: Words,
    tools: Sequence[ToolSpec],
) -> dict[str, Any]:
    """Have calls written by a random model; count those that cannot be read."""
    model = _model("tiny", words.vocab_size)
    faults: list[str] = []
    num_closed = 0
    for seed in range(num_calls):
        rule = _begun(grammars, grammar, words, "")
        state, luck = model.new_state(), random.Random(seed)
        ids: list[int] = []
        logits = model.forward((words.control(CALL_OPEN), 300 + seed % 97), state)
        while rule.call is not None and len(ids) < MAX_TOKENS:
            logits = logits.clone()
            rule.mask(logits)
            fresh = [_drawn(logits, luck)]
            rule.advance(fresh[0])
            fresh += rule.forced()
            for token in fresh[1:]:
                rule.advance(token)
            ids += fresh
            logits = model.forward(fresh, state)
        if rule.call is not None:
            num_closed += 1
            ids += short_end(rule, words, tools)
        if fault := read_strictly(words.decode(ids[:-1]), tools):
            faults.append(fault)
    return {"calls": num_calls, "closed_for_them": num_closed, "malformed": len(faults)} | (
        {"first_fault": faults[0]} if faults else {}
    )


def _drawn(logits: Tensor, luck: random.Random) -> int:
    """Draw a token at temperature 1; one that is forbidden adds nothing, and is never met."""
    mass = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    return int(torch.searchsorted(mass, luck.random() * mass[-1], right=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--shape", choices=SHAPES, default="0.8b", help="of what is decoded")
    parser.add_argument("--calls", type=count, default=500, metavar="N", help="default 500")
    size = f"of the vocabulary (default {VOCABULARY})"
    least = at_least(512)  # every byte has a token
    parser.add_argument("--vocabulary", type=least, default=VOCABULARY, metavar="N", help=size)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 1 if a call cannot be read."""
    torch.set_num_threads(arguments.threads)
    words = Words(arguments.vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        tools = _tools(Path(folder))
    grammar = CallGrammar("xml", json.dumps([_listed(tool) for tool in tools]))
    grammars = Grammars(words)  # type: ignore[arg-type]  # the part of a vocabulary that is used
    before = time.perf_counter()
    _begun(grammars, grammar, words, "")
    made = Figure.of("grammar made", [time.perf_counter() - before], "s")
    mask = masks(grammars, grammar, words)
    written = calls(arguments.calls, grammars, grammar, words, tools)
    plain, masked = decoding(arguments.shape, grammars, grammar, words)
    grammars.close()
    beside = {
        "shape": arguments.shape,
        "vocabulary": words.vocab_size,
        "speed with masks": round(masked.value / plain.value, 4),
        "mask in a token": round(mask.value / 1e3 * plain.value, 5),
        **written,
    }
    report = Report("grammar", [made, mask, plain, masked], beside=beside)
    print(report.table())
    for name, value in beside.items():
        print(f"{name}: {value}")
    print(report.json())
    return 1 if written["malformed"] else 0


def _listed(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "parameters": tool.parameters}


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
