"""`eval run`, `eval report` and `eval compare` for a person: arguments to a run, a run to words."""

import argparse
from pathlib import Path

from agent.errors import UsageError
from evals.conditions import AGENT
from evals.crew import Crew, LocalCrew
from evals.ray_crew import RayCrew
from evals.report.words import pairing_words, summary_words
from evals.report.written import compared, opened, write_pairing, write_report
from evals.run_arguments import conditions_of
from evals.runner import MakeCrew, prepared, run
from evals.tasks.registry import SUITES
from evals.worker import Job


def run_command(arguments: argparse.Namespace) -> int:
    """Run a suite, or what is left of it; exit code 0 once every task was tried, however it went.

    Raises:
        UsageError: the suite or the folder cannot be used.
        CrewFailed: no worker can begin.
    """
    source = SUITES[arguments.suite].from_arguments(arguments)
    folder = prepared(source, conditions_of(arguments, _model_of(arguments)), arguments.out)
    try:
        run(folder, _crew_of(arguments), _say)
    except KeyboardInterrupt:
        _say("\nStopped; the same command goes on from here.")
        raise
    _say(f"\n{summary_words(write_report(folder))}\n{folder.path / 'report.html'}")
    return 0


def report_command(arguments: argparse.Namespace) -> int:
    """Write the report of a run anew, whole or not yet; return 0.

    Raises:
        UsageError: there is no run.
    """
    folder = opened(arguments.folder)
    _say(f"{summary_words(write_report(folder))}\n{folder.path / 'report.html'}")
    return 0


def compare_command(arguments: argparse.Namespace) -> int:
    """Compare two runs task by task; return 0.

    Raises:
        UsageError: they have no task in common.
    """
    first, second = opened(arguments.first), opened(arguments.second)
    out: Path | None = arguments.out
    pairing = compared(first, second) if out is None else write_pairing(first, second, out)
    _say(pairing_words(pairing))
    return 0


def _model_of(arguments: argparse.Namespace) -> str:
    """Return the model's true name: `auto` could be another one on another machine.

    Raises:
        UsageError: a script was asked for, and a model too.
        ModelUnavailable: it cannot be had.
    """
    if arguments.solver != AGENT:
        if arguments.model is not None:
            raise UsageError(f"--solver {arguments.solver} needs no model; leave --model away")
        return ""
    from agent.models import NANO, resolve

    # nano is never picked by itself but for the tasks it was made for.
    return resolve(arguments.model or (NANO if arguments.suite == "nano" else "auto"))


def _crew_of(arguments: argparse.Namespace) -> MakeCrew:
    def make_crew(job: Job) -> Crew:
        if arguments.ray is not None:
            return RayCrew(job, arguments.ray, arguments.workers or 0)
        return LocalCrew(job, arguments.workers or 1)

    return make_crew


def _say(text: str) -> None:
    print(text, flush=True)
