"""What nano was trained to read, as one hash, so that a change of wording cannot go unnoticed.

The words of the prompts, tools and results that a small fixed session meets (good edits and failed
ones, red tests and green) are rendered to token ids and hashed. The hash lies in `profile.json`
beside the weights; a test compares. Who changes the words trains again (docs/nano.md).
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from agent.wording import prompt
from evals.nano.corpus import Defect, Repair, Repository
from evals.nano.sessions import open_desk, session_text, tokenize
from inference.messages import Message, ToolCall
from inference.transcript import Transcript
from sandbox.base import Sandbox
from tools.run_tests import describe

EDITOR = "str_replace_editor"
SAMPLE = Repository(
    seed=0,
    files={
        "shop/__init__.py": "",
        "shop/prices.py": (
            '"""Prices."""\n\n\ndef add_tax(price, tax):\n'
            "    total = price - tax\n    return total\n\n\n"
            "def is_cheap(price, limit):\n    return price < limit\n"
        ),
        "tests/test_prices.py": (
            "from shop.prices import add_tax, is_cheap\n\n\ndef test_add_tax():\n"
            "    assert add_tax(10, 2) == 12\n\n\ndef test_is_cheap():\n"
            "    assert is_cheap(1, 2)\n    assert not is_cheap(2, 2)\n"
        ),
        "pytest.ini": "[pytest]\npythonpath = .\n",
    },
    defects=(
        Defect(
            Repair("shop/prices.py", "    total = price - tax", "    total = price + tax"),
            bug_kind="arithmetic",
            function="add_tax",
            lookups=(("def add_tax", "shop/prices.py"),),
        ),
    ),
)
REPAIR = SAMPLE.defects[0].repair


def sample_calls() -> Iterator[ToolCall]:
    """Make every kind of call that nano makes, some of them in vain."""
    path = REPAIR.path
    yield ToolCall("run_tests", {})
    yield ToolCall("search", {"pattern": "def add_tax"})
    yield ToolCall("search", {"pattern": "def no_such"})
    yield ToolCall(EDITOR, {"command": "view", "path": path})
    for old, new in (
        ("    total = price * tax", "    total = price + tax"),
        ("    return", "    return 1"),
        (REPAIR.old_str, REPAIR.new_str),
    ):
        arguments = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
        yield ToolCall(EDITOR, arguments)
    yield ToolCall("run_tests", {})
    yield ToolCall("finish", {"summary": f"Repaired {path}."})


def sample_session(folder: Path, sandbox: Sandbox) -> list[Message]:
    """Carry the sample's calls out in `folder` and return the conversation."""
    desk = open_desk(SAMPLE, folder, sandbox)
    messages = [
        Message("system", prompt("nano_system")),
        Message("user", prompt("fix", report=describe(desk.report))),
    ]
    for call in sample_calls():
        messages.append(Message("assistant", "", tool_calls=(call,)))
        messages.append(Message("tool", desk.registry.call(call.name, call.arguments).text))
    return messages[:-1]


def rendering_hash(folder: Path, sandbox: Sandbox, transcript: Transcript) -> str:
    """Return the hash of the sample session as text and as token ids."""
    messages = sample_session(folder, sandbox)
    tokens, _ = tokenize(messages, transcript)
    content = json.dumps([session_text(messages), tokens])
    return hashlib.sha256(content.encode()).hexdigest()
