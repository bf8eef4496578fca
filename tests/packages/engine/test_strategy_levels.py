"""Stops and targets that the strategy gives: in arrays, bar by bar, in Decimals, event by event."""

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cent_walk import make_cent_walk
from exact_account import run_exact
from onetape.core.candles import Candles
from onetape.core.strategy_levels import LevelColumns, LevelMode, LevelRow, update_levels
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    SimulationResult,
    StepState,
    SymbolSeries,
    restore_state,
    simulate,
    simulate_portfolio,
)
from plain_engine import draw_rules, make_signals, run_plain, walk
from plain_levels import fold_first_levels, make_levels
from repeatable import count_examples
from step_broker import StepBroker
from symbol_series import draw_busy_rules, make_busy_series, make_symbol_series

Bar = tuple[float, float, float, float]
Fill = tuple[int, str, float, float, str]
#: A bar of one price, with volume.
FLAT: Bar = (100.0, 100.0, 100.0, 100.0)
NONE = float("nan")
seeds = st.integers(0, 2**32 - 1)


def make_level_columns(
    stop: list[float] | None = None,
    target: list[float] | None = None,
    stop_mode: LevelMode = "at_entry",
    target_mode: LevelMode = "at_entry",
) -> LevelColumns:
    return LevelColumns(
        None if stop is None else np.array(stop),
        None if target is None else np.array(target),
        stop_mode,
        target_mode,
    )


def run_simulation(
    bars: list[Bar],
    signal: list[int],
    levels: LevelColumns,
    exits: ExitConfig | None = None,
    volume: list[float] | None = None,
) -> SimulationResult:
    """Return the run of bars of open, high, low and close, one an hour, without fees."""
    open_, high, low, close = np.array(bars, dtype=np.float64).T
    times = 3_600 * np.arange(len(bars), dtype=np.int64)
    amounts = np.array(volume or [10.0] * len(bars))
    candles = Candles.from_columns(times, open_, high, low, close, amounts)
    rules = AccountConfig(cash=1_000.0, fee_rate=0.0, exits=exits or ExitConfig())
    return simulate(candles, np.array(signal, np.int8), rules, levels=levels)


def list_exits(result: SimulationResult) -> list[tuple[int, str, float]]:
    return [
        (trade.exit_index, trade.exit_kind or "", round(sell.before_slippage, 9))
        for trade, sell in zip(result.trades, result.sells, strict=False)
        if trade.exit_index is not None
    ]


def list_fills(result: SimulationResult) -> list[Fill]:
    kinds = iter(result.exit_kinds)
    return [
        (bar, fill.side, fill.price, fill.amount, "" if fill.side == "buy" else next(kinds))
        for bar, fill in zip(result.indices, result.fills, strict=True)
    ]


def test_at_entry_the_stop_of_the_candle_with_the_buy_stays():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 96.0, 96.0), (96.0, 96.0, 94.0, 94.0)]
    levels = make_level_columns(stop=[95.0, 97.0, 97.0, 97.0])
    assert list_exits(run_simulation(bars, [1, 0, 0, 0], levels)) == [(3, "stop_loss", 95.0)]


def test_each_candle_moves_the_stop_from_the_next_candle_on():
    bars: list[Bar] = [FLAT, (100.0, 100.0, 96.0, 100.0), (100.0, 100.0, 96.5, 97.0)]
    levels = make_level_columns(stop=[95.0, 97.0, 97.0], stop_mode="each_candle")
    assert list_exits(run_simulation(bars, [1, 0, 0], levels)) == [(2, "stop_loss", 97.0)]


def test_a_stop_moves_up_only_and_a_missing_price_keeps_the_last_one():
    bars: list[Bar] = [*[FLAT] * 4, (100.0, 100.0, 96.5, 98.0), (98.0, 98.0, 96.5, 98.0)]
    levels = make_level_columns(stop=[95.0, 97.0, 90.0, NONE, NONE, NONE], stop_mode="each_candle")
    assert list_exits(run_simulation(bars, [1, 0, 0, 0, 0, 0], levels)) == [(4, "stop_loss", 97.0)]


def test_a_target_moves_either_way_and_a_missing_price_keeps_the_last_one():
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 103.0, 100.0, 100.0)]
    levels = make_level_columns(target=[110.0, 102.0, NONE, NONE], target_mode="each_candle")
    assert list_exits(run_simulation(bars, [1, 0, 0, 0], levels)) == [(3, "target", 102.0)]
    levels = make_level_columns(target=[101.0, 102.0, 110.0, NONE], target_mode="each_candle")
    assert list_exits(run_simulation(bars, [1, 0, 0, 0], levels)) == []


def test_at_entry_the_target_of_the_candle_with_the_buy_stays():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 103.0, 100.0, 100.0)]
    levels = make_level_columns(target=[103.0, 101.0, 101.0])
    assert list_exits(run_simulation(bars, [1, 0, 0], levels)) == [(2, "target", 103.0)]


def test_a_position_without_a_price_at_its_entry_gets_one_from_a_later_candle():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 96.0, 96.0)]
    moving = make_level_columns(stop=[NONE, 97.0, NONE], stop_mode="each_candle")
    assert list_exits(run_simulation(bars, [1, 0, 0], moving)) == [(2, "stop_loss", 97.0)]
    assert (
        list_exits(run_simulation(bars, [1, 0, 0], make_level_columns(stop=[NONE, 97.0, NONE])))
        == []
    )


@pytest.mark.parametrize(("stop_loss", "price"), [(0.02, 98.0), (0.1, 95.0)])
def test_the_higher_stop_of_account_and_strategy_is_used(stop_loss: float, price: float):
    bars: list[Bar] = [FLAT, (100.0, 100.0, 90.0, 90.0)]
    exits = ExitConfig(stop_loss=stop_loss)
    found = list_exits(run_simulation(bars, [1, 0], make_level_columns(stop=[95.0, NONE]), exits))
    assert found == [(1, "stop_loss", price)]


@pytest.mark.parametrize(("take_profit", "price"), [(0.02, 102.0), (0.1, 105.0)])
def test_the_lower_target_of_account_and_strategy_is_used(take_profit: float, price: float):
    bars: list[Bar] = [FLAT, (100.0, 120.0, 100.0, 120.0)]
    exits = ExitConfig(take_profit=take_profit)
    found = list_exits(
        run_simulation(bars, [1, 0], make_level_columns(target=[105.0, NONE]), exits)
    )
    assert found == [(1, "target", price)]


def test_an_entry_that_opens_beyond_its_stop_is_sold_at_that_open():
    bars: list[Bar] = [FLAT, (94.0, 99.0, 94.0, 99.0)]
    found = list_exits(run_simulation(bars, [1, 0], make_level_columns(stop=[95.0, NONE])))
    assert found == [(1, "stop_loss", 94.0)]


def test_a_stop_above_the_price_sells_at_the_next_open():
    bars: list[Bar] = [FLAT, FLAT, (99.0, 99.0, 99.0, 99.0)]
    levels = make_level_columns(stop=[95.0, 101.0, NONE], stop_mode="each_candle")
    assert list_exits(run_simulation(bars, [1, 0, 0], levels)) == [(2, "stop_loss", 99.0)]


@pytest.mark.parametrize(("mode", "price"), [("at_entry", 95.0), ("each_candle", 97.0)])
def test_an_entry_that_waited_for_a_trade_has_the_stop_of_its_buy(mode: LevelMode, price: float):
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 90.0, 90.0)]
    levels = make_level_columns(stop=[95.0, NONE, 97.0, NONE], stop_mode=mode)
    found = run_simulation(bars, [1, 0, 0, 0], levels, volume=[1.0, 0.0, 0.0, 1.0])
    assert list_exits(found) == [(3, "stop_loss", price)]


def test_a_price_that_misses_a_level_by_the_rounding_of_floats_reaches_it():
    bars: list[Bar] = [FLAT, (100.0, 100.0, 95.0, 95.0)]
    stop = float(np.nextafter(95.0, 0.0))
    assert len(list_exits(run_simulation(bars, [1, 0], make_level_columns(stop=[stop, NONE])))) == 1


def test_current_levels_follow_the_mode_of_the_row():
    moving = LevelRow(95.0, 105.0, "each_candle", "each_candle")
    assert update_levels(None, None) is None
    assert update_levels(moving, None) == moving
    assert update_levels(moving, LevelRow(94.0, 104.0, "each_candle", "each_candle")) == LevelRow(
        95.0, 104.0, "each_candle", "each_candle"
    )
    assert update_levels(LevelRow(95.0, 105.0), LevelRow(96.0, 104.0)) == LevelRow(95.0, 105.0)


@settings(max_examples=count_examples(400))
@given(seeds, st.integers(2, 400), draw_rules())
def test_with_strategy_levels_every_fill_equals_that_of_a_loop_over_the_bars(
    seed: int, count: int, rules: AccountConfig
):
    candles, signal = walk(seed, count), make_signals(seed, count)
    levels = make_levels(seed, candles)
    result = simulate(candles, np.array(signal, np.int8), rules, levels=levels)
    plain = run_plain(candles, signal, rules, levels)
    assert list_fills(result) == plain.fills
    assert [bar for bar, _ in result.refused] == plain.refused
    assert (result.cash, result.base) == (plain.cash, plain.base)
    assert result.fill_log.ambiguous == plain.ambiguous


@settings(max_examples=20)
@given(seeds, draw_rules(), st.sampled_from([0.0005, 0.004]))
def test_with_strategy_levels_positions_over_many_candles_end_as_in_the_loop(
    seed: int, rules: AccountConfig, move: float
):
    count = 3_000
    candles, signal = walk(seed, count, move=move), make_signals(seed, count)
    levels = make_levels(seed, candles)
    result = simulate(candles, np.array(signal, np.int8), rules, levels=levels)
    assert list_fills(result) == run_plain(candles, signal, rules, levels).fills


def require_same_decimals(result: SimulationResult, symbol: Any) -> None:
    assert [(bar, fill.side) for bar, fill in zip(result.indices, result.fills, strict=True)] == [
        (fill.bar, fill.side) for fill in symbol.fills
    ]
    kinds = iter(result.exit_kinds)
    for ours, exact in zip(result.fills, symbol.fills, strict=True):
        assert ours.side == "buy" or next(kinds) in exact.kinds
        found = (ours.price, ours.amount, ours.fee)
        wanted = [float(one) for one in (exact.price, exact.amount, exact.fee)]
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert [bar for bar, _ in result.refused] == symbol.refused
    assert result.fill_log.ambiguous == symbol.ambiguous


@settings(max_examples=count_examples(300))
@given(seeds, st.integers(2, 250), draw_rules())
def test_any_levels_and_rules_equal_a_decimal_recomputation(
    seed: int, count: int, rules: AccountConfig
):
    prices, signal = make_cent_walk(seed, count), make_signals(seed, count)
    levels = make_levels(seed, prices.candles)
    result = simulate(prices.candles, np.array(signal, np.int8), rules, levels=levels)
    exact = run_exact([(prices, signal, rules.trading_rules)], rules, levels=[levels])
    require_same_decimals(result, exact.symbols[0])
    assert result.cash == pytest.approx(float(exact.cash), rel=1e-9, abs=1e-4)


def add_levels(series: list[SymbolSeries], seed: int) -> list[SymbolSeries]:
    return [
        replace(one, levels=make_levels(seed + number, one.candles))
        for number, one in enumerate(series)
    ]


@settings(max_examples=count_examples(150))
@given(
    seed=seeds,
    count=st.integers(9, 150),
    rules=draw_rules(),
    symbols=st.integers(1, 4),
    slots=st.sampled_from([None, 1, 2]),
)
def test_the_stepper_trades_the_levels_as_the_backtest_does(
    *, seed: int, count: int, rules: AccountConfig, symbols: int, slots: int | None
):
    series = add_levels(
        make_symbol_series(
            seed, count, rules, symbols=symbols, has_detail=False, is_mixed=symbols > 1
        ),
        seed,
    )
    result = simulate_portfolio(series, rules, slots)
    stepped = StepBroker(series, rules, slots).run()
    for part, market in zip(result.parts, stepped.markets.values(), strict=True):
        assert market.made == [
            (side, bar, price, amount, kind) for bar, side, price, amount, kind in list_fills(part)
        ]
        assert (market.base, market.ambiguous) == (part.base, part.fill_log.ambiguous)
    assert stepped.cash == result.cash


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    symbols=st.integers(1, 2),
    cut=st.integers(1, 59),
    is_short=st.booleans(),
)
def test_levels_are_rebuilt_from_stored_facts(
    *, seed: int, rules: AccountConfig, symbols: int, cut: int, is_short: bool
):
    series = add_levels(make_busy_series(seed, 60, rules, symbols), seed)
    whole = StepBroker(series, rules).run()
    stopped = StepBroker(series, rules).run(until=cut * 3_600)
    facts = {name: market.facts for name, market in stopped.markets.items()}
    if is_short:
        facts = {name: select_facts_since_buy(rows) for name, rows in facts.items()}
    restored = restore_state(stopped.rules, facts)
    assert is_short or restored == stopped.state
    stopped.state = msgspec.json.decode(msgspec.json.encode(restored), type=StepState)
    for moment in stopped.moments[cut:]:
        stopped.trade(moment)
    for name, market in whole.markets.items():
        assert stopped.markets[name].made == market.made


def select_facts_since_buy(rows: list[Any]) -> list[Any]:
    """Return the facts from the candle on whose BUY led to the last entry, or those of the end."""
    entries = [number for number, row in enumerate(rows) if row.entry_price is not None]
    last = entries[-1] if entries else len(rows)
    buys = [number for number, row in enumerate(rows[:last]) if (row.signal or 0) > 0]
    return rows[buys[-1] :] if buys else rows


@settings(max_examples=count_examples(300))
@given(seeds, st.integers(2, 150), draw_rules(), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_a_range_split_in_parts_gives_the_same_trades(
    seed: int, count: int, rules: AccountConfig, at: list[float]
):
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    levels = make_levels(seed, candles)
    whole = simulate(candles, signal, rules, levels=levels)
    bounds = sorted({0, *(int(part * count) for part in at), count})
    fills, state = list[Fill](), None
    for start, end in pairwise(bounds):
        part = simulate(
            candles[:end],
            signal[:end],
            rules,
            start,
            state=state,
            levels=fold_first_levels(levels, end),
        )
        fills += [(bar + start, *rest) for bar, *rest in list_fills(part)]
        state = part.state
    assert fills == list_fills(whole)
    assert state == whole.state


def test_a_run_without_levels_has_none():
    result = simulate(walk(1, 10), np.zeros(10, np.int8), AccountConfig())
    assert result.levels is None
    assert result.state.levels is None
    assert not result.has_levels
