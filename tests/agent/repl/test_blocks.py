"""A streamed reply is printed once, block by block, and reads as if it had come in one piece."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.frontends.repl.blocks import MAX_OPEN_LINES, Block, Blocks
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.theme import THEMES

COLOUR = re.compile(r"\x1b\[[\d;]*m")
REPLY = """\
# What I found
The sum is *wrong*.

1. first
2. second

   with a second paragraph
3. third

- a
  - inner
- b

```python
def total(price, tax):
    return price + tax
```

| file | line |
| --- | --- |
| a.py | 3 |

Done.
"""


def blocks_of(text: str, size: int) -> list[Block]:
    blocks = Blocks()
    found = [one for n in range(0, len(text), size) for one in blocks.feed(text[n : n + size])]
    return [*found, *blocks.close()]


@pytest.mark.parametrize("size", [1, 3, 17, 10_000])
def test_blocks_do_not_depend_on_how_the_text_was_cut(size: int) -> None:
    assert blocks_of(REPLY, size) == blocks_of(REPLY, len(REPLY))


def test_each_item_and_each_listing_is_a_block() -> None:
    texts = [block.text for block in blocks_of(REPLY, 5)]
    assert texts[0] == "# What I found"
    assert "2. second\n\n   with a second paragraph" in texts
    assert "- a\n  - inner" in texts
    assert "def total(price, tax):\n    return price + tax" in texts
    assert texts[-1] == "Done."


def test_the_tail_is_what_is_not_finished_yet() -> None:
    blocks = Blocks()
    assert [one.text for one in blocks.feed("One.\n\nTwo is not")] == ["One."]
    assert blocks.tail == Block("Two is not", has_gap=True)
    assert [one.text for one in blocks.close()] == ["Two is not"]
    assert blocks.tail is None


def test_a_long_listing_is_handed_out_in_parts_that_begin_at_the_margin() -> None:
    functions = "".join(f"def f{n}():\n    return {n}\n\n" for n in range(40))
    blocks = Blocks()
    parts = [*blocks.feed(f"```python\n{functions}```\nafter\n"), *blocks.close()]
    code = [part for part in parts if part.language == "python"]
    assert len(code) > 3
    assert all(part.text.count("\n") <= MAX_OPEN_LINES for part in code)
    assert all(part.text.startswith("def ") for part in code)
    assert "\n".join(part.text for part in code).strip() == functions.strip()
    assert parts[-1].text == "after"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab `~#-*1.\n|>", max_size=120), st.integers(1, 7))
def test_no_line_of_a_reply_is_lost(text: str, size: int) -> None:
    blocks = blocks_of(text, size)
    shown = "".join(block.text for block in blocks)
    for mark in "ab|>":
        # A fence takes its own line, with the language on it.
        fences = sum(
            line.count(mark) for line in text.split("\n") if "```" in line or "~~~" in line
        )
        assert text.count(mark) - fences <= shown.count(mark) <= text.count(mark)


def test_nothing_of_a_table_is_cut_where_its_columns_are_narrow() -> None:
    path = "agent/frontends/repl/a_file_with_a_very_long_name.py"
    table = f"| file | why |\n| --- | --- |\n| {path} | {'the total is wrong ' * 5}|\n"
    drawn = "".join(map(Painter(THEMES["mono"], 40).block, blocks_of(table, 9)))
    assert "…" not in drawn
    first_column = "".join(line[:20] for line in COLOUR.sub("", drawn).split("\n"))
    assert path in first_column.replace(" ", "")


def test_a_drawn_reply_has_no_trailing_spaces_and_fits_the_width() -> None:
    painter = Painter(THEMES["mono"], 40)
    drawn = "".join(map(painter.block, blocks_of(REPLY + "\nword " * 40, 9)))
    plain = drawn.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "first" in drawn
    assert all(len(line) <= 60 for line in plain.split("\n"))
    assert not [line for line in plain.split("\n") if line.endswith(" ")]
