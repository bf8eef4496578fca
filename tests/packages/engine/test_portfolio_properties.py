"""Properties of any run of several symbols: possible fills, units, consistent metrics."""

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.engine import (
    AccountConfig,
    PortfolioResult,
    SymbolSeries,
    compute_metrics,
    simulate_portfolio,
)
from plain_engine import double_money, draw_rules, make_signals, walk
from repeatable import count_examples

HOUR = 3_600
seeds, counts, slots = st.integers(0, 2**32 - 1), st.integers(30, 200), st.integers(1, 3)


def make_three_symbols(seed: int, count: int, rules: AccountConfig) -> list[SymbolSeries]:
    """Return three symbols; the last one ends early."""
    lengths = (count, count, max(2, count // 2))
    return [
        SymbolSeries(
            f"{number}/Q",
            walk(seed + number, length),
            np.array(make_signals(seed + number, length), np.int8),
            0,
            rules.trading_rules,
        )
        for number, length in enumerate(lengths)
    ]


@settings(max_examples=count_examples(100))
@given(seeds, counts, draw_rules(), slots)
def test_before_slippage_no_fill_of_any_symbol_lies_outside_its_candle(
    seed: int, count: int, rules: AccountConfig, most: int
):
    for part in simulate_portfolio(make_three_symbols(seed, count, rules), rules, most).parts:
        for bar, fill in zip(part.indices, part.fills, strict=True):
            noise = fill.before_slippage * 1e-12
            low, high = part.candles.low[bar], part.candles.high[bar]
            assert low - noise <= fill.before_slippage <= high + noise


def double_prices(candles: Candles) -> Candles:
    open_, high, low, close = (
        column * 2 for column in (candles.open, candles.high, candles.low, candles.close)
    )
    return Candles.from_columns(candles.timestamp, open_, high, low, close, candles.volume)


@settings(max_examples=count_examples(100))
@given(seeds, counts, draw_rules(), slots)
def test_doubled_prices_and_money_double_the_shared_equity_and_leave_the_amounts(
    seed: int, count: int, rules: AccountConfig, most: int
):
    series, more = make_three_symbols(seed, count, rules), double_money(rules)
    twice = [
        SymbolSeries(each.symbol, double_prices(each.candles), each.signal, 0, more.trading_rules)
        for each in series
    ]
    one, two = simulate_portfolio(series, rules, most), simulate_portfolio(twice, more, most)
    # The volatility is a logarithm, which is exact to the last bit but one.
    exact = rules.sizing != "volatility_target"
    amounts, same = [[trade.amount for trade in run.trades] for run in (one, two)]
    assert same == (amounts if exact else pytest.approx(amounts, rel=1e-9))
    equity = (one.equity * 2).tolist()
    assert two.equity.tolist() == (equity if exact else pytest.approx(equity, rel=1e-9))


def compute_expected_metrics(result: PortfolioResult, count: int) -> dict[str, float | int | None]:
    """Return metrics of the shared account, computed from its trades, fills and equity."""
    closed = [trade for trade in result.trades if not trade.open_at_end]
    fills = [fill for part in result.parts for fill in part.fills]
    held = np.zeros(count, dtype=bool)
    for trade in result.trades:
        end = None if trade.exit_timestamp is None else trade.exit_timestamp // HOUR
        if end is None:
            # A position of a symbol that ends early is held to the end of the others.
            end = count
        held[trade.entry_timestamp // HOUR : end] = True
    equity = result.equity.tolist()
    highs = np.maximum.accumulate([result.start_cash, *equity])[1:]
    profits = [trade.profit for trade in closed]
    return {
        "trades": len(closed),
        "wins": sum(profit > 0 for profit in profits),
        "expectancy": statistics.fmean(profits) if profits else None,
        "worst_trade": min((trade.profit_ratio for trade in closed), default=None),
        "final_equity": equity[-1],
        "total_return": equity[-1] / result.start_cash - 1,
        "max_drawdown": min(0.0, float((np.array(equity) / highs - 1).min())),
        "exposure": float(held.mean()),
        "turnover": sum(fill.notional for fill in fills)
        / statistics.fmean(equity) * 365 * 24 / count,
        "fees": sum(fill.fee_quote for fill in fills),
        "slippage": sum(fill.slippage_quote for fill in fills),
        "refused_orders": sum(len(part.refused) for part in result.parts),
        "ambiguous_bars": sum(part.fill_log.ambiguous for part in result.parts),
    }  # fmt: skip


@settings(max_examples=count_examples(100))
@given(seeds, counts, draw_rules(), slots)
def test_metrics_of_several_symbols_are_those_of_their_one_account(
    seed: int, count: int, rules: AccountConfig, most: int
):
    series = make_three_symbols(seed, count, rules)
    result = simulate_portfolio(series, rules, most)
    metrics = compute_metrics(result)
    found = metrics.as_dict()
    for name, value in compute_expected_metrics(result, count).items():
        near = None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9)
        assert found[name] == near, name
    alone = [
        compute_metrics(
            simulate_portfolio([each], replace(rules, cash=rules.cash / 3), 1)
        ).buy_and_hold
        for each in series
    ]
    finals = [None if hold is None else hold.final_equity for hold in alone]
    if None in finals:
        assert metrics.buy_and_hold is None
    else:
        assert metrics.buy_and_hold is not None
        total = sum(final for final in finals if final is not None)
        assert metrics.buy_and_hold.final_equity == pytest.approx(total)
