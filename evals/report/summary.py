"""What a run came to in figures, as one JSON document; makes no picture and no words."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

from evals.records import Head, Record
from evals.solver import Spent
from evals.statistics import share_interval


class Group(BaseModel):
    """The tasks that have a fact in common."""

    model_config = ConfigDict(frozen=True)

    fact: str
    value: str
    num_tasks: int
    num_solved: int


class Summary(BaseModel):
    """A run in figures, and every record it is made from."""

    model_config = ConfigDict(frozen=True)

    head: Head
    num_done: int
    num_counted: int = Field(description="Of those done: what says something of the solver.")
    num_solved: int
    share: float = Field(description="Solved of those counted.")
    interval: tuple[float, float] = Field(description="Of the share: Wilson, 95 %.")
    failures: dict[str, int] = Field(description="How many that count were not solved, by class.")
    spent: Spent = Field(description="By all tasks together.")
    median_tokens: float = Field(
        description="Computed for a task that counts: prefilled and generated."
    )
    median_seconds: float
    median_context: float = Field(description="Tokens of the longest conversation.")
    seconds: float = Field(description="Of all attempts together, as if one after the other.")
    groups: tuple[Group, ...]
    records: tuple[Record, ...]

    @classmethod
    def of(cls, head: Head, records: Sequence[Record]) -> "Summary":
        """Count."""
        counted = [record for record in records if record.counts]
        num_solved = sum(record.is_solved for record in counted)
        return cls(
            head=head,
            num_done=len(records),
            num_counted=len(counted),
            num_solved=num_solved,
            share=num_solved / max(1, len(counted)),
            interval=share_interval(num_solved, len(counted)),
            failures=dict(Counter(r.failure for r in counted if r.failure).most_common()),
            spent=total_of(records),
            median_tokens=_median(counted, tokens_of),
            median_seconds=_median(counted, seconds_of),
            median_context=_median(counted, context_of),
            seconds=round(sum(map(seconds_of, records)), 1),
            groups=_groups(counted),
            records=tuple(records),
        )

    @property
    def left_out(self) -> str:
        """What does not count, in words; empty where everything does."""
        names = Counter(record.failure for record in self.records if not record.counts)
        if not names:
            return ""
        return f"not counted: {', '.join(f'{name} {num}' for name, num in names.items())}"


def tokens_of(record: Record) -> int:
    """Return how many tokens were computed for a task."""
    return record.attempt.spent.num_prefilled + record.attempt.spent.num_generated


def context_of(record: Record) -> int:
    """Return the tokens of the longest conversation of a task."""
    return record.attempt.context_tokens


def seconds_of(record: Record) -> float:
    """Return how long an attempt took."""
    return record.attempt.seconds


def total_of(records: Sequence[Record]) -> Spent:
    """Add up what the tasks cost."""
    names = Spent.model_fields
    return Spent(**{n: sum(getattr(r.attempt.spent, n) for r in records) for n in names})


def _median(records: Sequence[Record], figure: Callable[[Record], float]) -> float:
    return median(map(figure, records)) if records else 0.0


def _groups(records: Sequence[Record]) -> tuple[Group, ...]:
    """Count by each fact that takes more than one value, and fewer than there are tasks."""
    names = sorted({name for record in records for name in record.facts})
    groups = []
    for name in names:
        values = Counter(record.facts.get(name, "") for record in records)
        if not 1 < len(values) < len(records):
            continue
        solved = Counter(r.facts.get(name, "") for r in records if r.is_solved)
        for value, num in values.most_common():
            groups.append(Group(fact=name, value=value, num_tasks=num, num_solved=solved[value]))
    return tuple(groups)
