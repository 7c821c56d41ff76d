"""The generated tree is what the benchmark says it is, and both of its clocks tick."""

from pathlib import Path

from evals.bench import outline
from sandbox.workspace import Workspace
from tools.symbol_index import SymbolIndex


def test_the_generated_tree_is_parsed_whole_and_is_the_same_each_time(tmp_path: Path) -> None:
    sizes = [outline.make_tree(tmp_path / name, 40, seed=1) for name in ("a", "b")]
    assert sizes[0] == sizes[1]
    index = SymbolIndex(Workspace(tmp_path / "a", Path("/workspace")))
    index.update()
    assert len(index.files) == 40
    assert {file.family for file in index.files.values()} == {
        f"tree_sitter_{name}" for name in ("python", "javascript", "go", "java")
    }
    assert all(file.definitions and not file.note for file in index.files.values())


def test_the_first_map_takes_longer_than_the_one_after_a_change(tmp_path: Path) -> None:
    outline.make_tree(tmp_path, 100, seed=1)
    outline.measure(tmp_path)
    seconds = outline.measure(tmp_path)
    assert seconds["first"][1] > seconds["changed"][1] >= 0
