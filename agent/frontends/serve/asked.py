"""What a client asks, in OpenAI's words (Chat Completions), and the same in ours.

What would change an answer and is not done here is refused in a sentence; what changes none is
passed over. Fields beside OpenAI's are those of vLLM and SGLang: `top_k`, `min_p`,
`chat_template_kwargs`, `reasoning_content`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inference.messages import (
    BadToolCall,
    Message,
    Picture,
    ReplyOptions,
    SamplingOptions,
    ToolCall,
    ToolSpec,
)

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
MAX_STOPS = 16
MAX_CHOICES = 16
COLD = 1e-3


class Words(BaseModel):
    """Whatever else a client sends changes nothing here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Parameters(BaseModel):
    """A JSON schema of an object; what is not named here is handed on as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["object"] = "object"
    properties: dict[str, dict[str, Any] | bool] = {}
    required: list[str] = []


class FunctionSpec(Words):
    """A tool, described."""

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: Parameters | None = None


class Tool(Words):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionSpec


class CalledFunction(Words):
    """A call that a reply made, as it was sent to the client; `arguments` is JSON."""

    name: str
    arguments: str = "{}"


class Call(Words):
    """The same, with the name by which its result is told."""

    id: str = ""
    function: CalledFunction


class TextPart(Words):
    """A piece of text."""

    type: Literal["text"]
    text: str


class Url(Words):
    """Where a picture is: in the address itself."""

    url: str


class ImagePart(Words):
    """A picture."""

    type: Literal["image_url"]
    image_url: Url


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Said(Words):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """All text of it."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[str, ...]:
        """The addresses of its pictures."""
        if not isinstance(self.content, list):
            return ()
        return tuple(part.image_url.url for part in self.content if isinstance(part, ImagePart))

    @model_validator(mode="after")
    def _check(self) -> "Said":
        if self.images and self.role != "user":
            raise ValueError("only a user message may show pictures")
        return self


class StreamOptions(Words):
    """How a stream is to be."""

    include_usage: bool = False


class TemplateOptions(Words):
    """What vLLM and SGLang hand to the chat template."""

    enable_thinking: bool | None = None


class ChatRequest(Words):
    """The body of `POST /v1/chat/completions`."""

    model: str
    messages: list[Said] = Field(min_length=1)
    tools: list[Tool] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: TemplateOptions | None = None
    reasoning_effort: str | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    logprobs: bool | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @model_validator(mode="after")
    def _check(self) -> "ChatRequest":
        if self.tool_choice not in (None, "auto", "none"):
            raise ValueError("tool_choice may be auto or none: a call cannot be forced here")
        if self.response_format and self.response_format.get("type") != "text":
            raise ValueError("response_format may be text only")
        for name in ("logprobs", "logit_bias", "presence_penalty", "frequency_penalty"):
            if getattr(self, name):
                raise ValueError(f"{name} is not supported; leave it out")
        if len(self.stops) > MAX_STOPS:
            raise ValueError(f"stop may hold {MAX_STOPS} strings at most")
        return self

    @property
    def num_bytes(self) -> int:
        """How long all texts are together."""
        return sum(len(said.text.encode("utf-8", "replace")) for said in self.messages)

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends the answer when it comes up in its text."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(word for word in given if word)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that may be called."""
        if self.tool_choice == "none":
            return ()
        functions = (tool.function for tool in self.tools or ())
        return tuple(
            ToolSpec(
                one.name,
                one.description or "",
                one.parameters.model_dump(exclude_unset=True) if one.parameters else NO_PARAMETERS,
            )
            for one in functions
        )

    def options(self, preset: SamplingOptions, context_tokens: int, index: int) -> ReplyOptions:
        """Say how a choice is drawn; what was not said stays as the model's preset has it."""
        given: dict[str, Any] = {
            "temperature": _warm(self.temperature),
            "top_p": self.top_p,
            "top_k": None if self.top_k is None else max(0, self.top_k),
            "min_p": self.min_p,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        seed = ((self.seed or 0) + index) % 2**63
        return ReplyOptions(
            sampling=replace(preset, seed=seed, **chosen) if chosen else None,
            max_new_tokens=self.max_completion_tokens or self.max_tokens or context_tokens,
            thinking=self.thinks,
            seed=seed,
        )

    @property
    def thinks(self) -> bool:
        """Whether the reply may begin with a thought."""
        said = self.chat_template_kwargs
        if said is not None and said.enable_thinking is not None:
            return said.enable_thinking
        return self.reasoning_effort not in ("none", "minimal")


def _warm(temperature: float | None) -> float | None:
    """Take what is all but zero for zero: logits divided by it are no numbers any more."""
    return 0.0 if temperature is not None and temperature < COLD else temperature


def messages_of(request: ChatRequest, show: Callable[[str], Picture]) -> tuple[Message, ...]:
    """Return the conversation in our words; `show` makes a picture of its address.

    It begins with one system message: all that come before the first other message. Later ones are
    told as a user's. Results stand in the order of their calls.
    """
    said = list(request.messages)
    system: list[str] = []
    while said and said[0].role in ("system", "developer"):
        system.append(said.pop(0).text)
    rest = (_in_our_words(one, show) for one in _ordered(said))
    return (Message("system", "\n\n".join(system)), *rest)


def _in_our_words(said: Said, show: Callable[[str], Picture]) -> Message:
    match said.role:
        case "assistant":
            calls = tuple(_call(call) for call in said.tool_calls or ())
            thought = said.reasoning_content or said.reasoning or ""
            return Message("assistant", said.text, thought, calls)
        case "tool":
            return Message("tool", said.text)
        case _:
            return Message("user", said.text, pictures=tuple(map(show, said.images)))


def _call(call: Call) -> ToolCall | BadToolCall:
    """Read a call that a client tells again."""
    function = call.function
    try:
        arguments = json.loads(function.arguments or "{}")
    except ValueError:
        arguments = None
    if isinstance(arguments, Mapping):
        return ToolCall(function.name, arguments)
    return BadToolCall(f"{function.name}: {function.arguments}", "its arguments are no JSON object")


def _ordered(said: Sequence[Said]) -> list[Said]:
    """Put the results of a reply into the order of its calls."""
    ordered: list[Said] = []
    order: dict[str, int] = {}
    results: list[Said] = []
    for one in said:
        if one.role == "tool":
            results.append(one)
            continue
        ordered += sorted(results, key=lambda result: order.get(result.tool_call_id or "", 0))
        results.clear()
        ordered.append(one)
        order = {call.id: number for number, call in enumerate(one.tool_calls or ())}
    return ordered + sorted(results, key=lambda result: order.get(result.tool_call_id or "", 0))
