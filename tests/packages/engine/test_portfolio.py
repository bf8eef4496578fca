"""Several symbols on one account: shared cash, slots, and what happens at one open."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    PortfolioResult,
    SymbolSeries,
    compute_metrics,
    simulate,
    simulate_portfolio,
)
from plain_engine import draw_rules, make_signals, walk
from repeatable import count_examples

FREE = AccountConfig(cash=1_000.0, fee_rate=0.0)
seeds = st.integers(0, 2**32 - 1)


def make_candles(opens: list[float], lows: list[float] | None = None) -> Candles:
    open_ = np.array(opens, dtype=np.float64)
    close = np.append(open_[1:], open_[-1:])
    low = np.minimum(open_, close) if lows is None else np.array(lows, dtype=np.float64)
    timestamp = np.arange(len(opens), dtype=np.int64) * 3_600
    return Candles.from_columns(
        timestamp, open_, np.maximum(open_, close), low, close, np.ones_like(open_)
    )


def make_series(
    symbol: str, opens: list[float], signal: list[int], lows: list[float] | None = None
) -> SymbolSeries:
    signals = np.array(signal, dtype=np.int8)
    return SymbolSeries(symbol, make_candles(opens, lows), signals, 0, NO_TRADING_RULES)


def list_trades(result: PortfolioResult) -> list[tuple[str, int, int | None]]:
    return [(trade.symbol, trade.entry_index, trade.exit_index) for trade in result.trades]


@settings(max_examples=count_examples(150))
@given(seeds, st.integers(2, 300), draw_rules())
def test_one_symbol_alone_equals_the_single_run(seed: int, count: int, rules: AccountConfig):
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    alone = simulate(candles, signal, rules)
    together = simulate_portfolio(
        [SymbolSeries("A/Q", candles, signal, 0, rules.trading_rules)], rules
    )
    assert together.equity.tolist() == alone.equity.tolist()
    assert [replace(trade, symbol="") for trade in together.trades] == list(alone.trades)
    assert (together.cash, together.parts[0].refused) == (alone.cash, alone.refused)
    assert compute_metrics(together) == compute_metrics(alone)


@settings(max_examples=count_examples(100))
@given(seeds, st.integers(30, 200), draw_rules(), st.integers(1, 3))
def test_there_are_never_more_positions_than_slots_and_money_adds_up(
    seed: int, count: int, rules: AccountConfig, slots: int
):
    lengths = (count, count, max(2, count // 2))
    series = [
        SymbolSeries(
            f"{number}/Q",
            walk(seed + number, length),
            np.array(make_signals(seed + number, length), np.int8),
            0,
            rules.trading_rules,
        )
        for number, length in enumerate(lengths)
    ]
    result = simulate_portfolio(series, rules, slots)
    held = np.zeros(count, dtype=int)
    position_value = np.zeros(count)
    cash = np.full(count, rules.cash)
    for part in result.parts:
        coins = np.zeros(count)
        for bar, fill in zip(part.indices, part.fills, strict=True):
            cash[bar:] += fill.cash_change
            coins[bar:] += fill.base_change
            held[bar:] += 1 if fill.side == "buy" else -1
        last = np.minimum(np.arange(count), len(part.candles) - 1)
        position_value += coins * part.candles.close[last]
    assert held.max(initial=0) <= slots
    assert (cash >= -1e-9 * rules.cash).all()
    assert result.equity == pytest.approx(cash + position_value, rel=1e-9, abs=1e-9)


def test_an_exit_frees_a_slot_for_an_entry_at_the_same_open():
    first = make_series("A/Q", [10, 10, 10, 10], [1, 0, -1, 0])
    second = make_series("B/Q", [5, 5, 5, 5], [0, 0, 1, 0])
    result = simulate_portfolio([second, first], FREE, 1)
    assert list_trades(result) == [("A/Q", 1, 3), ("B/Q", 3, None)]


def test_entries_at_the_same_open_are_in_the_order_of_the_symbols():
    first = make_series("A/Q", [10, 10, 10], [1, 0, 0])
    second = make_series("B/Q", [5, 5, 5], [1, 0, 0])
    result = simulate_portfolio([second, first], FREE, 1)
    assert list_trades(result) == [("B/Q", 1, None)]
    assert result.skipped_entries == 1


def test_the_money_of_a_stop_inside_a_candle_is_not_available_at_its_open():
    rules = replace(FREE, exits=ExitConfig(stop_loss=0.1))
    stopped = make_series("A/Q", [10, 10, 10, 10], [1, 0, 0, 0], [10, 10, 8, 10])
    other = make_series("B/Q", [5, 5, 5, 5], [0, 1, 0, 0])
    result = simulate_portfolio([stopped, other], rules)
    assert list_trades(result) == [("A/Q", 1, 2)]
    assert [bar for bar, _ in result.parts[1].refused] == [2]


def test_a_stop_filled_at_an_open_frees_a_slot_at_that_open():
    rules = replace(FREE, exits=ExitConfig(stop_loss=0.1))
    stopped = make_series("A/Q", [10, 10, 8, 8], [1, 0, 0, 0], [10, 10, 8, 8])
    stopped.candles.close[1] = stopped.candles.low[1] = 10
    other = make_series("B/Q", [5, 5, 5, 5], [0, 1, 0, 0])
    result = simulate_portfolio([stopped, other], rules, 1)
    assert list_trades(result) == [("A/Q", 1, 2), ("B/Q", 2, None)]


@pytest.mark.parametrize(
    ("price", "later"), [(351.5234, 337.2462), (430.1463, 116.0957), (478.5586, 2.8645)]
)
def test_cash_left_by_rounding_buys_nothing(price: float, later: float):
    rules = AccountConfig(cash=1_000.0, volume_impact=0.1)
    first = make_series("A/Q", [price] * 4 + [later] * 4, [1, 0, -1, 1, 0, 0, 0, 0])
    second = make_series("B/Q", [5] * 8, [0, 0, 0, 0, 1, 0, 0, 0])
    traded_volume = np.full(8, 500.0)
    both = [
        replace(one, candles=replace(one.candles, volume=traded_volume)) for one in (first, second)
    ]
    result = simulate_portfolio(both, rules)
    assert [trade.symbol for trade in result.trades] == ["A/Q", "A/Q"]
    assert result.cash == 0


def test_the_next_symbol_spends_the_cash_that_rounding_left_of_a_large_account():
    steps = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal(0), Decimal(0))
    rules = AccountConfig(cash=1e6, fee_rate=0.001)
    first = replace(make_series("A/Q", [99.9] * 4, [1, 0, 0, 0]), trading_rules=steps)
    second = make_series("B/Q", [5] * 4, [0, 1, 0, 0])
    result = simulate_portfolio([first, second], rules)
    # 10,000.01 coins cost 999,999.999999: a millionth is left.
    assert [trade.symbol for trade in result.trades] == ["A/Q", "B/Q"]
    assert result.trades[1].amount == pytest.approx(1e-6 / (5 * 1.001), rel=1e-12)
    assert result.cash == 0


def test_an_equity_share_values_positions_at_their_last_close():
    rules = replace(FREE, sizing="equity_share", equity_share=0.5)
    first = make_series("A/Q", [10, 10, 20, 20], [1, 0, 0, 0])
    second = make_series("B/Q", [5, 5, 5, 5], [0, 1, 0, 0])
    trades = simulate_portfolio([first, second], rules).trades
    # 500 became 1,000 by the close before the second entry, so half of the equity is 750: all of
    # the 500 that are left.
    assert [trade.amount for trade in trades] == [50, 100]


def test_trades_are_merged_by_time_with_their_symbols():
    first = make_series("A/Q", [10] * 6, [1, -1, 0, 1, 0, 0])
    second = make_series("B/Q", [5] * 6, [0, 0, 0, 0, 0, 0])
    third = make_series("C/Q", [5] * 6, [0, 1, -1, 0, 0, 0])
    result = simulate_portfolio([third, second, first], FREE)
    assert list_trades(result) == [("A/Q", 1, 2), ("C/Q", 2, 3), ("A/Q", 4, None)]
