"""One prompt of a talk and the answer to it: what the model is told, what is in order after it.

Who may begin a turn, and what it works with, is decided in `conversation.py` and `talk_bench.py`.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from agent.bench import Bench
from agent.call_words import words_of
from agent.carry_out import answer_pending
from agent.events import Event, StopReason, TurnEnded
from agent.fits import check_fits
from agent.known_words import known_words
from agent.loop import continue_turn
from agent.models import NANO
from agent.parts import Parts
from agent.rewind import list_points, rewind
from agent.session import Session
from agent.shown import shown_to, told_of
from agent.talk_bench import TalkBench
from agent.told import Told
from agent.typed import remember_typed
from inference.messages import Message
from sandbox.base import Cancel

Events = Generator[Event, None, None]


class TalkTurns:
    """The turns of one talk, one after the other."""

    def __init__(self, session: Session, bench: TalkBench, told: Told) -> None:
        self._session = session
        self._bench = bench
        self._told = told

    def say(self, text: str, pictures: Sequence[Path], bench: Bench, cancel: Cancel) -> Events:
        """Add a prompt, and save the files as they are before it is answered.

        Raises:
            UsageError: it is too long for the window.
            PictureUnreadable: one cannot be shown, or the model sees none.
        """
        self._settle(bench)
        session, parts = self._session, bench.parts
        shown = shown_to(parts.chat, pictures, session.folder)
        is_nano = parts.chat.name == NANO
        if is_nano:
            known = yield from known_words(text, self._bench.place(), cancel)
            remember_typed(session, known, text)
            text = known
        now = parts.checkpoint(session.checkpoint)
        if not is_nano:
            text = self._with_news(text, now, parts)
        check_fits(text, session, parts, shown)
        session.add(Message("user", text, pictures=shown), checkpoint=now)
        yield from told_of(shown)

    def answered(self, bench: Bench, stops: Cancel) -> Events:
        """Run the turn; its end is told when everything is in order for the next one."""
        ended: TurnEnded | None = None
        try:
            for event in continue_turn(self._session, bench.parts, stops):
                if isinstance(event, TurnEnded):
                    ended = event
                else:
                    yield event
        finally:
            self._settle(bench)
        assert ended is not None, "a turn ends with TurnEnded"
        yield self._without_unanswerable(ended)

    def _with_news(self, text: str, now: str, parts: Parts) -> str:
        """Return a prompt with what the model does not know yet; `now` names the files."""
        session = self._session
        is_first = all(message.role == "system" for message in session.messages)
        if now != session.checkpoint and not is_first:  # it has seen nothing of them yet
            checkpoint = self._bench.place().checkpoint
            self._told.edited(checkpoint.changed(session.checkpoint, now))
        return self._told.beside(text, self._bench.mode, parts.opening() if is_first else "")

    def _without_unanswerable(self, ended: TurnEnded) -> TurnEnded:
        """Take a prompt back that left no room for a reply: with it nothing could be said again."""
        points = list_points(self._session)
        is_last = bool(points) and points[-1].num_kept == len(self._session.messages) - 1
        if not is_last or ended.reason is not StopReason.MAX_TOKENS:
            return ended
        rewind(self._session, self._bench.place().checkpoint, points[-1])
        return replace(ended, sentence=f"{ended.sentence} The prompt was taken back.".strip())

    def settle_cut(self) -> str:
        """Answer calls that were open when a process ended, with the files as they are now.

        Returns the first of them in a person's words; nothing if there is none.

        Raises:
            ProjectError, SandboxError: the files cannot be saved.
        """

        def save() -> str:
            return self._bench.place().checkpoint.save("after an end in the midst of a call")

        answered = answer_pending(self._session, save)
        return words_of(answered[0]) if answered else ""

    def _settle(self, bench: Bench) -> None:
        """Answer the calls that a turn has left open, as the next prompt needs them to be."""
        session = self._session
        if answer_pending(session, lambda: bench.parts.checkpoint(session.checkpoint)):
            self._bench.forget()  # what a cut call has shown, the model has not seen
