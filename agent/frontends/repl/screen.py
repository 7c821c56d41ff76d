"""The terminal: what is printed stays above, and below it a few lines that change in place.

It is an application of prompt_toolkit that does not take the whole screen, so that the terminal's
own scrolling, selecting and searching work on all that was printed. It decides nothing; what stands
in its parts is asked of its `Parts`, each time it draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from prompt_toolkit.application import Application, get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import (
    Condition,
    has_completions,
    is_done,
    is_searching,
    vi_navigation_mode,
)
from prompt_toolkit.formatted_text import (
    ANSI,
    AnyFormattedText,
    StyleAndTextTuples,
    to_formatted_text,
)
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    VerticalAlign,
    Window,
)
from prompt_toolkit.layout.processors import AfterInput, ConditionalProcessor, Processor
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.search import SearchState
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar

from agent.frontends.repl.output import FrameOutput

ESCAPE_S = 0.05
"""How long an Esc is waited for to be the beginning of something longer."""
MAX_COMPLETIONS = 6
MIN_ROWS_WRITING = 3
STYLE = Style.from_dict(
    {"dim": "dim", "chosen": "reverse", "search-toolbar": "dim", "search-toolbar.text": "nodim"}
)


@dataclass(frozen=True)
class Parts:
    """What stands on the screen below what was printed; text with escapes for colours."""

    writing: Callable[[int], str]
    """What is being written, in that many lines at most."""
    activity: Callable[[], str]
    waiting: Callable[[], str]
    """What was typed and has not reached the model yet."""
    dialog: Callable[[], str]
    """A question or a list; empty if there is none."""
    press: Callable[[str, bool], bool]
    """Takes a key for the dialog, and whether others came with it; False if it is none of its."""
    label: Callable[[], str]
    """What stands before the input."""
    hint: Callable[[], str]
    """What stands in the input while it is empty."""
    status: Callable[[], str]
    has_colour: Callable[[], bool]


@lru_cache(maxsize=16)
def in_runs(drawn: str) -> StyleAndTextTuples:
    """Turn text with escapes into runs of one style; prompt_toolkit's own are of one character."""
    parsed = to_formatted_text(ANSI(drawn.rstrip("\n")))
    runs = groupby(parsed, key=lambda fragment: fragment[0])
    return [(style, "".join(fragment[1] for fragment in run)) for style, run in runs]


class Rows(HSplit):
    """Parts below each other, whose height is asked for several times a frame and found once."""

    _known: tuple[tuple[int, int, int], Dimension] | None = None

    def preferred_height(self, width: int, max_available_height: int) -> Dimension:
        """Return the height that they want."""
        frame = (get_app().render_counter, width, max_available_height)
        if self._known is None or self._known[0] != frame:
            self._known = (frame, super().preferred_height(width, max_available_height))
        return self._known[1]


class Screen:
    """Draws the parts, and prints above them."""

    def __init__(
        self,
        parts: Parts,
        buffer: Buffer,
        keys: KeyBindings,
        source: Input,
        output: FrameOutput,
        drawn_input: Processor,
    ) -> None:
        """Take what is drawn and the keys; `drawn_input` draws a line of the input."""
        self._parts = parts
        self._buffer = buffer
        self._output = output
        self.is_away = False
        """Whether another program has the terminal, such as an editor."""
        self._late = ""
        """What was to be printed meanwhile."""
        self._search = SearchToolbar(
            ignore_case=True,
            backward_search_prompt=self._search_label,
            forward_search_prompt=self._search_label,
        )
        self._input = Window(
            BufferControl(
                buffer,
                search_buffer_control=self._search.control,
                preview_search=True,
                input_processors=[
                    drawn_input,
                    ConditionalProcessor(
                        AfterInput(self._hint), Condition(lambda: not buffer.text) & ~is_searching
                    ),
                ],
            ),
            height=self._input_height,
            dont_extend_height=True,
            wrap_lines=True,
            get_line_prefix=self._prefix,
        )
        self._dialog = Window(
            FormattedTextControl(
                lambda: in_runs(parts.dialog()),
                focusable=True,
                show_cursor=False,
                key_bindings=self._dialog_keys(),
            ),
            dont_extend_height=True,
        )
        self.app: Application[int] = Application(
            layout=Layout(self._container(), focused_element=self._input),
            key_bindings=keys,
            style=STYLE,
            input=source,
            output=output,
            color_depth=lambda: (
                ColorDepth.DEPTH_4_BIT if parts.has_colour() else ColorDepth.DEPTH_1_BIT
            ),
            enable_page_navigation_bindings=False,
            erase_when_done=True,
            max_render_postpone_time=None,
        )
        self.app.ttimeoutlen = ESCAPE_S
        self.app.timeoutlen = ESCAPE_S * 2
        self.app.before_render += lambda _app: self._begin_frame()
        self.app.after_render += lambda _app: output.release()

    @property
    def width(self) -> int:
        """Columns of the terminal, but one: a full line would fold at a change of its size."""
        return max(20, self._output.get_size().columns - 1)

    @property
    def rows(self) -> int:
        """Rows of the terminal."""
        return self._output.get_size().rows

    def print(self, drawn: str) -> None:
        """Put lines above what is drawn in place; they stay."""
        if self.is_away or not self.app.is_running:
            self._late += drawn
            return
        drawn, self._late = self._late + drawn, ""
        with self._output.frame():
            if drawn:
                self.app.renderer.erase(leave_alternate_screen=False)
                self._output.write_raw(drawn.replace("\n", "\r\n"))
            self.app._redraw()

    def come_back(self) -> None:
        """Take the terminal again, from another program."""
        self.is_away = False
        self.print("")

    def write_unseen(self, sequence: str) -> None:
        """Send the terminal a sequence that draws nothing."""
        self._output.write_raw(sequence)
        self._output.flush()

    def redraw(self) -> None:
        """Draw what has changed, at the next moment."""
        if not self.is_away:
            self.app.invalidate()

    def leave_last_words(self, drawn: str) -> None:
        """Print when the application is over."""
        self._output.write_raw((self._late + drawn).replace("\n", "\r\n"))
        self._output.flush()

    def show_dialog(self, is_shown: bool) -> None:
        """Let the keys go to the dialog, or to the input again."""
        self.app.layout.focus(self._dialog if is_shown else self._input)
        self.redraw()

    def use_vi_keys(self, is_vi: bool) -> None:
        """Choose how lines are edited."""
        self.app.editing_mode = EditingMode.VI if is_vi else EditingMode.EMACS
        self.app.vi_state.reset()  # in insert mode, whatever was done with the keys of emacs

    def on_lost(self, leave: Callable[[], None]) -> None:
        """Call this when the terminal is gone."""
        self._output.on_lost = leave

    def clear(self) -> None:
        """Empty the screen; what was printed stays in the terminal's memory."""
        self.app.renderer.clear()

    def _container(self) -> HSplit:
        parts = self._parts
        return Rows(
            [
                self._shown(lambda: parts.writing(self._rows_writing())),
                self._shown(parts.activity),
                Window(height=1),
                self._shown(parts.waiting),
                ConditionalContainer(self._dialog, Condition(lambda: bool(parts.dialog()))),
                self._input,
                self._search,
                ConditionalContainer(
                    Window(FormattedTextControl(self._completions), dont_extend_height=True),
                    has_completions & ~is_done,
                ),
                ConditionalContainer(
                    Window(FormattedTextControl(lambda: in_runs(parts.status())), height=1),
                    ~has_completions & ~is_done,
                ),
            ],
            align=VerticalAlign.TOP,
        )

    def _shown(self, text: Callable[[], str]) -> ConditionalContainer:
        """Show a text while there is one; it is asked for once a frame."""
        drawn: dict[int, StyleAndTextTuples] = {}

        def once() -> StyleAndTextTuples:
            frame = self.app.render_counter
            if frame not in drawn:
                drawn.clear()
                drawn[frame] = in_runs(text())
            return drawn[frame]

        window = Window(FormattedTextControl(once), dont_extend_height=True)
        return ConditionalContainer(window, Condition(lambda: bool(once())))

    def _rows_writing(self) -> int:
        return max(MIN_ROWS_WRITING, self.rows - 10)

    def _input_height(self) -> Dimension:
        return Dimension(min=1, max=max(1, self.rows // 2))

    def _search_label(self) -> AnyFormattedText:
        """Say whether what is searched for is in any prompt."""
        text, buffer = self._search.search_buffer.text, self._buffer
        found = buffer.document_for_search(SearchState(text, ignore_case=True)).text
        is_found = text.lower() in found.lower()
        return "search: " if is_found else "not found: "

    def _prefix(self, line: int, wrap: int) -> AnyFormattedText:
        label = f"{'normal ' if vi_navigation_mode() else ''}{self._parts.label()}"
        return label if line == wrap == 0 else " " * len(label)

    def _hint(self) -> AnyFormattedText:
        return [("class:dim", self._parts.hint())]

    def _completions(self) -> AnyFormattedText:
        """List the completions around the one that is chosen."""
        state = self.app.current_buffer.complete_state
        if state is None:
            return ""
        at = state.complete_index
        first = max(0, min((at or 0) - MAX_COMPLETIONS // 2, len(state.completions)))
        rows = state.completions[first : first + MAX_COMPLETIONS]
        room = max(len(row.display_text) for row in rows) + 2 if rows else 0
        lines: StyleAndTextTuples = []
        for number, row in enumerate(rows, start=first):
            style = "class:chosen" if number == at else ""
            about = row.display_meta_text[: max(0, self.width - room - 3)]
            lines += [(style, f"  {row.display_text:{room}}"), ("class:dim", f"{about}\n")]
        rest = len(state.completions) - first - len(rows)
        lines.append(("class:dim", f"  {rest} more" if rest > 0 else ""))
        return lines

    def _dialog_keys(self) -> KeyBindings:
        keys = KeyBindings()

        def press(event: KeyPressEvent) -> None:
            name = event.key_sequence[0].key
            names: dict[Any, str] = {Keys.ControlM: "enter", Keys.ControlH: "backspace"}
            key = names.get(name, str(getattr(name, "value", name)))
            self._parts.press(key, bool(event.app.key_processor.input_queue))

        keys.add(Keys.Any)(press)
        for name in ("enter", "escape", "up", "down", "backspace"):
            keys.add(name, eager=name == "escape")(press)

        @keys.add(Keys.BracketedPaste)
        def _(event: KeyPressEvent) -> None:
            """Take no paste for an answer."""
            self._parts.press("paste", True)

        return keys

    def _begin_frame(self) -> None:
        """Begin to draw; what has become lower is drawn anew, since it would not shrink."""
        self._output.hold()
        last = self.app.renderer.last_rendered_screen
        size = self._output.get_size()
        wanted = self.app.layout.container.preferred_height(size.columns, size.rows).preferred
        if last is not None and min(wanted, size.rows) < last.height:
            self.app.renderer.erase(leave_alternate_screen=False)
