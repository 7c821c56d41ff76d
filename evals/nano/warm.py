"""A `Sandbox` for making training data: pytest runs in a fork of this process, already imported.

A session needs its tests really run, and starting Python and pytest anew for each takes longer
than everything else together. This isolates nothing and is used on nothing but the repositories
that `corpus.py` writes. Results are equal to the real sandbox's; a test holds that.
"""

import contextlib
import gc
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.limits import Limits

OURS = {"agent", "inference", "tools", "sandbox", "evals"}


class WarmPytest:
    """Runs `python -m pytest` in a fork and anything else as a plain child process."""

    level = "direct"

    def __init__(self) -> None:
        # One empty run loads pytest and all its plugins, which every fork then finds loaded.
        silence = contextlib.redirect_stdout(io.StringIO())
        with tempfile.TemporaryDirectory() as empty, silence:
            pytest.main(["-q", "--rootdir", empty, empty])
        gc.freeze()

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run in `view.source`, which must be `view.workspace`."""
        assert view.source == view.workspace, "nothing is mounted here"
        started = time.perf_counter()
        if tuple(argv[1:3]) == ("-m", "pytest"):
            exit_code, output = _in_fork(list(argv[3:]), view)
        else:
            done = subprocess.run(
                argv, cwd=view.source, capture_output=True, timeout=limits.wall_s, check=False
            )
            exit_code, output = done.returncode, done.stdout + done.stderr
        return CommandResult(
            argv=tuple(argv),
            exit_code=exit_code,
            output=output.decode("utf-8", "replace"),
            num_output_bytes=len(output),
            timed_out=False,
            cancelled=False,
            duration_s=time.perf_counter() - started,
        )


def _in_fork(arguments: list[str], view: View) -> tuple[int, bytes]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _become_pytest(arguments, view.source, view.environment, output.fileno())
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


def _become_pytest(
    arguments: list[str], folder: Path, environment: Mapping[str, str], output: int
) -> None:
    """Do what `python -m pytest` does, in this fork, and never return."""
    code = 70
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        os.environ.update(environment)
        for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
            del sys.modules[name]  # the repository may have packages of these names
        added = environment.get("PYTHONPATH", "")
        sys.path[:1] = [str(folder), *added.split(os.pathsep)] if added else [str(folder)]
        code = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        os._exit(code)
