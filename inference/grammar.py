"""What a tool call may be, as a mask over the next token: a call that is begun comes out whole.

From `<tool_call>` to `</tool_call>` only tokens are left that lead to a call of a tool that exists,
with its parameters, each once and in any order, the required ones among them, and values of their
types; outside of calls, thoughts included, nothing is forbidden. Where only one text can follow,
its tokens are handed out at once. The masks are llguidance's (docs/decisions/0009-grammar.md); what
is written here is the grammar of the two forms (`calls.py` reads them) and when it holds.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import llguidance
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.door import CallGrammar
from inference.profiles import (
    CALL_CLOSE,
    CALL_OPEN,
    TEXT_END,
    THINK_CLOSE,
    THINK_OPEN,
    CallSyntax,
)
from inference.tokenizer import Tokenizer

MAX_ANY_ORDER = 8
"""Parameters of a tool that may come in any order; of more, in that of the schema."""
MAX_KEPT = 16
"""Tool lists whose grammars are kept."""

_PARAMETER_END = '"\\n</parameter>\\n"'
_TEXT = f"text[suffix={_PARAMETER_END}]: /(?s:.*)/"


def lark_of(syntax: CallSyntax, tools: Sequence[Mapping[str, Any]], close_id: int) -> str:
    """Write the grammar of what stands between `<tool_call>` and the end of `</tool_call>`.

    Args:
        syntax: of the family.
        tools: each with its `name` and the JSON schema of its `parameters`.
        close_id: the token `</tool_call>`.

    Returns:
        The grammar in llguidance's Lark.
    """
    is_xml = syntax == "xml"
    before, after = ("\\n<function=", "</function>\\n") if is_xml else ("\\n", "\\n")
    lines = [f'start: "{before}" call "{after}" <[{close_id}]>']
    lines.append("call: " + " | ".join(f"t{number}" for number in range(len(tools))))
    for number, tool in enumerate(tools):
        lines += (_xml_rules if is_xml else _json_rules)(f"t{number}", tool)
    return "\n".join((*lines, _TEXT) if is_xml else lines)


def _json_rules(rule: str, tool: Mapping[str, Any]) -> Iterator[str]:
    """Write the rule of a call as one JSON object."""
    head = json.dumps(f'{{"name": {json.dumps(tool["name"])}, "arguments": ')
    yield f'{rule}: {head} {rule}_arguments "}}"'
    yield f"{rule}_arguments: {_json(tool['parameters'])}"


def _xml_rules(rule: str, tool: Mapping[str, Any]) -> Iterator[str]:
    """Write the rules of a call in tags: one rule for each set of parameters already given."""
    schema = tool["parameters"]
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = frozenset(schema.get("required", ())) & properties.keys()
    names = list(properties)
    yield f"{rule}: {_quoted(tool['name'] + '>')} {_after(rule, 0)}"
    for number, name in enumerate(names):
        yield f"{rule}_p{number}: {_quoted(f'<parameter={name}>')} {_value(properties[name])}"
    is_free = len(names) <= MAX_ANY_ORDER
    for given in range(2 ** len(names)) if is_free else (2**n - 1 for n in range(len(names) + 1)):
        yield f"{_after(rule, given)}: {' | '.join(_follow(rule, names, required, given, is_free))}"


def _follow(
    rule: str, names: Sequence[str], required: frozenset[str], given: int, is_free: bool
) -> Iterator[str]:
    """Yield what may follow where the parameters in the bits of `given` are given or passed."""
    open_numbers = [number for number in range(len(names)) if not given >> number & 1]
    if not required.intersection(names[number] for number in open_numbers):
        yield '""'
    for number in open_numbers:
        then = given | 1 << number if is_free else 2 ** (number + 1) - 1
        yield f"{rule}_p{number} {_after(rule, then)}"
        if not is_free and names[number] in required:
            return


def _quoted(line: str) -> str:
    return json.dumps(f"{line}\n")


def _after(rule: str, given: int) -> str:
    return f"{rule}_s{given}"


def _value(schema: Mapping[str, Any]) -> str:
    """Write what a value may be, its end included: texts as they are, all else as JSON."""
    choices = schema.get("enum")
    kinds = schema.get("type")
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"({' | '.join(map(json.dumps, choices))}) {_PARAMETER_END}"
    if isinstance(kinds, str) and kinds != "string":
        return f"{_json(schema)} {_PARAMETER_END}"
    return "text"


def _json(schema: Mapping[str, Any]) -> str:
    """Write what JSON may be, with the blanks that the family puts; unknown words are ignored."""
    how = {"lenient": True, "whitespace_flexible": False}
    separators = {"item_separator": ", ", "key_separator": ": "}
    return f"%json {json.dumps({**schema, 'x-guidance': how | separators})}"


class CallRule:
    """What the next token may be, for the sake of a reply's calls: a `ForcingRule` (pen.py)."""

    def __init__(
        self,
        matcher: Callable[[], llguidance.LLMatcher],
        tags: Mapping[str, int],
        is_thinking: bool,
    ) -> None:
        """Begin before the first token of a reply.

        Args:
            matcher: gives one that has read nothing; asked when a call begins.
            tags: the ids of the family's control tokens by name.
            is_thinking: whether the prompt ends inside a thought.
        """
        self._matcher = matcher
        self._tags = tags
        self._is_thinking = is_thinking
        self.call: llguidance.LLMatcher | None = None
        """While the reply is inside a call."""

    def mask(self, logits: Tensor) -> None:
        """Set the logits, float32 [V], of tokens that lead to no call to -inf, in place."""
        if self.call is None:
            return
        forbidden = forbidden_by(self.call.compute_bitmask(), len(logits))
        if logits.is_cpu:
            np.copyto(logits.numpy(), -np.inf, where=forbidden)  # five times as fast as torch's
        else:
            logits.masked_fill_(torch.from_numpy(forbidden).to(logits.device), float("-inf"))

    def advance(self, token: int) -> None:
        """Go on by the token that was drawn."""
        if self.call is not None:
            self.call.consume_token(token)
            if self.call.is_stopped():
                self.call = None
        elif token == self._tags.get(THINK_OPEN) or token == self._tags.get(THINK_CLOSE):
            self._is_thinking = token == self._tags.get(THINK_OPEN)
        elif token == self._tags[CALL_OPEN] and not self._is_thinking:
            self.call = self._matcher()

    def forced(self) -> tuple[int, ...]:
        """Return the tokens that follow whatever the model thinks; `advance` goes by each."""
        return () if self.call is None else tuple(self.call.compute_ff_tokens())


class Grammars:
    """The grammars of one checkpoint's calls; each is made once, beside what the engine does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._maker = ThreadPoolExecutor(1, "grammar")
        self._words: llguidance.LLTokenizer | None = None
        self._made: dict[tuple[str, str], Future[llguidance.LLMatcher]] = {}

    def rule(self, grammar: CallGrammar) -> CallRule | None:
        """Return the rule of a reply; its grammar is made meanwhile, and waited for in a call.

        None where the vocabulary spells `<tool_call>` in letters, or there is no tool.
        """
        tags = self._tokenizer.controls
        if CALL_OPEN not in tags or CALL_CLOSE not in tags or grammar.tools == "[]":
            return None
        key = grammar.syntax, grammar.tools
        if key not in self._made:
            if len(self._made) >= MAX_KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = self._maker.submit(self._make, grammar)
        made = self._made[key]
        return CallRule(lambda: made.result().deep_copy(), tags, grammar.is_thinking)

    def close(self) -> None:
        """End the thread."""
        self._maker.shutdown(cancel_futures=True)

    def _make(self, grammar: CallGrammar) -> llguidance.LLMatcher:
        if self._words is None:
            wrapped = llguidance.TokenizerWrapper(_Vocabulary(self._tokenizer))
            self._words = llguidance.LLTokenizer(wrapped, self._tokenizer.vocab_size)
        words, close_id = self._words, self._tokenizer.control(CALL_CLOSE)
        tools = json.loads(grammar.tools)
        if llguidance.LLMatcher.validate_grammar(lark_of(grammar.syntax, tools, close_id), words):
            tools = [
                _loosened(tool)
                if llguidance.LLMatcher.validate_grammar(
                    lark_of(grammar.syntax, [tool], close_id), words
                )
                else tool
                for tool in tools
            ]
        return llguidance.LLMatcher(words, lark_of(grammar.syntax, tools, close_id))


class _Vocabulary:
    """A vocabulary as llguidance asks for one: no text ever becomes a control token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        controls = tokenizer.controls
        self.eos_token_id = controls.get(TEXT_END, max(controls.values()))
        self.bos_token_id = None
        self.tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        self.special_token_ids = list(controls.values())

    def __call__(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text))


def _loosened(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool whose schema cannot be held to: names and plain types are left of it."""
    schema = tool["parameters"]
    properties = {
        name: {"type": kind} if isinstance(kind := entry.get("type"), str) else {}
        for name, entry in schema.get("properties", {}).items()
    }
    required = schema.get("required", [])
    loose = {"type": "object", "properties": properties, "required": required}
    return {"name": tool["name"], "parameters": loose}


def forbidden_by(mask: bytes, num_tokens: int) -> npt.NDArray[np.bool_]:
    """Spread a mask with one bit for each token that is allowed; all past its end are forbidden.

    Returns:
        What is forbidden, bool [num_tokens].
    """
    bits = ~np.frombuffer(mask, np.uint8)
    forbidden = np.unpackbits(bits, count=min(num_tokens, 8 * len(mask)), bitorder="little")
    padded = np.pad(forbidden, (0, num_tokens - len(forbidden)), constant_values=1)
    return padded.view(np.bool_)
