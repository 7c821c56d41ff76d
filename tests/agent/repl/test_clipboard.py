"""The picture on the clipboard, asked of a tool that a test puts into PATH."""

import io
from pathlib import Path

import pytest
from PIL import Image

from agent.errors import UsageError
from agent.frontends.repl import clipboard
from agent.frontends.repl.clipboard import picture_on_clipboard


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, on a machine with a screen."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(clipboard, "PATIENCE_S", 60.0)  # the machine may be busy
    return programs


def put_tool(programs: Path, body: str) -> None:
    tool = programs / "wl-paste"
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)


def test_the_picture_becomes_a_file(desktop: Path, tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (30, 20), "blue").save(content, "PNG")
    (tmp_path / "there.png").write_bytes(content.getvalue())
    put_tool(desktop, f'[ "$3" = image/png ] && cat {tmp_path}/there.png')
    path = picture_on_clipboard(tmp_path)
    assert (path.suffix, path.read_bytes()) == (".png", content.getvalue())


@pytest.mark.parametrize("body", ["exit 1", "echo words", "exec sleep 0"])
def test_without_a_picture_the_way_to_a_file_is_told(
    desktop: Path, tmp_path: Path, body: str
) -> None:
    put_tool(desktop, body)
    with pytest.raises(UsageError, match="there is no picture on the clipboard"):
        picture_on_clipboard(tmp_path)


def test_without_a_tool_the_tools_are_named(desktop: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="install wl-paste"):
        picture_on_clipboard(tmp_path)
