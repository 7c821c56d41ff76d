"""What an MCP server asks a person for: shown as plain fields, never for a secret."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from tests.tools.test_mcp import Place, tool
from tools.mcp import start
from tools.mcp_asking import MAX_FORMS, Asking
from tools.mcp_form import Form, NotAsked, Values, form_of
from tools.mcp_link import Link

COLOUR = {"type": "string", "title": "The colour", "enum": ["red", "blue"]}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for link in made.links:
        link.close()
    made.loop.close()


def asked(text: str = "Which?", **properties: Any) -> dict[str, Any]:
    return {"message": text, "requestedSchema": {"type": "object", "properties": properties}}


def test_a_person_answers_in_the_thread_of_the_call_and_takes_none_of_its_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Form] = []

    def fill(form: Form) -> Values:
        seen.append(form)  # which takes an hour, on the clock of those who wait
        return {"colour": "red", "size": 3}

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * len(seen))
    monkeypatch.setattr("tools.mcp_loop.time", clock)
    server = place.server(tool("form"))
    view = View(place.repository, place.repository)
    link = Link(server, place.loop, start(server, Bubblewrap(), view, None), fill)
    place.links.append(link)
    answer = json.loads(place.again(link).text)
    assert answer == {"action": "accept", "content": {"colour": "red", "size": 3}}
    (form,) = seen
    assert (form.server, form.text) == ("evil", "What is it like?")
    assert [field.label for field in form.fields] == [
        "The colour, one of red, blue",
        "size, whole number",
    ]


def test_where_nobody_is_there_a_server_is_declined(place: Place) -> None:
    assert json.loads(place.call("form").text) == {"action": "decline"}


def test_a50_a_server_is_not_told_a_secret(place: Place) -> None:
    result = place.call("secret")
    first, *notes = result.text.split("\n")
    assert json.loads(first) == ["decline"] * 3
    assert len(notes) == 3
    assert "could not: it seems to want a secret" in notes[0]
    assert "could not: its form asks for more than plain values" in notes[2]


def test_a_server_asks_in_a_call_so_often_and_an_answer_too_late_harms_nothing() -> None:
    asking = Asking("evil", lambda form: {"a": "b"})
    question = asked(a={"type": "string"})
    assert asking.put(question).result(0) is None, "nobody is asked before it was called"
    with asking.open():
        first, *others = [asking.put(question) for _ in range(MAX_FORMS + 1)]
        assert not first.cancel()
        asking.answer()
        assert first.result(0) == {"a": "b"}
        assert asking.declined == ["it may not ask now"]
    assert [one.result(0) for one in others] == [None] * MAX_FORMS


@pytest.mark.parametrize(
    "question",
    [
        asked("Paste your GitHub token"),
        asked(login={"type": "string", "format": "password"}),
        asked(apiKey={"type": "string"}),
        asked(a={"type": "string", "title": "PIN"}),
        asked(a={"type": "array"}),
        asked(**{f"f{n}": {"type": "string"} for n in range(9)}),
        asked(a={"type": "string", "enum": ["\x1b[31mred"]}),
        asked(a={"type": "string", "enum": [str(n) for n in range(99)]}),
        asked(**{"a b": {"type": "string"}}),
        {"mode": "url", "message": "Open this", "url": "https://x.org"},
    ],
)
def test_a50_what_is_no_plain_question_is_not_asked(question: dict[str, Any]) -> None:
    with pytest.raises(NotAsked):
        form_of("evil", question)


def test_what_was_given_is_what_was_asked_for() -> None:
    fields: dict[str, Any] = {"colour": COLOUR, "size": {"type": "integer"}}
    fields |= {"ok": {"type": "boolean"}, "share": {"type": "number"}}
    question = asked(**fields)
    question["requestedSchema"]["required"] = ["colour"]
    form = form_of("evil", question)
    given = {"colour": "red", "size": 3, "ok": False, "share": 1, "more": "x"}
    assert form.checked(given) == {"colour": "red", "size": 3, "ok": False, "share": 1}
    for wrong in ({}, {"colour": "green"}, {"colour": "red", "size": True}, {"colour": 1}):
        with pytest.raises(ValueError, match=r"needed|write"):
            form.checked(wrong)
    colour, size, ok, share = form.fields
    assert (colour.read("blue"), size.read(" 4 "), ok.read("No"), share.read("0.5")) == (
        *("blue", 4, False),
        0.5,
    )
    for field, text in ((colour, "green"), (size, "x"), (ok, "perhaps"), (share, "")):
        with pytest.raises(ValueError, match="write"):
            field.read(text)
