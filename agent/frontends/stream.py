"""`--stream-json`: all that the session shows, as JSON lines for a program.

Each event is a line, whose `type` is its class and whose other names are its fields. Beside them
stand the lines of `OWN`, which say what a screen has in its status line and asks in its questions.

python -m agent.frontends.stream   prints the table of `docs/talk.md`
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import get_args

from agent.approval import Answer, Ask
from agent.conversation import Conversation
from agent.errors import KNOWN_ERRORS
from agent.events import (
    CallWriting,
    Event,
    ModelProgress,
    PrefillProgress,
    TextDelta,
    ThinkingDelta,
)
from agent.frontends.fix import as_json, event_line
from agent.frontends.output import hand_out
from agent.frontends.usage import LastReplies
from agent.status import Status
from tools.mcp_form import Form

OWN: Mapping[str, str] = {
    "TalkStarted": "The first line: the session, the repository and the prompt.",
    "Status": "What the status line shows, whenever it has changed.",
    "Asked": "A call was asked about, and this is the answer; `preview` is what a person sees.",
    "FormDeclined": "An MCP server asked for something to be filled in, and nobody was there to.",
    "TalkEnded": "The last line: the exit code, why if it went wrong, and the patch.",
}
STREAMING = (TextDelta, ThinkingDelta, CallWriting, PrefillProgress, ModelProgress)
"""Events that come many times a second and change no status but their own."""


class Stream:
    """Writes the lines of one prompt."""

    def __init__(self, talk: Conversation, prompt: str) -> None:
        self._talk = talk
        self._replies = LastReplies()
        self._status: Status | None = None
        repository = talk.session.start["repository"]
        self._line("TalkStarted", mode=talk.mode, repository=repository, prompt=prompt)
        self._tell_status()

    def show(self, event: Event) -> None:
        """Write an event, and the status if it has changed with it."""
        hand_out(f"{event_line(event, self._replies.before(event))}\n".encode())
        if not isinstance(event, STREAMING):
            self._tell_status()

    def asked(self, ask: Ask, answer: Answer) -> None:
        """Write a question and its answer."""
        self._line("Asked", call=asdict(ask.call), preview=ask.exact, **asdict(answer))

    def declined(self, form: Form) -> None:
        """Write what a server asked for and was not given."""
        self._line("FormDeclined", server=form.server, text=form.text)

    def finish(self, exit_code: int, sentence: str = "") -> None:
        """Write the last line; `sentence` says what went wrong."""
        patch = ""
        with suppress(*KNOWN_ERRORS):  # where nothing works, that was said already
            patch = self._talk.diff()
        self._line("TalkEnded", exit_code=exit_code, sentence=sentence, patch=patch)

    def _tell_status(self) -> None:
        status = self._talk.status()
        if status != self._status:
            self._status = status
            self._line("Status", **asdict(status))

    def _line(self, kind: str, **values: object) -> None:
        line = {"type": kind, "session_id": self._talk.id, **values}
        hand_out(f"{as_json(line)}\n".encode())


def line_table() -> str:
    """Write the kinds of lines as a table of Markdown."""
    kinds = {kind.__name__: (kind.__doc__ or "").split("\n")[0] for kind in get_args(Event)}
    rows = [f"| `{name}` | {about} |" for name, about in {**OWN, **kinds}.items()]
    return "\n".join(["| `type` | what it tells |", "| --- | --- |", *rows])


if __name__ == "__main__":
    print(line_table())
