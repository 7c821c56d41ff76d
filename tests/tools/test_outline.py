"""The tool as a model meets it: maps, symbols, uses, and what it says when there is nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.indexing import NUM_FOR_PROCESSES
from tools.outline import MAX_FILES, MAX_REFERENCES, Outline
from tools.registry import Registry

FILES = {
    "shop/cart.py": (
        "from shop.rates import tax\n\n\nclass Cart:\n    def total(self, rate):\n"
        "        return tax(self.rows, rate)\n\n    def _hidden(self):\n        pass\n"
    ),
    "shop/rates.py": "RATE = 3\n\n\ndef tax(rows, rate):\n    return sum(rows) * rate\n",
    "shop/app.py": (
        "from shop.cart import Cart\nfrom shop.rates import tax\n\n\n"
        "def main():\n    cart = Cart()\n    # tax is due\n    print(cart.total(2), tax([], 1))\n"
    ),
    "tests/test_cart.py": (
        "from shop.cart import Cart\n\n\ndef test_total():\n    assert Cart().total(1) == 'tax'\n"
    ),
    "web/page.ts": "export function tax(rows: number[]): number { return rows[0]; }\n",
    "web/made_pb2.py": "from shop.rates import tax\n\n\ndef made():\n    return tax\n",
    "notes.md": "# tax\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for path, text in FILES.items():
        write(root, path, text)
    return root


@pytest.fixture
def outline(root: Path) -> Outline:
    return Outline(Workspace(root, Path("/repository")))


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def call(outline: Outline, arguments: Mapping[str, Any]) -> ToolResult:
    """Call it as the loop does."""
    return Registry([outline]).call("outline", arguments)


def test_a_file_is_listed_with_the_lines_to_view(outline: Outline) -> None:
    result = call(outline, {"path": "shop/cart.py"})
    assert result.text == (
        "shop/cart.py\n"
        "      4-9  class Cart:\n"
        "      5-6    def total(self, rate):\n"
        "      8-9    def _hidden(self):"
    )
    assert result.summary == "outlined shop/cart.py (3 symbols)"


def test_a_name_is_found_where_it_is_defined_and_used_and_tests_come_last(
    outline: Outline,
) -> None:
    assert call(outline, {"name": "Cart"}).text == (
        "Defined in 1 place:\n"
        "shop/cart.py:4: class Cart:  [4-9]\n"
        "Used in 4 places:\n"
        "shop/app.py\n"
        "     1: from shop.cart import Cart\n"
        "shop/app.py in main  [5-8]\n"
        "     6: cart = Cart()\n"
        "tests/test_cart.py\n"
        "     1: from shop.cart import Cart\n"
        "tests/test_cart.py in test_total  [4-5]\n"
        "     5: assert Cart().total(1) == 'tax'"
    )


@pytest.mark.parametrize("name", ["total", "Cart.total", "Cart::total", "cart.total()"])
def test_a_name_may_be_written_with_what_it_belongs_to(outline: Outline, name: str) -> None:
    text = call(outline, {"name": name}).text
    assert "shop/cart.py:5: def total(self, rate):  [5-6]" in text
    assert "     8: print(cart.total(2), tax([], 1))" in text


def test_words_in_comments_and_strings_are_no_uses(outline: Outline) -> None:
    text = call(outline, {"name": "tax", "path": "shop"}).text
    assert "tax is due" not in text
    assert "Used in 4 places" in text
    assert "web/" not in text


def test_a_look_into_one_file_says_that_no_other_was_searched(outline: Outline) -> None:
    text = call(outline, {"path": "shop/app.py", "name": "main"}).text
    assert text.endswith("Nowhere used in shop/app.py, and nothing else was searched.")
    text = call(outline, {"path": "shop", "name": "page"}).text
    assert text.startswith("No code in shop/ defines or uses page")


def test_symbols_that_a_mistake_may_hide_are_not_said_to_be_none(
    root: Path, outline: Outline
) -> None:
    write(root, "bad.py", "def f(:\n  x = (\n\ndef g():\n    pass\n")
    text = call(outline, {"path": "bad.py"}).text
    assert "[not all of it was understood: line 1: syntax error" in text


def test_many_uses_are_cut_and_counted(root: Path, outline: Outline) -> None:
    write(root, "many.py", "from shop.rates import RATE\n" + "print(RATE)\n" * 60)
    text = call(outline, {"name": "RATE"}).text
    assert text.endswith(f"[{61 - MAX_REFERENCES} more uses; name a path to narrow]")
    assert text.count("print(RATE)") == MAX_REFERENCES - 1


def test_a_name_of_very_many_files_is_read_in_some(root: Path, outline: Outline) -> None:
    for number in range(MAX_FILES + 5):
        write(root, f"many/m{number}.py", "from shop.rates import RATE\n")
    text = call(outline, {"name": "RATE"}).text
    assert text.startswith("Defined in 1 place:\nshop/rates.py:1: RATE = 3  [1-1]\n")
    assert f"more uses in {MAX_FILES} of {MAX_FILES + 6} files; name a path to narrow]" in text


def test_the_map_names_the_most_used_first_and_generated_code_not_before_others(
    outline: Outline,
) -> None:
    lines = call(outline, {}).text.split("\n")
    files = [line for line in lines if not line.startswith(" ")]
    assert files[:2] == ["shop/rates.py", "shop/cart.py"]
    assert files[-1] == "web/made_pb2.py"
    assert "      4-5  def tax(rows, rate):" in lines
    assert not any("_hidden" in line for line in lines)


def test_the_map_keeps_to_its_budget_of_tokens(root: Path) -> None:
    counted = Outline(Workspace(root, Path("/repository")), 12, lambda text: len(text.split()))
    text = call(counted, {}).text
    assert text.startswith("shop/rates.py\n")
    assert len(text.partition("[")[0].split()) <= 12
    assert text.endswith("more files; name one, or a folder, as path]")


def test_focus_moves_the_map_to_what_those_files_use(root: Path) -> None:
    for number in range(4):
        write(root, f"other/user{number}.py", "from other.base import popular\npopular()\n")
    write(root, "other/base.py", "def popular():\n    pass\n")
    write(root, "mine/code.py", "from mine.helper import rare\nrare()\n")
    write(root, "mine/helper.py", "def rare():\n    pass\n")
    outline = Outline(Workspace(root, Path("/repository")))
    plain = call(outline, {}).text
    near = call(outline, {"focus": ["mine/code.py"]}).text
    assert plain.index("popular") < plain.index("rare")
    assert near.index("rare") < near.index("popular")
    assert call(outline, {}).text == plain


def test_a_folder_is_mapped_alone(outline: Outline) -> None:
    text = call(outline, {"path": "shop"}).text
    assert "shop/rates.py" in text
    assert "web/" not in text


def test_what_changed_on_disk_is_seen_at_the_next_call(root: Path, outline: Outline) -> None:
    assert "page.ts" in call(outline, {"name": "tax"}).text
    (root / "web/page.ts").unlink()
    write(root, "shop/rates.py", "def levy(rows, rate):\n    return 0\n")
    text = call(outline, {"name": "tax"}).text
    assert text.startswith("Nowhere defined.")
    assert "shop/rates.py:1: def levy(rows, rate):" in call(outline, {"name": "levy"}).text
    assert "page.ts" not in call(outline, {}).text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"path": "gone.py"}, "gone.py does not exist."),
        (
            {"path": "notes.md"},
            "notes.md is of no language that outline knows; use view or search.",
        ),
        (
            {"name": "car"},
            "No code here defines or uses car; similar: Cart. Use search for other text.",
        ),
        ({"name": "zebra"}, "No code here defines or uses zebra. Use search for other text."),
        (
            {"path": "../x"},
            "../x is outside the workspace /repository.",
        ),
    ],
)
def test_a_call_that_finds_nothing_says_what_to_do(
    outline: Outline, arguments: Mapping[str, Any], text: str
) -> None:
    result = call(outline, arguments)
    assert not result.ok
    assert result.text == text


def test_ignored_files_links_and_environments_are_left_out(root: Path, outline: Outline) -> None:
    write(root, ".gitignore", "/build/\n*.gen.py\n[z\n")
    write(root, "shop/.gitignore", "!kept.gen.py\n")
    for path in ("build/a.py", "b.gen.py", "node_modules/c.js", ".venv/lib/d.py", "shop/.git/e.py"):
        write(root, path, "def unseen(): pass\n")
    write(root, ".venv/pyvenv.cfg", "")
    write(root, "shop/kept.gen.py", "def kept(): pass\n")
    write(root.parent, "outside.py", "def outside(): pass\n")
    (root / "link.py").symlink_to(root.parent / "outside.py")
    (root / "linked").symlink_to(root.parent)
    os.mkfifo(root / "pipe.py")
    text = call(outline, {}).text
    assert "kept.gen.py" in text
    assert not any(word in text for word in ("unseen", "outside", "link", "pipe"))


def test_ignore_rules_hold_as_they_are_now(root: Path, outline: Outline) -> None:
    assert "page.ts" in call(outline, {}).text
    write(root, ".gitignore", "web\n")
    assert "page.ts" not in call(outline, {}).text
    (root / ".gitignore").unlink()
    assert "page.ts" in call(outline, {}).text


def test_what_cannot_be_parsed_is_noted(root: Path, outline: Outline) -> None:
    (root / "bad.py").write_bytes(b"def f():\0")
    (root / "worse.cpp").write_bytes(b"int " + b"*" * 100_000)
    assert call(outline, {}).text.endswith("[left out: bad.py is no text; 1 more like it]")


def test_an_empty_repository_has_an_empty_map(tmp_path: Path) -> None:
    result = call(Outline(Workspace(tmp_path, Path("/repository"))), {})
    assert (result.ok, result.text) == (True, "No source file in the repository.")


def test_a_cancelled_call_ends(outline: Outline) -> None:
    result = Registry([outline]).call("outline", {}, lambda: True)
    assert (result.ok, result.text) == (False, "The outline was cancelled.")


def test_many_files_in_several_processes_are_indexed_like_few(tmp_path: Path) -> None:
    for number in range(NUM_FOR_PROCESSES):
        write(tmp_path, f"m{number}.py", f"from m import base\ndef f{number}(): base()\n")
    write(tmp_path, "m.py", "def base(): pass\n")
    outline = Outline(Workspace(tmp_path, Path("/repository")))
    assert call(outline, {}).text.startswith("m.py\n      1-1  def base(): pass\n")
    assert "m1.py:2: def f1(): base()  [2-2]" in call(outline, {"name": "f1"}).text
