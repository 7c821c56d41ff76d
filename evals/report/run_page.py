"""The page of one run: what was solved, at what cost, what failed and why, and every task."""

from collections.abc import Sequence

from evals.records import Head, Record
from evals.report.markup import Cell, Markup, page, tag
from evals.report.plots import Curve, bars, short, solved_within
from evals.report.style import STYLE
from evals.report.summary import Group, Summary, context_of, seconds_of, tokens_of
from evals.statistics import COVERAGE


def run_page(summary: Summary) -> str:
    """Return the document; it links to `trajectories/TASK.html`."""
    return page(
        f"{summary.head.suite}, {summary.head.model}",
        STYLE,
        tag("p", summary.head.contamination, class_="soft"),
        _tiles(summary),
        tag("div", plots_of([("", summary.records)]), *_failures(summary), class_="plots"),
        *([tag("h2", "By kind of task"), _groups(summary.groups)] if summary.groups else []),
        tag("h2", "Tasks"),
        _tasks(summary.records),
        tag("h2", "How it was run"),
        facts_of(summary.head),
    )


def plots_of(runs: Sequence[tuple[str, Sequence[Record]]]) -> list[Markup]:
    """Draw solved against tokens, time and context, a curve a run."""
    figures = (
        ("Solved within so many tokens", "tokens computed for a task", tokens_of),
        ("Solved within so much time", "seconds for a task", seconds_of),
        ("Solved with so much context", "longest conversation, tokens", context_of),
    )
    return [
        solved_within(
            title,
            unit,
            [
                Curve(name, [figure(r) for r in rs if r.is_solved], sum(r.counts for r in rs))
                for name, rs in runs
            ],
        )
        for title, unit, figure in figures
    ]


def facts_of(head: Head) -> Markup:
    """Show what is needed to run it again."""
    facts = {
        "source": head.source,
        "config": head.config_sha256,
        **{name: str(value) for name, value in head.conditions.model_dump().items()},
        **head.versions,
        "machine": head.machine,
        "started": head.started,
    }
    return table(("what", "value"), [(name, value) for name, value in facts.items()], numeric=())


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: Sequence[int]) -> Markup:
    """Make a table; the columns `numeric` are set to the right."""

    def row(name: str, cells: Sequence[Cell]) -> Markup:
        kinds = [{"class_": "num"} if n in numeric else {} for n in range(len(cells))]
        return tag("tr", [tag(name, c, **k) for c, k in zip(cells, kinds, strict=True)])

    head = tag("thead", row("th", titles))
    body = tag("tbody", [row("td", cells) for cells in rows])
    return tag("div", tag("table", head, body), class_="scroll")


def tile(value: str, words: str) -> Markup:
    """Show one figure large."""
    return tag("div", tag("b", value), tag("span", words, class_="soft"), class_="tile")


def _tiles(summary: Summary) -> Markup:
    low, high = summary.interval
    spent = summary.spent
    reused = spent.num_reused / max(1, spent.num_prompt)
    share = f"{summary.share:.0%}; {COVERAGE:.0%} interval {low:.0%} to {high:.0%}"
    return tag(
        "div",
        tile(f"{summary.num_solved} of {summary.num_counted}", f"solved, {share}"),
        tile(short(summary.median_tokens), "tokens computed for a task, median"),
        tile(f"{summary.median_seconds:.1f} s", "for a task, median"),
        tile(f"{reused:.0%}", "of all prompts reused"),
        class_="tiles",
    )


def _failures(summary: Summary) -> list[Markup]:
    rows = list(summary.failures.items())  # the most frequent first
    drawn = [bars("Why tasks were not solved", rows)] if rows else []
    return [*drawn, tag("p", summary.left_out)] if summary.left_out else drawn


def _groups(groups: Sequence[Group]) -> Markup:
    rows = [(g.fact, g.value, f"{g.num_solved} of {g.num_tasks}") for g in groups]
    return table(("fact", "value", "solved"), rows, numeric=(2,))


def _tasks(records: Sequence[Record]) -> Markup:
    titles = ("task", "came to", "replies", "calls", "tokens", "reused", "context", "s", "why")
    rows = [
        (
            tag("a", record.task, href=f"trajectories/{record.task}.html"),
            result_of(record),
            str(record.attempt.num_turns),
            str(record.attempt.num_calls),
            str(tokens_of(record)),
            str(record.attempt.spent.num_reused),
            str(record.attempt.context_tokens),
            f"{record.attempt.seconds:.1f}",
            record.grade.sentence,
        )
        for record in records
    ]
    return table(titles, rows, numeric=range(2, 8))


def result_of(record: Record) -> Markup:
    """Say in a word what came of a task."""
    if record.is_solved:
        return tag("span", "solved", class_="good")
    return tag("span", record.failure or "not solved", class_="bad")
