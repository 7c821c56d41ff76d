"""The interactive session: keys to jobs, events to the screen; all of it in the screen's thread.

What the model does is decided in `agent/conversation.py`. Commands are in `commands.py`.
"""

import asyncio
import contextvars
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from prompt_toolkit.input import Input

from agent.events import Event, Steered, TurnEnded
from agent.frontends.repl.actions import Actions
from agent.frontends.repl.activity import Activity
from agent.frontends.repl.approving import Approving
from agent.frontends.repl.below import Below
from agent.frontends.repl.commands import COMMANDS, Commands
from agent.frontends.repl.completion import (
    COMMAND_LINE,
    PromptCompleter,
    named_plainly,
)
from agent.frontends.repl.dialogs import Dialog
from agent.frontends.repl.drafts import Drafts
from agent.frontends.repl.filling import Filling
from agent.frontends.repl.keys import KEYS, bind
from agent.frontends.repl.launch import Launch
from agent.frontends.repl.names import Names
from agent.frontends.repl.output import FrameOutput
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.paste import DrawnPastes
from agent.frontends.repl.pressing import Pressing
from agent.frontends.repl.prompt import Prompt
from agent.frontends.repl.screen import Screen
from agent.frontends.repl.story import Story
from agent.frontends.repl.text import harmless, sentence
from agent.frontends.repl.worker import (
    BUG,
    ERRORS,
    NOT_BEGUN,
    Blank,
    Ended,
    Feed,
    Item,
    Job,
    Printed,
    Question,
    Worker,
)
from agent.shown import mentioned
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation

FRAME_S = 0.06
"""Between two drawings of what streams in; keys are drawn at once."""
TICK_S = 0.125
IDLE_TICK_S = 1.0
AGAIN_S = 1.0
"""Within which a second Esc means the whole turn."""
END_S = 5.0
"""How long a turn may take to stop when the person leaves."""


class Repl:
    """One session at one terminal."""

    def __init__(self, launch: Launch, source: Input, output: FrameOutput) -> None:
        self.launch = launch
        self.theme = launch.theme
        self.feed = Feed()
        self.worker = Worker(self.feed)
        self.aside = Worker(self.feed)
        """For commands of the person while the other is in a turn."""
        self.talk: Conversation | None = None
        """The one that prompts go to; None until it is open."""
        self.talks: list[Conversation] = []
        """All that are open in this session."""
        self.commands: Commands[Repl] = Commands(launch.commands, COMMANDS)
        self.hints = tuple((key.shown, key.help) for key in KEYS)
        self.prompt: Prompt = Prompt(
            PromptCompleter(self.commands.offers, Names(launch.root, self._names_came)),
            launch.history,
        )
        self.activity = Activity()
        self.waiting: list[str] = []
        """What was typed and has not reached the model yet."""
        self.last_words = ""
        self.dialog: Dialog | None = None
        """What the keys go to instead of the input."""
        self._approving = Approving(self)
        self.pressing = Pressing(self, self._approving)
        self._filling = Filling(self)
        self._drafts = Drafts(self)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        """In which prompt_toolkit knows the application; threads have none of their own."""
        self._is_scheduled = False
        self._drawn_s = 0.0
        self._stopped_s = 0.0
        self._told_fault = ""
        """What was said last of why something, perhaps the model, cannot be had."""
        self.below = Below(self)
        parts, keys = self.below.parts(), bind(Actions(self))
        drawn_input = DrawnPastes(self.prompt.pastes)
        self.screen: Screen = Screen(parts, self.prompt.buffer, keys, source, output, drawn_input)
        self.screen.use_vi_keys(launch.is_vi)
        self._painter = Painter(self.theme, self.screen.width)
        self.story = Story(self._painter)

    # ---- the life of it

    def run(self) -> int:
        """Be the session; return the exit code."""
        try:
            code = self.screen.app.run(
                pre_run=self._begin, set_exception_handler=False, handle_sigint=False
            )
        except EOFError:  # the terminal is gone
            code = 128 + signal.SIGHUP
        finally:
            self.worker.end(END_S)
            self.aside.end(END_S)
            self._close_talks()
        self.screen.leave_last_words(self.last_words)
        return code

    def _close_talks(self) -> None:
        """Let other processes have them; say how to go on with this one."""
        if self.talk is not None and self.talk.session.messages:
            words = f"To go on with it: qwen-agent --resume {self.talk.id}"
            self.last_words += self.painter.line((self.theme.dim, words))
        for talk in self.talks:
            try:
                talk.close()
            except ERRORS as error:
                self.last_words += self.painter.line((self.theme.bad, harmless(str(error))))

    def leave(self, code: int = 0) -> None:
        """End the session; a question that is open counts as answered with no."""
        self._approving.refuse()
        self.worker.stop()
        if self.screen.app.is_running and not self.screen.app.is_done:
            self.screen.app.exit(result=code)

    def do(self, steps: Callable[[Cancel], Iterator[Event | Printed]], words: str = "") -> None:
        """Have something done that takes its time."""
        self.worker.do(Job(steps, words=words))

    def do_aside(
        self, steps: Callable[[Cancel], Iterator[Event | Printed]], words: str = ""
    ) -> None:
        """Have something done now, beside what runs."""
        worker = self.aside if self.is_busy else self.worker
        worker.do(Job(steps, words=words, is_aside=worker is self.aside))

    def show(self, draw: Callable[[Painter], str]) -> None:
        """Print lines of our own."""
        self.screen.print(draw(self.painter))

    def tell(self, draw: Callable[[Painter], str]) -> None:
        """Print lines, from any thread."""
        self.feed.put(Printed(draw))

    def say(self, text: str, style: str = "dim") -> None:
        """Print a sentence; `style` is a field of the theme."""
        self.show(lambda painter: painter.line((getattr(painter.theme, style), harmless(text))))

    @property
    def painter(self) -> Painter:
        """What draws at the width that the terminal has now."""
        if (self._painter.width, self._painter.theme) != (self.screen.width, self.theme):
            self._painter = self.story.painter = Painter(self.theme, self.screen.width)
        return self._painter

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._loop.set_exception_handler(self._on_bug)
        self.feed.wake = self._wake
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self.leave, 128 + number)
        self.screen.on_lost(lambda: self.leave(128 + signal.SIGHUP))
        self.worker.start()
        self.aside.start()
        self.worker.do(Job(self._open))
        self.screen.app.create_background_task(self._tick())

    def _open(self, cancel: Cancel) -> Iterator[Event | Printed]:
        """Open the talk; without one, what was typed meanwhile has nobody to answer it."""
        try:
            yield from self.launch.begin(self, cancel)
        finally:
            if self.talk is None:
                self.worker.leave_out()

    def _on_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Show what went wrong in a key or a command; the session goes on."""
        error = context.get("exception")
        trace = "".join(traceback.format_exception(error)) if error else str(context.get("message"))
        self.say(BUG, "bad")
        self.show(lambda painter: painter.quoted(harmless(trace), painter.theme.dim))

    async def _tick(self) -> None:
        """Let the seconds run while something goes on; else look at the status now and then."""
        while True:
            await asyncio.sleep(TICK_S if self.worker.is_busy else IDLE_TICK_S)
            if not self.worker.is_busy:
                self._tell_fault()
                self._drafts.look()
            self.screen.redraw()

    def _tell_fault(self) -> None:
        """Say once that the model cannot be had, while nothing waits for it."""
        status = self.below.known_status()
        if status is not None and status.fault not in ("", self._told_fault):
            self._told_fault = status.fault
            self.say(f"{status.fault.rstrip('.')}. The next prompt tries again.", "warn")

    # ---- from the feed to the screen

    def _wake(self) -> None:
        """Say from any thread that there is something to draw."""
        if self._is_scheduled:
            return  # what will be drawn takes all that has come until then
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._schedule)

    def _names_came(self) -> None:
        """Say from any thread that there are names to offer now."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.prompt.offer, context=self._context.copy())

    def _schedule(self) -> None:
        if not self._is_scheduled and self._loop is not None:
            self._is_scheduled = True
            self._loop.call_later(
                max(0.0, self._drawn_s + FRAME_S - time.monotonic()), self._draw_news
            )

    def _draw_news(self) -> None:
        self._is_scheduled, self._drawn_s = False, time.monotonic()
        drawn = "".join(map(self._taken, self.feed.take()))
        if drawn:
            self.screen.print(drawn)
        else:
            self.screen.redraw()

    def _taken(self, item: Item) -> str:
        """Take an item; a bug in drawing one is shown, and ends nothing."""
        try:
            return self._take(item)
        except Exception:
            return self.painter.quoted(harmless(traceback.format_exc()), self.theme.bad)

    def _take(self, item: Item) -> str:
        """Take an item of the feed; return what stays of it on the screen."""
        if isinstance(item, Printed):
            return item.draw(self.painter)
        if isinstance(item, Question):
            return self._approving.begin(item)
        if isinstance(item, Blank):
            return self._filling.begin(item)
        if isinstance(item, Ended):
            return self._job_ended(item)
        if isinstance(item, Steered):
            self.has_heard(item.text)
        elif isinstance(item, TurnEnded):
            self._approving.leave()
            self._filling.leave()
        now_s = time.monotonic()
        self.activity.note(item, now_s)
        self.story.painter = self.painter
        return self.story.show(item, now_s)

    def _job_ended(self, ended: Ended) -> str:
        drawn = ""
        if not ended.job.is_aside:
            self.activity.words = ""
            self._approving.leave()
            self._filling.leave()
            drawn = self.story.close()
        if ended.sentence == NOT_BEGUN and ended.job.prompt:
            self.prompt.put(ended.job.prompt)
        elif ended.sentence:
            self._told_fault = ended.sentence
            drawn += self.painter.line((self.theme.bad, harmless(sentence(ended.sentence))))
        if ended.is_unsaid:
            self.prompt.put(ended.job.prompt)
        if ended.trace:
            drawn += self.painter.quoted(harmless(ended.trace), self.theme.dim)
        is_over = self.talk is None and not self.worker.is_busy and self.dialog is None
        if is_over and ended.sentence != NOT_BEGUN:
            self.last_words = drawn
            self.leave(ended.exit_code)
            return ""
        if not self.worker.is_busy and self.talk and (prompt := self.talk.next_prompt()):
            self.has_heard(prompt)
            self._begin_turn(prompt)
        return drawn

    def has_heard(self, text: str) -> None:
        """Take from what waits what has reached the model, or the person again."""
        self.waiting = [typed for typed in self.waiting if typed.strip() not in text]

    # ---- what is typed

    def submit(self, text: str) -> None:
        """Carry out what was typed and sent."""
        if COMMAND_LINE.match(text):
            self.show(lambda _painter: self.story.said(text))
            self.commands.run(self, text)
        elif text.startswith("!"):
            from agent.frontends.repl.shell import run_command

            run_command(self, text[1:].strip())
        else:
            self.prompt_model(named_plainly(text, self.launch.root))

    def prompt_model(self, text: str) -> None:
        """Give a prompt to the model: a turn of its own, or part of the one that runs.

        One that shows pictures waits for a turn of its own.
        """
        if self.is_in_turn and self.talk is not None:
            has_pictures = bool(mentioned(text, self.launch.root))
            (self.talk.queue if has_pictures else self.talk.steer)(text)
            self.waiting.append(text)
        else:
            self._begin_turn(text)

    def stop(self) -> bool:
        """Stop the call in hand; without one, or soon after, the turn or what else runs.

        Says whether anything did.
        """
        now_s = time.monotonic()
        is_again, self._stopped_s = now_s - self._stopped_s < AGAIN_S, now_s
        if not is_again and self.is_in_turn and self.talk and self.talk.stop_call():
            self.activity.words = "stopping the call; once more stops the turn"
            return True
        for worker in (self.worker, self.aside):
            if worker.is_busy:
                worker.stop()
                return True
        return False

    def reopen(self, name: str) -> "Conversation":
        """Open an earlier talk; in the worker."""
        return self.launch.resume(self, name)

    def enter(self, talk: "Conversation") -> None:
        """Be in this talk from now on; from any thread."""
        if talk not in self.talks:
            self.talks.append(talk)
        self.talk = talk

    def open_dialog(self, dialog: Dialog) -> None:
        """Let keys go to a dialog until it is closed."""
        self.dialog = dialog
        self.pressing.begin()
        self.screen.show_dialog(True)

    def close_dialog(self) -> None:
        """Let keys go to the input again."""
        self.dialog = None
        self.screen.show_dialog(False)

    @property
    def is_asking(self) -> bool:
        """Whether something waits for an answer of the person."""
        return self.dialog is not None or self.prompt.loan is not None

    @property
    def is_busy(self) -> bool:
        """Whether something is being done that others wait for."""
        return self.worker.is_busy

    @property
    def is_in_turn(self) -> bool:
        """Whether the model works, so that it can be steered."""
        return self.worker.has_turn

    def _begin_turn(self, text: str) -> None:
        def steps(cancel: Cancel) -> Iterator[Event | Printed]:
            yield Printed(lambda _painter: self.story.said(text))
            assert self.talk is not None, "it was opened by the job before"
            if self._told_fault:
                self.talk.load_again()
                self._told_fault = ""
            yield from self.talk.turn(text, cancel, mentioned(text, self.launch.root))

        self.worker.do(Job(steps, is_turn=True, prompt=text))
