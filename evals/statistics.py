"""The few statistics that the reports use, each in a few lines of its own; knows no task."""

import math
from collections.abc import Sequence
from random import Random

NUM_RESAMPLES = 2_000
COVERAGE = 0.95
Z = 1.959963984540054
"""The normal quantile of that coverage, two-sided."""

Interval = tuple[float, float]


def mcnemar(gained: int, lost: int) -> float:
    """Return the chance of a split at least so uneven if both ways were equally good.

    The exact, two-sided form of McNemar's test: the pairs that differ fall to either side like a
    fair coin (McNemar 1947, Psychometrika 12:153; exact form: Fagerland et al. 2013,
    doi:10.1186/1471-2288-13-91).
    """
    num_apart = gained + lost
    tail = sum(math.comb(num_apart, k) for k in range(min(gained, lost) + 1))
    return min(1.0, math.ldexp(2 * tail, -num_apart))


def bootstrap_interval(differences: Sequence[float]) -> Interval:
    """Return the interval of the mean difference, by drawing as many pairs again.

    The percentile bootstrap over pairs, with replacement (Efron & Tibshirani 1993, An Introduction
    to the Bootstrap, 13.3); always the same draws, so that a report can be made again.
    """
    if not differences:
        return (0.0, 0.0)
    random = Random(0)
    num = len(differences)
    means = sorted(sum(random.choices(differences, k=num)) / num for _ in range(NUM_RESAMPLES))
    tail = round(NUM_RESAMPLES * (1 - COVERAGE) / 2)
    return means[tail], means[-1 - tail]


def difference_interval(gained: int, lost: int, num_pairs: int) -> Interval:
    """Return the interval of a difference of paired shares from its discordant pairs alone.

    Wald's interval with Bonett and Price's correction, which adds a pair of each kind and so holds
    for few pairs too (Bonett & Price 2012, J Educ Behav Stat 37:479; it is recommended by
    Fagerland et al. 2014, Stat Med 33:2850).
    """
    if not num_pairs:
        return (0.0, 0.0)
    total = num_pairs + 2
    up, down = (gained + 1) / total, (lost + 1) / total
    half = Z * math.sqrt((up + down - (up - down) ** 2) / total)
    middle = up - down
    return max(-1.0, middle - half), min(1.0, middle + half)


def share_interval(num: int, total: int) -> Interval:
    """Return the interval of a share (Wilson 1927, J Am Stat Assoc 22:209)."""
    if not total:
        return (0.0, 0.0)
    share, spread = num / total, Z * Z / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / total / 4)
    # The ends of a share of none or all are exact, and not what rounding leaves of them.
    return (0.0 if num == 0 else middle - half), (1.0 if num == total else middle + half)
