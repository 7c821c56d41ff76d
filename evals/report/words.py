"""A run, and two runs, in a few lines for a terminal or a page of Markdown."""

from collections.abc import Sequence

from evals.records import Record
from evals.report.pairing import Difference, Pairing
from evals.report.summary import Summary
from evals.statistics import COVERAGE


def summary_words(summary: Summary) -> str:
    """Say what a run came to."""
    low, high = summary.interval
    head, spent = summary.head, summary.spent
    lines = [
        f"{head.suite}, {head.model}: {summary.num_solved} of {summary.num_counted} solved "
        f"({summary.share:.1%}; {COVERAGE:.0%} interval {low:.1%} to {high:.1%})",
        f"per task, median: {summary.median_tokens:.0f} tokens computed, context "
        f"{summary.median_context:.0f}, {summary.median_seconds:.1f} s",
        f"in all: {spent.num_prefilled} tokens read, {spent.num_reused} reused, "
        f"{spent.num_generated} written; {summary.seconds:.0f} s",
    ]
    if summary.failures:
        counts = ", ".join(f"{name} {num}" for name, num in summary.failures.items())
        lines.append(f"not solved: {counts}")
    if summary.left_out:
        lines.append(summary.left_out)
    if summary.num_done < head.num_tasks:
        lines.append(f"{head.num_tasks - summary.num_done} tasks are not done yet")
    return "\n".join([*lines, head.contamination, _origin(summary)])


def pairing_words(pairing: Pairing) -> str:
    """Say how two runs differ, task by task."""
    low, high = pairing.mcnemar_interval
    changed = [f"{name} {a} -> {b}" for name, (a, b) in pairing.changed.items()]
    return "\n".join(
        [
            f"{pairing.first.suite}: {pairing.num_pairs} tasks in both; "
            f"A -> B: {', '.join(changed) or 'the same conditions'}",
            f"both solved {pairing.both}, neither {pairing.neither}, only A {len(pairing.lost)}, "
            f"only B {len(pairing.gained)}; McNemar's exact p = {pairing.p_value:.2g}",
            f"difference of shares {pairing.solved.mean:+.3f}, {COVERAGE:.0%} interval "
            f"{low:+.3f} to {high:+.3f} by the pairs that differ",
            *[_difference(one) for one in (pairing.solved, *pairing.costs)],
            f"the same replies in {pairing.num_same} tasks",
        ]
    )


def summary_rows(named: Sequence[tuple[str, Summary]]) -> str:
    """Return a table in Markdown, a row a run."""
    rows = [
        "| run | solved | 95 % | tokens computed | reused | median s | not solved |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, summary in named:
        low, high = summary.interval
        spent = summary.spent
        failures = ", ".join(f"{kind} {num}" for kind, num in summary.failures.items())
        rows.append(
            f"| {name} | {summary.num_solved} of {summary.num_counted} | {low:.0%} to {high:.0%} | "
            f"{spent.num_prefilled + spent.num_generated:,} | {spent.num_reused:,} | "
            f"{summary.median_seconds:.1f} | "
            f"{'; '.join(filter(None, (failures or 'none', summary.left_out)))} |"
        )
    return "\n".join(rows)


def pairing_rows(pairing: Pairing) -> str:
    """Return a table in Markdown, a row a figure."""
    rows = ["| | A | B | B - A | 95 % of the mean |", "| --- | --- | --- | --- | --- |"]
    for one in (pairing.solved, *pairing.costs):
        low, high = one.interval
        rows.append(
            f"| {one.name} ({one.unit}) | {one.first:.4g} | {one.second:.4g} | {one.mean:+.3g} | "
            f"{low:+.3g} to {high:+.3g} |"
        )
    return "\n".join(rows)


def line_of(record: Record) -> str:
    """Say in a line what came of a task."""
    attempt, spent = record.attempt, record.attempt.spent
    word = "solved" if record.is_solved else record.failure or "not solved"
    return (
        f"{record.task:16} {word:14} {attempt.num_turns:3} turns {spent.num_prefilled:7} read "
        f"{spent.num_reused:8} reused {spent.num_generated:6} written {attempt.seconds:6.1f} s"
    )


def _difference(one: Difference) -> str:
    low, high = one.interval
    return (
        f"  {one.name:16} {one.first:10.4g} -> {one.second:10.4g} {one.unit:7} "
        f"{one.mean:+.4g}, interval {low:+.4g} to {high:+.4g}"
    )


def _origin(summary: Summary) -> str:
    head = summary.head
    versions = ", ".join(f"{name} {number}" for name, number in head.versions.items())
    return f"seed {head.seed}, config {head.config_sha256}, {head.machine}; {versions}"
