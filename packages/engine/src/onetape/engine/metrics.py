"""What a run was worth: return, risk and trades beside buy-and-hold.

Ratios are parts, not per cent: 0.05 is 5 %. A market that never closes has 365 days a year. Returns
for risk are daily, from the last close of each UTC day (per candle where candles are longer than a
day), with no risk-free rate. A value that is not defined, such as the win rate of no trades, is
None, never NaN.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.engine.drawdown import Drawdown, max_drawdown
from onetape.engine.fills import FillModel, Market, Refused
from onetape.engine.result import Result
from onetape.engine.rules import Rules

DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """All cash put in at the first open that a strategy could have had, and kept."""

    final_equity: float
    """Quote currency at the last close."""
    total_return: float
    """Fee of the buy included, none for selling."""
    max_drawdown: float
    """As `Metrics.max_drawdown`."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The numbers of one run; see each function for formula and source."""

    start_cash: float
    """Quote currency."""
    final_equity: float
    """Quote currency: cash, and an open position at the last close."""
    total_return: float
    """final_equity / start_cash - 1."""
    market_change: float | None
    """Last close against first close - 1, no fee."""
    cagr: float | None
    """Return a year, compounded; None for no time or nothing left."""
    volatility: float | None
    """Standard deviation of the returns, a year."""
    sharpe: float | None
    """Mean over standard deviation of the returns, a year."""
    sortino: float | None
    """Mean over downside deviation of the returns, a year."""
    calmar: float | None
    """cagr over the size of max_drawdown."""
    max_drawdown: float
    """Largest fall from a high, as a part of it; zero or negative."""
    max_drawdown_seconds: int
    """From that high to the candle that regained it, or to the end."""
    exposure: float
    """Part of the candles at whose close a position was open."""
    trades: int
    """Closed round trips. A position that is open at the end is not one."""
    open_at_end: bool
    """Whether a position is open at the end."""
    wins: int
    """Closed trades with a profit above zero after fees."""
    win_rate: float | None
    """wins / trades."""
    profit_factor: float | None
    """Profits of the winners over losses of the losers; None without a loss."""
    expectancy: float | None
    """Mean profit of a closed trade, quote currency."""
    average_trade: float | None
    """Mean profit ratio of the closed trades."""
    best_trade: float | None
    """Largest profit ratio."""
    worst_trade: float | None
    """Smallest profit ratio."""
    fees: float
    """Paid on all fills, quote currency."""
    turnover: float | None
    """Worth of all fills over the mean equity, a year."""
    slippage: float
    """What fills lost against the open, the stop or the limit, quote currency."""
    sqn: float | None
    """System quality number of the closed trades."""
    average_win: float | None
    """Mean profit ratio of the trades that won."""
    average_loss: float | None
    """Mean profit ratio of those that did not."""
    average_bars: float | None
    """Mean number of candles that a closed trade was held for."""
    longest_drawdown_seconds: int
    """Longest time from a high to the candle that regained it, or to the end."""
    refused_orders: int
    """Orders that account or market kept from being filled."""
    ambiguous_bars: int
    """Bars that reached stop and target, taken as stopped because nothing told which was first."""
    decided_bars: int
    """Such bars where finer candles told it."""
    buy_and_hold: BuyAndHold | None
    """None where there was no second candle, or the market refuses an order of that size."""

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return asdict(self)


def metrics_of(result: Result) -> Metrics:
    """Return the metrics of a run."""
    start = result.start_cash
    candles = result.candles
    fall = max_drawdown(result.equity, start)
    returns, periods = period_returns(start, result.equity, candles.timestamp)
    span_seconds = _span_seconds(candles.timestamp)
    growth = cagr(start, result.final_equity, span_seconds)
    numbers = _columns(result)
    profits, ratios = _closed_profits(result, numbers)
    won = profits > 0
    wins = int(won.sum())
    return Metrics(
        start_cash=start,
        final_equity=result.final_equity,
        total_return=result.final_equity / start - 1.0,
        market_change=float(candles.close[-1] / candles.close[0]) - 1.0 if len(candles) else None,
        cagr=growth,
        volatility=volatility(returns, periods),
        sharpe=sharpe(returns, periods),
        sortino=sortino(returns, periods),
        calmar=growth / -fall.ratio if growth is not None and fall.ratio < 0 else None,
        max_drawdown=fall.ratio,
        max_drawdown_seconds=_seconds(fall, candles.timestamp),
        exposure=result.exposure,
        trades=len(profits),
        open_at_end=result.is_open_at_end,
        wins=wins,
        win_rate=wins / len(profits) if len(profits) else None,
        profit_factor=profit_factor(profits),
        expectancy=float(profits.mean()) if len(profits) else None,
        average_trade=float(ratios.mean()) if len(ratios) else None,
        best_trade=float(ratios.max()) if len(ratios) else None,
        worst_trade=float(ratios.min()) if len(ratios) else None,
        fees=_fees(result, numbers),
        turnover=turnover(float(numbers[:, 2].sum()), result.equity, span_seconds),
        slippage=_slippage(result, numbers),
        sqn=sqn(profits),
        average_win=float(ratios[won].mean()) if wins else None,
        average_loss=float(ratios[~won].mean()) if wins < len(ratios) else None,
        average_bars=_average_bars(result),
        longest_drawdown_seconds=longest_fall_seconds(result.equity, candles.timestamp, start),
        refused_orders=len(result.refused),
        ambiguous_bars=result.book.ambiguous,
        decided_bars=result.book.decided,
        buy_and_hold=buy_and_hold(candles, result.rules),
    )


def buy_and_hold(candles: Candles, rules: Rules) -> BuyAndHold | None:
    """Return what buying and holding made; None where there was nothing to buy."""
    equity = buy_and_hold_equity(candles, rules)
    if equity is None:
        return None
    final = float(equity[-1])
    return BuyAndHold(final, final / rules.cash - 1.0, max_drawdown(equity).ratio)


def buy_and_hold_equity(candles: Candles, rules: Rules) -> FloatArray | None:
    """Return what all cash is worth at each close, bought at the second candle's open and kept.

    The second, because a signal of the first close fills there at the earliest. Same fee, slippage
    and steps as the strategy's fills; the last close counts, without selling. None where there was
    no second candle, or the market refuses an order of that size.
    """
    if len(candles) < 2:
        return None
    all_in = Rules(
        cash=rules.cash,
        fee_rate=rules.fee_rate,
        fee_coin=rules.fee_coin,
        slippage_bps=rules.slippage_bps,
        spread_bps=rules.spread_bps,
        volume_impact=rules.volume_impact,
        steps=rules.steps,
    )
    fill = FillModel.of(all_in).buy(
        rules.cash, float(candles.open[1]), Market(float(candles.volume[0]))
    )
    if isinstance(fill, Refused):
        return None
    equity = candles.close * fill.base_change + (rules.cash + fill.cash_change)
    equity[0] = rules.cash
    return equity


def cagr(start: float, end: float, seconds: float) -> float | None:
    """Return the compound annual growth rate, (end / start)^(365 days / time) - 1.

    None for no time, for nothing left, and for a growth too large for a float.
    """
    if seconds <= 0 or end <= 0:
        return None
    exponent = YEAR_SECONDS / seconds * math.log(end / start)
    return math.expm1(exponent) if exponent < 700 else None


def period_returns(
    start: float, equity: FloatArray, timestamp: IntArray
) -> tuple[FloatArray, float]:
    """Return the returns that risk is measured on, and how many of them make a year.

    Args:
        start: Cash before the first candle, the base of the first return.
        equity: At each close, shape (n,).
        timestamp: Open of each candle, epoch seconds UTC, shape (n,).
    """
    if not len(equity):
        return np.empty(0), 365.0
    seconds = _candle_seconds(timestamp)
    kept = equity
    if seconds < DAY_SECONDS:
        day = timestamp // DAY_SECONDS
        kept = equity[np.append(day[1:] != day[:-1], True)]
    path = np.concatenate(([start], kept))
    # Nothing comes after a total loss: an account at zero has no returns.
    path = path[: np.argmax(path <= 0) + 1] if (path <= 0).any() else path
    return np.diff(path) / path[:-1], YEAR_SECONDS / max(seconds, DAY_SECONDS)


def volatility(returns: FloatArray, periods: float) -> float | None:
    """Return the sample standard deviation of the returns times the root of the periods a year."""
    if len(returns) < 2:
        return None
    return float(returns.std(ddof=1)) * math.sqrt(periods)


def sharpe(returns: FloatArray, periods: float) -> float | None:
    """Return mean over sample standard deviation, times the root of the periods a year.

    Source: W. F. Sharpe, The Sharpe Ratio, 1994, with a risk-free rate of zero.
    """
    if len(returns) < 2:
        return None
    return _ratio(float(returns.mean()), float(returns.std(ddof=1)), periods)


def sortino(returns: FloatArray, periods: float) -> float | None:
    """Return mean over downside deviation, sqrt(mean(min(r, 0)^2)), times the root as above.

    Source: F. A. Sortino and L. N. Price, Performance Measurement in a Downside Risk Framework,
    1994, with a target of zero. None without a loss.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.square(np.minimum(returns, 0.0)).mean()))
    return _ratio(float(returns.mean()), downside, periods)


def profit_factor(profits: FloatArray) -> float | None:
    """Return the sum of the profits over the sum of the losses; None without a loss."""
    lost = -float(profits[profits < 0].sum())
    return float(profits[profits > 0].sum()) / lost if lost > 0 else None


def expectancy_ratio(profits: FloatArray) -> float | None:
    """Return (1 + mean win / mean loss) win rate - 1: profit per unit risked.

    Source: V. Tharp's R multiples in the form that freqtrade prints. None without a loss.
    """
    wins, losses = profits[profits > 0], profits[profits < 0]
    if not len(losses):
        return None
    payoff = float(wins.mean()) / -float(losses.mean()) if len(wins) else 0.0
    return (1.0 + payoff) * len(wins) / len(profits) - 1.0


def sqn(profits: FloatArray) -> float | None:
    """Return the system quality number, sqrt(n) mean / sample standard deviation of the profits.

    Source: V. Tharp, Definitive Guide to Position Sizing, 2008, with the profits in quote currency
    for R multiples, as backtesting.py and freqtrade do. None for fewer than two trades.
    """
    if len(profits) < 2:
        return None
    return _ratio(float(profits.mean()), float(profits.std(ddof=1)), float(len(profits)))


def turnover(traded: float, equity: FloatArray, seconds: float) -> float | None:
    """Return the worth of buys and sells over the mean equity, a year of 365 days.

    Source: the portfolio turnover rate of fund reports with both sides counted: 2 means that the
    whole account was bought and sold once. None for no time or no money.

    Args:
        traded: Sum of the fills' prices times amounts, quote currency.
        equity: At each close, shape (n,).
        seconds: From the first open to the last close.
    """
    mean = float(equity.mean()) if len(equity) else 0.0
    return traded / mean * YEAR_SECONDS / seconds if seconds > 0 and mean > 0 else None


def longest_fall_seconds(equity: FloatArray, timestamp: IntArray, start: float) -> int:
    """Return the longest time from a high to the candle that regained it, or to the last one.

    Args:
        equity: At each close, shape (n,).
        timestamp: Open of each candle, epoch seconds UTC, shape (n,).
        start: Cash before the first candle, which counts as a high at its open.
    """
    high = np.maximum(np.maximum.accumulate(equity), start)
    marks = np.flatnonzero(equity >= high)
    bounds = np.concatenate(([0], marks, [len(equity) - 1]))
    # Highs on neighbouring candles have no fall between them.
    apart = bounds[1:] - bounds[:-1] > 1
    below_at_end = len(equity) > 0 and equity[-1] < high[-1]
    apart[-1:] |= below_at_end
    lengths = timestamp[bounds[1:]] - timestamp[bounds[:-1]] if len(equity) else np.zeros(1, int)
    return int(lengths[apart].max()) if apart.any() else 0


def _ratio(mean: float, deviation: float, periods: float) -> float | None:
    # A deviation of rounding noise, such as that of constant returns, is none.
    if deviation <= abs(mean) * 1e-12:
        return None
    return mean / deviation * math.sqrt(periods)


def _columns(result: Result) -> FloatArray:
    """Return the fills' numbers as columns, as `fills.Numbers` orders them, shape (m, 6)."""
    return np.array(result.book.numbers, dtype=np.float64).reshape(-1, 6)


def _closed_profits(result: Result, numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return profit and profit ratio of each closed trade, without making the trades."""
    change, carried = numbers[:, 4], result.book.carried
    if carried is not None:
        change = np.append(carried.fill.cash_change, change)
    back = change[1::2]
    paid = -change[0::2][: len(back)]
    return back - paid, back / paid - 1.0


def _fees(result: Result, numbers: FloatArray) -> float:
    fees = numbers[:, 3].copy()
    if result.rules.fee_coin == "received":
        # A buy's fee is in coins; what was carried in makes the first fill a sell.
        buys = slice(0 if result.book.carried is None else 1, None, 2)
        fees[buys] *= numbers[buys, 0]
    return float(fees.sum())


def _slippage(result: Result, numbers: FloatArray) -> float:
    missed = np.abs(numbers[:, 0] - np.asarray(result.book.prices, dtype=np.float64))
    return float((missed * numbers[:, 1]).sum())


def _average_bars(result: Result) -> float | None:
    exits = result.book.exit_bars()
    if not exits:
        return None
    return (sum(exits) - sum(result.book.entry_bars()[: len(exits)])) / len(exits)


def _seconds(fall: Drawdown, timestamp: IntArray) -> int:
    if fall.ratio == 0:
        return 0
    return int(timestamp[fall.end] - timestamp[max(fall.peak, 0)])


def _candle_seconds(timestamp: IntArray) -> int:
    """Return the length of a candle: the least step between two, because gaps only add."""
    return int(np.diff(timestamp).min()) if len(timestamp) > 1 else 0


def _span_seconds(timestamp: IntArray) -> int:
    """Return the time from the first candle's open to the last one's close."""
    if len(timestamp) < 2:
        return 0
    return int(timestamp[-1] - timestamp[0]) + _candle_seconds(timestamp)
