"""Runs of `fix` in which something odd stands in the way: it loses no repair and fools nobody."""

from pathlib import Path

import pytest

from agent.settings import ApprovalConfig, Config, HooksConfig
from tests.agent.fakes import FINISH, bash, make_repository
from tests.agent.test_fix import fix


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def test_in_plan_mode_no_command_can_write_whatever_it_is_taken_for(repository: Path) -> None:
    tries = HooksConfig(before_tool=("touch planted; test ! -e planted",))
    config = Config(approval=ApprovalConfig(mode="plan"), hooks=tries)
    outcome, _, model = fix(repository, [bash("ls"), FINISH], config=config)
    assert (outcome.sentence, outcome.patch) == ("nothing was changed, in plan mode", "")
    assert "shop" in model.seen[1][-1].content
