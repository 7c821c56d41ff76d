"""A conversation as the API writes it, and what is asked for with it; sends nothing.

Every message is written on its own and always alike, so that a longer conversation begins with the
shorter one and a server finds the prefix that it has read. What a server's template makes of that
is the server's.
"""

import base64
import json
import mimetypes
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from inference.messages import (
    BadToolCall,
    Message,
    Picture,
    ReplyOptions,
    SamplingOptions,
    ThinkingHistory,
    ToolCall,
    ToolSpec,
)
from inference.pictures import content_of
from inference.profiles import (
    CALL_CLOSE,
    CALL_OPEN,
    NANO,
    QWEN2_5,
    QWEN3,
    QWEN3_5,
    QWEN3_6,
    QWEN3_8,
    Profile,
)

FAMILIES: Mapping[str, Profile] = {
    "qwen3.8": QWEN3_8,
    "qwen3.6": QWEN3_6,
    "qwen3.5": QWEN3_5,
    "qwen3": QWEN3,
    "qwen2.5": QWEN2_5,
}
"""What the names of a family's models have in them, the longest first."""
EXTRA = ("top_k", "min_p", "chat_template_kwargs")
"""Options that the API does not have and these servers do."""
OPTIONAL = (*EXTRA, "seed", "stream_options", "top_p")
"""What is left out for a server that refuses it; a reply is a reply without."""


def profile_of(name: str) -> Profile | None:
    """Return the family of a served model, as far as its name tells; None if it does not."""
    if name == NANO.name:
        return NANO
    plain = name.lower().replace("-", "").replace("_", "")
    return next((profile for word, profile in FAMILIES.items() if word in plain), None)


def request_of(
    model: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    options: ReplyOptions,
    num_new: int,
    thinking_history: ThinkingHistory = "preserve",
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Return the arguments of the SDK's call, less the options that the server refuses.

    Raises:
        PictureUnreadable: a file has changed or is gone.
    """
    profile = profile_of(model)
    body: dict[str, Any] = {
        "model": model,
        "messages": list(written(messages)),
        "max_tokens": num_new,
        "seed": options.seed,
        "stream_options": {"include_usage": True},
        **_sampling(options, profile),
    }
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    if profile is None or profile.can_think:
        keeps = thinking_history == "preserve"
        body["chat_template_kwargs"] = _template_words(options, profile, keeps)
    kept = {name: value for name, value in body.items() if name not in without}
    extra = {name: kept.pop(name) for name in EXTRA if name in kept}
    return {**kept, "extra_body": extra} if extra else kept


def written(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Write a conversation; calls are numbered, so that they are named alike every time."""
    num_calls, waiting = 0, list[str]()
    for message in messages:
        if message.role == "assistant":
            ids = [f"call_{num_calls + n}" for n in range(len(message.tool_calls))]
            num_calls += len(ids)
            waiting = list(ids)
            yield _reply(message, ids)
        elif message.role == "tool":
            name = waiting.pop(0) if waiting else f"call_{num_calls}"
            yield {"role": "tool", "tool_call_id": name, "content": message.content}
        elif message.pictures:
            shown = [_picture(picture) for picture in message.pictures]
            text = {"type": "text", "text": message.content}
            yield {"role": message.role, "content": [*shown, text]}
        else:
            sections = "".join(message.sections)
            content = f"{message.content}\n\n{sections}" if sections else message.content
            yield {"role": message.role, "content": content}


def _reply(message: Message, ids: Sequence[str]) -> dict[str, Any]:
    """Write a reply; a call that could not be read stays the text that it was."""
    text, calls = message.content, []
    for name, call in zip(ids, message.tool_calls, strict=True):
        if isinstance(call, BadToolCall):
            text += f"\n{CALL_OPEN}{call.raw}{CALL_CLOSE}"
        else:
            calls.append(_call(name, call))
    reply: dict[str, Any] = {"role": "assistant", "content": text.strip()}
    if calls:
        reply["tool_calls"] = calls
    if message.thinking:
        # vLLM calls it `reasoning`, all others and the templates `reasoning_content`.
        reply |= {"reasoning_content": message.thinking, "reasoning": message.thinking}
    return reply


def _call(name: str, call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _picture(picture: Picture) -> dict[str, Any]:
    """Write a picture into the request itself: a server cannot read our files."""
    kind = mimetypes.guess_type(picture.path)[0] or "image/png"
    data = base64.b64encode(content_of(picture)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def _sampling(options: ReplyOptions, profile: Profile | None) -> dict[str, Any]:
    """Say how it is drawn: as was asked, as the family likes it, or as the server does."""
    sampling = options.sampling
    if sampling is None and profile is not None:
        sampling = profile.sampling(options.thinking)
    if sampling is None:
        return {}
    plain = SamplingOptions()
    words: dict[str, Any] = {"temperature": sampling.temperature}
    for name in ("top_p", "top_k", "min_p"):
        if getattr(sampling, name) != getattr(plain, name):
            words[name] = getattr(sampling, name)
    return words if options.sampling is None else {**words, "seed": sampling.seed}


def _template_words(options: ReplyOptions, profile: Profile | None, keeps: bool) -> dict[str, Any]:
    """Say what the family's templates ask: whether it thinks, and whether old thoughts stay."""
    words: dict[str, Any] = {"enable_thinking": options.thinking, "preserve_thinking": keeps}
    if profile is QWEN3_8:  # another effort puts a sentence before all else
        words["reasoning_effort"] = "medium"
    return words
