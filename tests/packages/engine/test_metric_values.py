"""Every metric as docs/metrics.md defines it, computed again from fills and equity."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.timeframes import Timeframe
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    IntrabarSource,
    SimulationResult,
    SymbolSeries,
    compute_metrics,
    simulate,
    simulate_portfolio,
)
from plain_engine import draw_rules, make_signals, run_plain, walk
from repeatable import count_examples

HOUR, DAY = 3_600, 86_400
YEAR = 365 * DAY


def compute_mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def compute_trade_metrics(result: SimulationResult) -> dict[str, float | None]:
    """Return the metrics of closed trades: profits after both fees, as fractions of the cost."""
    closed = [trade for trade in result.trades if not trade.open_at_end]
    buys = result.fills[0::2]
    paid = [-fill.cash_change for fill in buys][: len(closed)]
    profits = [fill.cash_change - cost for fill, cost in zip(result.fills[1::2], paid, strict=True)]
    parts = [profit / cost for profit, cost in zip(profits, paid, strict=True)]
    won = [part for part, profit in zip(parts, profits, strict=True) if profit > 0]
    lost = [part for part, profit in zip(parts, profits, strict=True) if profit <= 0]
    losses = -math.fsum(profit for profit in profits if profit < 0)
    spread = statistics.stdev(profits) if len(profits) > 1 else 0.0
    average = compute_mean(profits)
    steady = average is None or spread <= abs(average) * 1e-12
    return {
        "trades": len(closed),
        "wins": len(won),
        "win_rate": len(won) / len(closed) if closed else None,
        "profit_factor": math.fsum(p for p in profits if p > 0) / losses if losses else None,
        "expectancy": average,
        "sqn": None if average is None or steady else average / spread * math.sqrt(len(profits)),
        "average_trade": compute_mean(parts),
        "average_win": compute_mean(won),
        "average_loss": compute_mean(lost),
        "average_bars": compute_mean([(t.exit_index or 0) - t.entry_index for t in closed]),
        "best_trade": max(parts, default=None),
        "worst_trade": min(parts, default=None),
    }


def compute_drawdowns(result: SimulationResult, start: float) -> dict[str, float]:
    """Return depth and length of the deepest fall, and the longest one."""
    times, high, since = result.candles.timestamp.tolist(), start, 0
    deepest, deepest_from, deepest_lasts, is_under = 0.0, -1, 0, False
    longest = 0
    for bar, equity_now in enumerate([*result.equity.tolist(), math.inf]):
        now = times[min(bar, len(times) - 1)]
        if equity_now >= high:
            if is_under:
                longest = max(longest, now - times[since])
                deepest_lasts = now - times[since] if deepest_from == since else deepest_lasts
            high, since, is_under = equity_now, bar, False
            continue
        is_under = True
        if equity_now / high - 1.0 < deepest:
            deepest, deepest_from = equity_now / high - 1.0, since
    return {
        "max_drawdown": deepest,
        "max_drawdown_seconds": deepest_lasts,
        "longest_drawdown_seconds": longest,
    }


def compute_account_metrics(
    result: SimulationResult, rules: AccountConfig, depth: float
) -> dict[str, float | None]:
    """Return profit and costs of the whole account."""
    equity, seconds = result.equity.tolist(), len(result.candles) * HOUR
    growth = (
        (equity[-1] / rules.cash) ** (YEAR / seconds) - 1.0
        if YEAR / seconds * math.log(equity[-1] / rules.cash) < 700
        else None
    )
    traded = math.fsum(fill.price * fill.amount for fill in result.fills)
    held = 0
    for trade in result.trades:
        held += (len(equity) if trade.exit_index is None else trade.exit_index) - trade.entry_index
    return {
        "total_return": equity[-1] / rules.cash - 1.0,
        "final_equity": equity[-1],
        "cagr": growth,
        "calmar": growth / -depth if growth is not None and depth < 0 else None,
        "turnover": traded / statistics.fmean(equity) * YEAR / seconds,
        "exposure": held / len(equity),
        "market_change": float(result.candles.close[-1] / result.candles.close[0]) - 1.0,
        "fees": math.fsum(fill.fee_quote for fill in result.fills),
        "slippage": math.fsum(fill.slippage_quote for fill in result.fills),
    }


def compute_risk_metrics(result: SimulationResult, start: float) -> dict[str, float | None]:
    """Return the metrics of the returns from the last close of one day to that of the next."""
    last_of_day: dict[int, float] = {}
    for time, equity_now in zip(
        result.candles.timestamp.tolist(), result.equity.tolist(), strict=True
    ):
        last_of_day[time // DAY] = equity_now
    path = [start, *last_of_day.values()]
    returns = [new / old - 1 for old, new in itertools.pairwise(path)]
    if len(returns) < 2:
        return dict.fromkeys(("volatility", "sharpe", "sortino"))
    deviation, average = statistics.stdev(returns), statistics.fmean(returns)
    downside = math.sqrt(statistics.fmean([min(one, 0.0) ** 2 for one in returns]))
    noise = abs(average) * 1e-12
    return {
        "volatility": deviation * math.sqrt(365),
        "sharpe": average / deviation * math.sqrt(365) if deviation > noise else None,
        "sortino": average / downside * math.sqrt(365) if downside > noise else None,
    }


@settings(max_examples=count_examples(150))
@given(st.integers(0, 2**32 - 1), st.integers(2, 400), draw_rules())
def test_every_metric_follows_its_formula(seed: int, count: int, rules: AccountConfig):
    candles, signal = walk(seed, count), make_signals(seed, count)
    result = simulate(candles, np.array(signal, np.int8), rules)
    plain = run_plain(candles, signal, rules)
    falls = compute_drawdowns(result, rules.cash)
    expected = (
        compute_trade_metrics(result)
        | falls
        | compute_account_metrics(result, rules, falls["max_drawdown"])
    )
    expected |= compute_risk_metrics(result, rules.cash)
    last = result.trades[-1:]
    expected |= {"start_cash": rules.cash, "open_at_end": any(one.open_at_end for one in last)}
    expected |= {"refused_orders": len(plain.refused), "ambiguous_bars": plain.ambiguous}
    found = compute_metrics(result).as_dict()
    assert found.keys() - expected.keys() == {
        *("buy_and_hold", "decided_bars", "waited_orders", "limited_entries")
    }
    ours = {name: found[name] for name in expected}
    assert ours == {
        name: None if value is None else pytest.approx(value, rel=1e-6, abs=1e-9)
        for name, value in expected.items()
    }


def test_the_metrics_of_a_small_run_equal_those_computed_by_hand():
    # 100 -> 200 in one day, 200 -> 100 in two, from 1,000: 10 coins, sold for 2,000; then 10 more.
    open_ = np.array([100.0, 100.0, 200.0, 200.0, 150.0, 100.0])
    candles = Candles.from_columns(
        np.arange(6, dtype=np.int64) * DAY, open_, open_, open_, open_, np.ones(6)
    )
    signal = np.array([1, -1, 1, 0, -1, 0], dtype=np.int8)
    metrics = compute_metrics(simulate(candles, signal, AccountConfig(cash=1_000.0, fee_rate=0.0)))
    # Equity: 1,000 1,000 2,000 2,000 1,500 1,000; profits: 1,000 and -1,000.
    assert metrics.turnover == pytest.approx(
        (1_000 + 2_000 + 2_000 + 1_000) / (8_500 / 6) * 365 / 6
    )
    assert (metrics.sqn, metrics.expectancy, metrics.profit_factor) == (0.0, 0.0, 1.0)
    assert (metrics.average_win, metrics.average_loss, metrics.average_bars) == (1.0, -0.5, 1.5)
    assert (metrics.max_drawdown, metrics.max_drawdown_seconds) == (-0.5, 2 * DAY)
    assert (metrics.cagr, metrics.calmar, metrics.exposure) == (0.0, 0.0, 0.5)


def test_a_bar_that_intrabar_candles_decide_is_counted_as_decided():
    def decided(first_low: float) -> tuple[int, int, float]:
        times = np.array([0, HOUR, 2 * HOUR], dtype=np.int64)
        flat = np.full(3, 100.0)
        high, low = np.array([100.0, 111.0, 100.0]), np.array([100.0, 89.0, 100.0])
        candles = Candles.from_columns(times, flat, high, low, flat, np.ones(3))
        starts = np.array([HOUR, HOUR + 60], dtype=np.int64)
        two = np.full(2, 100.0)
        minutes = Candles.from_columns(
            starts, two, np.array([100.0, 111.0]), np.array([first_low, 89.0]), two, np.ones(2)
        )
        rules = AccountConfig(fee_rate=0.0, exits=ExitConfig(stop_loss=0.1, take_profit=0.1))
        intrabar = IntrabarSource(
            Timeframe.parse("1h"), Timeframe.parse("1m"), lambda start, end: minutes
        )
        signal = np.array([1, 0, 0], dtype=np.int8)
        metrics = compute_metrics(simulate(candles, signal, rules, intrabar=intrabar))
        return metrics.decided_bars, metrics.ambiguous_bars, metrics.total_return

    assert decided(first_low=89.0) == (1, 0, pytest.approx(-0.1))
    assert decided(first_low=99.0) == (0, 1, pytest.approx(-0.1))


def test_the_market_change_of_several_symbols_is_their_mean():
    def series(symbol: str, last: float) -> SymbolSeries:
        price = np.array([100.0, last])
        times = np.arange(2, dtype=np.int64) * HOUR
        candles = Candles.from_columns(times, price, price, price, price, np.ones(2))
        return SymbolSeries(symbol, candles, np.zeros(2, dtype=np.int8), 0, NO_TRADING_RULES)

    both = simulate_portfolio([series("A/B", 110.0), series("C/B", 150.0)], AccountConfig())
    assert compute_metrics(both).market_change == pytest.approx(0.3)
