"""What is said on the wire is, line by line, what was found good."""

from pathlib import Path

import pytest

from tests.agent.acp.transcripts import GOLDEN, TRANSCRIPTS


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript(name: str, tmp_path: Path) -> None:
    said = TRANSCRIPTS[name](tmp_path)
    assert said.split("\n") == (GOLDEN / f"{name}.txt").read_text().split("\n")


def test_there_is_no_golden_file_that_nothing_plays() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*TRANSCRIPTS}
