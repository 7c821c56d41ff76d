"""What the documents say about the tree, the exit codes and the JSON is what the source says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.frontends.report import FixReport
from agent.outcome import PRECEDENCE, WORDS

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def tree_of(readme: str) -> Iterator[str]:
    """The paths that the README's tree names: `room/`, then its files two spaces further in."""
    block = readme.partition("## The tree")[2].split("```")[1]
    folders: list[str] = []
    for line in block.strip("\n").splitlines():
        names = line.lstrip()
        depth = (len(line) - len(names)) // 2
        # Names end where two spaces begin the words about them; a line of words alone has none.
        for name in re.split(r"\s{2,}", names)[0].split() if depth < 4 else ():
            path = "".join(folders[:depth]) + name
            if name.endswith("/"):
                folders[depth:] = [name]
            yield path


def test_the_readme_names_no_file_that_is_not_there() -> None:
    named = list(tree_of((ROOT / "README.md").read_text()))
    assert len(named) > 40
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []


def test_the_readme_names_every_source_file() -> None:
    named = {path.rstrip("/") for path in tree_of((ROOT / "README.md").read_text())}
    sources = {
        path.relative_to(ROOT).as_posix()
        for room in ("agent", "inference", "tools", "sandbox", "evals")
        for path in (ROOT / room).rglob("*.py")
        if path.name not in ("__init__.py", "errors.py")
    }
    assert {path for path in sources if not any(Path(path).match(name) for name in named)} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/fix.md"])
def test_every_exit_code_is_documented(page: str) -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / page).read_text(), re.M)}
    assert codes == set(WORDS)


def test_the_documented_precedence_and_words_are_the_ones_in_force() -> None:
    page = (ROOT / "docs/fix.md").read_text()
    assert ", ".join(map(str, PRECEDENCE)) in page
    assert dict(re.findall(r"^\| (\d+) \| (\w+) \|", page, re.M)) == {
        str(code): word for code, word in WORDS.items()
    }


def test_every_field_of_the_json_is_documented_and_no_other() -> None:
    page = (ROOT / "docs/fix.md").read_text().partition("| field |")[2]
    rows = re.findall(r"^\| (`.+?) \|", page, re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(
        FixReport.model_fields
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
