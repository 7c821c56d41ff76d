"""The status line fits any width, and a conversation is exported so that others can read it."""

import json

import pytest
from agent.frontends.repl.export import exported
from rich.cells import cell_len

from agent.errors import UsageError
from agent.frontends.repl.status import status_line
from agent.frontends.repl.text import count_words, seconds_words
from agent.status import Status
from inference.messages import Message
from tests.agent.fakes import call

STATUS = Status(
    "Qwen/Qwen3.5-4B", True, "ask", "bubblewrap", "世界", 12_345, 262_144, 12_000, 345, 41.6
)
TALK = (
    Message("system", "Be good."),
    Message("user", "Mend <it>."),
    Message("assistant", "Yes.", "Hm ```.", (call("bash", command="ls"),), token_ids=(1, 2)),
    Message("tool", "a.py"),
)


def test_the_status_line_tells_the_window_and_what_was_reused() -> None:
    line = status_line(STATUS, 100)
    assert line.startswith("ask · Qwen/Qwen3.5-4B · 世界 · bubblewrap")
    assert line.endswith("12.3k/262k 5% · 12.0k reused · 42 tok/s")


@pytest.mark.parametrize("width", [20, 33, 50, 79, 200])
def test_the_status_line_fits(width: int) -> None:
    line = status_line(STATUS, width)
    assert cell_len(line) <= width
    assert line.startswith("ask · ")


def test_numbers_are_short() -> None:
    assert [count_words(n) for n in (7, 950, 1_000, 99_949, 262_144)] == [
        *("7", "950", "1.0k", "99.9k", "262k")
    ]
    assert [seconds_words(s) for s in (0.42, 12.4, 185.0)] == ["0.4 s", "12 s", "3 min 5 s"]


def test_a_conversation_is_exported_as_markdown_json_and_html() -> None:
    markdown = exported(TALK, "md", "talk")
    assert "## You\n\nMend <it>." in markdown
    assert "````\nHm ```.\n````" in markdown
    assert "Be good." not in markdown
    assert [one["role"] for one in json.loads(exported(TALK, "json", "talk"))["messages"]] == [
        *("system", "user", "assistant", "tool")
    ]
    page = exported(TALK, "html", "<talk>")
    assert "Mend &lt;it&gt;." in page
    assert "<title>&lt;talk&gt;</title>" in page
    with pytest.raises(UsageError, match="pdf"):
        exported(TALK, "pdf", "talk")
