"""What the checkpoints of a talk leave alone."""

from pathlib import Path

import pytest

from agent.left_alone import MAX_BYTES, LeftAlone
from tests.agent.fakes import write


def left(root: Path) -> LeftAlone:
    write(
        root,
        {
            ".gitignore": "*.log\n/build/\n!keep.log\n[z-a\n",
            "src/.gitignore": "!*.log\ngen/\n",
            ".git/info/exclude": "own/\n",
        },
    )
    return LeftAlone(root)


@pytest.mark.parametrize(
    ("path", "is_left"),
    [
        ("a.log", True),
        ("keep.log", False),
        ("src/a.log", False),  # the nearest file has the last word
        ("src/gen", True),
        ("gen", False),
        ("build", True),
        ("src/build", False),
        ("own", True),
        ("node_modules", True),
        ("main.py", False),
    ],
)
def test_what_git_ignores_is_left_alone(tmp_path: Path, path: str, is_left: bool) -> None:
    rules = left(tmp_path)
    place = tmp_path / path
    if place.suffix:
        write(tmp_path, {path: "x"})
    else:
        place.mkdir(parents=True, exist_ok=True)
    assert rules(path) is is_left


def test_a_huge_file_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert LeftAlone(tmp_path)("huge.bin")


def test_a_path_is_decided_about_once(tmp_path: Path) -> None:
    rules = left(tmp_path)
    write(tmp_path, {"a.log": "x", "b.txt": "x"})
    assert rules("a.log")
    assert not rules("b.txt")
    write(tmp_path, {".gitignore": "b.txt\n"})
    assert rules("a.log"), "else a rewind would take it for new and delete it"
    assert not rules("b.txt")


def test_rules_are_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("*.py\n")
    (tmp_path / ".gitignore").symlink_to(tmp_path / "elsewhere")
    write(tmp_path, {"a.py": "x"})
    assert not LeftAlone(tmp_path)("a.py")
