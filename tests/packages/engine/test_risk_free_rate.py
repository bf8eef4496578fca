"""Sharpe and Sortino ratios above a risk-free rate, against formulas written out by hand."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.engine import AccountConfig, compute_metrics, make_metrics_context, simulate
from onetape.engine.ratios import compute_period_rate, compute_sharpe, compute_sortino
from plain_engine import make_signals, walk

DAILY = np.array([0.02, -0.01, 0.03, -0.02, 0.004])
RATES = st.floats(-0.9, 0.9)


@given(RATES, st.sampled_from([12.0, 52.0, 365.0]))
def test_the_rate_of_a_period_compounds_to_the_rate_of_a_year(rate: float, periods: float):
    assert (1 + compute_period_rate(rate, periods)) ** periods == pytest.approx(1 + rate)


def test_without_a_rate_the_deduction_is_exactly_zero():
    assert compute_period_rate(0.0, 365.0) == 0.0
    assert compute_sharpe(DAILY, 365.0, 0.0) == compute_sharpe(DAILY, 365.0)
    assert compute_sortino(DAILY, 365.0, 0.0) == compute_sortino(DAILY, 365.0)


@pytest.mark.parametrize("rate", [0.04, 0.3, -0.005])
def test_the_ratios_measure_the_returns_above_the_rate_of_a_day(rate: float):
    day = (1 + rate) ** (1 / 365) - 1
    above = [one - day for one in DAILY.tolist()]
    down = math.sqrt(statistics.fmean([min(one, 0.0) ** 2 for one in above]))
    mean, root = statistics.fmean(above), math.sqrt(365)
    assert compute_sharpe(DAILY, 365.0, rate) == pytest.approx(
        mean / statistics.stdev(above) * root
    )
    assert compute_sortino(DAILY, 365.0, rate) == pytest.approx(mean / down * root)


def test_the_ratio_of_a_constant_return_is_undefined_with_a_rate():
    steady = np.full(5, 0.01)
    assert compute_sharpe(steady, 365.0, 0.04) is None
    at_the_rate = np.full(5, compute_period_rate(0.04, 365.0))
    assert (
        compute_sharpe(at_the_rate, 365.0, 0.04),
        compute_sortino(at_the_rate, 365.0, 0.04),
    ) == (
        None,
        None,
    )


def test_the_rate_changes_sharpe_and_sortino_and_no_other_metric():
    result = simulate(walk(3, 600), np.array(make_signals(3, 600), np.int8), AccountConfig())
    plain, above = compute_metrics(result), compute_metrics(result, risk_free_rate=0.05)
    differing = {name for name, value in above.as_dict().items() if value != plain.as_dict()[name]}
    assert differing == {"sharpe", "sortino"}
    context = make_metrics_context(result.candles, result.rules, 0.05)
    assert compute_metrics(result, context) == above
