"""Whole screens of 80 by 24, as they were looked at and found good; times are taken out."""

import re

import pytest

from tests.agent.repl.conftest import DONE, REPAIR, RUN_TESTS, Open
from tests.agent.repl.terminal import ROOT, Terminal

GOLDEN = ROOT / "tests/agent/repl/golden"
TEXT = """\
# Where the sum goes wrong

`total` in *shop/cart.py* takes the tax away. Two ways to mend it:

1. add it, as the test wants;
2. change the test.

```python
def total(price: int, tax: int) -> int:
    return price + tax
```

| way | files |
| --- | --- |
| add | 1 |

世界 stays aligned.
"""


def same(terminal: Terminal, name: str) -> None:
    """Wait until the screen is the golden one."""
    golden = (GOLDEN / f"{name}.txt").read_text()
    terminal.wait_until(lambda: f"{timeless(terminal)}\n" == golden, f"as in {name}.txt")


def timeless(terminal: Terminal) -> str:
    """Return the screen without what differs from run to run."""
    shown = re.sub(r"\d+(?:\.\d+)? s\b|\d+ lines before", "N", terminal.text)
    shown = shown.replace(" (N)", "")  # said of what took a second or more
    shown = re.sub(r"(?m) +\d\S*/32.8k \d+%.*$", "   the window", shown)
    return re.sub(r"sandbox \w+", "sandbox LEVEL", shown)  # as much as this machine gives


def test_the_first_screen(open_session: Open) -> None:
    same(open_session({"text": "."}), "first")


def test_a_reply_in_markdown(open_session: Open) -> None:
    terminal = open_session({"text": TEXT})
    terminal.enter("What is wrong?")
    terminal.wait_for("stays aligned")
    terminal.wait_for("Ask, or /help")
    same(terminal, "reply")


def test_a_change_is_asked_about(open_session: Open) -> None:
    terminal = open_session(REPAIR, RUN_TESTS, DONE)
    terminal.enter("Mend the sum.")
    terminal.wait_for("Allow this?")
    same(terminal, "asked")


@pytest.mark.slow
def test_the_end_of_a_repair(open_session: Open) -> None:
    terminal = open_session(REPAIR, RUN_TESTS, DONE, words=("--mode", "auto"))
    terminal.enter("Mend the sum.")
    terminal.wait_for("● finish")
    terminal.wait_for("Ask, or /help")
    same(terminal, "repaired")


def test_commands_and_files_are_offered_while_one_types(open_session: Open) -> None:
    terminal = open_session({"text": "."})
    terminal.type("/re")
    terminal.wait_for("/resume")
    same(terminal, "offered")
    terminal.press("ctrl-c", "@")
    terminal.wait_for("shop/cart.py")
