"""Calls that are held to their form while they are written: what is let through, what is not."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers

from inference.calls import read_call
from inference.door import CallGrammar, GenerationEnd, Token
from inference.engine import Engine
from inference.grammar import MAX_ANY_ORDER, Grammars, forbidden_by
from inference.messages import SamplingOptions, ToolCall, ToolSpec
from inference.model import Model
from inference.profiles import CALL_CLOSE, CALL_OPEN, THINK_CLOSE, THINK_OPEN
from inference.tokenizer import Tokenizer
from tests.inference.conftest import TINY, TINY_LINEAR

BASH = ToolSpec(
    "bash",
    "Run a command.",
    {
        "type": "object",
        "properties": {"command": {"type": "string"}, "timeout_s": {"type": "integer"}},
        "required": ["command"],
    },
)
EDIT = ToolSpec(
    "edit",
    "Edit a file.",
    {
        "type": "object",
        "properties": {
            "command": {"type": "string", "enum": ["view", "insert"]},
            "path": {"type": "string"},
            "range": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            "whole": {"type": "boolean"},
        },
        "required": ["command", "path"],
    },
)
FINISH = ToolSpec("finish", "End.", {"type": "object", "properties": {}})
TOOLS = (BASH, EDIT, FINISH)


def grammar_of(*tools: ToolSpec, syntax: str = "xml", is_thinking: bool = False) -> CallGrammar:
    listed = [{"name": tool.name, "parameters": tool.parameters} for tool in tools]
    return CallGrammar("xml" if syntax == "xml" else "hermes", json.dumps(listed), is_thinking)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Iterator[Grammars]:
    made = Grammars(tokenizer)
    yield made
    made.close()


def num_let_through(
    grammars: Grammars, tokenizer: Tokenizer, grammar: CallGrammar, *parts: str
) -> int:
    """Return how many tokens of a call's body are let through, its closing tag included."""
    rule = grammars.rule(grammar)
    assert rule is not None
    rule.advance(tokenizer.control(CALL_OPEN))
    ids = [i for part in parts for i in tokenizer.encode(part)]
    for number, token in enumerate((*ids, tokenizer.control(CALL_CLOSE))):
        logits = torch.zeros(tokenizer.vocab_size)
        rule.mask(logits)
        if logits[token] != 0:
            return number
        rule.advance(token)
    return len(ids) + 1


def is_let_through(
    grammars: Grammars, tokenizer: Tokenizer, grammar: CallGrammar, text: str
) -> bool:
    whole = len(tokenizer.encode(text)) + 1
    return num_let_through(grammars, tokenizer, grammar, text) == whole


def in_tags(name: str, **values: str) -> str:
    given = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"\n<function={name}>\n{given}</function>\n"


GOOD = [
    ("xml", in_tags("bash", command="ls -la\n\n  x </parameter> y")),
    ("xml", in_tags("bash", timeout_s="5", command="")),
    ("xml", in_tags("finish")),
    ("xml", in_tags("edit", path="a.py", command="view", range="[1, 20]", whole="true")),
    ("hermes", '\n{"name": "bash", "arguments": {"command": "ls \\"x\\"", "timeout_s": 5}}\n'),
    ("hermes", '\n{"name": "finish", "arguments": {}}\n'),
]
BAD = [
    ("xml", "\n<function=", "rm>"),  # no such tool
    ("xml", "\n<function=bash>\n<parameter=", "path>"),  # no such parameter
    ("xml", "\n<function=bash>\n", "</function>"),  # one is required
    ("xml", "\n<function=bash>\n<parameter=command>\nls\n</parameter>\n<parameter=", "command>"),
    ("xml", "\n<function=edit>\n<parameter=command>\n", "delete"),  # not among the choices
    ("xml", "\n<function=bash>\n<parameter=timeout_s>\n5", ".5"),
    ("xml", "\n<function=edit>\n<parameter=range>\n[1", "]"),
    ("xml", "\n<function=finish>\n</function>\n", "<"),
    ("hermes", '\n{"name": "', 'rm"'),
]


@pytest.mark.parametrize(("syntax", "text"), GOOD)
def test_every_call_that_can_be_meant_can_be_written(
    grammars: Grammars, tokenizer: Tokenizer, syntax: str, text: str
) -> None:
    grammar = grammar_of(*TOOLS, syntax=syntax)
    assert is_let_through(grammars, tokenizer, grammar, text)
    assert isinstance(read_call(text, TOOLS).call, ToolCall)


@pytest.mark.parametrize(("syntax", "good", "bad"), BAD)
def test_what_leads_to_no_call_is_forbidden_at_its_first_token(
    grammars: Grammars, tokenizer: Tokenizer, syntax: str, good: str, bad: str
) -> None:
    grammar = grammar_of(*TOOLS, syntax=syntax)
    num_good = len(tokenizer.encode(good))
    assert num_let_through(grammars, tokenizer, grammar, good, bad) == num_good


def test_of_many_parameters_the_order_is_that_of_the_schema(
    grammars: Grammars, tokenizer: Tokenizer
) -> None:
    names = [f"p{number}" for number in range(MAX_ANY_ORDER + 2)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": [names[4]],
    }
    many = grammar_of(ToolSpec("many", "", schema))

    def is_written(*given: str) -> bool:
        text = in_tags("many", **dict.fromkeys(given, "x"))
        return is_let_through(grammars, tokenizer, many, text)

    assert all(itertools.starmap(is_written, (names, names[4:5], (names[1], names[4], names[-1]))))
    assert not any(itertools.starmap(is_written, (names[5:6], (names[4], names[1]), ())))


def test_a_schema_that_makes_no_sense_holds_to_names_alone(
    grammars: Grammars, tokenizer: Tokenizer
) -> None:
    odd = {"type": "object", "properties": {"x": {"type": "object", "$ref": "#/nowhere"}}}
    grammar = grammar_of(BASH, ToolSpec("odd", "", odd))
    assert is_let_through(grammars, tokenizer, grammar, in_tags("odd", x='{"any": 1}'))
    assert not is_let_through(grammars, tokenizer, grammar, in_tags("odd", y='{"any": 1}'))


def test_outside_of_calls_and_in_thoughts_nothing_is_forbidden(
    grammars: Grammars, tokenizer: Tokenizer
) -> None:
    rule = grammars.rule(grammar_of(BASH, is_thinking=True))
    assert rule is not None

    def is_free() -> bool:
        logits = torch.zeros(tokenizer.vocab_size)
        rule.mask(logits)
        return bool((logits == 0).all())

    rule.advance(tokenizer.control(CALL_OPEN))
    assert is_free()
    rule.advance(tokenizer.control(THINK_CLOSE))
    rule.advance(tokenizer.control(CALL_OPEN))
    assert not is_free()
    for token in (*tokenizer.encode("\n<function=bash>\n<parameter=command>\n"),):
        rule.advance(token)
    logits = torch.zeros(tokenizer.vocab_size)
    rule.mask(logits)
    assert not [name for name in tokenizer.controls if logits[tokenizer.control(name)] == 0]
    assert THINK_OPEN in tokenizer.controls


def test_without_tags_in_the_vocabulary_there_is_nothing_to_hold_to(
    plain_tokenizer: Tokenizer,
) -> None:
    grammars = Grammars(plain_tokenizer)
    assert grammars.rule(grammar_of(BASH)) is None
    grammars.close()


def test_a_mask_shorter_than_the_logits_forbids_the_rest() -> None:
    allowed = [True, False, True] + [False] * 5 + [True]
    assert (~forbidden_by(b"\x05\x01", 9)).tolist() == allowed
    assert (~forbidden_by(b"\x05\x01", 20)).tolist() == allowed + [False] * 11
    assert (~forbidden_by(b"\x05", 3)).tolist() == allowed[:3]


# --- in the engine --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    torch.manual_seed(11)
    config = transformers.Qwen3_5TextConfig(
        **{**TINY, **TINY_LINEAR, "vocab_size": tokenizer.vocab_size + 5}
    )
    return Model(transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def written(engine: Engine, tokenizer: Tokenizer, seed: int, **how: Any) -> list[int]:
    prompt = (*tokenizer.encode("Mend it."), tokenizer.control(CALL_OPEN))
    rule_first = how.pop("first", prompt)
    branch = engine.find(rule_first)
    ids = []
    for event in engine.generate(
        branch,
        rule_first[len(branch) :],
        SamplingOptions(temperature=1.0, seed=seed),
        cancel=lambda: False,
        stop_ids=frozenset({tokenizer.control(CALL_CLOSE)}),
        **how,
    ):
        if isinstance(event, Token):
            ids.append(event.id)
        if isinstance(event, GenerationEnd):
            assert event.token_ids == tuple(ids)
    return ids


class OpensCall:
    """Draws `<tool_call>` first, as a model does that wants to call a tool."""

    def __init__(self, grammars: Grammars, tokenizer: Tokenizer) -> None:
        self._grammars = grammars
        self._open = tokenizer.control(CALL_OPEN)

    def rule(self, grammar: CallGrammar) -> Any:
        rule = self._grammars.rule(grammar)
        assert rule is not None
        rule.advance(self._open)
        return rule


@pytest.mark.parametrize("syntax", ["xml", "hermes"])
def test_a_random_model_writes_calls_that_can_be_read(
    model: Model, tokenizer: Tokenizer, grammars: Grammars, syntax: str
) -> None:
    engine = Engine(model, cache_bytes=10**8, grammars=OpensCall(grammars, tokenizer))
    grammar = grammar_of(FINISH, BASH, EDIT, syntax=syntax)
    num_whole = 0
    for seed in range(12):
        ids = written(engine, tokenizer, seed, max_new_tokens=300, grammar=grammar)
        if ids[-1] == tokenizer.control(CALL_CLOSE):
            num_whole += 1
            call = read_call(tokenizer.decode(ids[:-1]), TOOLS).call
            assert isinstance(call, ToolCall), call
    assert num_whole, "some ended within the limit"


def test_what_follows_in_any_case_is_read_in_one_forward(
    model: Model, tokenizer: Tokenizer, grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    forward = model.forward_past

    def counted(tokens: Any, *rest: Any) -> Any:
        lengths.append(len(tokens))
        return forward(tokens, *rest)

    monkeypatch.setattr(model, "forward_past", counted)
    engine = Engine(model, cache_bytes=10**8, grammars=OpensCall(grammars, tokenizer))
    ids = written(engine, tokenizer, 0, max_new_tokens=300, grammar=grammar_of(FINISH))
    assert tokenizer.decode(ids[:-1]) == "\n<function=finish>\n</function>\n"
    assert len(lengths) == 1, "the prompt; the first token draws all others with it"


def test_a_snapshot_after_the_opener_is_taken_among_tokens_read_together(
    model: Model, tokenizer: Tokenizer, grammars: Grammars
) -> None:
    open_id = tokenizer.control(CALL_OPEN)
    prompt = tokenizer.encode("Mend it. Then finish.")

    class Says:
        """Lets nothing be drawn but the opener, then holds the call."""

        def __init__(self) -> None:
            self.rest: Any = grammars.rule(grammar_of(BASH))
            self.has_begun = False

        def mask(self, logits: torch.Tensor) -> None:
            if not self.has_begun:
                kept = logits[open_id].clone()
                logits.fill_(float("-inf"))
                logits[open_id] = kept
            self.rest.mask(logits)

        def advance(self, token: int) -> None:
            self.has_begun = True
            self.rest.advance(token)

        def forced(self) -> tuple[int, ...]:
            return tuple(self.rest.forced())

    class Saying:
        def rule(self, grammar: CallGrammar) -> Any:
            return Says()

    engine = Engine(model, cache_bytes=10**8, grammars=Saying())
    written(
        engine,
        tokenizer,
        1,
        first=prompt,
        max_new_tokens=60,
        grammar=grammar_of(BASH),
        keep_ids=frozenset({open_id}),
    )
    assert len(prompt) + 1 in [node.length for node in engine.snapshots.holders()]
