"""Reading a long beginning of a conversation before anybody asks, and how far that has come.

What has been read stays in the model's state, stopped or not, and the first real reply goes on
from there. It prints nothing and knows no file.
"""

import threading
from collections.abc import Callable, Sequence

from inference.chat import Cancel, ChatModel
from inference.messages import Message, Prefill, ReplyEnd, ReplyOptions, ToolSpec, Usage


def prefill_context(
    chat: ChatModel,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    on_progress: Callable[[Prefill], None],
    cancel: Cancel,
) -> Usage:
    """Read a conversation and write nothing; the tools must be those of the reply to come.

    Raises:
        ContextOverflow: it leaves no room for a reply.
        ModelUnavailable: the engine went away.
    """
    end: ReplyEnd | None = None
    for piece in chat.reply(messages, tools, ReplyOptions(max_new_tokens=0), cancel):
        if isinstance(piece, Prefill):
            on_progress(piece)
        elif isinstance(piece, ReplyEnd):
            end = piece
    assert end is not None, "a reply ends with a ReplyEnd"
    return end.usage


class BackgroundPrefill:
    """A prefill in a thread of its own; the model answers nobody else until it has stopped."""

    def __init__(
        self, chat: ChatModel, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> None:
        """Begin at once."""
        self.progress = Prefill(0, 0, 0.0)
        """How far it has come; a total of 0 before the first chunk."""
        self._error: Exception | None = None
        self._usage: Usage | None = None
        self._is_to_stop = threading.Event()
        work = (chat, tuple(messages), tuple(tools))
        self._thread = threading.Thread(target=self._run, args=work, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still reads."""
        return self._thread.is_alive()

    def stop(self) -> Usage | None:
        """Stop after the chunk in hand, or see that it has ended, and return what it cost.

        Raises:
            ContextOverflow, ModelUnavailable: why it could not be read.
        """
        self._is_to_stop.set()
        return self.wait()

    def wait(self) -> Usage | None:
        """Wait for its end, and return what it cost.

        Raises:
            ContextOverflow, ModelUnavailable: why it could not be read.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._usage

    def _run(
        self, chat: ChatModel, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]
    ) -> None:
        try:
            self._usage = prefill_context(
                chat, messages, tools, self._note, self._is_to_stop.is_set
            )
        except Exception as error:  # raised where it is waited for, which is the caller's thread
            self._error = error

    def _note(self, progress: Prefill) -> None:
        self.progress = progress
