"""The room's door over a server that speaks OpenAI's API: vLLM, SGLang, llama.cpp and the like.

The whole conversation is sent for every reply, written alike every time, and the server finds again
what it has read. What passes (it is busy, it starts) is tried again until a first piece was shown;
from then on a reply that breaks off is dropped whole, as that of an engine that ended. How it is
asked is `remote_request.py`, how its answers are read `remote_reply.py`.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence

from inference.chat import Cancel
from inference.errors import Cancelled, ContextOverflow, EngineGone
from inference.messages import (
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    ThinkingHistory,
    ToolSpec,
    Usage,
)
from inference.remote_faults import Fault
from inference.remote_lengths import Lengths
from inference.remote_reply import ReplyReader
from inference.remote_request import OPTIONAL, profile_of, request_of
from inference.remote_server import ServedModel, Server, ServerSettings, key_of, served
from inference.remote_stream import POLL_S, stream
from inference.remote_try import Try

MAX_TRIES = 6
NUM_SILENT = 2
"""Replies after which a server counts as silent about reuse: of the first there is none."""
NO_COUNT = "{url} counts no tokens: lengths are estimated, rather too long than too short."
NO_WINDOW = (
    "{url} does not say how long its window is: {window:,} tokens are assumed; "
    "[engine] context_tokens says it better."
)
NO_REUSE = (
    "{url} does not say what it reuses, so all of a prompt is shown as read; vLLM tells with "
    "--enable-prompt-tokens-details, SGLang with --enable-cache-report."
)
IN_CLEAR = "The key goes to {url} unencrypted; anybody on the way can read it. Use https."


def open_remote(
    settings: ServerSettings,
    model: str = "auto",
    thinking_history: ThinkingHistory = "preserve",
    environment: Mapping[str, str] = os.environ,
) -> "RemoteChat":
    """Ask a server what it has, and return the model that is meant.

    Args:
        settings: where it is.
        model: by its name there; `auto` is the only one.
        thinking_history: what becomes of the thinking of earlier turns.
        environment: where the key is.

    Raises:
        ModelUnavailable: it does not answer or refuses the key.
        NoSuchModel: it is not clear which model is meant.
    """
    server = Server(settings, key_of(environment))
    return RemoteChat(server, served(model, server), thinking_history)


class RemoteChat:
    """A `ChatModel` whose model runs in a server."""

    def __init__(
        self, server: Server, model: ServedModel, thinking_history: ThinkingHistory = "preserve"
    ) -> None:
        self._server = server
        self._name = model.name
        self._profile = profile_of(model.name)
        self._thinking_history = thinking_history
        self._notices: list[str] = []
        """To be told with the next reply."""
        self._without: set[str] = set()
        """Options that the server refuses."""
        self._begins_in_thought = False
        self._num_measured = 0
        """Replies of which the server said what they cost."""
        self._says_reuse = False
        self._lengths = Lengths(server, model)
        if not self._lengths.says_window:
            self._tell(NO_WINDOW)
        if not self._lengths.counts:
            self._tell(NO_COUNT)
        if server.sends_key_in_clear:
            self._tell(IN_CLEAR)

    @property
    def name(self) -> str:
        """What the server calls it."""
        return self._name

    @property
    def context_tokens(self) -> int:
        """The window."""
        return self._lengths.window

    @property
    def can_see(self) -> bool:
        """Whether user messages may show pictures; the settings say it."""
        return self._server.settings.can_see

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is: as the server counts, else as many as it may be."""
        return self._lengths.count(text)

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read nothing ahead: a server cannot be told to read without an answer that costs."""
        yield from ()

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Stream the next assistant message; the last piece is a `ReplyEnd`.

        A cancelled reply ends with what it had said.

        Raises:
            ContextOverflow: no room is left for a reply.
            EngineGone: the reply broke off after some of it was shown.
            ModelUnavailable: the server does not answer, or with something else.
            NoSuchModel: it does not know the model.
            Cancelled: while it was waited for.
        """
        num_prompt = self._lengths.of(messages, tools)
        num_free = self.context_tokens - num_prompt
        if num_free < 1:
            raise ContextOverflow(
                f"The conversation is about {num_prompt:,} tokens long; the window of {self.name} "
                f"is {self.context_tokens:,}, which leaves no room for a reply."
            )
        num_new = min(options.max_new_tokens, num_free)
        yield Prefill(0, num_prompt, 0.0)
        num_failed = 0
        while True:
            reply = Try(self._reader(tools, options, num_new), num_prompt)
            try:
                yield from self._read(reply, messages, tools, options, num_new, cancel)
                break
            except Fault as fault:
                if reply.reader.has_shown:
                    raise EngineGone(f"The reply broke off. {fault.error}") from fault
                if self._gives_up_option(fault):
                    continue
                num_failed += 1
                if not fault.is_passing or num_failed == MAX_TRIES:
                    raise fault.error from fault
                wait_s = self._server.settings.first_wait_s * 2 ** (num_failed - 1)
                _wait(max(fault.wait_s, wait_s), cancel)
        yield self._end(reply, messages)

    def _read(
        self,
        reply: Try,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        num_new: int,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Pass the pieces of one try on.

        Raises:
            Fault: it came to nothing, or broke off.
        """
        history = self._thinking_history
        body = request_of(
            self.name, messages, tools, options, num_new, history, frozenset(self._without)
        )
        chunks = stream(self._server, body, cancel)
        try:
            for chunk in chunks:
                yield from reply.timed(reply.reader.feed(chunk))
                if reply.thinks_longer_than(options.thinking_budget):
                    reply.cut = "max_tokens"
                    break
        except Cancelled:
            reply.cut = "cancelled"
        finally:
            chunks.close()
        if not reply.is_whole:
            raise Fault(EngineGone(f"{self._server.url} ended in its midst."), is_passing=True)
        yield from reply.timed(reply.reader.end())

    def _end(self, reply: Try, messages: Sequence[Message]) -> ReplyEnd:
        """Take what is to be remembered from a reply, and end it."""
        reader, message = reply.reader, reply.reader.message()
        self._begins_in_thought = self._begins_in_thought or reader.lost_opener
        usage = reply.usage(message)
        if reader.usage is not None:
            self._num_measured += 1
            self._says_reuse = self._says_reuse or reply.says_reuse
            if self._num_measured == NUM_SILENT and not self._says_reuse:
                self._tell(NO_REUSE)
            self._lengths.measure((*messages, message), usage.num_prompt + usage.num_generated)
        notices, self._notices = tuple(self._notices), []
        is_open = reader.is_thinking and reply.stop_reason != "end_turn"
        return ReplyEnd(message, reply.stop_reason, usage, notices, is_thought_open=is_open)

    def _reader(
        self, tools: Sequence[ToolSpec], options: ReplyOptions, num_new: int
    ) -> ReplyReader:
        profile = self._profile
        thinks = options.thinking and (profile is None or profile.can_think)
        syntax = profile.call_syntax if profile else "xml"
        return ReplyReader(tools, syntax, thinks, self._begins_in_thought, num_new)

    def _gives_up_option(self, fault: Fault) -> bool:
        """Leave out what the server does not know, if that is what it complains of."""
        if fault.status not in (400, 422):
            return False
        named = {name for name in OPTIONAL if re.search(rf"\b{name}\b", fault.said)}
        fresh = named - self._without
        self._without |= fresh
        if fresh:
            self._tell(f"{{url}} does not know {', '.join(sorted(fresh))}, which is left out now.")
        return bool(fresh)

    def _tell(self, words: str) -> None:
        self._notices.append(words.format(url=self._server.url, window=self.context_tokens))


def _wait(seconds: float, cancel: Cancel) -> None:
    """Wait before another try.

    Raises:
        Cancelled: nobody wants it any more.
    """
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if cancel():
            raise Cancelled("stopped while the server was waited for")
        time.sleep(min(POLL_S, max(0.0, end_s - time.monotonic())))
