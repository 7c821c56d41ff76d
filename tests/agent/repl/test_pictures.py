"""Pictures in the session: named with @ or pasted, shown to the model, or given back."""

from pathlib import Path

import pytest
from PIL import Image

from tests.agent.repl.conftest import Open

RED = {"text": "It is red.", "sees": True}


@pytest.fixture
def shot(repository: Path) -> Path:
    path = repository / "shot.png"
    Image.new("RGB", (640, 480), "red").save(path)
    return path


@pytest.mark.slow
def test_a_picture_is_shown_now_or_when_its_turn_comes(
    open_session: Open, shot: Path, tmp_path: Path
) -> None:
    tool = tmp_path / "wl-paste"
    tool.write_text(f"#!/bin/sh\ncat {shot}\n")
    tool.chmod(0o755)
    screen = {"WAYLAND_DISPLAY": "wayland-0", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    is_typed = tmp_path / "typed"
    slow = {"text": "Now I look.", "reads_until": str(is_typed)}
    terminal = open_session(slow, RED, environment=screen)
    terminal.enter("Wait.")
    terminal.wait_for("reading")
    terminal.enter("What is on @shot.png?")
    terminal.wait_for("next: What is on @shot.png?")
    is_typed.touch()
    terminal.wait_for("It is red.")
    said, shown = "> What is on @shot.png?", "Shown: shot.png, 640 x 480 pixels, about 300 tokens."
    assert said in terminal.scrolled
    assert shown in terminal.scrolled
    terminal.enter("/paste")
    terminal.wait_for("/pasted/clipboard-")


def test_a_prompt_that_a_model_cannot_see_comes_back(open_session: Open, shot: Path) -> None:
    terminal = open_session({"text": "In words, then."})
    terminal.enter("What is on @shot.png?")
    terminal.wait_for("Scripted sees no pictures; choose a model")
    terminal.type(" Say")
    terminal.wait_for("> What is on @shot.png? Say")
