"""Runs pytest and unittest so that what came of each test lies in a file.

pytest writes JUnit XML and unittest a JSON file, both at the end of the run, so a run that dies
early has no result. Where the file goes, and the word that it must hold, are on no command line.
Code under test shares a process with its runner and could still look into it; `agent.verdict` says
what that means.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.base import View
from tools.command_words import (
    Argv,
    cut_at_double_dash,
    is_module,
    is_unittest,
    without_launcher,
    without_paths,
)
from tools.project import Environment
from tools.result_files import read_junit, read_unittest
from tools.runner import Prepared, with_python
from tools.test_report import TestCase

RECORDER = "qwen_agent_recorder"
"""What the plugin is called where pytest loads it."""


class PytestRunner:
    """pytest, called by its name, as a module, or through uv, poetry or pipenv."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Whether the command is pytest's."""
        words = without_launcher(command)
        return is_module(words, "pytest") or (
            bool(words) and Path(words[0]).name in ("pytest", "py.test")
        )

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Add a plugin and ask for short tracebacks; keep every other word of the command."""
        words = without_launcher(command)
        if is_module(words, "pytest"):
            split = words.index("pytest") + 1
            head = (with_python(words[0], environment), *words[1:split])
        else:
            split = 1
            head = _pytest_script(words[0], environment)
        arguments, end = cut_at_double_dash(words[split:])
        if only:
            arguments, end = without_paths(arguments, view.source / view.folder), ()
        # Before the command's own words: what those may override.
        ahead = ("--maxfail=0", "--continue-on-collection-errors", "--rootdir=.")
        # A cache of its own: a run must not depend on the last one, and `--lf` must stay known.
        behind = ("-q", "--tb=short", "--color=no", "-o", f"cache_dir={scratch / 'cache'}")
        argv = (*head, *ahead, *arguments, *behind, *end, *only)
        plugins = scratch / "plugins"
        plugins.mkdir()
        known = {**view.environment, **environment.variables}.get("PYTHONPATH", "")
        result, token = scratch / "junit.xml", secrets.token_hex()
        settings = {"result": str(result), "token": token, "pythonpath": known}
        _place_driver("pytest_driver.py", plugins / f"{RECORDER}.py", settings)
        paths = f"{plugins}:{known}" if known else str(plugins)
        return Prepared(argv, result, token, {"PYTEST_PLUGINS": RECORDER, "PYTHONPATH": paths})

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JUnit XML that pytest wrote."""
        assert prepared.result is not None
        return read_junit(prepared.result, view.source / view.folder, prepared.token)

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Nothing: there is a file."""
        return ()


class UnittestRunner:
    """`python -m unittest`, run through a driver that records every test."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Whether the command is unittest's."""
        return is_unittest(command)

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Put the driver in the place of `-m unittest`."""
        words = without_launcher(command)
        split = words.index("unittest")
        result, token = scratch / "unittest.json", secrets.token_hex()
        driver = scratch / "driver.py"
        settings = {"result": str(result), "token": token, "only": only}
        _place_driver("unittest_driver.py", driver, settings)
        head = (with_python(words[0], environment), *words[1 : split - 1])
        return Prepared((*head, str(driver), *words[split + 1 :]), result, token)

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JSON that the driver wrote."""
        assert prepared.result is not None
        return read_unittest(prepared.result, prepared.token)

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Nothing: there is a file."""
        return ()


def _place_driver(name: str, place: Path, settings: Mapping[str, Any]) -> None:
    """Copy a driver where the sandbox sees it, and its settings beside it."""
    place.write_text(Path(__file__).with_name(name).read_text("utf-8"), encoding="utf-8")
    place.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")


def _pytest_script(word: str, environment: Environment) -> Argv:
    """The `pytest` that lies beside the project's python, or the module where there is none."""
    python = environment.interpreter
    if python is None or "/" in word or (python.parent / word).exists():
        return (word,)
    return (str(python), "-m", "pytest")
