"""Highs and drawdowns computed in blocks equal those of a plain loop."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onetape.core.candles import FloatArray
from onetape.engine.drawdown import compute_highs, compute_running_high, find_max_drawdown
from onetape.engine.ratios import compute_longest_drawdown_seconds

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 700)
#: How an account does: it falls, it goes nowhere, it stands still now and then, it rises.
drifts = st.sampled_from([-0.02, 0.0, 0.02])
starts = st.sampled_from([0.0, 100.0, 130.0])


def make_curve(seed: int, count: int, drift: float) -> FloatArray:
    """Return an equity curve of whole numbers, so that highs are met again, with flat parts."""
    chance = np.random.default_rng(seed)
    steps = chance.normal(drift, 1, count) * (chance.random(count) < 0.7)
    return np.maximum(np.rint(100 + steps.cumsum()), 0.0)


@given(seeds, counts, drifts, starts)
@example(1, 128, 0.02, 100.0)
@example(1, 129, -0.02, 100.0)
@example(1, 0, 0.0, 100.0)
def test_highs_computed_in_blocks_equal_those_of_one_pass(
    seed: int, count: int, drift: float, start: float
) -> None:
    equity = make_curve(seed, count, drift)
    plain = np.maximum(np.maximum.accumulate(equity), start)
    np.testing.assert_array_equal(compute_running_high(equity, start), plain)
    assert compute_highs(equity, start).marks.tolist() == np.flatnonzero(equity >= plain).tolist()


@pytest.mark.parametrize("at", [0, 5, 130, 299])
def test_after_a_nan_all_highs_are_nan(at: int) -> None:
    equity = make_curve(3, 300, 0.0)
    equity[at] = np.nan
    np.testing.assert_array_equal(
        compute_running_high(equity, 100.0), np.maximum(np.maximum.accumulate(equity), 100.0)
    )


@given(seeds, st.integers(1, 700), drifts, starts.filter(bool))
def test_the_maximum_drawdown_equals_that_of_a_plain_loop(
    seed: int, count: int, drift: float, start: float
) -> None:
    equity = make_curve(seed, count, drift)
    fall = find_max_drawdown(equity, start)
    high, ratios = start, list[float]()
    for value in equity.tolist():
        high = max(high, value)
        ratios.append(value / high - 1.0)
    assert fall.ratio == min(0.0, *ratios)
    if fall.ratio == 0:
        return
    assert fall.trough == ratios.index(fall.ratio)
    before = [start, *equity[: fall.trough].tolist()]
    top = max(before)
    assert fall.peak == len(before) - 2 - before[::-1].index(top)
    assert fall.amount == equity[fall.trough] - top
    after = [bar for bar in range(fall.trough, count) if equity[bar] >= top]
    assert fall.end == (after[0] if after else count - 1)


@given(seeds, st.integers(1, 700), drifts, starts.filter(bool))
def test_the_longest_drawdown_equals_that_of_a_plain_loop(
    seed: int, count: int, drift: float, start: float
) -> None:
    equity = make_curve(seed, count, drift)
    since, high, longest = 0, start, 0
    for bar, value in enumerate(equity.tolist()):
        if value >= high:
            longest = max(longest, bar - since if bar - since > 1 else 0)
            since, high = bar, value
    if equity[-1] < high:
        longest = max(longest, count - 1 - since)
    assert compute_longest_drawdown_seconds(equity, np.arange(count) * 60, start) == longest * 60
