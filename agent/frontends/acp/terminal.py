"""Commands in a terminal of the editor, where a person has chosen to have no sandbox.

A terminal runs a command as the editor would: with all that the person can do, and with no limit of
ours but that of time. So it takes only commands that the model runs before the person's eyes, never
tests, hooks or what runs in the background; and nothing at all where there is a sandbox.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agent.frontends.acp.live import Screen
from agent.frontends.acp.rpc import Gone, Params, RpcError
from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits

ANSWER_S = 10.0
"""How long the editor is waited for, but for the end of the command."""
LEAVE_S = 0.5
"""How long it is waited for once the person has cancelled."""
CUT = "[earlier output cut here]\n"


class Ask(Protocol):
    """Asks the editor about the session."""

    def __call__(self, method: str, stops: Cancel, **params: Any) -> Params:
        """Return the answer.

        Raises:
            RpcError: it says no.
            Gone: it has left, or `stops` said so.
        """
        ...


class InTerminal:
    """A sandbox that lets the editor run what is watched; no isolation itself."""

    def __init__(self, sandbox: Sandbox, ask: Ask, show: Callable[[str], None]) -> None:
        """Run all else in `sandbox`; `show` is told the name of a terminal."""
        self._sandbox = sandbox
        self._ask = ask
        self._show = show

    @property
    def level(self) -> str:
        """Say what isolation is in force."""
        return self._sandbox.level

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv`; see `Sandbox.run`."""
        if not isinstance(on_output, Screen):
            return self._sandbox.run(argv, view, limits, cancel, on_output)
        started_s = time.monotonic()
        try:
            made = self._ask("terminal/create", _soon(cancel), **_order(argv, view, limits))
        except RpcError:
            return self._sandbox.run(argv, view, limits, cancel, on_output)
        except Gone:  # it may yet run, so it is not run here too
            lost = "The editor opened no terminal in time."
            return _result(argv, started_s, None, "", cancel, (lost,))
        name = {"terminalId": str(made.get("terminalId"))}
        self._show(name["terminalId"])
        try:
            return self._followed(argv, started_s, limits, cancel, name)
        finally:
            self._tell("terminal/release", name, cancel)

    def _followed(
        self, argv: Sequence[str], started_s: float, limits: Limits, cancel: Cancel, name: Params
    ) -> CommandResult:
        """Wait for the end of a command, or bring it about; return what came of it."""
        code: int | None = None
        notices: tuple[str, ...] = ()
        try:
            stops = _until(started_s + limits.wall_s, cancel)
            code = _exit_code(self._ask("terminal/wait_for_exit", stops, **name))
        except Gone:
            self._tell("terminal/kill", name, cancel)
        except RpcError as error:
            code, notices = -signal.SIGHUP, (f"The editor lost the terminal: {error}.",)
        output = _output(self._tell("terminal/output", name, cancel), limits)
        return _result(argv, started_s, code, output, cancel, notices)

    def _tell(self, method: str, name: Params, cancel: Cancel) -> Params:
        """Ask for what may fail; nothing then."""
        try:
            return self._ask(method, _patience(cancel), **name)
        except (RpcError, Gone):
            return {}


def _order(argv: Sequence[str], view: View, limits: Limits) -> Params:
    """Say what to run, where, and with which variables besides the editor's own."""
    variables = {"PATH": os.pathsep.join(map(str, view.path)), **view.environment}
    return {
        "command": argv[0],
        "args": list(argv[1:]),
        "cwd": str(view.source / view.start()),
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "outputByteLimit": limits.output_bytes,
    }


def _result(
    argv: Sequence[str],
    started_s: float,
    code: int | None,
    output: str,
    cancel: Cancel,
    notices: tuple[str, ...],
) -> CommandResult:
    is_cancelled = code is None and cancel()
    return CommandResult(
        argv=tuple(argv),
        exit_code=code,
        output=output,
        num_output_bytes=len(output.encode()),
        timed_out=code is None and not is_cancelled,
        cancelled=is_cancelled,
        duration_s=time.monotonic() - started_s,
        notices=notices,
    )


def _exit_code(status: Params) -> int:
    """Return the code that a command ended with, or minus the signal that ended it."""
    code = status.get("exitCode")
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    name = str(status.get("signal"))
    return -signal.Signals.__members__.get(name, signal.SIGTERM)


def _output(found: Params, limits: Limits) -> str:
    """Return what a terminal shows, as much of the end as is asked for."""
    text = str(found.get("output", "")).encode(errors="replace").decode()
    is_cut = found.get("truncated") is True or len(text) > limits.output_bytes
    return CUT + text[-limits.output_bytes :] if is_cut else text


def _soon(cancel: Cancel) -> Cancel:
    return _until(time.monotonic() + ANSWER_S, cancel)


def _patience(cancel: Cancel) -> Cancel:
    """Say when what is asked also after a cancel has been waited for long enough."""
    end_s = time.monotonic() + ANSWER_S

    def stops() -> bool:
        nonlocal end_s
        if cancel():
            end_s = min(end_s, time.monotonic() + LEAVE_S)
        return time.monotonic() >= end_s

    return stops


def _until(end_s: float, cancel: Cancel) -> Cancel:
    return lambda: cancel() or time.monotonic() >= end_s
