"""Instances of SWE-bench, a person's own tasks, nano's: laid out, hidden, graded."""

import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import UsageError
from evals.failures import failure_of
from evals.solver import Attempt
from evals.task import Grade, NoTask, Task, TaskSource
from evals.tasks import folder as folders
from evals.tasks.nano import NanoTasks
from evals.tasks.registry import SUITES, open_source
from evals.tasks.repository import patch_of, run_git
from evals.tasks.scripted import SCRIPTS
from evals.tasks.swebench import Instance, SwebenchTasks, predictions, read_instances
from tests.plain import plain_python
from tests.repositories import commit, new_repository, write_files

WRONG, RIGHT = "def add(a, b):\n    return a - b\n", "def add(a, b):\n    return a + b\n"
OLD_TESTS = "from shop import add\n\ndef test_zero(): assert add(0, 0) == 0\n"
NEW_TESTS = OLD_TESTS + "\ndef test_add(): assert add(1, 2) == 3\n"


def graded(source: TaskSource, task: Task, script: str, folder: Path) -> Grade:
    place = source.lay_out(task, folder / script)
    SCRIPTS[script](task, place)
    return source.grade(task, place)


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> SwebenchTasks:
    folder = tmp_path_factory.mktemp("instances")
    clone = new_repository(folder / "acme__shop")
    commit(clone, {"shop.py": WRONG, "test_shop.py": OLD_TESTS}, 1_000_000_000)
    base = run_git(clone, "rev-parse", "HEAD").strip()
    commit(clone, {"shop.py": RIGHT, "later.py": ""}, 1_000_000_001)
    instance = Instance(
        instance_id="acme__shop-1",
        repo="acme/shop",
        base_commit=base,
        problem_statement="1 + 2 is not 3.",
        patch=patch_of("shop.py", WRONG, RIGHT),
        test_patch=patch_of("test_shop.py", OLD_TESTS, NEW_TESTS),
        FAIL_TO_PASS=("test_shop.py::test_add",),
        PASS_TO_PASS=("test_shop.py::test_zero",),
        version="1.0",
    )
    (folder / "instances.jsonl").write_text(instance.to_line() + "\n")
    return SwebenchTasks(folder / "instances.jsonl", folder, str(plain_python()))


def test_an_instance_comes_back_as_it_was_written(instances: SwebenchTasks) -> None:
    (instance,) = read_instances(instances.file)
    line = json.loads(instance.to_line())
    assert line == json.loads(instances.file.read_text())
    assert json.loads(line["FAIL_TO_PASS"]) == ["test_shop.py::test_add"]
    plain = {**line, "FAIL_TO_PASS": ["test_shop.py::test_add"], "more": 1}
    assert Instance.model_validate(plain) == instance, "lists may be lists"
    again = open_source(instances.spec)
    assert again.tasks() == instances.tasks()


def test_an_instance_is_given_without_its_hidden_tests_and_graded_with_them(
    instances: SwebenchTasks, tmp_path: Path
) -> None:
    (task,) = instances.tasks()
    place = instances.lay_out(task, tmp_path / "place")
    assert (place.folder / "test_shop.py").read_text() == OLD_TESTS
    assert not (place.folder / "later.py").exists()
    assert run_git(place.folder, "rev-list", "--all", "--count").strip() == "1", (
        "nothing of the future"
    )
    left = instances.grade(task, place)
    assert left == Grade(False, "Still not green, 1 of 1: test_shop.py::test_add.", num_red=1)
    SCRIPTS["oracle"](task, place)
    assert instances.grade(task, place).is_solved


@pytest.mark.parametrize(
    ("red", "green", "why"),
    [
        (
            ("test_shop.py::test_add", "test_shop.py::test_zero"),
            (),
            r"green before any repair \(1 of 2\): test_shop.py::test_zero",
        ),
        (
            ("test_shop.py::test_add",),
            ("test_shop.py::test_zero", "test_shop.py::test_net"),
            r"do not here \(1 of 2\): test_shop.py::test_net",
        ),
    ],
)
def test_an_instance_whose_tests_say_otherwise_before_a_repair_is_no_task(
    instances: SwebenchTasks,
    tmp_path: Path,
    red: tuple[str, ...],
    green: tuple[str, ...],
    why: str,
) -> None:
    (instance,) = read_instances(instances.file)
    other = instance.model_copy(update={"FAIL_TO_PASS": red, "PASS_TO_PASS": green})
    (tmp_path / "other.jsonl").write_text(other.to_line() + "\n")
    source = replace(instances, file=tmp_path / "other.jsonl")
    (task,) = source.tasks()
    with pytest.raises(NoTask, match=why):
        source.lay_out(task, tmp_path / "place")


def test_tests_that_only_the_official_grader_can_name_are_left_to_it(
    instances: SwebenchTasks, tmp_path: Path
) -> None:
    (instance,) = read_instances(instances.file)
    other = instance.model_copy(update={"PASS_TO_PASS": ("test_zero (shop.Tests)",)})
    (tmp_path / "other.jsonl").write_text(other.to_line() + "\n")
    source = replace(instances, file=tmp_path / "other.jsonl")
    (task,) = source.tasks()
    place = source.lay_out(task, tmp_path / "place")
    assert failure_of(Attempt(outcome="fixed"), source.grade(task, place)) == "graded elsewhere"


@pytest.mark.slow
def test_what_passed_before_must_pass_still(instances: SwebenchTasks, tmp_path: Path) -> None:
    (task,) = instances.tasks()
    place = instances.lay_out(task, tmp_path / "place")
    (place.folder / "shop.py").write_text("def add(a, b):\n    return 3\n")
    grade = instances.grade(task, place)
    assert not grade.is_solved
    assert "Green before, and now red, skipped or gone: test_shop.py::test_zero" in grade.sentence


def test_a_line_that_is_no_instance_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"instance_id": "a"}\n')
    with pytest.raises(UsageError, match=r"x\.jsonl:1: repo: Field required"):
        read_instances(file)


PACKAGE = "swebench==5.0.2"
NEEDED = ("python-dotenv", "tqdm")
"""What its loader imports, but for `datasets`, which it has for the hub alone."""
LOADER = """
import json, sys, types
from importlib.util import find_spec
datasets = types.ModuleType("datasets")
datasets.Dataset = datasets.load_dataset = datasets.load_from_disk = None
sys.modules["datasets"] = datasets
harness = types.ModuleType("swebench.harness")  # without its __init__, which wants docker
harness.__path__ = [find_spec("swebench").submodule_search_locations[0] + "/harness"]
sys.modules["swebench.harness"] = harness
from typing import get_type_hints
from swebench.harness.utils import get_predictions_from_file, load_swebench_dataset
from swebench.types import SWEbenchInstance
print(json.dumps([
    get_predictions_from_file(sys.argv[1], "none", "test"),
    load_swebench_dataset(sys.argv[2]),
    {name: kind.__name__ for name, kind in get_type_hints(SWEbenchInstance).items()},
]))
"""


@pytest.mark.slow
def test_the_official_package_takes_our_predictions_and_instances(
    instances: SwebenchTasks, tmp_path: Path
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    venv.create(python.parent.parent, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps")
    got = subprocess.run([*pip, PACKAGE, *NEEDED], capture_output=True, text=True, timeout=300)
    if got.returncode != 0:
        pytest.skip(f"{PACKAGE} cannot be had from the package index")
    (instance,) = read_instances(instances.file)
    file = tmp_path / "predictions.jsonl"
    file.write_text(predictions([(instance.instance_id, instance.patch)], "nano"))
    words = [str(python), "-c", LOADER, str(file), str(instances.file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    read, loaded, schema = json.loads(done.stdout)
    patch = {"model_patch": instance.patch}
    assert read == [{"instance_id": "acme__shop-1", "model_name_or_path": "nano", **patch}]
    line = json.loads(instance.to_line())
    assert loaded == [line]
    assert {name: type(value).__name__ for name, value in line.items()} == schema


# --- folder


RED = 'test_command = "false"\n'
"""Of tests of which the exit code is all that is known."""


def own_task(home: Path, files: Mapping[str, str]) -> folders.FolderTasks:
    write_files(home, files)
    return folders.FolderTasks(home)


def test_a_persons_own_task_is_graded_with_what_they_hid(tmp_path: Path) -> None:
    source = own_task(
        tmp_path / "shop",
        {
            "task.toml": f'python = "{plain_python()}"\ntest_command = "python -m pytest"\n',
            "issue.md": "1 + 2 is not 3.\n",
            "repo/shop.py": WRONG,
            "repo/test_shop.py": OLD_TESTS,
            "hidden/tests/test_hidden.py": NEW_TESTS,
            "solution.patch": patch_of("shop.py", WRONG, RIGHT),
        },
    )
    (task,) = open_source(source.spec).tasks()
    assert (task.id, task.issue) == ("shop", "1 + 2 is not 3.")
    place = source.lay_out(task, tmp_path / "place")
    assert sorted(path.name for path in place.folder.iterdir()) == [
        ".git",
        "shop.py",
        "test_shop.py",
    ]
    SCRIPTS["oracle"](task, place)
    write_files(place.folder, {"tests/test_hidden.py": "def test_add(): assert False\n"})
    assert source.grade(task, place).is_solved, "a guess at the hidden tests goes"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"task.toml": 'test_command = "true"'}, "no test is red before the repair"),
        ({"task.toml": 'test_command = "no-such-runner"'}, "no-such-runner: command not found"),
        ({"task.toml": 'test_command = "python3 -m unittest"'}, "no tests ran"),
        ({}, "nothing says how its tests are run"),
        (
            {"issue.md": "", "task.toml": 'test_command = "test ! -e red"', "hidden/red": ""},
            "no issue.md, and without the hidden tests no test is red before the repair",
        ),
    ],
)
def test_a_folder_that_is_no_task_is_told_before_an_agent_begins(
    tmp_path: Path, files: Mapping[str, str], why: str
) -> None:
    usual = {"issue.md": "1 + 2 is not 3.\n", "repo/shop.py": WRONG}
    source = own_task(tmp_path / "shop", usual | files)
    (task,) = source.tasks()
    with pytest.raises(NoTask, match=f"^The task is none: {why}"):
        source.lay_out(task, tmp_path / "place")


def test_tasks_lie_side_by_side_and_may_name_a_commit(tmp_path: Path) -> None:
    clone = new_repository(tmp_path / "clone")
    commit(clone, {"shop.py": WRONG}, 1_000_000_000)
    base = run_git(clone, "rev-parse", "HEAD").strip()
    commit(clone, {"shop.py": RIGHT}, 1_000_000_001)
    run_git(clone, "bundle", "create", str(tmp_path / "shop.bundle"), "--all")
    source = own_task(
        tmp_path / "tasks",
        {
            "one/task.toml": f'repository = "../../clone"\ncommit = "{base}"\n{RED}',
            "two/task.toml": f'repository = "../../shop.bundle"\ncommit = "{base}"\n{RED}',
            "notes/readme.txt": "no task",
        },
    )
    tasks = source.tasks()
    assert [task.id for task in tasks] == ["one", "two"]
    for task in tasks:
        place = source.lay_out(task, tmp_path / task.id)
        assert (place.folder / "shop.py").read_text() == WRONG


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("colour = 1\n", "colour: Extra inputs"),
        ("python =\n", "is no TOML"),
    ],
)
def test_settings_nobody_knows_are_refused(tmp_path: Path, text: str, why: str) -> None:
    source = own_task(tmp_path / "shop", {"task.toml": text})
    with pytest.raises(UsageError, match=why):
        source.tasks()


# --- nano


def test_each_nano_task_tells_its_repair_to_the_oracle_alone() -> None:
    source = NanoTasks(range(900_000, 900_002), num_bugs=2)
    assert open_source(source.spec) == source
    for task in source.tasks():
        assert task.issue == ""
        for path in task.facts["file"].split("+"):
            assert f"--- a/{path}\n" in task.secret["patch"]


@pytest.mark.slow
def test_nano_is_graded_by_its_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = NanoTasks(range(900_000, 900_001))
    (task,) = source.tasks()
    solved = {script: graded(source, task, script, tmp_path).is_solved for script in SCRIPTS}
    assert solved == {"oracle": True, "noop": False, "cheat": False}


def test_every_suite_says_whether_models_may_have_seen_it(instances: SwebenchTasks) -> None:
    sources = (instances, NanoTasks(), folders.FolderTasks(Path("/x")))
    assert set(SUITES) == {"nano", "mutants", "swebench", "folder"}
    for source in sources:
        assert source.contamination.endswith(".")


def test_what_has_changed_is_another_source(tmp_path: Path) -> None:
    (tmp_path / "one" / "repo").mkdir(parents=True)
    (tmp_path / "one" / "issue.md").write_text("It is wrong.")
    tasks = folders.FolderTasks(tmp_path)
    before = tasks.spec
    assert tasks.spec == before
    (tmp_path / "one" / "issue.md").write_text("It is quite wrong.")
    assert tasks.spec != before
    (tmp_path / "one" / "issue.md").write_bytes("Es ist s\xfc\xdf.".encode("latin-1"))
    with pytest.raises(UsageError, match="is not in UTF-8"):
        tasks.tasks()


def test_a_task_may_be_called_as_the_folder_of_all_is(tmp_path: Path) -> None:
    home = tmp_path / "one" / "one"
    (home / "repo").mkdir(parents=True)
    (home / "repo" / "a.py").write_text("x = 1\n")
    (home / "issue.md").write_text("It is wrong.")
    (home / "task.toml").write_text(RED)
    tasks = folders.FolderTasks(tmp_path / "one")
    (task,) = tasks.tasks()
    place = tasks.lay_out(task, tmp_path / "place")
    assert (place.folder / "a.py").read_text() == "x = 1\n"
    (home / "repo" / "a.py").unlink()
    (home / "repo").rmdir()
    with pytest.raises(UsageError, match="no repository at repo"):
        tasks.tasks()
