"""Mutants of a library that lies here: noticed by its tests, and graded by nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from agent.errors import UsageError
from evals.task import Grade, Task
from evals.tasks.breeding import breed, candidates, open_bed
from evals.tasks.library import Library, open_library
from evals.tasks.mutants import MutantTasks, from_spec
from evals.tasks.scripted import SCRIPTS
from tests.plain import plain_python
from tests.repositories import write_files
from tools.project import PYTEST, detect_test_command

SHOP = {
    "shop.py": """
def total(prices, limit):
    result = 0
    for price in prices:
        if price < limit and price > 0:
            result += price
    return result


def unused(amount):
    return amount + 1
""",
    "tests/test_shop.py": """
import time
from shop import total

def test_total():
    assert total([1, 2, 3], 3) == 3

def test_nothing():
    assert total([], 3) == 0

def test_slow():
    time.perf_counter = lambda: 1e9  # long, by the clock of whoever times it

def test_red():
    assert total([1], 3) == 7
""",
}
SCRIPT = """
const { total } = require('./shop.js');
const test = require('node:test');
const assert = require('node:assert');
test('total', () => assert.strictEqual(total([1, 2, 3], 3), 3));
"""
NODE = {
    "package.json": '{"scripts": {"test": "node --test"}}',
    "shop.js": "exports.total = (prices, limit) => {\n"
    "  let result = 0;\n"
    "  for (const price of prices) { if (price < limit) { result += price; } }\n"
    "  return result;\n};\n",
    "shop.test.js": SCRIPT,
}
GO = {
    "go.mod": "module example.org/shop\n\ngo 1.19\n",
    "shop.go": "package shop\n\nfunc Total(prices []int, limit int) int {\n\tresult := 0\n"
    "\tfor _, price := range prices {\n\t\tif price < limit {\n\t\t\tresult += price\n\t\t}\n\t}\n"
    "\treturn result\n}\n",
    "shop_test.go": 'package shop\n\nimport "testing"\n\nfunc TestTotal(t *testing.T) {\n'
    '\tif Total([]int{1, 2, 3}, 3) != 3 {\n\t\tt.Fatal("wrong")\n\t}\n}\n',
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("evals.tasks.bed.SLOW_S", 60.0)  # no test is slow for a busy machine


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("libraries") / "shop"
    write_files(folder, SHOP)
    return open_library(str(folder))


def mutants_of(library: Library, command: tuple[str, ...], count: int) -> MutantTasks:
    return MutantTasks(library, str(library.folder), plain_python(), command, count)


def graded(source: MutantTasks, task: Task, script: str, folder: Path) -> Grade:
    place = source.lay_out(task, folder / script)
    SCRIPTS[script](task, place)
    return source.grade(task, place)


def test_a_mutant_is_solved_by_its_repair_and_by_nothing_else(
    library: Library, tmp_path: Path
) -> None:
    source = from_spec(mutants_of(library, PYTEST, 1).spec)
    (task,) = source.tasks()
    assert task.id.startswith("shop-0")
    assert task.facts["file"] == "shop.py"
    assert "test_total" in task.issue
    assert "shop.py::" not in task.issue.replace("test_shop.py::", "")
    place = source.lay_out(task, tmp_path / "place")
    assert "--deselect tests/test_shop.py::test_red" in " ".join(place.test_command)
    assert "--deselect tests/test_shop.py::test_slow" in " ".join(place.test_command)
    assert (place.folder / ".git" / "HEAD").is_file()
    grades = {script: graded(source, task, script, tmp_path) for script in SCRIPTS}
    assert {script: grade.is_solved for script, grade in grades.items()} == {
        "oracle": True,
        "noop": False,
        "cheat": False,
    }
    assert not any(grade.is_broken for grade in grades.values())
    assert "Judged without the changes to conftest.py" in grades["cheat"].sentence


def test_lines_that_no_test_runs_are_no_candidates_and_the_order_is_the_seeds(
    library: Library,
) -> None:
    bed = open_bed(library, plain_python(), PYTEST, print)
    found = list(candidates(bed, seed=0))
    assert {one.path for one in found} == {"shop.py"}
    assert max(one.line for one in found) == 7, "`unused` is run by no test"
    assert found == list(candidates(bed, seed=0))
    others = [list(candidates(bed, seed)) for seed in range(1, 9)]
    assert any(found != other for other in others)
    assert all(set(found) == set(other) for other in others)


def test_a_search_that_was_cut_off_goes_on_where_it_was(
    library: Library, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, mutants = breed(library, plain_python(), PYTEST, 0, 1, print)
    (file,) = cache.rglob("tried-0-*.jsonl")
    with file.open("a") as out:
        out.write('{"mutation": "')
    # No test can be run any more: what is known must do.
    monkeypatch.setattr("evals.tasks.bed.run_tests_once", None)
    assert breed(library, plain_python(), PYTEST, 0, 1, print)[1] == mutants
    monkeypatch.undo()


def test_a_library_that_has_changed_is_not_taken_for_the_same(tmp_path: Path) -> None:
    write_files(tmp_path / "shop", SHOP)
    spec = mutants_of(open_library(str(tmp_path / "shop")), PYTEST, 1).spec
    write_files(tmp_path / "shop", {"shop.py": SHOP["shop.py"] + "\n"})
    with pytest.raises(UsageError, match="is not what it was"):
        from_spec(spec)


def test_what_is_no_library_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="no folder, and no release"):
        open_library("/nowhere/at/all")


@pytest.mark.slow
@pytest.mark.parametrize(("program", "files"), [("node", NODE), ("go", GO)])
def test_other_languages_have_mutants_too(
    program: str, files: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}")
    write_files(tmp_path / "shop", files)
    library = open_library(str(tmp_path / "shop"))
    source = mutants_of(library, detect_test_command(library.folder), 2)
    tasks = source.tasks()
    assert [json.loads(task.secret["red"]) for task in tasks] == [[" ".join(source.command)]] * 2, (
        "an exit code is all that is known"
    )
    for script, is_solved in (("oracle", True), ("noop", False), ("cheat", False)):
        assert graded(source, tasks[0], script, tmp_path).is_solved is is_solved
