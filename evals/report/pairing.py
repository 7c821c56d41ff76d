"""Two runs of the same tasks, compared task by task; makes no picture and no words."""

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from evals.records import Head, Record
from evals.report.summary import context_of, seconds_of, tokens_of
from evals.statistics import Interval, bootstrap_interval, difference_interval, mcnemar


class Difference(BaseModel):
    """How much more of something run B has than run A, in the mean of the pairs."""

    model_config = ConfigDict(frozen=True)

    name: str
    unit: str
    first: float = Field(description="The mean in run A.")
    second: float = Field(description="The mean in run B.")
    mean: float = Field(description="Of B - A.")
    interval: Interval = Field(description="Of the mean: paired bootstrap, 95 %.")


class Pairing(BaseModel):
    """Two runs, by the tasks that both have done and that count in both."""

    model_config = ConfigDict(frozen=True)

    first: Head
    second: Head
    changed: dict[str, tuple[str, str]] = Field(description="Conditions that differ.")
    num_pairs: int
    both: int
    neither: int
    gained: tuple[str, ...] = Field(description="Tasks that only run B solved.")
    lost: tuple[str, ...] = Field(description="Tasks that only run A solved.")
    p_value: float = Field(description="McNemar's exact test, two-sided.")
    mcnemar_interval: Interval = Field(description="Of the difference of shares, from its pairs.")
    solved: Difference
    costs: tuple[Difference, ...]
    num_same: int = Field(description="Tasks in which both runs gave the same replies.")

    @classmethod
    def of(
        cls, first: tuple[Head, Sequence[Record]], second: tuple[Head, Sequence[Record]]
    ) -> "Pairing":
        """Compare two runs.

        Raises:
            ValueError: they have no task in common.
        """
        by_task = {record.task: record for record in second[1] if record.counts}
        pairs = [(a, by_task[a.task]) for a in first[1] if a.counts and a.task in by_task]
        if first[0].source != second[0].source or not pairs:
            raise ValueError("the two runs have no task of the same source in common")
        gained = tuple(b.task for a, b in pairs if b.is_solved and not a.is_solved)
        lost = tuple(a.task for a, b in pairs if a.is_solved and not b.is_solved)
        return cls(
            first=first[0],
            second=second[0],
            changed=_changed(first[0], second[0]),
            num_pairs=len(pairs),
            both=sum(a.is_solved and b.is_solved for a, b in pairs),
            neither=sum(not a.is_solved and not b.is_solved for a, b in pairs),
            gained=gained,
            lost=lost,
            p_value=mcnemar(len(gained), len(lost)),
            mcnemar_interval=difference_interval(len(gained), len(lost), len(pairs)),
            solved=_difference("solved", "share", pairs, lambda record: float(record.is_solved)),
            costs=(
                _difference("tokens computed", "tokens", pairs, tokens_of),
                _difference("longest context", "tokens", pairs, context_of),
                _difference("replies", "replies", pairs, lambda r: r.attempt.num_turns),
                _difference("time", "s", pairs, seconds_of),
            ),
            num_same=sum(a.attempt.replies_sha256 == b.attempt.replies_sha256 for a, b in pairs),
        )


def _difference(
    name: str,
    unit: str,
    pairs: Sequence[tuple[Record, Record]],
    figure: Callable[[Record], float],
) -> Difference:
    gains = [figure(second) - figure(first) for first, second in pairs]
    return Difference(
        name=name,
        unit=unit,
        first=sum(figure(first) for first, _ in pairs) / len(pairs),
        second=sum(figure(second) for _, second in pairs) / len(pairs),
        mean=sum(gains) / len(gains),
        interval=bootstrap_interval(gains),
    )


def _changed(first: Head, second: Head) -> dict[str, tuple[str, str]]:
    """Name what differs of conditions, versions and machine: a reader must not guess it."""
    one, other = _facts(first), _facts(second)
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def _facts(head: Head) -> dict[str, str]:
    conditions = {name: str(value) for name, value in head.conditions.model_dump().items()}
    return {**conditions, **head.versions, "machine": head.machine}
