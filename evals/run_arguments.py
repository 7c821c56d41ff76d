"""What `eval run`, `eval report` and `eval compare` can be told; nothing is run here."""

import argparse
from pathlib import Path
from typing import get_args

from agent.settings import Effort
from evals.conditions import AGENT, Conditions, EditorForm
from evals.numbers import count, seconds, seed, temperature
from evals.tasks.registry import SUITES
from evals.tasks.scripted import SCRIPTS

DEFAULTS = Conditions()


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `eval run`: the suite, then what only it can be told, then the rest."""
    suites = parser.add_subparsers(dest="suite", required=True, metavar="SUITE")
    for name, suite in SUITES.items():
        one = suites.add_parser(name, help=suite.help)
        suite.add_arguments(one)
        _add_run(one)
        _add_conditions(one)
        _add_budget(one)


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `eval report`."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="the folder of a run")


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `eval compare`."""
    parser.add_argument("first", type=Path, metavar="A", help="the folder of a run")
    parser.add_argument("second", type=Path, metavar="B", help="of another, on the same tasks")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write compare.html and compare.json there"
    )


def conditions_of(arguments: argparse.Namespace, model: str) -> Conditions:
    """Return the conditions of a run with a model that is known by its true name."""
    return Conditions(
        solver=arguments.solver,
        model=model,
        seed=arguments.seed,
        attempts=arguments.attempts,
        temperature=arguments.temperature,
        reuse=not arguments.no_reuse,
        verify=not arguments.no_verify,
        editor=arguments.editor,
        thinking=arguments.thinking,
        thinking_tokens=arguments.thinking_tokens,
        max_turns=arguments.max_turns,
        max_tokens=arguments.max_tokens,
        max_time_s=arguments.max_time,
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument(
        "--out", type=Path, metavar="RUN", required=True,
        help="a new folder; or that of the same run, which is gone on with",
    )  # fmt: skip
    group.add_argument("--workers", type=count, metavar="N", help="tasks at a time (default 1)")
    group.add_argument(
        "--ray", metavar="ADDRESS",
        help="let a Ray cluster do it, one task a GPU or a core; `local` starts one here",
    )  # fmt: skip
    group.add_argument(
        "--solver", choices=(AGENT, *SCRIPTS), default=DEFAULTS.solver,
        help="agent (default); the others are scripts that show what a grader is worth",
    )  # fmt: skip


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("conditions")
    group.add_argument("--model", metavar="NAME", help="nano, a folder, a hub id or auto")
    group.add_argument("--seed", type=seed, default=DEFAULTS.seed, help="of sampled attempts")
    group.add_argument("--attempts", type=count, default=DEFAULTS.attempts, metavar="N")
    group.add_argument("--temperature", type=temperature, metavar="T", help="of every attempt")
    group.add_argument("--no-reuse", action="store_true", help="read everything for every reply")
    group.add_argument("--no-verify", action="store_true", help="check nothing after edits")
    group.add_argument(
        "--editor", choices=get_args(EditorForm), default=DEFAULTS.editor,
        help="full (default), plain as nano has it, or none: edits by shell commands",
    )  # fmt: skip
    group.add_argument("--thinking", choices=get_args(Effort), default=DEFAULTS.thinking)
    group.add_argument(
        "--thinking-tokens", type=count, default=DEFAULTS.thinking_tokens, metavar="N",
        help="of one reply; four times as many after a failure",
    )  # fmt: skip


def _add_budget(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("budget of a task")
    group.add_argument("--max-turns", type=count, default=DEFAULTS.max_turns, metavar="N")
    group.add_argument("--max-tokens", type=count, default=DEFAULTS.max_tokens, metavar="N")
    group.add_argument("--max-time", type=seconds, default=DEFAULTS.max_time_s, metavar="S")
