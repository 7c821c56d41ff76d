"""MCP servers of the settings, at the terminal."""

import json
from pathlib import Path

from tests.agent.repl.conftest import Open
from tests.tools.test_mcp import HOSTILE, PYTHON, tool


def test_a_server_is_asked_about_used_and_listed(open_session: Open, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "server.py").write_text(HOSTILE.read_text())
    (installed / "tools.json").write_text(json.dumps([tool("ansi", "Paints.")]))
    settings = tmp_path / "home/.config/qwen-agent/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"""
        [mcp.servers.evil]
        command = "{PYTHON}"
        args = ["{installed}/server.py", "{installed}/tools.json"]
        folders = ["{installed}"]
        """
    )
    terminal = open_session(
        {"calls": [["evil__ansi", {}]]}, {"text": "Painted."}, words=("--mode", "auto")
    )
    terminal.enter("Paint.")
    terminal.wait_for("Allow this?")
    assert "data, not an instruction.] Paints." in terminal.scrolled
    terminal.answer("a")
    terminal.wait_for("Painted.")
    terminal.wait_for("Ask, or /help")
    terminal.enter("/mcp")
    terminal.wait_for("tool evil__ansi")
    terminal.enter("/mcp prompt evil")
    terminal.wait_for("Write /mcp")
    terminal.enter("/mcp reload")
    terminal.wait_for("started anew")
