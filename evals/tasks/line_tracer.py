"""A pytest plugin that writes which test ran which lines, or how long each test took.

Not imported by this program: its text is copied into the sandbox, and the project's own pytest
loads it. It is for choosing what to run, never for a grade. `TRACE_TO` names the file to write;
with `TRACE_LINES` it is `{test: {path: [line, ...]}}`, without it is `{test: seconds}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

TRACE_TO = Path(os.environ["TRACE_TO"]).absolute()
ROOT = f"{Path.cwd()}{os.sep}"
seconds: dict[str, float] = {}
touched: dict[str, dict[str, set[int]]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: Any) -> Any:
    """Watch one test with its set-up and tear-down."""
    lines: dict[str, set[int]] = defaultdict(set)
    start = time.perf_counter()
    if "TRACE_LINES" in os.environ:
        sys.settrace(_tracer(lines))
    yield
    sys.settrace(None)
    seconds[item.nodeid] = time.perf_counter() - start
    touched[item.nodeid] = lines


def pytest_sessionfinish() -> None:
    """Write the file."""
    found: Any = seconds
    if "TRACE_LINES" in os.environ:
        found = {test: _sorted(lines) for test, lines in touched.items()}
    TRACE_TO.write_text(json.dumps(found), encoding="utf-8")


def _tracer(lines: dict[str, set[int]]) -> Any:
    def in_function(frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            lines[frame.f_code.co_filename].add(frame.f_lineno)
        return in_function

    def on_call(frame: Any, event: str, argument: Any) -> Any:
        is_ours = frame.f_code.co_filename.startswith(ROOT)
        return in_function if is_ours else None

    return on_call


def _sorted(lines: dict[str, set[int]]) -> dict[str, list[int]]:
    return {path.removeprefix(ROOT): sorted(found) for path, found in lines.items()}
