"""Do several attempts repair more than one greedy attempt, on the same seeds?

    qwen-agent eval nano --seeds 950000:950200 --bugs 2 --attempts 4 --temperature 0.8 --compare

Every seed is run twice, as a person would: once with one greedy attempt and once with the attempts
that the settings ask for. The difference is taken seed by seed; its interval is a bootstrap over
seeds, and McNemar's exact test says how likely so one-sided a result is by chance.
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.compose import ChatFactory
from evals.nano.evaluate import Settings, TaskReport, run_all
from evals.nano.plain_python import make_plain_python
from evals.statistics import COVERAGE, bootstrap_interval, mcnemar


class Pair(BaseModel):
    """What came of one seed, both ways."""

    model_config = ConfigDict(frozen=True)

    one: TaskReport
    several: TaskReport

    @property
    def gain(self) -> int:
        """1 if only the several attempts repaired it, -1 if only the one did, else 0."""
        return (self.several.exit_code == 0) - (self.one.exit_code == 0)


class Comparison(BaseModel):
    """The whole comparison."""

    model_config = ConfigDict(frozen=True)

    n: int
    fixed_by_one: int
    fixed_by_several: int
    gained: int
    lost: int
    difference: float = Field(description="Of the shares that were repaired.")
    interval: tuple[float, float]
    p_value: float
    model: str
    num_bugs: int
    attempts: int
    temperature: float | None
    seed: int
    num_attempts: int = Field(description="That were made, of those that stop at the first green.")
    num_later: int = Field(description="Attempts after the first, the shared prefix being there.")
    num_shared: int = Field(description="Tokens that each of those reused at its start, at least.")
    num_read_at_start: int = Field(description="Tokens that they prefilled at their start.")
    seconds: float
    pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair], settings: Settings) -> "Comparison":
        """Count what came of the pairs."""
        gains = [pair.gain for pair in pairs]
        gained, lost = gains.count(1), gains.count(-1)
        later = [start for pair in pairs for start in pair.several.starts[1:]]
        return cls(
            n=len(pairs),
            fixed_by_one=sum(pair.one.exit_code == 0 for pair in pairs),
            fixed_by_several=sum(pair.several.exit_code == 0 for pair in pairs),
            gained=gained,
            lost=lost,
            difference=sum(gains) / max(1, len(gains)),
            interval=bootstrap_interval(gains),
            p_value=mcnemar(gained, lost),
            model=settings.model,
            num_bugs=settings.num_bugs,
            attempts=settings.attempts,
            temperature=settings.temperature,
            seed=settings.seed,
            num_attempts=sum(pair.several.num_attempts for pair in pairs),
            num_later=len(later),
            num_shared=min((num_reused for _, num_reused in later), default=0),
            num_read_at_start=sum(num_prefilled for num_prefilled, _ in later),
            seconds=round(sum(pair.one.seconds + pair.several.seconds for pair in pairs), 1),
            pairs=tuple(pairs),
        )

    def words(self) -> str:
        """Say it in a few lines."""
        low, high = (100 * bound for bound in self.interval)
        at = "" if self.temperature is None else f" at temperature {self.temperature:g}"
        return (
            f"\none greedy attempt: {self.fixed_by_one} of {self.n} fixed\n"
            f"up to {self.attempts} attempts{at}: {self.fixed_by_several} of {self.n} fixed, "
            f"in {self.num_attempts} attempts\n"
            f"difference {100 * self.difference:+.1f} points, {COVERAGE:.0%} interval "
            f"{low:+.1f} to {high:+.1f}; {self.gained} gained, {self.lost} lost, "
            f"McNemar's exact p = {self.p_value:.2g}\n"
            f"each of {self.num_later} later attempts began with at least {self.num_shared} tokens "
            f"reused, and read {self.num_read_at_start / max(1, self.num_later):.0f} on average; "
            f"{self.seconds:.0f} s"
        )


def compare(
    seeds: range, settings: Settings, chat_factory: ChatFactory, done: Collection[int] = ()
) -> Iterator[Pair]:
    """Run the seeds that are not `done`, each both ways, with a model that is loaded already."""
    greedy = replace(settings, attempts=1, temperature=None)
    with tempfile.TemporaryDirectory(prefix="plain-python-") as place:
        python = make_plain_python(Path(place))
        for seed in seeds:
            if seed not in done:
                only = range(seed, seed + 1)
                (one,) = run_all(only, greedy, chat_factory, python)
                (several,) = run_all(only, settings, chat_factory, python)
                yield Pair(one=one, several=several)


def read_pairs(file: Path, settings: Settings) -> list[Pair]:
    """Return the pairs of an earlier run with the same settings.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        found = Comparison.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} holds no comparison; name another file.") from error
    if found != Comparison.of(found.pairs, settings):
        raise ValueError(f"{file} was made with other settings; name another file.")
    return list(found.pairs)
