"""The page of two runs side by side: who solved what, and how far each difference reaches."""

from collections.abc import Sequence

from evals.records import Record
from evals.report.markup import Cell, Markup, page, tag
from evals.report.pairing import Difference, Pairing
from evals.report.plots import interval_bar, short
from evals.report.run_page import facts_of, plots_of, table, tile
from evals.report.style import STYLE


def pairing_page(pairing: Pairing, first: Sequence[Record], second: Sequence[Record]) -> str:
    """Return the document."""
    low, high = pairing.solved.interval
    return page(
        f"{pairing.first.suite}: A and B",
        STYLE,
        tag("p", pairing.first.contamination, class_="soft"),
        tag(
            "div",
            tile(f"{pairing.solved.first:.0%}", f"solved by A, of {pairing.num_pairs}"),
            tile(f"{pairing.solved.second:.0%}", "solved by B"),
            tile(f"{pairing.solved.mean:+.1%}", f"difference; interval {low:+.1%} to {high:+.1%}"),
            tile(f"{pairing.p_value:.2g}", "p by McNemar's exact test"),
            class_="tiles",
        ),
        tag("div", plots_of([("A", first), ("B", second)]), class_="plots"),
        tag("h2", "Differences, B - A, task by task"),
        _differences(pairing),
        tag("h2", "Tasks that only one of them solved"),
        _apart(pairing),
        tag("h2", "What differs in how they were run"),
        table(("", "A", "B"), [(k, a, b) for k, (a, b) in pairing.changed.items()], numeric=()),
        tag("h2", "Run A"),
        facts_of(pairing.first),
        tag("h2", "Run B"),
        facts_of(pairing.second),
    )


def _differences(pairing: Pairing) -> Markup:
    titles = ("", "A", "B", "B - A", "95 % interval", "")
    rows: list[Sequence[Cell]] = [_row(one) for one in (pairing.solved, *pairing.costs)]
    low, high = pairing.mcnemar_interval
    wald = f"{low:+.3f} to {high:+.3f}"
    bar = interval_bar(pairing.solved.mean, low, high)
    rows.insert(1, ("solved, by its discordant pairs", "", "", "", wald, bar))
    return table(titles, rows, numeric=range(1, 5))


def _row(one: Difference) -> Sequence[Cell]:
    low, high = one.interval
    name = f"{one.name} ({one.unit})"
    figures = (short(one.first), short(one.second), f"{one.mean:+.3g}")
    return (name, *figures, f"{low:+.3g} to {high:+.3g}", interval_bar(one.mean, low, high))


def _apart(pairing: Pairing) -> Markup:
    rows = [("only A", ", ".join(pairing.lost)), ("only B", ", ".join(pairing.gained))]
    counts = f"Both solved {pairing.both}, neither {pairing.neither}; in {pairing.num_same} tasks "
    words = f"{counts}both gave the same replies, word for word."
    return Markup(tag("p", words) + table(("", "tasks"), rows, numeric=()))
