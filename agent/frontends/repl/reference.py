"""The tables of `docs/repl.md`, from what is bound and what is offered; a test compares them.

python -m agent.frontends.repl.reference
"""

from agent.frontends.repl.commands import COMMANDS
from agent.frontends.repl.keys import KEYS


def key_table() -> str:
    """Write the keys as a table of Markdown."""
    rows = [f"| {_cell(key.shown)} | {_cell(key.help)} |" for key in KEYS]
    return "\n".join(["| key | what it does |", "| --- | --- |", *rows])


def command_table() -> str:
    """Write the commands as a table of Markdown."""
    rows = [f"| `{_cell(one.shown)}` | {_cell(one.help)} |" for one in COMMANDS]
    return "\n".join(["| command | what it does |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(key_table(), command_table(), sep="\n\n")
