"""Entries at a limit price: by hand, bar by bar, in Decimals, event by event."""

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cent_walk import make_cent_walk
from exact_account import ExactAccount, run_exact
from onetape.core.candles import Candles
from onetape.core.resample import resample
from onetape.core.strategy_levels import LevelColumns, LevelRow, parse_level_values
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    IntrabarSource,
    SimulationResult,
    StepState,
    SymbolSeries,
    restore_state,
    simulate,
    simulate_portfolio,
)
from onetape.engine.intrabar import make_candle_reader
from plain_engine import draw_rules, make_signals, run_plain, walk
from plain_guards import draw_guards
from plain_hours import draw_hours
from plain_levels import limits_of
from repeatable import count_examples
from step_broker import StepBroker
from symbol_series import COARSE, FINE, draw_busy_rules, make_busy_series, make_symbol_series

Bar = tuple[float, float, float, float]
Fill = tuple[int, str, float, float, str]
#: A bar of one price, with volume.
FLAT: Bar = (100.0, 100.0, 100.0, 100.0)
NONE = float("nan")
seeds = st.integers(0, 2**32 - 1)


def candles_of(bars: list[Bar], volume: list[float] | None = None) -> Candles:
    """Return bars of open, high, low and close, one an hour."""
    open_, high, low, close = np.array(bars, dtype=np.float64).T
    times = 3_600 * np.arange(len(bars), dtype=np.int64)
    return Candles.from_columns(
        times, open_, high, low, close, np.array(volume or [10.0] * len(bars))
    )


def run_of(
    bars: list[Bar],
    signal: list[int],
    limit: list[float],
    expiry: int = 1,
    *,
    exits: ExitConfig | None = None,
    volume: list[float] | None = None,
    after_gaps: tuple[int, ...] = (),
    stop: list[float] | None = None,
    **rules: Any,
) -> SimulationResult:
    given: dict[str, Any] = {"cash": 1_000.0, "fee_rate": 0.0, **rules}
    levels = LevelColumns(
        stop=None if stop is None else np.array(stop),
        limit=np.array(limit),
        expiry_candles=expiry,
        after_gaps=after_gaps,
    )
    account = AccountConfig(exits=exits or ExitConfig(), **given)
    return simulate(candles_of(bars, volume), np.array(signal, np.int8), account, levels=levels)


def fills_of(result: SimulationResult) -> list[Fill]:
    kinds = iter(result.exit_kinds)
    return [
        (bar, fill.side, fill.price, fill.amount, "" if fill.side == "buy" else next(kinds))
        for bar, fill in zip(result.indices, result.fills, strict=True)
    ]


def bought(result: SimulationResult) -> list[tuple[int, float, bool]]:
    """Return bar, price and whether it paid maker of each entry."""
    return [
        (trade.entry_index, buy.price, buy.is_maker)
        for trade, buy in zip(result.trades, result.buys, strict=True)
    ]


def test_a_low_under_the_limit_fills_at_the_limit_as_maker():
    bars: list[Bar] = [FLAT, (100.0, 101.0, 98.5, 100.0)]
    result = run_of(bars, [1, 0], [99.0, NONE], fee_rate=0.002, maker_fee_rate=0.001)
    assert bought(result) == [(1, 99.0, True)]
    assert result.fills[0].fee == pytest.approx(result.fills[0].notional * 0.001)


def test_a_low_that_touches_the_limit_fills_nothing():
    assert bought(run_of([FLAT, (100.0, 101.0, 99.0, 100.0)], [1, 0], [99.0, NONE])) == []


def test_an_open_under_the_limit_fills_at_the_open_as_taker_with_slippage():
    bars: list[Bar] = [FLAT, (98.0, 101.0, 97.0, 100.0)]
    result = run_of(
        bars, [1, 0], [99.0, NONE], fee_rate=0.002, maker_fee_rate=0.001, slippage_bps=10.0
    )
    assert bought(result) == [(1, pytest.approx(98.098), False)]
    assert result.fills[0].fee == pytest.approx(result.fills[0].notional * 0.002)


def test_slippage_never_moves_the_price_above_the_limit():
    result = run_of([FLAT, (98.99, 99.5, 98.0, 99.0)], [1, 0], [99.0, NONE], slippage_bps=50.0)
    assert bought(result) == [(1, 99.0, False)]


def test_an_open_at_the_limit_is_not_under_it():
    result = run_of([FLAT, (99.0, 99.0, 98.0, 99.0)], [1, 0], [99.0, NONE], slippage_bps=50.0)
    assert bought(result) == [(1, 99.0, True)]


@pytest.mark.parametrize(("expiry", "bar"), [(1, None), (2, None), (3, 3), (9, 3)])
def test_an_order_stays_open_for_its_expiry_in_candles(expiry: int, bar: int | None):
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    result = run_of(bars, [1, 0, 0, 0], [99.0, NONE, NONE, NONE], expiry)
    assert [one for one, *_ in bought(result)] == ([] if bar is None else [bar])
    ended = [] if bar else [1, min(expiry, 2)]
    assert result.fill_log.unfilled_limits.tolist() == ended


def test_a_candle_without_a_trade_fills_nothing_and_counts_for_the_expiry():
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    volume, limit = [1.0, 1.0, 0.0, 1.0], [99.0, NONE, NONE, NONE]
    assert bought(run_of(bars, [1, 0, 0, 0], limit, 2, volume=volume)) == []
    assert bought(run_of(bars, [1, 0, 0, 0], limit, 3, volume=volume)) == [(3, 99.0, True)]


def test_an_order_that_expires_while_it_waits_for_a_trade_is_not_sent():
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    volume, limit = [1.0, 0.0, 0.0, 1.0], [99.0, NONE, NONE, NONE]
    result = run_of(bars, [1, 0, 0, 0], limit, 2, volume=volume)
    assert bought(result) == []
    assert len(result.fill_log.unfilled_limits) == 0


def test_a_sell_cancels_the_open_order():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    result = run_of(bars, [1, -1, 0], [99.0, NONE, NONE], 5)
    assert bought(result) == []
    assert result.fill_log.unfilled_limits.tolist() == [1, 1]


def test_a_buy_without_a_limit_is_a_market_order():
    bars: list[Bar] = [FLAT, (98.0, 99.0, 97.0, 98.0), FLAT, (98.0, 99.0, 97.0, 98.0)]
    result = run_of(bars, [1, -1, 1, 0], [NONE, NONE, 99.0, NONE], slippage_bps=10.0)
    assert [one for one, *_ in bought(result)] == [1, 3]


def test_a_further_buy_does_not_change_an_open_order():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 97.0, 100.0)]
    result = run_of(bars, [1, 1, 0], [98.0, 99.0, NONE], 5)
    assert bought(result) == [(2, 98.0, True)]


def test_with_an_expiry_of_one_candle_each_buy_has_its_own_price():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 97.0, 100.0)]
    assert bought(run_of(bars, [1, 1, 0], [98.0, 99.0, NONE])) == [(2, 99.0, True)]


def test_an_order_that_was_not_filled_does_not_use_up_its_run_of_buys():
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    assert bought(run_of(bars, [1, 1, 1, 0], [90.0, 90.0, 99.0, NONE])) == [(3, 99.0, True)]


def test_a_filled_order_uses_up_its_run_of_buys():
    down: Bar = (100.0, 100.0, 94.0, 100.0)
    bars: list[Bar] = [FLAT, down, FLAT, down, FLAT]
    exits = ExitConfig(stop_loss=0.02)
    result = run_of(bars, [1, 1, 1, 1, 1], [99.0] * 5, exits=exits)
    assert bought(result) == [(1, 99.0, True)]
    again = run_of(bars, [1, 1, 1, 1, 1], [99.0] * 5, exits=exits, reentry="while_signal")
    assert [one for one, *_ in bought(again)] == [1, 3]


def test_the_stop_sells_in_the_candle_of_the_fill():
    bars: list[Bar] = [FLAT, (100.0, 104.0, 96.0, 103.0)]
    result = run_of(bars, [1, 0], [99.0, NONE], exits=ExitConfig(stop_loss=0.02))
    assert fills_of(result)[1][::2] == (1, pytest.approx(97.02), "stop_loss")


def test_the_target_does_not_sell_in_the_candle_of_the_fill():
    bars: list[Bar] = [FLAT, (100.0, 104.0, 98.0, 99.0), (99.0, 104.0, 99.0, 99.0)]
    result = run_of(bars, [1, 0, 0], [99.0, NONE, NONE], exits=ExitConfig(take_profit=0.02))
    assert fills_of(result)[1][::2] == (2, pytest.approx(100.98), "target")


def test_a_fill_at_the_open_is_followed_by_the_whole_candle():
    bars: list[Bar] = [FLAT, (98.0, 104.0, 98.0, 99.0)]
    result = run_of(bars, [1, 0], [99.0, NONE], exits=ExitConfig(take_profit=0.02))
    assert fills_of(result)[1][::2] == (1, pytest.approx(99.96), "target")


def test_a_fill_under_the_stop_of_the_strategy_is_sold_at_its_price():
    levels = {"stop": [98.0, 99.5, NONE]}
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 98.5, 99.0)]
    columns = LevelColumns(
        stop=np.array(levels["stop"]),
        stop_mode="each_candle",
        limit=np.array([99.0, NONE, NONE]),
        expiry_candles=3,
    )
    rules = AccountConfig(cash=1_000.0, fee_rate=0.0)
    result = simulate(candles_of(bars), np.array([1, 0, 0], np.int8), rules, levels=columns)
    assert [one[::2] for one in fills_of(result)] == [(2, 99.0, ""), (2, 99.0, "stop_loss")]


def test_the_stop_is_that_of_the_buy_that_sent_the_order():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 96.0, 99.0)]
    result = run_of(bars, [1, 1, 0], [99.0, 99.0, NONE], 5, stop=[95.0, 97.0, NONE])
    assert len(result.fills) == 1


def test_the_high_of_the_candle_of_the_fill_moves_no_later_stop_but_its_close_does():
    first, exits = (100.0, 120.0, 98.9, 101.0), ExitConfig(trailing_stop=0.2)
    bars: list[Bar] = [FLAT, first, (101.0, 101.0, 85.0, 85.0), (85.0, 85.0, 80.0, 80.0)]
    result = run_of(bars, [1, 0, 0, 0], [99.0, NONE, NONE, NONE], exits=exits)
    assert fills_of(result)[1][::2] == (3, pytest.approx(80.8), "trailing_stop")


def test_trading_hours_cancel_an_open_order():
    bars: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    limit = [99.0, NONE, NONE, NONE]
    result = run_of(bars, [1, 0, 0, 0], limit, 9, trading_hours="00:00-02:00,03:00-09:00")
    assert bought(result) == []
    assert result.fill_log.unfilled_limits.tolist() == [1, 2]


def test_no_order_is_open_across_an_unexplained_gap():
    bars: list[Bar] = [FLAT, FLAT, (100.0, 100.0, 98.0, 100.0)]
    limit = [99.0, NONE, NONE]
    assert bought(run_of(bars, [1, 0, 0], limit, 9)) == [(2, 99.0, True)]
    assert bought(run_of(bars, [1, 0, 0], limit, 9, after_gaps=(2,))) == []


def test_an_order_that_is_open_at_the_end_is_noted():
    result = run_of([FLAT, FLAT, FLAT], [0, 1, 0], [NONE, 99.0, NONE], 9)
    assert result.fill_log.open_limit == 2
    assert result.cash == 1_000.0


def test_the_limit_is_rounded_down_to_the_price_step():
    steps = TradingRules(Decimal("0.5"), None, Decimal(0), Decimal(0))
    bars: list[Bar] = [FLAT, (100.0, 100.0, 98.0, 100.0)]
    assert bought(run_of(bars, [1, 0], [99.4, NONE], trading_rules=steps)) == [(1, 99.0, True)]


def test_all_money_is_reserved_with_the_larger_fee():
    bars: list[Bar] = [FLAT, (100.0, 100.0, 98.0, 100.0)]
    result = run_of(bars, [1, 0], [99.0, NONE], fee_rate=0.01, maker_fee_rate=0.0)
    assert result.fills[0].amount == pytest.approx(1_000 / (99 * 1.01))
    assert result.cash == pytest.approx(1_000 - 99 * result.fills[0].amount)


def test_a_range_after_another_one_cannot_have_limits():
    candles = candles_of([FLAT, FLAT])
    levels = LevelColumns(limit=np.array([99.0, NONE]))
    state = simulate(candles, np.zeros(2, np.int8), AccountConfig()).state
    with pytest.raises(ValueError, match="cannot continue"):
        simulate(candles, np.zeros(2, np.int8), AccountConfig(), 1, state=state, levels=levels)


def test_a_limit_is_stored_next_to_indicators():
    row = LevelRow(stop=90.0, limit=99.0, expiry_candles=3)
    assert parse_level_values(row.make_values()) == row


@settings(max_examples=count_examples(400))
@given(seeds, st.integers(2, 400), draw_rules())
def test_every_fill_is_that_of_a_loop_over_the_bars(seed: int, count: int, rules: AccountConfig):
    candles, signal = walk(seed, count), make_signals(seed, count)
    levels = limits_of(seed, candles)
    result = simulate(candles, np.array(signal, np.int8), rules, levels=levels)
    plain = run_plain(candles, signal, rules, levels)
    assert fills_of(result) == plain.fills
    assert [bar for bar, _ in result.refused] == plain.refused
    assert (result.cash, result.base) == (plain.cash, plain.base)
    assert result.fill_log.ambiguous == plain.ambiguous
    ended = np.array(result.fill_log.unfilled_limits).reshape(-1, 2).tolist()
    # The loop ends an order whose last candle is that of the range.
    assert [tuple(one) for one in ended] == plain.unfilled


@settings(max_examples=count_examples(100))
@given(seeds, st.integers(2, 150), draw_rules(), draw_hours(), draw_guards())
def test_hours_and_guards_cancel_orders_as_in_the_loop(
    seed: int, count: int, rules: AccountConfig, hours: dict[str, Any], guards: dict[str, Any]
):
    rules = replace(rules, **hours, **guards)
    candles, signal = walk(seed, count), make_signals(seed, count)
    levels = limits_of(seed, candles)
    result = simulate(candles, np.array(signal, np.int8), rules, levels=levels)
    assert fills_of(result) == run_plain(candles, signal, rules, levels).fills


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
def test_any_limits_and_rules_equal_a_decimal_recomputation(
    seed: int, count: int, rules: AccountConfig
):
    prices, signal = make_cent_walk(seed, count), make_signals(seed, count)
    levels = limits_of(seed, prices.candles)
    result = simulate(prices.candles, np.array(signal, np.int8), rules, levels=levels)
    exact = run_exact([(prices, signal, rules.trading_rules)], rules, levels=[levels])
    require_same_decimals(result, exact.symbols[0])
    assert result.cash == pytest.approx(total_cash(exact), rel=1e-9, abs=1e-4)


def total_cash(account: ExactAccount) -> float:
    """Return the cash with the money of limit orders that are open at the end."""
    reserved = [one.limit.reserved for one in account.symbols if one.limit is not None]
    return float(sum(reserved, account.cash))


@settings(max_examples=count_examples(150))
@given(
    seed=seeds,
    count=st.integers(9, 120),
    rules=draw_rules(),
    symbols=st.integers(2, 4),
    places=st.sampled_from([None, 1, 2]),
)
def test_limits_of_several_symbols_equal_a_decimal_recomputation(
    *, seed: int, count: int, rules: AccountConfig, symbols: int, places: int | None
):
    walks = [make_cent_walk(seed + number, count) for number in range(symbols)]
    signals = [make_signals(seed + number, count) for number in range(symbols)]
    levels = [limits_of(seed + number, one.candles) for number, one in enumerate(walks)]
    series = [
        SymbolSeries(
            f"{number}/Q",
            one.candles,
            np.array(signals[number], np.int8),
            0,
            rules.trading_rules,
            levels=levels[number],
        )
        for number, one in enumerate(walks)
    ]
    result = simulate_portfolio(series, rules, places)
    markets = [
        (one, signal, rules.trading_rules) for one, signal in zip(walks, signals, strict=True)
    ]
    exact = run_exact(markets, rules, places, levels)
    for part, symbol in zip(result.parts, exact.symbols, strict=True):
        require_same_decimals(part, symbol)
    assert result.cash == pytest.approx(total_cash(exact), rel=1e-9, abs=1e-4)
    assert result.skipped_entries == exact.skipped


def with_limits(series: list[SymbolSeries], seed: int) -> list[SymbolSeries]:
    """Return series with limits, and every third one without."""
    return [
        one if number % 3 == 2 else replace(one, levels=limits_of(seed + number, one.candles))
        for number, one in enumerate(series)
    ]


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    count=st.integers(9, 150),
    rules=draw_rules(),
    symbols=st.integers(1, 4),
    places=st.sampled_from([None, 1, 2]),
    pauses=st.one_of(st.just(dict[str, Any]()), draw_hours(), draw_guards()),
)
def test_the_stepper_trades_limits_as_the_backtest_does(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    symbols: int,
    places: int | None,
    pauses: dict[str, Any],
):
    rules = replace(rules, **pauses)
    series = with_limits(
        make_symbol_series(
            seed, count, rules, symbols=symbols, has_detail=False, is_mixed=symbols > 1
        ),
        seed,
    )
    require_equal(series, rules, places)


@settings(max_examples=count_examples(150))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    symbols=st.integers(1, 4),
    places=st.sampled_from([None, 1, 2]),
)
def test_limit_orders_that_are_often_refused_are_those_of_the_backtest(
    *, seed: int, rules: AccountConfig, symbols: int, places: int | None
):
    require_equal(with_limits(make_busy_series(seed, 80, rules, symbols), seed), rules, places)


def require_equal(
    series: list[SymbolSeries], rules: AccountConfig, max_open_trades: int | None
) -> None:
    result = simulate_portfolio(series, rules, max_open_trades)
    stepped = StepBroker(series, rules, max_open_trades).run()
    for part, market in zip(result.parts, stepped.markets.values(), strict=True):
        assert market.made == [
            (side, bar, price, amount, kind) for bar, side, price, amount, kind in fills_of(part)
        ]
        assert market.refused == [bar for bar, _ in part.refused]
        assert (market.base, market.ambiguous) == (part.base, part.fill_log.ambiguous)
        assert market.unfilled == len(part.fill_log.unfilled_limits) // 2
    for market in stepped.markets.values():
        if market.reserved is not None:
            stepped.release(market)
    assert stepped.cash == result.cash


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    symbols=st.integers(1, 2),
    cut=st.integers(1, 59),
)
def test_a_position_of_a_limit_order_is_rebuilt_from_stored_facts(
    *, seed: int, rules: AccountConfig, symbols: int, cut: int
):
    series = with_limits(make_busy_series(seed, 60, rules, symbols), seed)
    stopped = StepBroker(series, rules).run(until=cut * 3_600)
    assume(all(state.limit is None for state in stopped.state.symbols.values()))
    whole = StepBroker(series, rules).run()
    facts = {name: market.facts for name, market in stopped.markets.items()}
    restored = restore_state(stopped.rules, facts)
    for name, state in restored.symbols.items():
        assert state.position == stopped.state.symbols[name].position
    stopped.state = msgspec.json.decode(msgspec.json.encode(restored), type=StepState)
    for moment in stopped.moments[cut:]:
        stopped.trade(moment)
    for name, market in whole.markets.items():
        assert stopped.markets[name].made == market.made


def test_intrabar_candles_prove_that_the_target_came_after_the_fill():
    hours: list[Bar] = [FLAT] * 4 + [
        FLAT,
        (100.0, 100.0, 98.5, 99.0),
        (99.0, 103.0, 99.0, 99.0),
        (99.0, 99.0, 99.0, 99.0),
    ]
    result = run_intrabar(hours, ExitConfig(take_profit=0.02))
    assert fills_of(result)[1][::2] == (1, pytest.approx(100.98), "target")


def test_a_high_before_the_fill_reaches_no_target():
    hours: list[Bar] = [FLAT] * 4 + [
        (100.0, 103.0, 100.0, 100.0),
        (100.0, 100.0, 98.5, 99.0),
        (99.0, 99.5, 99.0, 99.0),
        (99.0, 99.0, 99.0, 99.0),
    ]
    result = run_intrabar(hours, ExitConfig(take_profit=0.02))
    assert len(result.fills) == 1


def test_a_trailing_stop_follows_the_intrabar_candles_after_the_fill():
    hours: list[Bar] = [FLAT] * 4 + [
        FLAT,
        (100.0, 100.0, 98.9, 99.0),
        (99.0, 110.0, 99.0, 109.0),
        (109.0, 109.0, 106.0, 106.0),
    ]
    hours += [(106.0, 106.0, 100.0, 100.0)] * 4
    # Lows that rise with the highs leave no candle ambiguous.
    hours[6:] = [(99.0, 103.0, 99.0, 103.0), (103.0, 107.0, 103.0, 106.0)]
    hours += [(106.0, 106.0, 100.0, 100.0)] * 4
    result = run_intrabar(hours, ExitConfig(trailing_stop=0.05))
    assert fills_of(result)[1][::2] == (2, pytest.approx(101.65), "trailing_stop")


def run_intrabar(hours: list[Bar], exits: ExitConfig) -> SimulationResult:
    """Return the run over candles of four hours; the first one has a BUY with the limit 99."""
    fine = candles_of(hours)
    candles = resample(fine, FINE, COARSE)
    levels = LevelColumns(limit=np.full(len(candles), 99.0))
    signal = np.array([1] + [0] * (len(candles) - 1), np.int8)
    rules = AccountConfig(cash=1_000.0, fee_rate=0.0, exits=exits, trading_rules=NO_TRADING_RULES)
    intrabar = IntrabarSource(COARSE, FINE, make_candle_reader(fine))
    return simulate(candles, signal, rules, levels=levels, intrabar=intrabar)


@settings(max_examples=count_examples(100))
@given(seeds, st.integers(2, 60), draw_rules())
def test_intrabar_candles_move_no_entry_and_no_exit_outside_its_candle(
    seed: int, count: int, rules: AccountConfig
):
    fine = walk(seed, count * 4)
    candles = resample(fine, FINE, COARSE)
    intrabar = IntrabarSource(COARSE, FINE, make_candle_reader(fine))
    signal = np.array(make_signals(seed, len(candles)), np.int8)
    levels = limits_of(seed, candles)
    result = simulate(candles, signal, rules, levels=levels, intrabar=intrabar)
    for bar, fill in zip(result.indices, result.fills, strict=True):
        assert candles.low[bar] <= fill.before_slippage <= candles.high[bar] or (
            rules.trading_rules.price_step is not None
        )
    first = result.fill_log.get_entry_bars()[:1]
    plain = simulate(candles, signal, rules, levels=levels)
    assert first == plain.fill_log.get_entry_bars()[:1]
