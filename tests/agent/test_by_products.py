"""What tests and tools leave in the files is no part of a repair; rules speak of real paths."""

from pathlib import Path
from typing import Any

import pytest

from agent.fix import run_fix
from agent.outcome import DENIED, FixOutcome
from agent.request import FixRequest
from agent.settings import ApprovalConfig, Config
from tests.agent.fakes import (
    CART,
    FINISH,
    REPAIR,
    TESTS,
    Say,
    ScriptedModel,
    bash,
    call,
    edit,
    make_repository,
)

LEAVES_TRACES = TESTS.replace(
    "    def test_double",
    """    def setUp(self) -> None:
        for name in ("dev.db", "new.log", "data.txt"):
            with open(name, "a") as file:
                file.write("by a test")

    def test_double""",
)
MINE = "my own data"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {".gitignore": "*.db\n", "data.txt": "", "tests/test_cart.py": LEAVES_TRACES}
    folder = make_repository(tmp_path / "repo", files)
    (folder / "dev.db").write_text(MINE)
    return folder


def fix(
    repository: Path,
    *script: Say,
    config: Config | None = None,
    name: str = "scripted",
    **more: Any,
) -> FixOutcome:
    request = FixRequest(repository, config=config or Config(), **more)
    model = ScriptedModel([list(script)], name)
    run = run_fix(request, chat_factory=lambda _: model, state=repository.parent / "state")
    while True:
        try:
            next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome


def test_what_tests_write_never_reaches_the_user(repository: Path) -> None:
    outcome = fix(repository, call_run_tests(), REPAIR, FINISH)
    assert (outcome.exit_code, outcome.changed_files) == (0, ("shop/cart.py",))
    assert (repository / "dev.db").read_text() == MINE
    assert (repository / "data.txt").read_text() == ""
    assert not (repository / "new.log").exists()


def call_run_tests() -> Say:
    return Say((call("run_tests"),))


def test_files_that_git_ignores_stay_whatever_the_model_does_to_them(repository: Path) -> None:
    script = [bash("echo other > dev.db; echo x > more.db; echo y > kept.txt"), REPAIR, FINISH]
    outcome = fix(repository, *script)
    assert (outcome.exit_code, outcome.changed_files) == (0, ("kept.txt", "shop/cart.py"))
    assert (repository / "dev.db").read_text() == MINE
    assert not (repository / "more.db").exists()


@pytest.mark.parametrize("path", ["docs/../shop/cart.py", "./shop/cart.py", "{root}/shop/cart.py"])
def test_rules_speak_of_a_path_however_it_is_written(repository: Path, path: str) -> None:
    change = edit(path.format(root=repository), "price - tax", "price + tax")
    asks = Config(approval=ApprovalConfig(mode="ask", allow=("edit: docs/*", "edit: ./*")))
    assert fix(repository, change, FINISH, config=asks).exit_code == DENIED
    denies = Config(approval=ApprovalConfig(deny=("edit: shop/*",)))
    assert fix(repository, change, FINISH, config=denies).exit_code == DENIED
    assert (repository / "shop/cart.py").read_text() == CART


def test_rules_speak_of_real_paths_to_nano_too(repository: Path) -> None:
    change = edit("docs/../shop/cart.py", "price - tax", "price + tax")
    denies = Config(approval=ApprovalConfig(deny=("edit: shop/*",)))
    assert fix(repository, change, FINISH, config=denies, name="nano").exit_code == DENIED
