"""`qwen-agent eval nano` for a person: a line a repository, last lines, and the JSON report."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from pydantic import BaseModel

from agent.compose import ChatFactory, load_chat
from agent.patch import write_whole
from agent.request import FixRequest
from evals.nano.compare import Comparison, compare, read_pairs
from evals.nano.evaluate import NanoReport, Settings, TaskReport, evaluate
from inference.chat import ChatModel
from inference.errors import InferenceError


def run_suite(arguments: argparse.Namespace) -> int:
    """Evaluate as the arguments say; return the exit code."""
    settings = Settings(
        model=arguments.model,
        attempts=arguments.attempts,
        reuse=not arguments.no_reuse,
        seed=arguments.seed,
        num_bugs=arguments.bugs,
        temperature=arguments.temperature,
    )
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        print(f"qwen-agent: {arguments.json}: there is no such folder.", file=sys.stderr)
        return 2
    try:
        model = load_chat(FixRequest(Path(), model=settings.model, reuse=settings.reuse))
    except InferenceError as error:
        print(f"qwen-agent: {error}", file=sys.stderr)
        return error.exit_code

    def loaded(_request: FixRequest) -> ChatModel:
        return model

    if arguments.compare:
        return _compare(arguments.seeds, settings, loaded, arguments.json)
    report = evaluate(arguments.seeds, settings, loaded, _show)
    _show_total(report)
    if arguments.json is not None:
        _write(report, arguments.json)
    return 0


def _compare(seeds: range, settings: Settings, loaded: ChatFactory, file: Path | None) -> int:
    """Compare with one greedy attempt; what `file` holds already is not run again."""
    try:
        pairs = read_pairs(file, settings) if file is not None and file.exists() else []
    except ValueError as error:
        print(f"qwen-agent: {error}", file=sys.stderr)
        return 2
    for pair in compare(seeds, settings, loaded, done={pair.one.seed for pair in pairs}):
        pairs.append(pair)
        _show(pair.one)
        _show(pair.several)
        if file is not None:
            _write(Comparison.of(pairs, settings), file)
    print(Comparison.of(pairs, settings).words())
    return 0


def _write(report: BaseModel, file: Path) -> None:
    write_whole(file, report.model_dump_json(indent=2).encode() + b"\n")


def _show(task: TaskReport) -> None:
    word = "fixed" if task.exit_code == 0 else f"exit {task.exit_code}"
    print(
        f"{task.seed}  {word:7} {task.bug_kind:13} {task.num_turns:2} turns  "
        f"{task.num_prefilled:5} read {task.num_reused:6} reused {task.num_generated:4} written  "
        f"{task.seconds:5.1f} s  {'' if task.exit_code == 0 else task.sentence}",
        flush=True,
    )


def _show_total(report: NanoReport) -> None:
    missed = Counter(task.bug_kind for task in report.tasks if task.exit_code != 0)
    print(
        f"\n{report.fixed} of {report.n} fixed; {report.num_turns} turns, "
        f"{report.num_prefilled} tokens read, {report.num_reused} reused, "
        f"{report.num_generated} written; {report.seconds:.0f} s"
    )
    if missed:
        print("not fixed:", ", ".join(f"{kind} {n}" for kind, n in missed.most_common()))
