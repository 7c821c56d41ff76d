"""Writes the reports of runs to disk, each file whole or not at all."""

import json
from pathlib import Path

from agent.errors import UsageError
from agent.patch import write_whole
from evals.report.pairing import Pairing
from evals.report.pairing_page import pairing_page
from evals.report.run_page import run_page
from evals.report.summary import Summary
from evals.report.viewer import trajectory_page
from evals.run_folder import RunFolder, find, lines_of, records_of, trajectory_of
from evals.tasks.swebench import predictions

SWEBENCH = "swebench"
"""The name of that suite in the specs of its sources."""


def opened(path: Path) -> RunFolder:
    """Return the run in a folder.

    Raises:
        UsageError: there is none.
    """
    folder = find(path)
    if folder is None:
        raise UsageError(f"{path} holds no run; `qwen-agent eval run SUITE --out {path}` makes one")
    return folder


def write_report(folder: RunFolder) -> Summary:
    """Write `report.json`, `report.html` and a page a task into the folder of a run.

    Of SWE-bench's instances, also `predictions.jsonl`, which the official grader takes.
    """
    summary = Summary.of(folder.head, records_of(folder))
    for record in summary.records:
        page = trajectory_page(folder.head, record, lines_of(folder, record.task))
        write_whole(trajectory_of(folder.path, record.task).with_suffix(".html"), page.encode())
    write_whole(folder.path / "report.json", _json(summary))
    write_whole(folder.path / "report.html", run_page(summary).encode())
    if json.loads(folder.head.source)["suite"] == SWEBENCH:
        patches = [(record.task, record.attempt.patch) for record in summary.records]
        lines = predictions(patches, folder.head.model)
        write_whole(folder.path / "predictions.jsonl", lines.encode())
    return summary


def compared(first: RunFolder, second: RunFolder) -> Pairing:
    """Compare two runs task by task.

    Raises:
        UsageError: they have no task in common.
    """
    one, other = ((folder.head, records_of(folder)) for folder in (first, second))
    try:
        return Pairing.of(one, other)
    except ValueError as error:
        raise UsageError(f"{first.path} and {second.path}: {error}") from error


def write_pairing(first: RunFolder, second: RunFolder, out: Path) -> Pairing:
    """Write `compare.json` and `compare.html` of two runs into a folder, made if need be."""
    pairing = compared(first, second)
    out.mkdir(parents=True, exist_ok=True)
    page = pairing_page(pairing, records_of(first), records_of(second))
    write_whole(out / "compare.json", _json(pairing))
    write_whole(out / "compare.html", page.encode())
    return pairing


def _json(model: Summary | Pairing) -> bytes:
    return model.model_dump_json(indent=2).encode() + b"\n"
