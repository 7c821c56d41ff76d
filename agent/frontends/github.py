"""What GitHub Actions is told: annotations, the summary of the step and its outputs.

The runner obeys lines that a step prints. What a model, a test or a patch says must never become
one, so text of theirs is escaped in a command of ours and made harmless everywhere else.
"""

import html
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from agent.events import Event, RunStarted
from agent.frontends.changes import changes_of
from agent.frontends.console import last_lines, lines_of
from agent.frontends.output import harmless
from agent.frontends.places import place_of
from agent.frontends.usage import LastReplies
from agent.outcome import FIXED, FixOutcome, Tests
from tools.readable import readable

MAX_ANNOTATIONS = 10
"""GitHub shows so many of a kind in a step."""
MAX_MESSAGE = 4_000
MAX_SUMMARY_PATCH = 200_000
"""Characters; the summary of a step may have 1 MiB."""
MAX_SUMMARY_TESTS = 100
UNISOLATED = "Commands of the model and tests run as the runner's user, without a sandbox."


class GithubConsole:
    """The plain lines of a run, none of them a command, and at its end commands of ours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._replies = LastReplies()

    def show(self, event: Event) -> None:
        """Write the lines of one event."""
        lines = lines_of(event, self._replies.before(event))
        self._write(harmless(text) for _style, text in lines)
        if isinstance(event, RunStarted) and event.sandbox == "direct":
            self._write([command("warning", UNISOLATED, title="qwen-agent fix: no isolation")])

    def finish(self, outcome: FixOutcome) -> None:
        """Write what the run came to, and show it beside the source."""
        self._write(harmless(text) for _style, text in last_lines(outcome))
        self._write(annotations(outcome))

    def _write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._stream.write(f"{line}\n")
        self._stream.flush()


def annotations(outcome: FixOutcome) -> Iterator[str]:
    """Return the commands that show what came of a run beside the source."""
    title = f"qwen-agent fix: {outcome.word}"
    if outcome.exit_code == FIXED:
        yield command("notice", outcome.sentence, title=title)
        changes = list(changes_of(outcome.patch))[: MAX_ANNOTATIONS - 1]
        for change in changes:
            words = f"The repair puts {len(change.inserted)} lines for {len(change.removed)} here."
            yield command("notice", words, file=change.path, line=str(change.start))
        return
    yield command("error", outcome.sentence, title=title)
    tests = outcome.after or outcome.before
    red = [case for case in tests.cases if case.id in tests.failed] if tests else []
    for case in red[: MAX_ANNOTATIONS - 1]:
        where: dict[str, str] = {}
        if place := place_of(case, outcome.project):
            where = {"file": place.path, "line": str(place.line or 1)}
        yield command("error", case.message or "red", title=case.id, **where)


def command(name: str, message: str, **properties: str) -> str:
    """Write a workflow command; none of its text can end it or begin another."""
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name}{' ' if listed else ''}{listed}::{_data(readable(message)[:MAX_MESSAGE])}"


def add_summary(outcome: FixOutcome, environment: Mapping[str, str] = os.environ) -> None:
    """Add what came of a run to the summary of the step, if it has one; raises OSError."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        _append(path, summary_of(outcome))


def add_outputs(outcome: FixOutcome, environment: Mapping[str, str] = os.environ) -> None:
    """Set the outputs of the step, if it has any; raises OSError."""
    if path := environment.get("GITHUB_OUTPUT"):
        values = {
            "exit-code": str(outcome.exit_code),
            "outcome": outcome.word,
            "applied": "true" if outcome.applied else "false",
            "patch": outcome.patch_file or "",
            "commit": outcome.commit,
        }
        _append(path, "".join(_output(name, value) for name, value in values.items()))


def summary_of(outcome: FixOutcome) -> str:
    """Write a run in Markdown; foreign text stands in `<pre>`, where none of it is obeyed."""
    rows = {
        "exit code": f"{outcome.exit_code} ({outcome.word})",
        "tests before": _counts(outcome.before),
        "tests after": _counts(outcome.after),
        "attempts, replies, calls": f"{outcome.num_attempts}, {outcome.num_steps}, "
        f"{outcome.num_calls}",
        "seconds": f"{outcome.duration_s:.0f}",
    }
    parts = [f"### qwen-agent fix: {outcome.word}\n", _pre(outcome.sentence)]
    parts += ["| | |", "| --- | --- |"]
    parts += [*(f"| {name} | {value} |" for name, value in rows.items()), ""]
    tests = outcome.after or outcome.before
    if tests and tests.failed:
        more = len(tests.failed) - MAX_SUMMARY_TESTS
        end = [f"and {more} more"] if more > 0 else []
        parts += ["#### Red tests\n", _pre("\n".join([*tests.failed[:MAX_SUMMARY_TESTS], *end]))]
    if outcome.patch:
        title = "The repair" if outcome.exit_code == FIXED else "A repair that was not judged good"
        parts += [f"#### {title}\n", _pre(outcome.patch[:MAX_SUMMARY_PATCH])]
    return "\n".join(parts) + "\n"


def _counts(tests: Tests | None) -> str:
    return f"{tests.num_passed} green, {len(tests.failed)} red" if tests else "not run"


def _pre(text: str) -> str:
    return f"<pre>{html.escape(readable(text))}</pre>\n"


def _output(name: str, value: str) -> str:
    mark = f"end-{secrets.token_hex(16)}"  # no value can hold it
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _data(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")  # no stream takes half a character
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(readable(text)).replace(":", "%3A").replace(",", "%2C")
