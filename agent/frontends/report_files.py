"""The files of a run for other programs: `--junit`, `--sarif`, and what GitHub Actions reads.

They are written when the run is over. One that cannot be written makes the run an error, as a
result on standard output would that cannot be written.
"""

import os
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agent.errors import AgentError, UsageError
from agent.frontends.asked import absolute, is_standard_output
from agent.frontends.github import add_outputs, add_summary
from agent.frontends.junit import junit_of
from agent.frontends.output import is_github
from agent.frontends.sarif import sarif_of
from agent.outcome import ERROR, FixOutcome, strongest
from agent.patch import check_target, write_whole
from agent.workplace import find_repository


@dataclass(frozen=True)
class ReportFiles:
    """Where they go; None for those that were not asked for."""

    junit: Path | None = None
    sarif: Path | None = None

    def write(self, outcome: FixOutcome) -> FixOutcome:
        """Write them all; return the outcome, or what it is if one could not be written."""
        kinds: tuple[tuple[Path | None, Callable[[FixOutcome], bytes]], ...] = (
            (self.junit, junit_of),
            (self.sarif, sarif_of),
        )
        try:
            for path, content_of in kinds:
                if path is not None:
                    write_whole(path, content_of(outcome))
        except AgentError as error:
            outcome = _failed(outcome, str(error))
        if is_github():
            try:
                add_summary(outcome)
                add_outputs(outcome)
            except OSError as error:
                return _failed(outcome, f"{error.filename} cannot be written: {error.strerror}")
        return outcome


def report_files(arguments: Namespace) -> ReportFiles:
    """Return where the files go that were asked for, having made sure that they can.

    Raises:
        UsageError: one of them cannot.
    """
    _check_apart(arguments)
    return ReportFiles(_checked(arguments.junit, "--junit"), _checked(arguments.sarif, "--sarif"))


def _check_apart(arguments: Namespace) -> None:
    """Refuse one file for two things: the last that is written would be all there is."""
    flags: dict[str, str] = {}
    for flag in ("junit", "sarif", "patch"):
        name = getattr(arguments, flag)
        place = "" if name is None or is_standard_output(name) else os.path.realpath(name)
        if place in flags and not Path(place).is_char_device():
            raise UsageError(f"--{flags[place]} and --{flag} are one file, {name}; name two")
        if place:
            flags[place] = flag


def _checked(name: str | None, flag: str) -> Path | None:
    if name is None:
        return None
    if is_standard_output(name):
        raise UsageError(f"{flag} {name}: name a file for the report")
    path = absolute(Path(name))
    repository = None
    with suppress(UsageError):  # beside no repository nothing is tracked
        repository = find_repository(path.parent)
    check_target(path, repository, "the report")
    return path


def _failed(outcome: FixOutcome, problem: str) -> FixOutcome:
    code = strongest({outcome.exit_code, ERROR})
    return replace(outcome, exit_code=code, sentence=f"{problem}; {outcome.effect}")
