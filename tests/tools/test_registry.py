import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from sandbox.base import Cancel, never
from sandbox.errors import PathRefused
from tools.base import Arguments, ToolResult
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.editor_forms import FULL
from tools.errors import ToolFailed
from tools.finish import Finish
from tools.registry import Registry
from tools.search import Search


class Show:
    """A tool that answers with its arguments, or fails as it is told."""

    name = "show"
    description = "Show."
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "what": {"type": "string", "enum": ["all", "fail", "refuse"]},
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "names": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["what"],
    }

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        if arguments["what"] == "fail":
            raise ToolFailed("Nothing to see.\nMore words.")
        if arguments["what"] == "refuse":
            raise PathRefused("../x leaves the workspace")
        return ToolResult(json.dumps(dict(arguments)), f"cancelled: {cancel()}")


FORM = "Form: show(what, text?, count?, lines?, names?)"
REGISTRY = Registry([Show(), Finish()])


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ({"what": "all"}, {"what": "all"}),
        ({"what": "all", "count": 3}, {"what": "all", "count": 3}),
        ({"what": "all", "count": "3"}, {"what": "all", "count": 3}),
        ({"what": "all", "count": " -3 "}, {"what": "all", "count": -3}),
        ({"what": "all", "lines": [1, -1]}, {"what": "all", "lines": [1, -1]}),
        ({"what": "all", "lines": "[1, 20]"}, {"what": "all", "lines": [1, 20]}),
        ({"what": "all", "lines": ["1", 20]}, {"what": "all", "lines": [1, 20]}),
        ({"what": "all", "names": '["a::b", "c"]'}, {"what": "all", "names": ["a::b", "c"]}),
        ({"what": "all", "names": "a.py::b[1]"}, {"what": "all", "names": ["a.py::b[1]"]}),
        ({"what": "all", "names": ["[1]"]}, {"what": "all", "names": ["[1]"]}),
        ({"what": "all", "count": "", "lines": None}, {"what": "all"}),
        ({"what": "all", "text": ""}, {"what": "all", "text": ""}),
        ({"what": "all", "text": " [1]\n"}, {"what": "all", "text": " [1]\n"}),
    ],
)
def test_arguments_reach_the_tool_in_the_types_of_its_schema(
    given: dict[str, Any], received: dict[str, Any]
) -> None:
    result = REGISTRY.call("show", given)
    assert result.ok
    assert json.loads(result.text) == received


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "show needs what."),
        ({"what": None}, "show needs what."),
        ({"what": "all", "size": 1}, "show has no parameter size."),
        ({"what": "some"}, "what must be one of all, fail, refuse."),
        ({"what": 3}, "what must be a string."),
        ({"what": "all", "text": ["a"]}, "text must be a string."),
        ({"what": "all", "text": "a\0"}, "text must be text that UTF-8 can hold, without NUL."),
        ({"what": "all", "text": "\ud800"}, "text must be text that UTF-8 can hold, without NUL."),
        ({"what": "all", "count": "three"}, "count must be an integer."),
        ({"what": "all", "count": 1.5}, "count must be an integer."),
        ({"what": "all", "count": True}, "count must be an integer."),
        ({"what": "all", "lines": 5}, "lines must be a list like [1, 20]."),
        ({"what": "all", "lines": "1-20"}, "lines must be a list like [1, 20]."),
        ({"what": "all", "names": [1]}, 'names must be a list like ["a", "b"].'),
        ({"what": "all", "names": {}}, 'names must be a list like ["a", "b"].'),
        ({"what": "all", "lines": ["a"]}, "lines must be a list like [1, 20]."),
    ],
)
def test_a_wrong_call_is_answered_with_one_line_that_shows_the_right_form(
    given: dict[str, Any], said: str
) -> None:
    result = REGISTRY.call("show", given)
    assert not result.ok
    assert result.text == f"{said} {FORM}"


def test_an_unknown_tool_is_answered_with_the_known_ones() -> None:
    result = REGISTRY.call("edit", {})
    assert (result.ok, result.text) == (False, "There is no tool edit; use show, finish.")


def test_a_failure_for_the_model_is_a_result() -> None:
    failed = REGISTRY.call("show", {"what": "fail"})
    assert (failed.ok, failed.text) == (False, "Nothing to see.\nMore words.")
    assert failed.summary == "show failed: Nothing to see."
    refused = REGISTRY.call("show", {"what": "refuse"})
    assert (refused.ok, refused.text) == (False, "../x leaves the workspace")


def test_the_cancel_flag_reaches_the_tool() -> None:
    assert REGISTRY.call("show", {"what": "all"}, lambda: True).summary == "cancelled: True"


def test_finish_ends_the_turn_with_its_summary() -> None:
    result = REGISTRY.call("finish", {"summary": "\nFixed add.\nIt subtracted."})
    assert (result.text, result.summary, result.done) == ("Finished.", "Fixed add.", True)
    assert REGISTRY.call("finish", {"summary": ""}).done
    assert not REGISTRY.call("finish", {}).done


def test_the_order_of_the_tools_is_the_order_given() -> None:
    assert [spec.name for spec in REGISTRY.specs()] == ["show", "finish"]
    with pytest.raises(AssertionError):
        Registry([Finish(), Finish()])


def test_what_the_model_is_told_of_the_tools_stays_short() -> None:
    words = [(StrReplaceEditor.name, FULL.description, FULL.parameters)]
    words += [(tool.name, tool.description, tool.parameters) for tool in (Bash, Search, Finish)]
    told = [
        {"type": "function", "function": {"name": name, "description": description}}
        | {"parameters": parameters}
        for name, description, parameters in words
    ]
    # 3.5 characters a token is a low guess for JSON of English words: at most 900 tokens.
    assert len("\n".join(map(json.dumps, told))) < 3.5 * 900
