"""What several tests of the tools share."""

from pathlib import Path

import pytest

from tests.tools.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    root = tmp_path / "repository"
    root.mkdir()
    return Desk(root)
