"""Statistics of Sharpe ratios have the values that their sources publish."""

import math

import numpy as np
import pytest

from onetape.optimization.statistics.normal import (
    compute_expected_maximum,
    compute_normal_cdf,
    compute_normal_quantile,
)
from onetape.optimization.statistics.sharpe import (
    ReturnMoments,
    compute_deflated_sharpe,
    compute_deflated_threshold,
    compute_max_trials,
    compute_minimum_backtest_years,
    compute_minimum_track_record,
    compute_probabilistic_sharpe,
    compute_return_moments,
    compute_sharpe_columns,
    compute_sharpe_standard_error,
    compute_smallest_detectable_sharpe,
)

#: Bailey and Lopez de Prado, 2014: an annual Sharpe ratio of 2.5 over 1,250 days, 250 a year.
DEFLATED = ReturnMoments(1_250, 2.5 / math.sqrt(250), skew=-3.0, kurtosis=10.0)
#: Variance of the trials' Sharpe ratios: 1/2 a year.
VARIANCE = 0.5 / 250


def test_the_threshold_of_100_trials_is_the_published_one() -> None:
    assert compute_deflated_threshold(VARIANCE, 100, "approximation") == pytest.approx(
        0.1132, abs=5e-5
    )


@pytest.mark.parametrize(("trials", "published"), [(100, 0.9004), (46, 0.9505)])
def test_the_deflated_sharpe_ratio_is_the_published_one(trials: int, published: float) -> None:
    found = compute_deflated_sharpe(DEFLATED, VARIANCE, trials, "approximation")
    assert found == pytest.approx(published, abs=5e-5)


def test_normal_returns_with_88_trials_pass_as_published() -> None:
    normal = ReturnMoments(DEFLATED.count, DEFLATED.sharpe)
    found = compute_deflated_sharpe(normal, VARIANCE, 88, "approximation")
    assert found == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize(
    ("per_year", "skew", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_minimum_track_record_is_the_published_one(
    per_year: int, skew: float, kurtosis: float, years: float
) -> None:
    annual = ReturnMoments(0, 2.0 / math.sqrt(per_year), skew, kurtosis)
    found = compute_minimum_track_record(annual, 1.0 / math.sqrt(per_year), 0.95)
    assert found / per_year == pytest.approx(years, abs=5e-3)


def test_a_sharpe_ratio_below_the_threshold_has_no_track_record() -> None:
    assert compute_minimum_track_record(ReturnMoments(100, 0.1), 0.2) == math.inf


def test_the_expected_maximum_of_ten_is_exact_and_its_approximation_as_published() -> None:
    assert compute_expected_maximum(10) == pytest.approx(1.538753, abs=1e-6)
    assert compute_expected_maximum(10, "approximation") == pytest.approx(1.57, abs=5e-3)


@pytest.mark.parametrize(
    ("count", "exact"),
    # Order statistics of the normal distribution; 2 and 3 in closed form.
    [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (100, 2.50759)],
)
def test_the_expected_maximum_has_tabulated_values(count: int, exact: float) -> None:
    assert compute_expected_maximum(count) == pytest.approx(exact, abs=1e-5)


def test_the_expected_maximum_of_millions_grows_as_the_normal_tail_does() -> None:
    million = compute_expected_maximum(1_000_000)
    assert million == pytest.approx(compute_expected_maximum(1_000_000, "approximation"), rel=2e-3)
    assert compute_expected_maximum(500_000) < million < compute_expected_maximum(10**9) < 6.2


def test_five_years_allow_45_trials_at_a_sharpe_ratio_of_1_as_published() -> None:
    assert compute_max_trials(5.0, 1.0, "approximation") == 45
    assert compute_minimum_backtest_years(45, 1.0, "approximation") <= 5.0
    # The exact maximum is lower, so that a few more are allowed.
    assert 45 < compute_max_trials(5.0) < 55


@pytest.mark.parametrize(("sharpe", "count", "error"), [(0.5, 60, 0.137), (1.5, 36, 0.243)])
def test_standard_errors_equal_those_of_lo_2002(sharpe: float, count: int, error: float) -> None:
    assert compute_sharpe_standard_error(sharpe, count) == pytest.approx(error, abs=5e-4)


def test_normal_distribution_and_quantiles_equal_those_of_the_library() -> None:
    assert compute_normal_cdf(0.0) == 0.5
    assert compute_normal_quantile(0.95) == pytest.approx(1.6448536, abs=1e-7)
    assert compute_normal_cdf(compute_normal_quantile(0.2)) == pytest.approx(0.2)


def test_moments_of_returns_are_those_of_the_sample() -> None:
    returns = np.array([0.01, -0.02, 0.03, 0.0, -0.01, 0.02])
    moments = compute_return_moments(returns)
    assert moments.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert moments.skew == pytest.approx(0.0, abs=1e-12)
    assert moments.kurtosis == pytest.approx(
        ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2
    )


@pytest.mark.parametrize("returns", [[], [0.1], [0.0] * 9, [0.25] * 9])
def test_returns_that_do_not_vary_have_a_sharpe_ratio_of_0(returns: list[float]) -> None:
    moments = compute_return_moments(np.array(returns))
    assert (moments.sharpe, compute_probabilistic_sharpe(moments)) == (0.0, 0.5)


def test_each_column_has_its_sharpe_ratio() -> None:
    columns = np.array([[0.1, 0.0], [0.2, 0.0], [0.0, 0.0]])
    assert compute_sharpe_columns(columns).tolist() == [pytest.approx(1.0), 0.0]


def test_the_smallest_detectable_sharpe_ratio_is_detected_with_its_power() -> None:
    count, trials = 2_000, 50
    true = compute_smallest_detectable_sharpe(count, trials)
    generator = np.random.default_rng(7)
    variance = compute_sharpe_standard_error(0.0, count) ** 2
    passed = 0
    for _ in range(400):
        moments = compute_return_moments(generator.normal(true, 1.0, count))
        passed += compute_deflated_sharpe(moments, variance, trials) >= 0.95
    assert passed / 400 == pytest.approx(0.8, abs=0.06)
