"""Starts the real program at a terminal, in a repository with one red test."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.fakes import make_repository
from tests.agent.repl import driver
from tests.agent.repl.terminal import ROOT, Terminal

DRIVER = Path(driver.__file__)
"""Not started as a module: the repository has a `tests` of its own, which would be found first."""
Open = Callable[..., Terminal]
Reply = dict[str, Any]


def edit(path: str, old: str, new: str, **more: Any) -> Reply:
    """Reply with an edit."""
    arguments = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
    return {"calls": [["str_replace_editor", arguments]], **more}


def bash(command: str, **more: Any) -> Reply:
    """Reply with a command."""
    return {"calls": [["bash", {"command": command}]], **more}


REPAIR = edit("shop/cart.py", "price - tax", "price + tax")
RUN_TESTS: Reply = {"calls": [["run_tests", {}]]}
DONE: Reply = {"text": "The sum is right now.", "calls": [["finish", {"summary": "Mended."}]]}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "shop")


@pytest.fixture
def open_session(tmp_path: Path, repository: Path) -> Iterator[Open]:
    """Open the program with a scripted model; `words` are arguments of the command."""
    opened: list[Terminal] = []
    environment = {
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "EDITOR": "false",
    }
    (tmp_path / "home").mkdir(exist_ok=True)

    def start(
        *replies: Reply, words: tuple[str, ...] = (), shows: str = "scripted ·", **how: Any
    ) -> Terminal:
        script = tmp_path / f"script-{len(opened)}.json"
        script.write_text(json.dumps(replies))
        more = how.pop("environment", {})
        command = [sys.executable, str(DRIVER), str(script), *words]
        terminal = Terminal(command, repository, {**environment, **more}, **how)
        opened.append(terminal)
        terminal.wait_for(shows)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()
