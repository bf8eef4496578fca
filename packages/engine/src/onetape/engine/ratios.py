"""The formulas behind the metrics, each with its source.

Ratios are fractions, not per cent. A market that never closes has 365 days a year. A value that is
not defined is None, never NaN.
"""

import math

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray, IntArray
from onetape.core.timeframes import MONTH_SECONDS
from onetape.engine.drawdown import Highs, compute_highs

DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS
_SHORTEST_MONTH_SECONDS = 28 * DAY_SECONDS


class Calendar(Struct, frozen=True):
    """Calendar of candles, used for the metrics of every run over these candles."""

    candle_seconds: int
    """Length of a candle, seconds; 0 for fewer than two candles."""
    span_seconds: int
    """Time from the first candle's open to the last one's close, seconds."""
    measured: IntArray | slice
    """The candles whose closes risk is measured on: the last of each UTC day; all where candles
    are longer than a day."""


def make_calendar(timestamp: IntArray) -> Calendar:
    """Return the calendar of candles with these opens, epoch seconds UTC, shape (n,)."""
    seconds = compute_candle_seconds(timestamp)
    span = int(timestamp[-1] - timestamp[0]) + seconds if len(timestamp) > 1 else 0
    measured: IntArray | slice = slice(None)
    if len(timestamp) and seconds < DAY_SECONDS:
        measured = _find_day_ends(timestamp)
    return Calendar(seconds, span, measured)


def _find_day_ends(timestamp: IntArray) -> IntArray:
    """Return the index of the last time of each UTC day that has one; at least one time."""
    first, last = int(timestamp[0]) // DAY_SECONDS, int(timestamp[-1]) // DAY_SECONDS
    # A search of the few days among the times is faster than the other way round.
    begins = np.arange(first + 1, last + 1) * DAY_SECONDS
    ends = np.append(np.searchsorted(timestamp, begins), len(timestamp)) - 1
    return ends[np.diff(ends, prepend=-1) > 0]


def compute_cagr(start: float, end: float, seconds: float) -> float | None:
    """Return the compound annual growth rate, (end / start)^(365 days / time) - 1.

    None if no time has passed, if no money remains, and for a growth too large for a float.
    """
    if seconds <= 0 or end <= 0:
        return None
    exponent = YEAR_SECONDS / seconds * math.log(end / start)
    return math.expm1(exponent) if exponent < 700 else None


def compute_period_returns(
    start: float, equity: FloatArray, calendar: Calendar
) -> tuple[FloatArray, float]:
    """Return the returns that risk is measured on, and their number per year.

    Args:
        start: Cash before the first candle, the base of the first return.
        equity: Equity at each close, shape (n,).
        calendar: Calendar of the candles.
    """
    if not len(equity):
        return np.empty(0), 365.0
    path = np.concatenate(([start], equity[calendar.measured]))
    # Nothing comes after a total loss: an account at zero has no returns.
    path = path[: np.argmax(path <= 0) + 1] if (path <= 0).any() else path
    return np.diff(path) / path[:-1], YEAR_SECONDS / max(calendar.candle_seconds, DAY_SECONDS)


def compute_period_rate(annual_rate: float, periods: float) -> float:
    """Return the rate of one period that compounds to an annual rate.

    (1 + annual rate)^(1 / periods) - 1.

    Args:
        annual_rate: Rate per year as a ratio, above -1.
        periods: Number of periods in a year.
    """
    return math.expm1(math.log1p(annual_rate) / periods)


def compute_volatility(returns: FloatArray, periods: float) -> float | None:
    """Return the sample standard deviation of the returns times the root of the periods a year."""
    if len(returns) < 2:
        return None
    return float(returns.std(ddof=1)) * math.sqrt(periods)


def compute_sharpe(
    returns: FloatArray, periods: float, risk_free_rate: float = 0.0
) -> float | None:
    """Return (mean - rate) / sample standard deviation, times the root of the periods a year.

    The rate is the risk-free one of a period (`compute_period_rate`).
    Source: W. F. Sharpe, The Sharpe Ratio, 1994, with a constant rate as the benchmark.

    Args:
        returns: Returns of the periods, shape (n,).
        periods: Number of periods in a year.
        risk_free_rate: Rate per year as a ratio.
    """
    if len(returns) < 2:
        return None
    rate = compute_period_rate(risk_free_rate, periods)
    return _compute_ratio(float(returns.mean()), float(returns.std(ddof=1)), periods, rate)


def compute_sortino(
    returns: FloatArray, periods: float, risk_free_rate: float = 0.0
) -> float | None:
    """Return (mean - rate) / downside deviation, sqrt(mean(min(r - rate, 0)^2)), times that root.

    Source: F. A. Sortino and L. N. Price, Performance Measurement in a Downside Risk Framework,
    1994, with the risk-free rate as the target. None without a return below it.

    Args:
        returns: Returns of the periods, shape (n,).
        periods: Number of periods in a year.
        risk_free_rate: Rate per year as a ratio.
    """
    if len(returns) < 2:
        return None
    rate = compute_period_rate(risk_free_rate, periods)
    downside = math.sqrt(float(np.square(np.minimum(returns - rate, 0.0)).mean()))
    return _compute_ratio(float(returns.mean()), downside, periods, rate)


def compute_profit_factor(profits: FloatArray) -> float | None:
    """Return the sum of the profits over the sum of the losses; None without a loss."""
    lost = -float(profits[profits < 0].sum())
    return float(profits[profits > 0].sum()) / lost if lost > 0 else None


def compute_expectancy_ratio(profits: FloatArray) -> float | None:
    """Return (1 + mean win / mean loss) win rate - 1: profit per unit risked.

    Source: V. Tharp's R multiples in the form that freqtrade prints. None without a loss.
    """
    wins, losses = profits[profits > 0], profits[profits < 0]
    if not len(losses):
        return None
    payoff = float(wins.mean()) / -float(losses.mean()) if len(wins) else 0.0
    return (1.0 + payoff) * len(wins) / len(profits) - 1.0


def compute_sqn(profits: FloatArray) -> float | None:
    """Return the system quality number, sqrt(n) mean / sample standard deviation of the profits.

    Source: V. Tharp, Definitive Guide to Position Sizing, 2008, with the profits in quote currency
    for R multiples, as backtesting.py and freqtrade do. None for fewer than two trades.
    """
    if len(profits) < 2:
        return None
    return _compute_ratio(float(profits.mean()), float(profits.std(ddof=1)), float(len(profits)))


def compute_turnover(traded: float, equity: FloatArray, seconds: float) -> float | None:
    """Return the value of buys and sells divided by the mean equity, a year of 365 days.

    Source: the portfolio turnover rate of fund reports with both sides counted: 2 means that the
    whole account was bought and sold once. None for no time or no money.

    Args:
        traded: Sum of the fills' prices times amounts, quote currency.
        equity: Equity at each close, shape (n,).
        seconds: Seconds from the first open to the last close.
    """
    mean = float(equity.mean()) if len(equity) else 0.0
    return traded / mean * YEAR_SECONDS / seconds if seconds > 0 and mean > 0 else None


def compute_longest_drawdown_seconds(
    equity: FloatArray, timestamp: IntArray, start: float, highs: Highs | None = None
) -> int:
    """Return the longest time from a high to the candle that regained it, or to the last one.

    Args:
        equity: Equity at each close, shape (n,).
        timestamp: Open of each candle, epoch seconds UTC, shape (n,).
        start: Cash before the first candle, which counts as a high at its open.
        highs: Result of `compute_highs` for both, if known already.
    """
    if not len(equity):
        return 0
    marks = (compute_highs(equity, start) if highs is None else highs).marks
    bounds = np.concatenate(([0], marks, [len(equity) - 1]))
    # Highs on neighbouring candles have no fall between them.
    is_fall = bounds[1:] - bounds[:-1] > 1
    is_fall[-1:] |= not len(marks) or int(marks[-1]) != len(equity) - 1
    first, last = bounds[:-1][is_fall], bounds[1:][is_fall]
    return int((timestamp[last] - timestamp[first]).max()) if len(first) else 0


def _compute_ratio(
    mean: float, deviation: float, periods: float, rate: float = 0.0
) -> float | None:
    # A deviation that is rounding noise, such as that of constant returns, counts as zero.
    if deviation <= max(abs(mean), abs(rate)) * 1e-12:
        return None
    return (mean - rate) / deviation * math.sqrt(periods)


def compute_candle_seconds(timestamp: IntArray) -> int:
    """Return the length of a candle, seconds: the smallest difference between two opens.

    Months, which differ in length, count as a twelfth of a year each, as in
    `Timeframe.average_seconds`.
    """
    if len(timestamp) < 2:
        return 0
    shortest = int(np.diff(timestamp).min())
    if shortest < _SHORTEST_MONTH_SECONDS:
        return shortest
    months = timestamp.astype("datetime64[s]").astype("datetime64[M]")
    if (months.astype("datetime64[s]").astype(np.int64) != timestamp).any():
        return shortest
    return int(np.diff(months.astype(np.int64)).min()) * MONTH_SECONDS
