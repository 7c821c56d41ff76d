"""`make evals`: nano under three conditions on the same few tasks, as a page for the documents.

    python -m evals.latest docs/evals --seeds 940000:940008 --runs eval-runs

Two bugs a repository: one greedy attempt, then up to four sampled ones, then the greedy one again
without any reuse of what was read. It says what changed since the last time somebody ran it, and is
too small to say more; a claim needs a run of its own.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.patch import write_whole
from evals.conditions import Conditions
from evals.numbers import seeds
from evals.report.pairing import Pairing
from evals.report.summary import Summary
from evals.report.words import pairing_rows, summary_rows
from evals.report.written import write_pairing, write_report
from evals.run_folder import RunFolder, find
from evals.runner import local, prepared, run
from evals.tasks.nano import NanoTasks
from sandbox.remove import remove_tree

NUM_BUGS = 2
NUM_WORKERS = 2
GREEDY = Conditions(model="nano")
RUNS: Mapping[str, Conditions] = {
    "one-greedy": GREEDY,
    "four-sampled": GREEDY.model_copy(update={"attempts": 4, "temperature": 0.8}),
    "no-reuse": GREEDY.model_copy(update={"reuse": False}),
}
PAIRS = (("one-greedy", "four-sampled"), ("one-greedy", "no-reuse"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all of it and write the page; 0 once every task was tried."""
    parser = argparse.ArgumentParser(description="Write the page of the latest small evaluation.")
    parser.add_argument("out", type=Path, help="the folder of latest.md and latest.json")
    parser.add_argument("--seeds", type=seeds, default=range(940_000, 940_008), metavar="A:B")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the three runs")
    chosen = parser.parse_args(arguments)
    source = NanoTasks(chosen.seeds, NUM_BUGS)
    folders: dict[str, RunFolder] = {}
    for name, conditions in RUNS.items():
        print(f"== {name}", flush=True)
        if find(chosen.runs / name) is not None:
            remove_tree(chosen.runs / name)  # of an earlier time, perhaps with other code
        folders[name] = prepared(source, conditions, chosen.runs / name)
        run(folders[name], local(NUM_WORKERS), lambda text: print(text, flush=True))
    write_latest(folders, chosen.runs, chosen.out)
    print(f"{chosen.out / 'latest.md'}; pages in {chosen.runs}")
    return 0


def write_latest(folders: Mapping[str, RunFolder], pages: Path, out: Path) -> None:
    """Write the pages of the runs, and `latest.md` and `latest.json` about them all."""
    summaries = {name: write_report(folder) for name, folder in folders.items()}
    pairs: dict[str, Pairing] = {}
    for one, other in PAIRS:
        name = f"{one}--{other}"
        pairs[name] = write_pairing(folders[one], folders[other], pages / name)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "latest.md", _page(summaries, pairs).encode())
    parts = [
        *(f'"{name}": {one.model_dump_json()}' for name, one in summaries.items()),
        *(f'"{name}": {pair.model_dump_json()}' for name, pair in pairs.items()),
    ]
    write_whole(out / "latest.json", ("{" + ",\n".join(parts) + "}\n").encode())


def _page(summaries: Mapping[str, Summary], pairs: Mapping[str, Pairing]) -> str:
    first = next(iter(summaries.values()))
    head = first.head
    versions = ", ".join(f"{name} {number}" for name, number in head.versions.items())
    lines = [
        "# The latest small evaluation",
        "",
        "Written by `make evals`; a check that nothing broke, too small for a claim.",
        "",
        f"- {head.num_tasks} tasks, `{head.source}`",
        f"- {head.contamination}",
        f"- begun {head.started}, {head.machine}, {NUM_WORKERS} workers; {versions}",
        f"- seed {head.seed}; configurations "
        + ", ".join(f"{name} `{one.head.config_sha256}`" for name, one in summaries.items()),
        "",
        summary_rows(list(summaries.items())),
    ]
    for name, pair in pairs.items():
        one, other = name.split("--")
        low, high = pair.mcnemar_interval
        lines += [
            "",
            f"## A = {one}, B = {other}",
            "",
            f"{pair.num_pairs} pairs; only A solved {len(pair.lost)}, only B {len(pair.gained)}; "
            f"McNemar's exact p = {pair.p_value:.2g}, 95 % interval of the difference "
            f"{low:+.2f} to {high:+.2f}; the same replies in {pair.num_same}.",
            "",
            pairing_rows(pair),
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
