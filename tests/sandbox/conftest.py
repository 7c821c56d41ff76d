"""A workspace, the real sandboxes, and a look at what processes are left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.base import Sandbox, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct


@pytest.fixture
def workspace_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / ".git" / "hooks").mkdir(parents=True)
    (folder / ".git" / "config").write_text("[core]\n")
    (folder / "hello.txt").write_text("hello\n")
    return folder


@pytest.fixture
def view(workspace_folder: Path) -> View:
    return View(source=workspace_folder, workspace=workspace_folder)


@pytest.fixture
def bubblewrap() -> Bubblewrap:
    return Bubblewrap()


@pytest.fixture(params=["bubblewrap", "direct"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Bubblewrap() if request.param == "bubblewrap" else Direct()


def processes_with(word: str) -> list[str]:
    """Command lines on this machine that hold a word chosen to be unlike any other."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
        if word in line:
            found.append(line)
    return found


@pytest.fixture
def survivors() -> Callable[[str], list[str]]:
    return processes_with
