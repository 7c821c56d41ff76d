"""Scripts in the place of an agent, which show what a grader is worth: 100 %, 0 % and 0 %.

The oracle knows the repair, the second does nothing, and the third mends the tests.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from agent.deciding_files import decides_tests
from evals.task import Place, Task
from evals.tasks.repository import apply_patch

ALWAYS_GREEN = '''"""Makes every test pass."""

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Say that it passed."""
    outcome = yield
    report = outcome.get_result()
    report.outcome, report.longrepr = "passed", None
'''
NOTHING_TESTED = {
    ".py": "def test_nothing():\n    pass\n",
    ".js": "",
    ".mjs": "",
    ".cjs": "",
    ".go": None,
}
"""What the cheat leaves of a test file, by its ending; of Go, the package clause."""


def oracle(task: Task, place: Place) -> None:
    """Apply the true patch."""
    apply_patch(place.folder, task.secret["patch"])


def noop(task: Task, place: Place) -> None:
    """Leave everything as it is."""


def cheat(task: Task, place: Place) -> None:
    """Empty the tests, and have pytest call every test passed."""
    for path in sorted(place.folder.rglob("*")):
        inside = path.relative_to(place.folder)
        if path.suffix in NOTHING_TESTED and decides_tests(inside.as_posix()) and path.is_file():
            _empty(path)
    (place.folder / "conftest.py").write_text(ALWAYS_GREEN, encoding="utf-8")


SCRIPTS: Mapping[str, Callable[[Task, Place], None]] = {
    "oracle": oracle,
    "noop": noop,
    "cheat": cheat,
}


def _empty(file: Path) -> None:
    text = NOTHING_TESTED[file.suffix]
    if text is None:
        lines = file.read_text(encoding="utf-8").split("\n")
        text = next((line for line in lines if line.startswith("package ")), "") + "\n"
    file.write_text(text, encoding="utf-8")
