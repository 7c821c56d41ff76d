"""What the session shows a person is in the stream for a program, too."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from agent.approval import Answer
from agent.compose import ChatFactory
from agent.events import Event
from agent.frontends.fix import event_line
from agent.frontends.one_answer import Prompt
from agent.frontends.repl.worker import Blank, Ended, Item, Printed, Question
from agent.frontends.stream import OWN, line_table
from agent.frontends.talk_lines import run
from agent.request import FixRequest
from agent.settings import ApprovalMode
from agent.status import Status
from agent.talk_request import TalkRequest
from inference.chat import ChatModel
from inference.errors import ModelUnavailable
from tests.agent.fakes import REPAIR, Say, ScriptedModel, make_repository
from tests.agent.talking import QUIET

EVENTS: tuple[type[Any], ...] = get_args(Event)
NOT_AN_EVENT = {Question: "Asked", Blank: "FormDeclined", Ended: "TalkEnded"}
"""What else comes to the screen while a prompt is answered, and the line that says it."""


Lines = list[dict[str, Any]]
Stream = Callable[..., tuple[int, Lines]]


@pytest.fixture
def stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Stream:
    """Answers a prompt as a stream; returns the exit code and the lines."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    repository = make_repository(tmp_path / "work")

    def answered(
        mode: ApprovalMode,
        factory: ChatFactory = lambda _request: ScriptedModel([(REPAIR, Say(text="Done."))]),
    ) -> tuple[int, Lines]:
        request = TalkRequest(repository, mode=mode, sandbox="direct", config=QUIET)
        code = run(request, None, Prompt("Mend it."), True, factory)
        out = capsys.readouterr().out
        return code, [json.loads(line) for line in out.split("\n") if line]

    return answered


def names(kind: type[Any]) -> set[str]:
    return {field.name for field in fields(kind)}


def sample(kind: Any) -> Any:
    """Return a value of a type, all fields filled in."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{field.name: sample(hints[field.name]) for field in fields(kind)})
    if get_origin(kind) in (Union, UnionType):
        return sample(get_args(kind)[0])
    made = {str: "x", int: 0, float: 0.5, bool: True}
    return made.get(kind, {})


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_is_a_line_with_all_its_fields(kind: type[Any]) -> None:
    line = json.loads(event_line(sample(kind)))
    assert line["type"] == kind.__name__
    assert names(kind) <= {*line}


def test_whatever_comes_to_the_screen_has_a_kind_of_line_and_a_row_on_the_page() -> None:
    beside = {*get_args(Item)} - {*EVENTS} - {Printed}  # what a person's own command prints
    assert beside == {*NOT_AN_EVENT}
    assert {*NOT_AN_EVENT.values()} <= {*OWN}
    assert line_table() in (Path(__file__).parents[2] / "docs/talk.md").read_text()


def test_the_stream_begins_with_the_prompt_and_tells_the_whole_status(
    stream: Stream, tmp_path: Path
) -> None:
    code, lines = stream("auto")
    assert (code, lines[0]["type"], lines[-1]["exit_code"]) == (0, "TalkStarted", 0)
    assert lines[0]["prompt"] == "Mend it."
    assert lines[0]["repository"] == str(tmp_path / "work")
    assert lines[1]["type"] == "Status", "known before the model says anything"
    statuses = [line for line in lines if line["type"] == "Status"]
    assert all(names(Status) <= {*status} for status in statuses)
    last = statuses[-1]
    assert (last["mode"], last["sandbox"], last["model"]) == ("auto", "direct", "scripted")
    assert last["branch"]
    assert 0 < last["num_context"] < last["context_tokens"]


def test_a_question_and_its_outcome_are_told(stream: Stream) -> None:
    _code, lines = stream("ask")
    kinds = [line["type"] for line in lines]
    (asked,) = [line for line in lines if line["type"] == "Asked"]
    assert kinds.index("CallStarted") < kinds.index("Asked") < kinds.index("CallEnded")
    assert names(Answer) | {"call", "preview"} <= {*asked}
    assert "+    return price + tax" in asked["preview"]
    assert asked["allowed"] is False


def test_a_prompt_that_goes_wrong_has_a_last_line_that_says_why(stream: Stream) -> None:
    def fails(_request: FixRequest) -> ChatModel:
        raise ModelUnavailable("there is no such model")

    code, lines = stream("auto", fails)
    assert code == ModelUnavailable.exit_code
    assert (lines[-1]["type"], lines[-1]["exit_code"]) == ("TalkEnded", code)
    assert lines[-1]["sentence"] == "there is no such model"
