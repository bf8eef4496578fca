"""Metrics compared with results by hand, undefined metrics, and those of buy and hold."""

import json
import math

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.engine import AccountConfig, compute_metrics, find_max_drawdown, simulate
from onetape.engine.ratios import (
    compute_cagr,
    compute_period_returns,
    compute_profit_factor,
    compute_sharpe,
    compute_sortino,
    compute_volatility,
    make_calendar,
)

DAY = 86_400


def make_candles(close: list[float], seconds: int = DAY) -> Candles:
    prices = np.array(close, dtype=np.float64)
    open_ = np.append(prices[:1], prices[:-1])
    timestamp = np.arange(len(close), dtype=np.int64) * seconds
    high, low = np.maximum(open_, prices), np.minimum(open_, prices)
    return Candles.from_columns(timestamp, open_, high, low, prices, np.ones_like(prices))


def test_without_trades_undefined_metrics_are_none_and_no_metric_is_nan():
    metrics = compute_metrics(
        simulate(make_candles([1.0] * 5), np.zeros(5, np.int8), AccountConfig())
    )
    found = metrics.as_dict()
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {
        "sharpe",
        "sortino",
        "calmar",
        "win_rate",
        "profit_factor",
        "expectancy",
        "average_trade",
        "average_win",
        "average_loss",
        "average_bars",
        "sqn",
        "best_trade",
        "worst_trade",
    }
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("count", [0, 1])
def test_a_range_of_no_or_one_candle_has_metrics(count: int):
    metrics = compute_metrics(
        simulate(make_candles([1.0] * count), np.zeros(count, np.int8), AccountConfig())
    )
    assert (metrics.total_return, metrics.cagr, metrics.buy_and_hold) == (0.0, None, None)
    json.dumps(metrics.as_dict(), allow_nan=False)


def test_trades_are_counted_and_averaged_after_fees():
    candles = make_candles([10, 20, 10, 10, 5, 5])
    signal = np.array([1, -1, 1, 0, -1, 0], dtype=np.int8)
    metrics = compute_metrics(simulate(candles, signal, AccountConfig(cash=100.0, fee_rate=0.0)))
    assert (metrics.trades, metrics.wins, metrics.win_rate) == (2, 1, 0.5)
    assert metrics.profit_factor == pytest.approx(100 / 100)
    assert (metrics.best_trade, metrics.worst_trade) == (1.0, -0.5)
    assert (metrics.average_trade, metrics.expectancy) == (0.25, 0.0)


def test_fees_in_the_received_coin_are_counted_in_quote_currency():
    candles = make_candles([10.0] * 4)
    rules = AccountConfig(cash=1_000.0, fee_rate=0.01, fee_currency="base")
    metrics = compute_metrics(simulate(candles, np.array([1, 0, -1, 0], np.int8), rules))
    assert metrics.fees == pytest.approx(10 + 9.9)


def test_buy_and_hold_buys_at_the_second_open_with_the_same_fee_and_slippage():
    candles = make_candles([10, 11, 22])
    rules = AccountConfig(cash=1_000.0, fee_rate=0.01, slippage_bps=100)
    held = compute_metrics(simulate(candles, np.zeros(3, np.int8), rules)).buy_and_hold
    assert held is not None
    assert held.total_return == pytest.approx(22 / (10 * 1.01 * 1.01) - 1)


def test_a_strategy_that_buys_first_and_never_sells_equals_buy_and_hold():
    candles = make_candles([10, 11, 7, 22])
    metrics = compute_metrics(simulate(candles, np.array([1, 0, 0, 0], np.int8), AccountConfig()))
    assert metrics.buy_and_hold is not None
    assert metrics.final_equity == metrics.buy_and_hold.final_equity
    assert metrics.max_drawdown == metrics.buy_and_hold.max_drawdown


def test_a_drawdown_lasts_from_its_high_until_the_high_is_reached_again():
    fall = find_max_drawdown(np.array([10.0, 12, 9, 6, 11, 12, 3, 11]), 10.0)
    assert (fall.ratio, fall.peak, fall.trough, fall.end) == (-0.75, 5, 6, 7)
    first = find_max_drawdown(np.array([10.0, 12, 9, 6, 11, 12, 8]), 10.0)
    assert (first.ratio, first.peak, first.trough, first.end) == (-0.5, 1, 3, 5)


def test_the_cash_before_the_first_close_counts_as_a_high():
    fall = find_max_drawdown(np.array([8.0, 9.0]), 10.0)
    assert (fall.ratio, fall.peak, fall.end) == (pytest.approx(-0.2), -1, 1)


def test_returns_are_daily_where_candles_are_shorter():
    equity = np.array([100.0, 110.0, 90.0, 99.0])
    returns, periods = compute_period_returns(
        100.0, equity, make_calendar(np.array([0, 12, 24, 36]) * 3_600)
    )
    assert returns.tolist() == pytest.approx([0.1, -0.1])
    assert periods == 365


def test_a_day_without_a_candle_has_no_return():
    hours = np.array([0, 23, 24 * 3 + 1, 24 * 3 + 2, 24 * 4])
    assert np.arange(5)[make_calendar(hours * 3_600).measured].tolist() == [1, 3, 4]


def test_weekly_candles_are_measured_by_the_week():
    returns, periods = compute_period_returns(
        1.0, np.ones(3), make_calendar(np.arange(3) * 7 * DAY)
    )
    assert (len(returns), periods) == (3, pytest.approx(365 / 7))


@pytest.mark.parametrize(("months", "a_year"), [(1, 12), (3, 4)])
def test_monthly_candles_are_measured_by_the_month_although_february_is_short(
    months: int, a_year: int
):
    opens = np.arange("2023-01", "2025-01", months, dtype="datetime64[M]")
    timestamp = opens.astype("datetime64[s]").astype(np.int64)
    returns, periods = compute_period_returns(
        1.0, np.ones(len(timestamp)), make_calendar(timestamp)
    )
    assert (len(returns), periods) == (24 // months, pytest.approx(a_year))


def test_risk_figures_follow_their_formulas():
    returns = np.array([0.02, -0.01, 0.03, -0.02])
    deviation = math.sqrt(sum((r - 0.005) ** 2 for r in returns) / 3)
    downside = math.sqrt((0.01**2 + 0.02**2) / 4)
    assert compute_volatility(returns, 365) == pytest.approx(deviation * math.sqrt(365))
    assert compute_sharpe(returns, 365) == pytest.approx(0.005 / deviation * math.sqrt(365))
    assert compute_sortino(returns, 365) == pytest.approx(0.005 / downside * math.sqrt(365))


def test_ratios_without_risk_or_loss_are_undefined():
    steady = np.full(5, 0.01)
    assert (compute_sharpe(steady, 365), compute_sortino(steady, 365)) == (None, None)
    assert compute_profit_factor(np.array([1.0, 2.0])) is None


@pytest.mark.parametrize(("start", "end", "seconds"), [(1, 0, DAY), (1, 2, 0), (1, 1e300, 60)])
def test_an_annual_growth_that_overflows_is_undefined(start: float, end: float, seconds: int):
    assert compute_cagr(start, end, seconds) is None
