"""A conversation that has been, told as if it happened again: what an editor shows on `load`."""

from collections import deque
from collections.abc import Iterator, Sequence

from agent.frontends.acp.calls import Call, stopped, told
from agent.frontends.acp.updates import Story, Update, after, said, thought, typed
from agent.shown import mark_of
from agent.told import typed_text
from inference.messages import Message


def replayed(messages: Sequence[Message], story: Story) -> Iterator[Update]:
    """Yield the updates of a conversation, oldest first."""
    waiting: deque[tuple[str, Call]] = deque()
    story.tell_again()
    for message in messages:
        match message.role:
            case "user":
                marks = map(mark_of, message.pictures)
                yield typed("\n".join((*marks, typed_text(message.content))))
            case "assistant":
                yield from _reply(message)
                for call in message.tool_calls:
                    yield story.call(call)
                    waiting.append((story.call_id, call))
            case "tool" if waiting:
                number, call = waiting.popleft()
                yield told(number, call, message, story.files)
                if not message.failed:
                    yield from after(call)
    for number, _call in waiting:  # a kill has left it without a result
        yield stopped(number)
    story.was_told()


def _reply(message: Message) -> Iterator[Update]:
    if message.thinking:
        yield thought(message.thinking)
    if message.content:
        yield said(message.content)
