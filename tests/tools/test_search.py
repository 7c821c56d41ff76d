import shutil
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.errors import ToolFailed
from tools.search import Search, find_ripgrep

SEEN_AS = Path("/workspace")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "shop").mkdir(parents=True)
    (root / "shop/core.py").write_text("def total(a):\n\treturn a + 1  \n\n# total: done\n")
    (root / "app.py").write_text("from shop.core import total\n")
    (root / "notes:1.txt").write_text("the total of 3: 4\r\n")
    return root


def make_search(root: Path, ripgrep: Path | None) -> Search:
    return Search(Workspace(root, SEEN_AS), Bubblewrap(), View(root, SEEN_AS), ripgrep)


@pytest.fixture(params=["ripgrep", "grep"])
def search(request: pytest.FixtureRequest, root: Path) -> Search:
    """Both programs that may answer; they must not be told apart."""
    if request.param == "grep":
        return make_search(root, None)
    ripgrep = find_ripgrep(View(root, SEEN_AS))
    if ripgrep is None:
        pytest.skip("ripgrep is not installed")
    return make_search(root, ripgrep)


def test_matches_are_named_by_path_and_line_in_order(search: Search) -> None:
    result = search.run({"pattern": "total"})
    assert result.text == (
        "app.py:1: from shop.core import total\n"
        "notes:1.txt:1: the total of 3: 4\n"
        "shop/core.py:1: def total(a):\n"
        "shop/core.py:4: # total: done"
    )
    assert result.summary == "searched for total (4 matches)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"pattern": "return"}, "shop/core.py:2: \treturn a + 1"),
        ({"pattern": "total", "path": "app.py"}, "app.py:1: from shop.core import total"),
        ({"pattern": "^# t", "path": "shop"}, "shop/core.py:4: # total: done"),
        ({"pattern": "^# t", "path": "/workspace/shop/"}, "shop/core.py:4: # total: done"),
        ({"pattern": "total", "glob": "*.txt"}, "notes:1.txt:1: the total of 3: 4"),
        ({"pattern": "total", "path": "shop", "glob": "*.txt"}, "No match."),
        ({"pattern": "tot(al|em)\\(a"}, "shop/core.py:1: def total(a):"),
        ({"pattern": "--files"}, "No match."),
        ({"pattern": "nothing like it"}, "No match."),
    ],
)
def test_a_search_can_be_narrowed(search: Search, arguments: dict[str, str], text: str) -> None:
    assert search.run(arguments).text == text


def test_many_matches_are_cut_and_counted(search: Search, root: Path) -> None:
    (root / "many.py").write_text("value = 1\n" * 500)
    rows = search.run({"pattern": "value"}).text.split("\n")
    assert rows[59] == "many.py:60: value = 1"
    assert rows[60:] == ["[440 more matches; narrow the pattern or path]"]


def test_a_long_line_is_cut(search: Search, root: Path) -> None:
    (root / "long.js").write_text("é" * 5000 + "\n")
    assert search.run({"pattern": "é"}).text == "long.js:1: " + "é" * 200


def test_control_characters_of_a_file_do_not_reach_the_model(search: Search, root: Path) -> None:
    (root / "odd.txt").write_bytes(b"odd \x1b[31mred\x1b[0m\a\n")
    assert search.run({"pattern": "odd"}).text == "odd.txt:1: odd red"


def test_git_is_never_searched(search: Search, root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git/config").write_text("total\n")
    assert ".git" not in search.run({"pattern": "total"}).text


def test_a_path_that_is_not_there_or_outside_is_refused(search: Search, root: Path) -> None:
    (root / "out").symlink_to("/etc")
    with pytest.raises(ToolFailed, match=r"^none.py does not exist\.$"):
        search.run({"pattern": "x", "path": "none.py"})
    for path in ("../x", "/etc", "out"):
        with pytest.raises(PathRefused):
            search.run({"pattern": "x", "path": path})


def test_a_bad_pattern_is_explained(search: Search) -> None:
    with pytest.raises(ToolFailed) as failed:
        search.run({"pattern": "total("})
    said = str(failed.value)
    assert said in ("regex parse error: unclosed group", "grep: Unmatched ( or \\(")


def test_a_cancelled_search_says_so(search: Search) -> None:
    with pytest.raises(ToolFailed, match="cancelled"):
        search.run({"pattern": "total"}, lambda: True)


def test_ignore_files_of_the_repository_hold(root: Path) -> None:
    ripgrep = find_ripgrep(View(root, SEEN_AS))
    if ripgrep is None:
        pytest.skip("ripgrep is not installed")
    (root / ".gitignore").write_text("shop/\n")
    text = make_search(root, ripgrep).run({"pattern": "total"}).text
    assert "shop/" not in text
    assert "app.py:1" in text


def test_a_ripgrep_beside_this_python_is_shown_to_the_sandbox(root: Path, tmp_path: Path) -> None:
    installed = shutil.which("rg")
    if installed is None:
        pytest.skip("ripgrep is not installed")
    folder = tmp_path / "scripts"
    folder.mkdir()
    own = Path(shutil.copy(installed, folder / "rg"))
    assert "app.py:1" in make_search(root, own).run({"pattern": "total"}).text


def test_ripgrep_is_looked_for_on_the_path_of_the_command(root: Path, tmp_path: Path) -> None:
    program = tmp_path / "rg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_ripgrep(View(root, SEEN_AS, path=(tmp_path,))) == program
