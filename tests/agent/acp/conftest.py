"""Tests that are coroutines, and one process of the agent for all tests of a file."""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.acp.editor import SCRIPTED, Editor, started

TEST_S = 180


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    words = {name: pyfuncitem.funcargs[name] for name in names}
    loop: asyncio.AbstractEventLoop = pyfuncitem.funcargs["loop"]
    loop.run_until_complete(asyncio.wait_for(pyfuncitem.obj(**words), TEST_S))
    return True


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """What all tests of a file run on, so that they can share a process."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest,
    loop: asyncio.AbstractEventLoop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Editor]:
    """One process with a scripted model, and an editor with what the file calls `ABILITIES`."""
    home = tmp_path_factory.mktemp("home")
    program = (*SCRIPTED, str(home / "script.json"))
    abilities = getattr(request.module, "ABILITIES", None)
    editor = loop.run_until_complete(started(home, program=program, abilities=abilities))
    yield editor
    loop.run_until_complete(editor.leave())


@pytest.fixture
def editor(shared: Editor, tmp_path: Path) -> Iterator[Editor]:
    """The same, with a repository of this test's; every word of the agent is checked."""
    shared.sit_down(tmp_path)
    yield shared
    assert shared.faults == []
