"""Stationary bootstrap of returns, and shuffled trades: intervals for the metrics of a run."""

from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray, IntArray

#: Default number of resamples.
RESAMPLES: Final = 1_000
#: Maximum number of values in memory at a time.
_MAX_NUMBERS: Final = 4_000_000


class Interval(Struct, frozen=True):
    """Interval that holds a share of the resampled values."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""


class BootstrapIntervals(Struct, frozen=True):
    """Intervals of 90 % of a run's metrics over resampled returns."""

    total_return: Interval
    """Interval of the total return, a fraction."""
    max_drawdown: Interval
    """Interval of the maximum drawdown, a fraction; zero or negative."""
    sharpe: Interval
    """Interval of the Sharpe ratio per period."""
    block: float
    """Mean length of the resampled blocks, in periods."""
    resamples: int
    """Number of resamples."""


def compute_block_length(count: int) -> float:
    """Return the mean block length of a bootstrap: the cube root of the number of returns.

    Source: D. Politis, J. Romano, The Stationary Bootstrap, Journal of the American Statistical
    Association 89(428), 1994: the optimal length grows with the cube root.
    """
    return max(1.0, float(count) ** (1.0 / 3.0))


def draw_stationary_indexes(
    count: int, resamples: int, block: float, generator: np.random.Generator
) -> IntArray:
    """Return the indexes of resampled returns: one row per resample.

    Blocks begin anywhere and have geometric lengths; after the last return follows the first.

    Source: D. Politis, J. Romano, The Stationary Bootstrap, 1994.

    Args:
        count: Number of returns.
        resamples: Number of resamples.
        block: Mean length of a block, at least 1.
        generator: Seeded random generator.
    """
    begins = generator.random((resamples, count)) < 1.0 / block
    begins[:, 0] = True
    starts = generator.integers(0, count, (resamples, count))
    at = np.maximum.accumulate(np.where(begins, np.arange(count), 0), axis=1)
    rows = np.arange(resamples)[:, None]
    return (starts[rows, at] + np.arange(count) - at) % count


def compute_bootstrap_intervals(
    returns: FloatArray, seed: int, resamples: int = RESAMPLES
) -> BootstrapIntervals | None:
    """Return intervals of 90 % for total return, maximum drawdown and Sharpe ratio.

    Args:
        returns: Returns per period, such as days.
        seed: Random seed of the resamples.
        resamples: Number of resamples.

    Returns:
        None for fewer than 10 returns.
    """
    count = len(returns)
    if count < 10:
        return None
    generator, block = np.random.default_rng(seed), compute_block_length(count)
    step = max(1, _MAX_NUMBERS // count)
    totals: list[FloatArray] = []
    drawdowns: list[FloatArray] = []
    sharpes: list[FloatArray] = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = returns[draw_stationary_indexes(count, rows, block, generator)]
        deviations = drawn.std(axis=1, ddof=1)
        sharpes.append(drawn.mean(axis=1) / np.maximum(deviations, 1e-15))
        equity = _compute_equity(drawn)
        totals.append(equity[:, -1] - 1.0)
        drawdowns.append(compute_max_drawdowns(equity))
    return BootstrapIntervals(
        _compute_interval(np.concatenate(totals)),
        _compute_interval(np.concatenate(drawdowns)),
        _compute_interval(np.concatenate(sharpes)),
        block,
        resamples,
    )


def compute_shuffled_drawdowns(
    trade_returns: FloatArray, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the interval of 90 % of the maximum drawdown over shuffled trades.

    Shuffling changes the order of the trades but not their total return, so only the drawdown
    varies.

    Args:
        trade_returns: Return of equity by each trade, in order.
        seed: Random seed of the permutations.
        resamples: Number of permutations.

    Returns:
        None for fewer than 10 trades.
    """
    count = len(trade_returns)
    if count < 10:
        return None
    generator = np.random.default_rng(seed)
    step = max(1, _MAX_NUMBERS // count)
    found: list[FloatArray] = []
    for start in range(0, resamples, step):
        rows = np.tile(trade_returns, (min(step, resamples - start), 1))
        found.append(compute_max_drawdowns(_compute_equity(generator.permuted(rows, axis=1))))
    return _compute_interval(np.concatenate(found))


def compute_max_drawdowns(equity: FloatArray) -> FloatArray:
    """Return the maximum drawdown of each row of equity that starts at 1; 0 or below."""
    peaks = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    return (equity / peaks).min(axis=1, initial=1.0) - 1.0


def _compute_equity(returns: FloatArray) -> FloatArray:
    """Return the equity of each row of returns, from 1."""
    return np.cumprod(1.0 + returns, axis=1, dtype=np.float64)


def _compute_interval(values: FloatArray) -> Interval:
    ordered = np.sort(values)
    last = len(ordered) - 1
    return Interval(float(ordered[round(0.05 * last)]), float(ordered[round(0.95 * last)]))
