"""The room's door over our own engine: messages to ids, ids to pieces.

It composes transcript, engine and parser and adds only what none of them can know alone: the
family's presets, where snapshots are worth keeping, and what is left of the window. torch is
imported when a model is opened, not when this file is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.ahead import MIN_AHEAD_TOKENS, known_ahead
from inference.chat import Cancel
from inference.door import (
    CallGrammar,
    EngineSettings,
    GenerationEnd,
    OnProgress,
    ThinkingLimit,
    Token,
    TokenEngine,
)
from inference.errors import ContextOverflow, ModelUnavailable
from inference.fallback import Fallback
from inference.gathered import Gathered
from inference.headers import read_json
from inference.host_client import HostEngine
from inference.host_start import IDLE_LIMIT_S
from inference.marks import marks_of
from inference.messages import (
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Restarting,
    SamplingOptions,
    ThinkingHistory,
    ToolSpec,
    Usage,
)
from inference.parser import ReplyParser
from inference.pictures import Sight, sight_of
from inference.pins import pinned_folder
from inference.plan import Offer
from inference.profiles import CALL_OPEN, Profile, profile_for
from inference.shortage import Shortage
from inference.thinking import is_open, thinking_limit
from inference.tokenizer import Tokenizer
from inference.transcript import Rendered, Transcript

NANO_FOLDER = Path(__file__).with_name("nano")
"""The checkpoint that comes with the program."""


def open_chat(
    model: str | Path | EngineSettings,
    *,
    offer: Offer | None = None,
    shortage: Shortage | None = None,
    window: int | None = None,
    reuse: bool = True,
    thinking_history: ThinkingHistory = "preserve",
    holds_calls: bool = True,
    host: bool = False,
    idle_limit_s: float = IDLE_LIMIT_S,
    on_progress: OnProgress | None = None,
) -> LocalChat:
    """Load a model and everything that belongs to it.

    Args:
        model: `nano`, a checkpoint folder, or a hub id, which is downloaded once; as the source of
            settings where its engine is not to have the usual ones.
        offer: how it is run in the memory that there is, its window included; what that costs is
            said with the first reply.
        shortage: what did not fit at an earlier start, of an engine in a process of its own.
        window: the most tokens of it that are used, whatever there is memory for.
        reuse: False to prefill everything every time, for comparison.
        thinking_history: what becomes of the thinking of earlier turns.
        holds_calls: False to let the model write calls as it likes, for comparison.
        host: True to share the engine of a process that all front ends use; torch is not loaded
            here then.
        idle_limit_s: how long that process stays when its last front end has left.
        on_progress: told of a download.

    Raises:
        ModelUnavailable: not found, offline, damaged, or of a family we do not know.
    """
    asked = model if isinstance(model, EngineSettings) else EngineSettings(str(model))
    settings = replace(asked, source=_source(asked.source))
    plan = offer.plan if offer else None
    # Before the weights: a folder without a vocabulary must not leave a host that nobody can use.
    folder = Path(settings.source)
    tokenizer = None
    if folder.is_dir():
        tokenizer = _tokenizer_of(folder, read_json(folder / "config.json"))
    engine: TokenEngine[Any]
    config: Mapping[str, Any]
    if host:
        hosted = HostEngine(
            settings,
            plan=plan,
            shortage=shortage,
            idle_limit_s=idle_limit_s,
            on_progress=on_progress,
        )
        engine, folder, config = hosted, hosted.model.folder, hosted.model.config
    else:
        from inference.opened import open_engine

        opened = open_engine(Fallback(settings, plan).settings, on_progress)
        engine, folder, config = opened.engine, opened.folder, opened.config
    if plan is not None:
        window = plan.context_tokens if window is None else min(window, plan.context_tokens)
    return LocalChat(
        engine,
        tokenizer or _tokenizer_of(folder, config),
        profile_for(config, folder),
        asked.source,
        thinking_history,
        reuse,
        window,
        sight_of(config, folder),
        holds_calls,
        (offer.sentence,) if offer and offer.sentence else (),
    )


def _tokenizer_of(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """Read the vocabulary of a checkpoint.

    Raises:
        ModelUnavailable: there is none, or it is of another model.
    """
    tokenizer = Tokenizer.from_folder(folder)
    num = (config.get("text_config") or config).get("vocab_size")
    if isinstance(num, int) and tokenizer.vocab_size > num:
        raise ModelUnavailable(
            f"{folder / 'tokenizer.json'} has tokens up to {tokenizer.vocab_size - 1:,} and the "
            f"model knows {num:,}: it belongs to another model; copy the right one there."
        )
    return tokenizer


def _source(where: str) -> str:
    """Return what a model is loaded from, whichever folder the loading process is in.

    Of a pulled model that is the folder of its revision: who pulls another gets another host.
    """
    folder = NANO_FOLDER if where == "nano" else Path(where).expanduser()
    if where.strip() and (folder.is_dir() or folder.is_file()):
        return str(folder.resolve())
    return str(pinned_folder(where) or where)


class LocalChat:
    """A `ChatModel` whose model runs here."""

    def __init__(
        self,
        engine: TokenEngine[Any],
        tokenizer: Tokenizer,
        profile: Profile,
        name: str,
        thinking_history: ThinkingHistory = "preserve",
        reuse: bool = True,
        window: int | None = None,
        sight: Sight | None = None,
        holds_calls: bool = True,
        notices: Sequence[str] = (),
    ) -> None:
        self.engine = engine
        self.window = window
        """The most tokens of the model's window that are used; None is all."""
        self.holds_calls = holds_calls
        """Whether calls are held to their form while they are written."""
        self.sight = sight
        """How it cuts pictures; None if it sees none."""
        self.reuse = reuse
        self.tokenizer = tokenizer
        self.profile = profile
        self._name = name
        self._stop_ids = tokenizer.controls_of(profile.stop_tokens)
        self._call_ids = tokenizer.controls_of((CALL_OPEN,))
        self._tools: tuple[ToolSpec, ...] = ()
        self._thinking_history = thinking_history
        self._transcript = Transcript(tokenizer, profile, (), thinking_history, sight)
        self._live: Any = None
        """The branch of the last reply, of the kind that the engine has."""
        self._ahead: tuple[tuple[int, ...], Any] | None = None
        """What was read since then before anybody asked: its tokens, and the branch."""
        self._untold = [*notices]
        """What is to be said of that, and of how it was loaded; the next reply passes it on."""

    def beside(self, engine: TokenEngine[Any]) -> LocalChat:
        """Return one for another conversation, over an engine with the same model."""
        about = self.tokenizer, self.profile, self.name, self._thinking_history, self.reuse
        return LocalChat(engine, *about, self.window, self.sight, self.holds_calls)

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self._name

    @property
    def context_tokens(self) -> int:
        """The window: that of the model, or what the plan has memory for."""
        window = self.engine.model.context_tokens
        return window if self.window is None else min(window, self.window)

    @property
    def can_see(self) -> bool:
        """Whether user messages may show pictures."""
        return self.sight is not None

    @property
    def weights(self) -> str:
        """What its weights are kept in, in a word: `bf16`."""
        return self.engine.model.weights

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is, encoded on its own."""
        return len(self.tokenizer.encode(text))

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Stream the next assistant message; the last piece is a `ReplyEnd`.

        A cancelled reply ends with what it had said; a cancelled prefill with nothing.

        Raises:
            ContextOverflow: no room is left for a reply.
            Cancelled: while the engine, which had ended, was started again.
        """
        transcript = self._transcript_for(tools)
        thinking = options.thinking and self.profile.can_think
        rendered = transcript.render(messages, thinking)
        num_free = self._num_free(rendered)
        if not self.engine.is_there:
            yield Restarting()
            self.engine.come_back(cancel)
        live = self._read_ahead_of(rendered.tokens) or self._live
        branch = self._live = self.engine.find(rendered.tokens, live, self.reuse)
        self._ahead = None
        parser = ReplyParser(self.tokenizer, tools, rendered.opener, self.profile.call_syntax)
        gathered = Gathered()
        num_new = min(options.max_new_tokens, num_free)
        for event in self.engine.generate(
            branch,
            rendered.tokens[len(branch) :],
            options.sampling or replace(self.profile.sampling(thinking), seed=options.seed),
            max_new_tokens=num_new,
            stop_ids=self._stop_ids,
            keep_ids=self._call_ids,
            marks=marks_of(messages, rendered),
            thinking=self._limit(options, rendered.opener),
            grammar=self._grammar(tools, rendered.opener),
            places=[place for place in rendered.places if place.start >= len(branch)],
            cancel=cancel,
        ):
            match event:
                case Prefill():
                    yield event
                case Token():
                    yield from gathered.keep(parser.feed(event.id))
                    if (writing := parser.news()) is not None:
                        yield writing
                case GenerationEnd():
                    cut_at = num_new if event.stop_reason == "max_tokens" else 0
                    yield from gathered.keep(parser.flush(cut_at))
                    ids = rendered.opener + event.token_ids if event.token_ids else ()
                    message = gathered.message(ids)
                    self._check_appended(transcript, messages, message, rendered, event.token_ids)
                    usage = replace(event.usage, num_thinking=parser.num_thinking)
                    notices = (*self._untold, *event.notices)
                    self._untold.clear()
                    yield ReplyEnd(
                        message,
                        event.stop_reason,
                        usage,
                        notices,
                        event.memory,
                        parser.is_thinking,
                    )

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read a conversation and the draft of its next prompt; see `ChatModel.read`."""
        known = known_ahead(self._transcript_for(tools), messages, draft)
        if not (self.reuse and self.engine.is_there) or len(known.tokens) >= self.context_tokens:
            return
        branch = self._line_ahead(known.tokens, keeps=not draft)
        new_tokens = known.tokens[len(branch) :]
        if len(new_tokens) < MIN_AHEAD_TOKENS:
            return
        for event in self.engine.generate(
            branch,
            new_tokens,
            SamplingOptions(),
            max_new_tokens=0,
            marks=known.marks,
            places=[place for place in known.places if place.start >= len(branch)],
            cancel=cancel,
        ):
            match event:
                case Prefill():
                    yield event
                case GenerationEnd():
                    self._ahead = known.tokens[: event.usage.num_prompt], branch
                    self._untold += event.notices
                    yield event.usage

    def _line_ahead(self, tokens: tuple[int, ...], keeps: bool) -> Any:
        """Find the longest known line of `tokens`, beside that of the last reply, which stays as it
        is. Of a draft no snapshot is kept."""
        live = self._read_ahead_of(tokens)
        if live is None and self._live is not None:
            live = self.engine.fork(self._live)
        branch = self.engine.find(tokens, live)
        return branch if keeps else self.engine.fork(branch, reuse=False)

    def _read_ahead_of(self, tokens: tuple[int, ...]) -> Any:
        """Return the line that was read before anybody asked, if `tokens` begins with it."""
        if self._ahead is None:
            return None
        known, branch = self._ahead
        return branch if tokens[: len(known)] == known else None

    def _transcript_for(self, tools: Sequence[ToolSpec]) -> Transcript:
        """Return the transcript of this tool list; a session has one, and keeps it."""
        if self._tools != tuple(tools):
            self._tools = tuple(tools)
            self._transcript = Transcript(
                self.tokenizer, self.profile, tools, self._thinking_history, self.sight
            )
        return self._transcript

    def _limit(self, options: ReplyOptions, opener: tuple[int, ...]) -> ThinkingLimit | None:
        """Return what holds the thinking of a reply to its budget, if it has one."""
        if options.thinking_budget is None or not self.profile.can_think:
            return None
        return thinking_limit(options.thinking_budget, self.tokenizer, opener)

    def _grammar(self, tools: Sequence[ToolSpec], opener: tuple[int, ...]) -> CallGrammar | None:
        """Return what calls the reply may make; None if it is not to be held to any form."""
        if not self.holds_calls or not tools:
            return None
        return CallGrammar(
            self.profile.call_syntax,
            json.dumps([{"name": t.name, "parameters": t.parameters} for t in tools]),
            is_open(opener, self.tokenizer),
        )

    def _num_free(self, rendered: Rendered) -> int:
        num_free = self.context_tokens - len(rendered.tokens)
        if num_free < 1:
            raise ContextOverflow(
                f"The conversation is {len(rendered.tokens):,} tokens long; the window of "
                f"{self.name} is {self.context_tokens:,}, which leaves no room for a reply."
            )
        return num_free

    def _check_appended(
        self,
        transcript: Transcript,
        messages: Sequence[Message],
        reply: Message,
        rendered: Rendered,
        generated: tuple[int, ...],
    ) -> None:
        """Assert that the next prompt will begin with all that the engine has read."""
        read = rendered.tokens + generated[:-1]  # the last one was drawn, not read
        longer = transcript.render([*messages, reply], thinking=False).tokens
        assert not generated or longer[: len(read)] == read, "the reply was not appended as it was"
