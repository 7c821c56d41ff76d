"""A script in the place of the agent: it shows what a grader is worth, and needs no model."""

import time

from agent.settings import Budget
from evals.solver import Attempt, Line
from evals.task import Place, Task
from evals.tasks.repository import run_git
from evals.tasks.scripted import SCRIPTS
from inference.chat import Cancel


class ScriptSolver:
    """Runs one of the scripts; it may see what only the grader knows."""

    is_scripted = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._script = SCRIPTS[name]

    def solve(
        self, task: Task, place: Place, budget: Budget, cancel: Cancel
    ) -> tuple[Attempt, tuple[Line, ...]]:
        """Let the script change the folder; nothing was said, so there is no trajectory."""
        started = time.monotonic()
        self._script(task, place)
        run_git(place.folder, "add", "--all")
        patch = run_git(place.folder, "diff", "--cached", "--binary", "HEAD")
        names = run_git(place.folder, "diff", "--cached", "--name-only", "-z", "HEAD")
        attempt = Attempt(
            outcome="scripted",
            seconds=round(time.monotonic() - started, 3),
            changed_files=tuple(name for name in names.split("\0") if name),
            patch=patch,
        )
        return attempt, ()
