"""Performance metrics of a run: return, risk and trades, and those of buy-and-hold.

Ratios are fractions, not per cent: 0.05 is 5 %. A market that never closes has 365 days a year.
Returns for risk are daily, from the last close of each UTC day (per candle where candles are longer
than a day). A value that is not defined, such as the win rate of no trades, is None, never NaN.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.buy_and_hold import (
    BuyAndHoldResult,
    compute_buy_and_hold,
    compute_equal_parts_equity,
    make_buy_and_hold_result,
)
from onetape.engine.drawdown import Drawdown, compute_highs, find_max_drawdown
from onetape.engine.portfolio import PortfolioResult
from onetape.engine.ratios import (
    Calendar,
    compute_cagr,
    compute_longest_drawdown_seconds,
    compute_period_returns,
    compute_profit_factor,
    compute_sharpe,
    compute_sortino,
    compute_sqn,
    compute_turnover,
    compute_volatility,
    make_calendar,
)
from onetape.engine.simulation_result import SimulationResult
from onetape.engine.trade_stats import sum_trade_stats


class Metrics(Struct, frozen=True):
    """Metrics of one run; docs/metrics.md and the functions of ratios.py have the formulas."""

    start_cash: float
    """Start balance, quote currency."""
    final_equity: float
    """Equity at the end: cash, and an open position at the last close, quote currency."""
    total_return: float
    """Total return as a ratio: final_equity / start_cash - 1."""
    market_change: float | None
    """Last close / first close - 1, without fees; the mean of several symbols."""
    cagr: float | None
    """Compound annual growth rate; None if no time has passed or no money remains."""
    volatility: float | None
    """Annualised standard deviation of the returns."""
    sharpe: float | None
    """Annualised Sharpe ratio: mean of the returns above the risk-free rate / their deviation."""
    sortino: float | None
    """Annualised Sortino ratio: mean above the risk-free rate / deviation of returns below it."""
    calmar: float | None
    """Calmar ratio: cagr / absolute value of max_drawdown."""
    max_drawdown: float
    """Largest drawdown of equity from a high as a ratio of the high; zero or negative."""
    max_drawdown_seconds: int
    """Duration of the largest drawdown, until its high was regained or the end, seconds."""
    exposure: float
    """Share of the candles with an open position at the close, 0 to 1."""
    trades: int
    """Number of closed round trips; a position open at the end does not count."""
    open_at_end: bool
    """Whether a position is open at the end."""
    wins: int
    """Number of closed trades with a profit above zero after fees."""
    win_rate: float | None
    """Share of winning trades: wins / trades."""
    profit_factor: float | None
    """Sum of all profits / sum of all losses; None without a loss."""
    expectancy: float | None
    """Mean profit of a closed trade, quote currency."""
    average_trade: float | None
    """Mean profit ratio of the closed trades."""
    best_trade: float | None
    """Largest profit ratio of a closed trade."""
    worst_trade: float | None
    """Smallest profit ratio of a closed trade."""
    fees: float
    """Fees paid on all fills, quote currency."""
    turnover: float | None
    """Value of all fills divided by the mean equity, per year."""
    slippage: float
    """Cost of slippage: fills against the open, the stop or the limit, quote currency."""
    sqn: float | None
    """System quality number of the closed trades."""
    average_win: float | None
    """Mean profit ratio of the trades that won."""
    average_loss: float | None
    """Mean profit ratio of the closed trades that did not win."""
    average_bars: float | None
    """Mean number of candles that a closed trade was held for."""
    longest_drawdown_seconds: int
    """Longest time from a high to the candle that regained it, or to the end, seconds."""
    refused_orders: int
    """Number of orders that the account or the market's trading rules refused."""
    ambiguous_bars: int
    """Number of bars whose prices allow several exits or none; the worst exit was taken."""
    decided_bars: int
    """Number of bars whose prices allow several exits and that intrabar candles decided."""
    buy_and_hold: BuyAndHoldResult | None
    """Result of buy and hold, of the traded symbols or of the benchmark; None if nothing traded
    later, or the market refuses the order."""
    waited_orders: int = 0
    """Number of orders that filled late because nothing was traded when they were due."""
    limited_entries: int = 0
    """Number of entries that `max_volume_share` made smaller."""

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        hold = self.buy_and_hold
        return {**asdict(self), "buy_and_hold": None if hold is None else asdict(hold)}


class MetricsContext(Struct, frozen=True):
    """Values that the metrics of all runs over the same candles with the same rules share."""

    calendar: Calendar
    change: float | None
    """Change of the market over the range, as in `Metrics.market_change`."""
    hold: BuyAndHoldResult | None
    """Result of buy and hold, as in `Metrics.buy_and_hold`."""
    risk_free_rate: float = 0.0
    """Risk-free rate per year as a ratio."""


def make_metrics_context(
    candles: Candles, rules: AccountConfig, risk_free_rate: float = 0.0
) -> MetricsContext:
    """Return the context of runs over one symbol.

    Args:
        candles: Traded candles.
        rules: Rules of the account.
        risk_free_rate: Rate per year as a ratio.
    """
    return MetricsContext(
        make_calendar(candles.timestamp),
        _compute_mean_change([candles]),
        compute_buy_and_hold(candles, rules),
        risk_free_rate,
    )


def compute_metrics(
    result: SimulationResult | PortfolioResult,
    context: MetricsContext | None = None,
    *,
    risk_free_rate: float = 0.0,
    benchmark: tuple[Candles, AccountConfig] | None = None,
) -> Metrics:
    """Return the metrics of a run over one symbol, or over several that share an account.

    Args:
        result: The run.
        context: `make_metrics_context` of the run's candles and rules; None: computed here.
        risk_free_rate: Rate per year as a ratio; a given context has its own.
        benchmark: Candles and rules of the market that is bought and held; None: the traded ones.
    """
    if isinstance(result, PortfolioResult) and len(result.parts) == 1:
        result = result.parts[0]
    if isinstance(result, PortfolioResult):
        times, parts = result.timestamp, result.parts
        context = _make_portfolio_context(result, risk_free_rate)
    else:
        times, parts = result.candles.timestamp, (result,)
        context = context or make_metrics_context(result.candles, result.rules, risk_free_rate)
    if benchmark is not None:
        hold = _compute_hold([benchmark], times, result.rules.cash)
        context = replace(context, hold=hold)
    calendar, rate = context.calendar, context.risk_free_rate
    stats = sum_trade_stats(parts)
    return Metrics(
        **compute_equity_metrics(result.equity, result.start_cash, times, calendar, rate),
        **compute_trade_metrics(stats.profits, stats.ratios, stats.bars),
        market_change=context.change,
        exposure=result.exposure,
        open_at_end=stats.open_positions > 0,
        fees=stats.fees,
        slippage=stats.slippage,
        turnover=compute_turnover(stats.traded, result.equity, calendar.span_seconds),
        refused_orders=stats.refused,
        ambiguous_bars=stats.ambiguous,
        decided_bars=stats.decided,
        waited_orders=stats.waited,
        limited_entries=stats.limited,
        buy_and_hold=context.hold,
    )


def _make_portfolio_context(portfolio: PortfolioResult, risk_free_rate: float) -> MetricsContext:
    parts, times = portfolio.parts, portfolio.timestamp
    return MetricsContext(
        make_calendar(times),
        _compute_mean_change([part.candles for part in parts]),
        _compute_hold([(part.candles, part.rules) for part in parts], times, portfolio.rules.cash),
        risk_free_rate,
    )


def _compute_hold(
    markets: Sequence[tuple[Candles, AccountConfig]], times: IntArray, cash: float
) -> BuyAndHoldResult | None:
    held = compute_equal_parts_equity(markets, times)
    return None if held is None else make_buy_and_hold_result(held, cash)


def compute_equity_metrics(
    equity: FloatArray,
    start: float,
    times: IntArray,
    calendar: Calendar | None = None,
    risk_free_rate: float = 0.0,
) -> dict[str, Any]:
    """Return the fields of `Metrics` that follow from an equity curve alone.

    Args:
        equity: Value of the account at each close, quote currency, shape (n,).
        start: Value of the account before the first candle.
        times: Opens of the candles, epoch seconds, shape (n,).
        calendar: Calendar of these times, where it is known already.
        risk_free_rate: Rate per year as a ratio.
    """
    calendar = calendar or make_calendar(times)
    final = float(equity[-1]) if len(equity) else start
    highs = compute_highs(equity, start)
    longest = compute_longest_drawdown_seconds(equity, times, start, highs)
    drawdown = find_max_drawdown(equity, start, highs)
    returns, periods = compute_period_returns(start, equity, calendar)
    growth = compute_cagr(start, final, calendar.span_seconds)
    return {
        "start_cash": start,
        "final_equity": final,
        "total_return": final / start - 1.0,
        "cagr": growth,
        "volatility": compute_volatility(returns, periods),
        "sharpe": compute_sharpe(returns, periods, risk_free_rate),
        "sortino": compute_sortino(returns, periods, risk_free_rate),
        "calmar": growth / -drawdown.ratio if growth is not None and drawdown.ratio < 0 else None,
        "max_drawdown": drawdown.ratio,
        "max_drawdown_seconds": _compute_drawdown_seconds(drawdown, times),
        "longest_drawdown_seconds": longest,
    }


def compute_trade_metrics(profits: FloatArray, ratios: FloatArray, bars: float) -> dict[str, Any]:
    """Return the fields of `Metrics` that follow from the closed trades alone.

    Args:
        profits: Profit of each trade after fees, quote currency, shape (n,).
        ratios: Profit of each trade as a fraction of its cost, shape (n,).
        bars: Sum of the numbers of candles that the trades were held for.
    """
    count = len(profits)
    won = profits > 0
    wins = int(won.sum())
    return {
        "trades": count,
        "wins": wins,
        "win_rate": wins / count if count else None,
        "profit_factor": compute_profit_factor(profits),
        "expectancy": _compute_mean(profits),
        "sqn": compute_sqn(profits),
        "average_trade": _compute_mean(ratios),
        "average_win": _compute_mean(ratios[won]),
        "average_loss": _compute_mean(ratios[~won]),
        "average_bars": bars / count if count else None,
        "best_trade": float(ratios.max()) if count else None,
        "worst_trade": float(ratios.min()) if count else None,
    }


def _compute_mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _compute_mean_change(markets: Sequence[Candles]) -> float | None:
    changes = [float(one.close[-1] / one.close[0]) - 1.0 for one in markets if len(one)]
    return sum(changes) / len(changes) if changes else None


def _compute_drawdown_seconds(drawdown: Drawdown, timestamp: IntArray) -> int:
    if drawdown.ratio == 0:
        return 0
    return int(timestamp[drawdown.end] - timestamp[max(drawdown.peak, 0)])
