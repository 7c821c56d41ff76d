"""Does an edit land where it was meant, whatever slips into the call, or say why it did not?

Method: generated files in eight languages (`edit_tasks.py`), each to be changed in one line of one
function. A scripted model (`edit_model.py`) views the file and edits it with a mistake of those in
`edit_mistakes.py`; after a failure it may use nothing but what the tool said. After every call the
file must be as it was or as it should be: anything else is a wrong write. A task ends well with the
golden file, or, where there is nothing to write, with a refusal that names the cause.
Goals: all end well, no wrong write, median 1 call, 95 % within 2 calls after a first failure.
Last line: JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evals.bench.arguments import run_alone
from evals.bench.edit_mistakes import NO_MISTAKE, make_tasks
from evals.bench.edit_model import ScriptedModel
from evals.bench.edit_tasks import Task
from sandbox.workspace import Workspace
from tools.editor import StrReplaceEditor
from tools.placing import Rescue
from tools.registry import Registry
from tools.respace import find_respaced

MAX_CALLS = 8
NUM_RECOVERY_CALLS = 2
GOOD_ENDS = ("golden", "refused")


@dataclass(frozen=True)
class Outcome:
    """How one task ended."""

    language: str
    mistake: str
    end: str
    """`golden`, `refused` with the cause, `wrong` write, or `lost`."""
    num_calls: int
    """From the first edit on; the view before it is not counted."""
    said: str
    """The last result."""


@dataclass(frozen=True)
class Figures:
    """How many tasks ended how."""

    num_tasks: int
    num_golden: int
    num_refused: int
    num_wrong: int
    num_lost: int
    median_calls: float
    max_calls: int
    recovered: float
    """The share of those whose first call failed that ended well within two more."""


def run_task(task: Task, folder: Path, rescue: Rescue = find_respaced) -> Outcome:
    """Let the scripted model make one edit in an empty folder."""
    file = folder / task.path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(task.shown)
    editor = StrReplaceEditor(Workspace(folder, folder), rescue=rescue)
    tools, model = Registry([editor]), ScriptedModel(task)
    model.saw(tools.call(editor.name, model.look()).text)
    file.write_bytes(task.before)
    call, said = model.first(), ""
    for number in range(1, MAX_CALLS + 1):
        result = tools.call(editor.name, call)
        content, said = file.read_bytes(), f"{said}\n{result.text}"
        if content not in (task.before, task.golden):
            return Outcome(task.language, task.mistake, "wrong", number, result.text)
        if content == task.golden and not task.cause:
            return Outcome(task.language, task.mistake, "golden", number, result.text)
        following = model.next(result.text)
        if following is None:
            end = "refused" if task.cause and task.cause in said else "lost"
            return Outcome(task.language, task.mistake, end, number, result.text)
        call = following
    return Outcome(task.language, task.mistake, "lost", MAX_CALLS, result.text)


def run_all(tasks: Iterable[Task], rescue: Rescue = find_respaced) -> list[Outcome]:
    """Make every edit in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="qwen-agent-bench-") as name:
        return [
            run_task(task, Path(name, str(number)), rescue) for number, task in enumerate(tasks)
        ]


def summarise(outcomes: Sequence[Outcome]) -> Figures:
    """Count how the tasks ended."""
    ends = [outcome.end for outcome in outcomes]
    calls = [outcome.num_calls for outcome in outcomes]
    failed = [o for o in outcomes if o.num_calls > 1 or o.end not in GOOD_ENDS]
    quick = [o for o in failed if o.end in GOOD_ENDS and o.num_calls <= 1 + NUM_RECOVERY_CALLS]
    return Figures(
        num_tasks=len(outcomes),
        num_golden=ends.count("golden"),
        num_refused=ends.count("refused"),
        num_wrong=ends.count("wrong"),
        num_lost=ends.count("lost"),
        median_calls=statistics.median(calls),
        max_calls=max(calls),
        recovered=round(len(quick) / len(failed), 4) if failed else 1.0,
    )


def is_good(total: Figures) -> bool:
    """Say whether the goals are reached."""
    num_good = total.num_golden + total.num_refused
    return num_good == total.num_tasks and total.median_calls == 1 and total.recovered >= 0.95


def by_key(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, Figures]:
    """Count apart what has another key."""
    names = dict.fromkeys(map(key, outcomes))
    return {name: summarise([o for o in outcomes if key(o) == name]) for name in names}


def to_record(seed: int, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return what the last line holds."""
    total = summarise(outcomes)
    tables = {
        "by_mistake": by_key(outcomes, lambda outcome: outcome.mistake),
        "by_language": by_key(outcomes, lambda outcome: outcome.language),
    }
    rows = {
        name: {key: asdict(figures) for key, figures in table.items()}
        for name, table in tables.items()
    }
    return {"bench": "edit", "seed": seed, "good": is_good(total), **asdict(total), **rows}


def print_tables(outcomes: Sequence[Outcome]) -> None:
    """Print the figures by mistake, by language and of all; then what did not end well."""
    _print_table("mistake", by_key(outcomes, lambda outcome: outcome.mistake))
    _print_table("language", by_key(outcomes, lambda outcome: outcome.language))
    mistaken = [outcome for outcome in outcomes if outcome.mistake != NO_MISTAKE]
    _print_table("", {"with a mistake": summarise(mistaken), "all": summarise(outcomes)})
    for outcome in outcomes:
        if outcome.end not in GOOD_ENDS:
            print(f"{outcome.end}: {outcome.mistake}, {outcome.language}: {outcome.said}\n")


def _print_table(title: str, rows: dict[str, Figures]) -> None:
    print(f"{title:16} tasks golden refused wrong lost  calls  most  recovered in 2")
    for name, row in rows.items():
        print(
            f"{name:16} {row.num_tasks:5} {row.num_golden:6} {row.num_refused:7} {row.num_wrong:5} "
            f"{row.num_lost:4} {row.median_calls:6g} {row.max_calls:5} {row.recovered:14.0%}"
        )
    print()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seed", type=int, default=0, help="of the files and the changes")
    parser.add_argument("--json", action="store_true", help="print the last line alone")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 1 if a goal is missed."""
    outcomes = run_all(make_tasks(arguments.seed))
    if not arguments.json:
        print_tables(outcomes)
    record = to_record(arguments.seed, outcomes)
    print(json.dumps(record))
    return 0 if record["good"] else 1


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
