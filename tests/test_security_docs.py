"""What docs/security.md says is tested has its test, and what it names is there."""

import ast
import re
from pathlib import Path

import pytest

from sandbox.choose import LEVELS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
FEWEST = 60
"""Tests named on the page; fewer would mean that the pattern below no longer finds them."""


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """Every test function of the tree that is expected to pass."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not any("xfail" in ast.unparse(mark) for mark in node.decorator_list)
    }


def named() -> set[str]:
    # A file of tests ends in `.py`; `test_a04` alone is a pattern to search for.
    return {name for name in re.findall(r"`(test_\w+)`", PAGE)}


def test_every_test_that_the_page_names_is_there(tests: set[str]) -> None:
    assert len(named()) > FEWEST
    assert named() - tests == set()


def test_every_level_is_explained() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
    assert set(LEVELS) <= rows


def test_every_file_that_the_page_names_is_there() -> None:
    files = re.findall(r"`((?:sandbox|tests|tools|agent)/[\w/.]+)`", PAGE)
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_reports_go_where_only_the_maintainers_see_them() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "private vulnerability reporting" in text
    assert re.search(r"[\w.]+@[\w.]+\.\w+", text) is None, "no address that nobody reads"
