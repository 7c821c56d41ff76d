"""What the page about the session says is what is bound and offered."""

from pathlib import Path

from agent.frontends.repl.actions import Actions
from agent.frontends.repl.commands import COMMANDS, Commands
from agent.frontends.repl.keys import KEYS
from agent.frontends.repl.reference import command_table, key_table
from tests.agent.repl.terminal import ROOT

PAGE = (ROOT / "docs/repl.md").read_text()


def test_the_page_has_every_key_and_every_command() -> None:
    assert key_table() in PAGE
    assert command_table() in PAGE


def test_every_key_that_is_bound_does_something() -> None:
    source = Path(ROOT / "agent/frontends/repl/actions.py").read_text()
    assert Actions.__doc__
    assert [key.action for key in KEYS if key.bound and f'"{key.action}":' not in source] == []


def test_a_command_of_ones_own_is_offered_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "review.md").write_text("Review $ARGUMENTS.")
    (tmp_path / "a folder.md").mkdir()
    (tmp_path / "dangling.md").symlink_to("nowhere")
    commands = Commands(tmp_path, COMMANDS)
    assert commands.own() == {"review": "Review $ARGUMENTS."}
    assert set(commands.offers()) == {"review", *(command.name for command in COMMANDS)}


def test_a_file_that_is_no_command_is_told(tmp_path: Path) -> None:
    for name, text in (("help", "Help."), ("my own", "Do."), ("empty", "\n"), ("fine", "Do.")):
        (tmp_path / f"{name}.md").write_text(text)
    commands = Commands(tmp_path, COMMANDS)
    assert set(commands.own()) == {"fine"}
    assert commands.passed_over() == [
        "empty.md is passed over: it is empty.",
        "help.md is passed over: /help is a command already.",
        "my own.md is passed over: a name has letters, digits, - and _ alone.",
    ]
