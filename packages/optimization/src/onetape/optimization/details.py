"""Details of a trial: daily returns and positions of the in-sample part, for the verdict.

They are stored with the results of the first trials, because the statistics of `judge.py` compare
many trials.
"""

import base64
from typing import Any, Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, FloatArray
from onetape.engine import AccountConfig, SimulationResult
from onetape.engine.ratios import Calendar, compute_period_returns
from onetape.optimization.statistics.random_timing import TimedPositions

#: Number of trials that have details: the first ones, in the order of the trials.
DETAILED_TRIALS: Final = 1_000
#: Maximum number of closed trades; a trial with more has no details, to limit its line's length.
_MAX_POSITIONS: Final = 5_000


class TrialDetails(Struct, frozen=True):
    """Details of one trial, in-sample."""

    daily: str
    """Base64 of the returns as little-endian float32, one per UTC day (or longer candle)."""
    entries: list[int]
    """Indices of the entry candles, counted from the first candle that is traded."""
    exits: list[int]
    """Indices of the exit candles; one fewer if a position is open at the end."""


def make_trial_details(result: SimulationResult, calendar: Calendar) -> TrialDetails | None:
    """Return the details of a backtest; None where it has too many trades."""
    entries, exits = result.fill_log.get_entry_bars(), result.fill_log.get_exit_bars()
    if len(entries) > _MAX_POSITIONS:
        return None
    returns, _ = compute_period_returns(result.start_cash, result.equity, calendar)
    packed = base64.b64encode(returns.astype("<f4").tobytes()).decode()
    return TrialDetails(packed, entries, exits)


def decode_daily_returns(details: dict[str, Any]) -> FloatArray:
    """Return the daily returns of stored details."""
    return np.frombuffer(base64.b64decode(details["daily"]), "<f4").astype(np.float64)


def make_daily_matrix(details: list[dict[str, Any]]) -> FloatArray:
    """Return the daily returns of trials, shape (days, trials); after a total loss they are 0."""
    columns = [decode_daily_returns(one) for one in details]
    days = max((len(column) for column in columns), default=0)
    matrix = np.zeros((days, len(columns)))
    for number, column in enumerate(columns):
        matrix[: len(column), number] = column
    return matrix


def compute_market_returns(candles: Candles) -> FloatArray:
    """Return the return of the market from each open to the next, or to the last close.

    Args:
        candles: Traded candles, n of them.
    """
    ends = np.append(candles.open[1:], candles.close[-1])
    return ends / candles.open - 1.0


def make_timed_positions(
    entries: list[int], exits: list[int], candles: int, rules: AccountConfig
) -> TimedPositions:
    """Return the positions of a trial over its candles, all in, with the costs of each fill.

    Args:
        entries: Indices of the candles of the entries.
        exits: Indices of the candles of the exits.
        candles: Number of candles.
        rules: Fee, slippage and spread.
    """
    changes, costs = np.zeros(candles + 1), np.zeros(candles)
    cost = rules.fee_rate + rules.slippage
    for bars, change in ((entries, 1.0), (exits, -1.0)):
        for bar in bars:
            changes[max(bar, 0)] += change
            costs[max(bar, 0)] += cost
    return TimedPositions(np.clip(np.cumsum(changes[:-1]), 0.0, 1.0), costs)
