"""What an editor hands in becomes servers of a talk, and sees no more than it needs."""

from pathlib import Path

import pytest

from agent.mcp_handed import installed_in, named_in, with_handed_in
from tools.mcp_server import McpServer

OWN = McpServer("files", ("npx",), hosts=("registry.npmjs.org",))
LOCAL = {
    "name": "My Tracker",
    "command": "/usr/bin/env",
    "args": ["tracker", "stdio"],
    "env": [{"name": "TOKEN", "value": "one"}],
}
FAR = {
    "type": "http",
    "name": "far",
    "url": "https://mcp.example.com",
    "headers": [{"name": "Authorization", "value": "Bearer two"}],
}


def test_servers_of_an_editor_come_after_those_of_the_user() -> None:
    servers, left_out = with_handed_in([OWN], [LOCAL, FAR, {**LOCAL, "name": "my tracker"}])
    assert [server.name for server in servers] == ["files", "my-tracker", "far", "my-tracker-2"]
    assert servers[1].command == ("/usr/bin/env", "tracker", "stdio")
    assert servers[1].environment == {"TOKEN": "one"}
    assert servers[2].headers == {"Authorization": "Bearer two"}
    assert left_out == ()
    (older,), _left_out = with_handed_in([], [{**FAR, "type": "sse"}])
    assert (older.is_sse, servers[2].is_sse) == (True, False)


def test_the_user_s_own_server_wins_where_both_have_a_name() -> None:
    assert with_handed_in([OWN], [{**LOCAL, "name": "Files"}]) == ((OWN,), ())


def test_a_server_that_cannot_be_meant_is_told_of() -> None:
    odd = {**FAR, "type": "acp"}
    servers, left_out = with_handed_in([], [odd, {**FAR, "url": "ftp://x"}, {"name": "empty"}])
    assert servers == ()
    assert "'acp' are not spoken with" in left_out[0]
    assert "'ftp://x' is no address" in left_out[1]
    assert left_out[2] == (
        "The MCP server empty of your editor is not used: give a command or a url."
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"command": "./tracker"}, "neither from the root nor by a name alone"),
        ({"command": "/bin/a\0b"}, "a NUL or half a character"),
        ({"args": ["\ud800"]}, "a NUL or half a character"),
        ({"env": [{"name": "A=B", "value": "one"}]}, "'A=B' is no name of a variable"),
        ({"env": [{"name": "A", "value": "secret\0"}]}, "a NUL or half a character"),
    ],
)
def test_what_no_program_can_be_given_is_told_of_without_its_secrets(
    changes: dict[str, object], reason: str
) -> None:
    servers, (told,) = with_handed_in([], [{**LOCAL, **changes}])
    assert servers == ()
    assert told.startswith("The MCP server my-tracker of your editor is not used: ")
    assert reason in told
    assert "secret" not in told


def test_a_header_is_one_line() -> None:
    odd = [{"name": "A", "value": "one\r\nB: two"}]
    _servers, left_out = with_handed_in([], [{**FAR, "headers": odd}])
    assert "a header is one line" in left_out[0]


def test_a_program_of_an_editor_shows_where_it_is_installed_and_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    inner, outer = tmp_path / ".local/tracker/bin/run", tmp_path / "bin/run"
    for program in (inner, outer):
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    assert installed_in(str(inner)) == (tmp_path / ".local/tracker",)
    assert installed_in(str(outer)) == (outer,)
    assert installed_in("/usr/bin/env") == ()
    assert installed_in("no-such-program") == ()


def test_what_the_arguments_name_is_shown_but_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    script, mine = tmp_path / "servers" / "one.py", tmp_path / "home" / "two.py"
    for file in (script, mine):
        file.parent.mkdir()
        file.touch()
    words = [str(script), "-v", str(mine), str(tmp_path / "home"), "/", str(tmp_path / "none.py")]
    assert named_in(words) == (script.parent, mine)
