"""A workspace, the real sandboxes, and a look at what processes are left."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.base import CommandResult, Sandbox, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct
from tests.sandbox.places import SECRET, UID, WITHOUT, Agent, Place


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
    return Bubblewrap(without=WITHOUT)


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


def until_gone(word: str) -> list[str]:
    """Wait for processes to end that were killed and not waited for; return those that do not."""
    deadline = time.monotonic() + 60
    while (left := processes_with(word)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def long_enough(run: Callable[[float], CommandResult], num_bytes: int = 1) -> CommandResult:
    """Run a command for a moment; for longer if a busy machine did not let it print that much."""
    for wall_s in (0.5, 5.0, 50.0):
        result = run(wall_s)
        if result.num_output_bytes >= num_bytes:
            break
    return result


@pytest.fixture
def survivors() -> Callable[[str], list[str]]:
    return processes_with


@pytest.fixture(scope="session")
def agent_of() -> Iterator[Callable[[str], Agent]]:
    """Start an agent of root or of an ordinary user, once each."""
    agents: dict[str, Agent] = {}

    def give(who: str) -> Agent:
        if who not in agents:
            user = UID if who == "user" and os.geteuid() == 0 else None
            agents[who] = Agent(user, {"OPENAI_API_KEY": SECRET})
        return agents[who]

    yield give
    for agent in agents.values():
        agent.close()


@pytest.fixture(params=["root", "user"])
def place(request: pytest.FixtureRequest, agent_of: Callable[[str], Agent]) -> Iterator[Place]:
    """A place to attack from; in the end it must be as it was."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("the tests were not started by root")
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        place = Place(agent_of(request.param), Path(name))
        if os.geteuid() == 0:
            owner = UID if request.param == "user" else 0
            for path in (place.home, *place.home.rglob("*")):
                os.chown(path, owner, owner)
            place.before = place.canary.stat()
        yield place
        place.check()
