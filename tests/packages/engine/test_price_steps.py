"""Fills lie inside their candle before slippage and never at 0, whatever step is stated."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles, FloatArray
from onetape.core.trading_rules import TradingRules
from onetape.engine import (
    AccountConfig,
    RefusedOrder,
    SimulationResult,
    SymbolSeries,
    compute_buy_and_hold_equity,
    make_booked_fill,
    simulate,
    simulate_portfolio,
    simulate_sell,
)
from plain_engine import draw_rules, make_signals, walk
from repeatable import count_examples

MAY_2020 = int(datetime(2020, 5, 1, tzinfo=UTC).timestamp())
#: What the market states today, years later.
TODAY = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal(0), Decimal(5))
FREE = AccountConfig(cash=1_000.0, fee_rate=0.0, trading_rules=TODAY)
NOISE = 1e-9


def make_flat_candles(prices: list[float], start: int = MAY_2020) -> Candles:
    """Return hourly candles with a single price each."""
    column = np.array(prices)
    times = start + np.arange(len(prices), dtype=np.int64) * 3_600
    return Candles.from_columns(times, column, column, column, column, np.full(len(prices), 1e6))


def run_simulation(
    prices: list[float], signal: list[int], rules: AccountConfig
) -> SimulationResult:
    return simulate(make_flat_candles(prices), np.array(signal, dtype=np.int8), rules)


def test_orders_fill_at_opens_with_more_digits_than_the_stated_price_step():
    result = run_simulation([1.61, 1.6094, 1.7511, 1.7511], [1, 0, -1, 0], FREE)
    assert [fill.price for fill in result.fills] == [1.6094, 1.7511]


def test_a_sell_far_below_the_stated_price_step_is_not_at_zero():
    result = run_simulation([3.1e-7, 3.1e-7, 3.3e-7, 3.3e-7], [1, 0, -1, 0], FREE)
    assert [fill.price for fill in result.fills] == [3.1e-7, 3.3e-7]


@pytest.mark.parametrize("slippage", [0.0, 5.0, 9_000.0])
def test_slippage_leaves_a_sell_at_one_price_step_at_least(slippage: float):
    satoshi = TradingRules(Decimal("1E-8"), None, Decimal(0), Decimal(0))
    rules = AccountConfig(trading_rules=satoshi, slippage_bps=slippage)
    fill = simulate_sell(rules, 1_000.0, 1e-8)
    assert not isinstance(fill, RefusedOrder)
    assert fill.price == 1e-8
    assert make_booked_fill(fill, rules).price == Decimal("1E-8")


def test_a_sell_below_the_only_known_price_step_is_not_at_zero():
    fill = simulate_sell(AccountConfig(trading_rules=TODAY), 1e9, 3.1e-7)
    assert not isinstance(fill, RefusedOrder)
    assert 0 < fill.price <= 3.1e-7


def test_slippage_is_rounded_to_the_price_step_of_the_month():
    fills = run_simulation([1.6094] * 4, [1, 0, -1, 0], replace(FREE, slippage_bps=10)).fills
    assert [fill.price for fill in fills] == [1.6111, 1.6077]


def test_buy_and_hold_pays_the_open_in_a_month_with_a_smaller_price_step():
    candles = make_flat_candles([1.6094, 1.6094, 3.2188])
    equity = compute_buy_and_hold_equity(candles, FREE)
    assert equity is not None
    assert equity[-1] == pytest.approx(2_000.0, abs=0.01)


def rescale_months(candles: Candles, decimals: list[int], start: int) -> Candles:
    """Return candles whose months are written with other numbers of digits, one after another."""
    times = start + np.arange(len(candles), dtype=np.int64) * 3_600
    months = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    digits = np.array(decimals)[months % len(decimals)]

    def column(prices: FloatArray) -> FloatArray:
        written = [
            max(float(f"{price / 50:.{place}f}"), float(f"1e-{place}"))
            for price, place in zip(prices.tolist(), digits.tolist(), strict=True)
        ]
        return np.array(written, dtype=np.float64)

    return Candles.from_columns(
        times,
        column(candles.open),
        column(candles.high),
        column(candles.low),
        column(candles.close),
        candles.volume,
    )


@st.composite
def draw_markets(draw: st.DrawFn) -> tuple[Candles, list[int], AccountConfig]:
    """Return candles over a change of month, signals, and rules with any stated step."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(2, 200))
    decimals = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    start = MAY_2020 - draw(st.integers(0, 200)) * 3_600
    step = draw(st.sampled_from(["1", "0.5", "0.25", "0.01", "0.0001", "0.00000001"]))
    rules = draw(draw_rules())
    steps = TradingRules(Decimal(step), draw(st.sampled_from([None, Decimal("0.001")])), *LEAST)
    candles = rescale_months(walk(seed, count), decimals, start)
    return candles, make_signals(seed, count), replace(rules, trading_rules=steps)


LEAST = (Decimal(0), Decimal(0))


def assert_inside(result: SimulationResult, rules: AccountConfig) -> None:
    candles = result.candles
    slips = rules.slippage or rules.volume_impact
    for bar, fill in zip(result.indices, result.fills, strict=True):
        low, high = candles.low[bar], candles.high[bar]
        assert low * (1 - NOISE) <= fill.before_slippage <= high * (1 + NOISE)
        assert fill.price > 0
        if not slips or fill.is_maker:
            assert low * (1 - NOISE) <= fill.price <= high * (1 + NOISE)


@settings(max_examples=count_examples(300))
@given(draw_markets())
def test_fills_before_slippage_lie_inside_their_candle_whatever_step_is_stated(
    market: tuple[Candles, list[int], AccountConfig],
):
    candles, signal, rules = market
    result = simulate(candles, np.array(signal, dtype=np.int8), rules)
    assert_inside(result, rules)


@settings(max_examples=count_examples(100))
@given(st.lists(draw_markets(), min_size=2, max_size=3))
def test_fills_of_symbols_that_share_an_account_lie_inside_their_candles(
    given_markets: list[tuple[Candles, list[int], AccountConfig]],
):
    rules = given_markets[0][2]
    series = [
        SymbolSeries(f"{number}/Q", candles, np.array(signal, dtype=np.int8), 0, own.trading_rules)
        for number, (candles, signal, own) in enumerate(given_markets)
    ]
    for part in simulate_portfolio(series, rules).parts:
        assert_inside(part, rules)
