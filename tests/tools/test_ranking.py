"""Ranks follow references, and counting only what changed comes to the same as counting all."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from sandbox.workspace import Workspace
from tools.ranking import Ranking
from tools.symbol_index import SymbolIndex

ROOT = Path(__file__).parents[2]
NAMES = ("alpha", "beta", "gamma", "delta", "_own", "xy")


def index_of(root: Path, files: Mapping[str, str]) -> SymbolIndex:
    for path, text in files.items():
        (root / path).write_text(text)
    return SymbolIndex(Workspace(root, Path("/repository")))


def symbols_of(index: SymbolIndex, focus: frozenset[str] = frozenset()) -> dict[str, float]:
    ranking = Ranking()
    ranking.update(index.files, index.update())
    rank = ranking.rank_files(index.files, focus)
    return {one.name: one.score for one in ranking.rank_symbols(index.files, rank, [*index.files])}


def test_ranks_are_shares_of_one(tmp_path: Path) -> None:
    files = {"a.py": "def f(): pass", "b.py": "f()", "c.py": "import b\nf()", "d.md": "f()"}
    index = index_of(tmp_path, files)
    ranking = Ranking()
    ranking.update(index.files, index.update())
    for focus in (frozenset[str](), frozenset({"b.py"})):
        rank = ranking.rank_files(index.files, focus)
        assert rank.keys() == {"a.py", "b.py", "c.py"}
        assert sum(rank.values()) == pytest.approx(1)
        assert rank["a.py"] > rank["c.py"]


def test_rare_public_and_plain_names_weigh_more(tmp_path: Path) -> None:
    files = {
        "rare.py": "def rare(): pass\ndef _private(): pass\nclass A:\n def replace(self): pass\n",
        "user.py": "rare()\n_private()\ncommon()\n'a'.replace('b', 'c')\nLIMIT\n",
        "value.py": "LIMIT = 1\n",
        **{f"common{n}.py": "def common(): pass\n" for n in range(3)},
        **{f"loud{n}.py": "def strip(): pass\n" for n in range(9)},
    }
    scores = symbols_of(index_of(tmp_path, files))
    assert scores["rare"] > scores["common"] > 0
    assert scores["rare"] > scores["LIMIT"] > 0
    assert scores["rare"] > scores["_private"] > 0
    assert scores["rare"] > scores["replace"] > 0
    assert scores["strip"] == 0


def test_a_method_of_a_file_that_is_not_mentioned_gets_nothing(tmp_path: Path) -> None:
    files = {
        "text.py": "class Text:\n    def replace(self): pass\n",
        "user.py": "'a'.replace('b', 'c')\n",
    }
    assert symbols_of(index_of(tmp_path, files))["replace"] == 0


def test_languages_are_not_mixed_but_for_those_that_are_used_together(tmp_path: Path) -> None:
    files = {"a.py": "def f_of_a(): pass\n", "b.go": "package b\nfunc main() { f_of_a() }\n"}
    assert symbols_of(index_of(tmp_path, files))["f_of_a"] == 0
    (tmp_path / "a.py").unlink()
    files = {"a.ts": "export function f_of_a() {}\n", "b.js": "f_of_a();\n"}
    assert symbols_of(index_of(tmp_path, files))["f_of_a"] > 0


def test_counting_what_changed_comes_to_the_same_as_counting_all(tmp_path: Path) -> None:
    draw = Random(4)
    index = index_of(tmp_path, {})
    ranking = Ranking()
    for _ in range(60):
        path = tmp_path / f"m{draw.randrange(8)}.py"
        if path.exists() and draw.random() < 0.2:
            path.unlink()
        else:
            path.write_text("".join(drawn_lines(draw)))
        ranking.update(index.files, index.update())
        fresh = Ranking()
        fresh.update(index.files, index.files.keys())
        known, expected = ranking.rank_files(index.files), fresh.rank_files(index.files)
        assert known == pytest.approx(expected, abs=2e-3)


def drawn_lines(draw: Random) -> list[str]:
    forms = ("def {}(): pass\n", "class {}:\n    def beta(self): pass\n", "{}()\n", "a.{}\n")
    return [draw.choice(forms).format(draw.choice(NAMES)) for _ in range(draw.randrange(1, 6))]


@pytest.mark.slow
def test_the_first_symbols_of_this_repository_look_right() -> None:
    index = SymbolIndex(Workspace(ROOT, Path("/repository")))
    scores = symbols_of(index)
    first = sorted(scores, key=lambda name: -scores[name])[:60]
    assert {"Limits", "View", "Usage", "Message", "ToolCall", "Config"} <= {*first}
    assert not {"replace", "append", "path", "name", "tools"} & {*first}
