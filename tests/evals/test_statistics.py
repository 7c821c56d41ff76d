"""The statistics give the values that are printed in the literature they come from."""

import pytest

from evals.statistics import bootstrap_interval, difference_interval, mcnemar, share_interval


def test_mcnemars_test_is_the_two_sided_sign_test_of_the_pairs_that_differ() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(10, 0) == mcnemar(0, 10) == 2 / 2**10
    # Bentur et al. 2009, as in Fagerland et al. 2014: 1 and 7 of 21 pairs differ.
    assert mcnemar(7, 1) == mcnemar(1, 7) == pytest.approx(0.0703125)


def test_the_interval_of_paired_shares_is_the_corrected_one_of_wald() -> None:
    low, high = difference_interval(1, 7, 21)
    # (2 - 8) / 23 -+ 1.96 * sqrt((10 / 23 - (6 / 23) ** 2) / 23), by hand
    assert (low, high) == (pytest.approx(-0.5084, abs=1e-4), pytest.approx(-0.0134, abs=1e-4))
    assert difference_interval(7, 1, 21) == (pytest.approx(-high), pytest.approx(-low))
    assert difference_interval(0, 0, 0) == (0, 0)


def test_the_interval_holds_the_mean_and_narrows_with_more_pairs() -> None:
    few, many = [1, 0, 0, 1, -1] * 4, [1, 0, 0, 1, -1] * 40
    for gains in (few, many):
        low, high = bootstrap_interval(gains)
        assert low < 0.2 < high
    widths = [high - low for low, high in map(bootstrap_interval, (few, many))]
    assert widths[1] < widths[0] / 2
    assert bootstrap_interval([1] * 9) == (1, 1)


def test_the_bootstrap_agrees_with_the_normal_interval_where_that_is_right() -> None:
    values = [float(n % 10) for n in range(400)]  # mean 4.5, variance 8.25
    half = 1.96 * (8.25 / 400) ** 0.5
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(4.5 - half, abs=0.05)
    assert high == pytest.approx(4.5 + half, abs=0.05)


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Newcombe 1998, Stat Med 17:857, table I: 81 of 263, and none of 20.
    low, high = share_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert share_interval(0, 20) == (0, pytest.approx(0.1611, abs=1e-4))
    assert share_interval(20, 20) == (pytest.approx(0.8389, abs=1e-4), 1)
    assert share_interval(0, 0) == (0, 0)
