"""A pytest plugin that writes every test's outcome to a file, for `runners`.

Not imported by this program: its text is copied beside the settings it reads, and loaded by the
project's own pytest before any code of the project. Where the result goes and the word that makes
it whole are on no command line and, once this is loaded, in no environment and no file: code under
test that means to forge them has to look into the runner itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import LogXML


def make_recorder(place: Path) -> Any:
    """Read the settings, take them and this file away, and return the plugin that records."""
    settings = json.loads(place.read_text(encoding="utf-8"))
    place.unlink()
    Path(__file__).unlink()
    del os.environ["PYTEST_PLUGINS"]
    os.environ.pop("PYTHONPATH", None)
    if settings["pythonpath"]:
        os.environ["PYTHONPATH"] = settings["pythonpath"]
    sys.path[:] = [folder for folder in sys.path if folder != str(place.parent)]

    class Recorder(LogXML):
        """JUnit XML in one known form, whatever the project sets for its own."""

        def pytest_sessionfinish(self) -> None:
            """Write the file, and last the word that says that the session came to its end."""
            super().pytest_sessionfinish()
            with Path(self.logfile).open("a", encoding="utf-8") as file:
                file.write(f"<!--{settings['token']}-->")

        def pytest_terminal_summary(self) -> None:  # type: ignore[override]
            """Say nothing of it."""

    return Recorder(settings["result"], None, family="xunit1")


SETTINGS = Path(__file__).with_suffix(".json")
_waiting = [make_recorder(SETTINGS)] if SETTINGS.is_file() else []  # beside the original is none


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: Any) -> None:
    """Begin to record; a worker of xdist reports to the process that does."""
    recorder = _waiting.pop()
    config.option.xmlpath = None  # a file of the project's own would look like a part of the repair
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(recorder)
