"""The generated repositories of nano: red before the repair, green after, the same everywhere."""

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evals.nano.bugs import KINDS
from evals.nano.classes import CLASSES
from evals.nano.corpus import (
    MAX_LINE,
    MAX_SOURCE_LINES,
    MAX_TEST_LINES,
    TEMPLATES,
    Defect,
    Repair,
    Repository,
    generate,
    write,
)


@pytest.fixture(scope="module")
def repositories() -> list[Repository]:
    return [generate(seed) for seed in range(7_000_000, 7_000_600)]


@pytest.fixture(scope="module")
def twice_broken() -> list[Repository]:
    return [generate(seed, num_bugs=2) for seed in range(7_000_000, 7_000_100)]


def repaired(repository: Repository, defects: tuple[Defect, ...]) -> dict[str, str]:
    files = dict(repository.files)
    for repair in (defect.repair for defect in defects):
        files[repair.path] = files[repair.path].replace(repair.old_str, repair.new_str)
    return files


def all_repairs(repositories: list[Repository]) -> Iterator[tuple[Repository, Repair]]:
    for repository in repositories:
        for defect in repository.defects:
            yield repository, defect.repair


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_another_process_with_another_hash_seed_makes_the_same_repositories() -> None:
    code = (
        "import hashlib; from evals.nano.corpus import generate\n"
        "print(hashlib.sha256(repr([generate(s) for s in range(40)]).encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = hashlib.sha256(repr([generate(s) for s in range(40)]).encode()).hexdigest()
    assert found == {here + "\n"}


def test_the_repair_is_a_function_found_once(
    repositories: list[Repository], twice_broken: list[Repository]
) -> None:
    for repository, repair in all_repairs([*repositories, *twice_broken]):
        text = repository.files[repair.path]
        assert text.count(repair.old_str) == 1, repository.seed
        assert f"\n{repair.old_str}\n" in "\n" + text, repository.seed
        pairs = zip(repair.old_str.split("\n"), repair.new_str.split("\n"), strict=True)
        assert sum(old != new for old, new in pairs) == 1, repository.seed
        assert repair.old_str.lstrip().startswith("def "), repository.seed
        assert repair.old_str == repair.old_str.rstrip()


def test_files_are_small_ascii_and_end_with_a_newline(repositories: list[Repository]) -> None:
    for repository in repositories:
        for path, text in repository.files.items():
            assert text.isascii(), repository.seed
            assert not text or text.endswith("\n"), repository.seed
            is_test = path.rsplit("/", 1)[-1].startswith("test_")
            assert text.count("\n") <= (MAX_TEST_LINES if is_test else MAX_SOURCE_LINES)
            assert max(map(len, text.split("\n"))) <= MAX_LINE, (repository.seed, path)


def test_every_lookup_finds_one_line_in_one_file(repositories: list[Repository]) -> None:
    for repository in repositories:
        (defect,) = repository.defects
        for pattern, path in defect.lookups:
            hits = [p for p, text in repository.files.items() if pattern in text]
            assert hits == [path], repository.seed
            assert repository.files[path].count(pattern) == 1, repository.seed
        assert defect.repair.path == defect.lookups[-1][1], repository.seed


def test_a_test_names_the_function(repositories: list[Repository]) -> None:
    for repository in repositories:
        wanted = f"def test_{repository.defects[0].function}"
        assert any(wanted in text for text in repository.files.values()), repository.seed


def test_all_kinds_of_bugs_occur_and_none_dominates(repositories: list[Repository]) -> None:
    kinds = Counter(repository.defects[0].bug_kind for repository in repositories)
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) <= 0.25 * len(repositories)


def test_there_are_many_templates() -> None:
    assert len(TEMPLATES) + len(CLASSES) >= 95


@pytest.mark.slow
def test_pytest_is_red_before_the_repair_and_green_after(tmp_path: Path) -> None:
    for seed in (900_000, 900_001, 900_002):
        repository = generate(seed)
        folder = tmp_path / str(seed)
        write(repository, folder)
        before = run_pytest(folder)
        assert before.returncode == 1, before.stdout
        failed = [line for line in before.stdout.split("\n") if line.startswith("FAILED")]
        assert failed
        (defect,) = repository.defects
        if len(defect.lookups) == 2:
            assert all(f"test_{defect.function}" in line for line in failed)
        write(replace(repository, files=repaired(repository, repository.defects)), folder)
        after = run_pytest(folder)
        assert after.returncode == 0, after.stdout


def test_two_bugs_lie_in_two_functions_that_two_tests_name(twice_broken: list[Repository]) -> None:
    for repository in twice_broken:
        first, second = repository.defects
        assert first.function != second.function, repository.seed
        assert first.repair.old_str != second.repair.old_str, repository.seed
        for defect in repository.defects:
            wanted = f"def test_{defect.function}"
            assert any(wanted in text for text in repository.files.values()), repository.seed


@pytest.mark.slow
def test_with_two_bugs_each_repair_alone_leaves_the_other_red(tmp_path: Path) -> None:
    repository = generate(900_001, num_bugs=2)
    first, second = repository.defects
    write(repository, tmp_path)
    for mended, red in (((first,), second), ((second,), first), ((first, second), None)):
        write(replace(repository, files=repaired(repository, mended)), tmp_path)
        done = run_pytest(tmp_path)
        failed = [line for line in done.stdout.split("\n") if line.startswith("FAILED")]
        assert bool(failed) == (red is not None), done.stdout
        assert all(red is not None and f"test_{red.function}" in line for line in failed)
