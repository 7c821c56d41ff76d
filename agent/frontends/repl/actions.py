"""What each action of the table of keys does."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.key_binding import KeyPressEvent

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

PASTED_KEYS = 30
"""So many keys at once after an Enter were not typed: the terminal did not mark a paste."""


class Actions:
    """Carries out what the keys ask for, in one session."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._actions: dict[str, Callable[[KeyPressEvent], None]] = {
            "send": self._send,
            "queue": self._queue,
            "new_line": lambda event: event.current_buffer.insert_text("\n"),
            "escape": self._escape,
            "interrupt": self._interrupt,
            "leave": lambda _event: repl.leave(),
            "suspend": lambda event: event.app.suspend_to_background(),
            "complete": self._complete,
            "next_mode": lambda _event: repl.commands.run(repl, "/mode next"),
            "thinking": self._thinking,
            "editor": self._editor,
            "clear": lambda _event: repl.screen.clear(),
            "paste": lambda event: repl.prompt.paste(event.data),
        }

    def act(self, action: str, event: KeyPressEvent) -> None:
        """Carry out one action."""
        self._actions[action](event)

    def _send(self, event: KeyPressEvent) -> None:
        repl = self._repl
        if repl.prompt.loan:
            repl.prompt.give_back(is_sent=True)
        elif len(event.app.key_processor.input_queue) > PASTED_KEYS:
            event.current_buffer.insert_text("\n")
        elif not repl.prompt.continues() and (text := repl.prompt.take().strip()):
            repl.submit(text)

    def _queue(self, _event: KeyPressEvent) -> None:
        repl = self._repl
        if not repl.is_in_turn or repl.talk is None or repl.prompt.loan:
            self._send(_event)
        elif text := repl.prompt.take().strip():
            repl.talk.queue(text)
            repl.waiting.append(text)

    def _escape(self, _event: KeyPressEvent) -> None:
        repl = self._repl
        if repl.prompt.loan:
            repl.prompt.give_back(is_sent=False)
        elif repl.waiting and repl.talk and (text := repl.talk.take_back()):
            repl.has_heard(text)
            repl.prompt.put(text)
        else:
            repl.stop()

    def _interrupt(self, event: KeyPressEvent) -> None:
        repl = self._repl
        if repl.dialog is not None:
            repl.dialog.press("escape")
        elif repl.prompt.loan:
            repl.prompt.give_back(is_sent=False)
        elif event.current_buffer.text:
            event.current_buffer.reset()
        elif not repl.stop():
            repl.say("Ctrl-D or /quit leaves.")

    def _complete(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state:
            buffer.complete_next()
        elif buffer.text:
            buffer.start_completion(select_first=True)

    def _thinking(self, _event: KeyPressEvent) -> None:
        story = self._repl.story
        story.is_thinking_shown = not story.is_thinking_shown
        if story.is_thinking_shown and story.thoughts and not self._repl.is_in_turn:
            thought = story.thoughts[-1]
            self._repl.show(lambda painter: painter.quoted(thought, painter.theme.dim))
        else:
            self._repl.say(f"Thinking is {'shown' if story.is_thinking_shown else 'folded'}.")

    def _editor(self, event: KeyPressEvent) -> None:
        """Open the text in the editor of the person; what is printed meanwhile waits."""
        screen, prompt = self._repl.screen, self._repl.prompt
        prompt.buffer.text = prompt.pastes.unfold(prompt.buffer.text)
        screen.is_away = True
        opened = event.current_buffer.open_in_editor()
        opened.add_done_callback(lambda _done: screen.come_back())
