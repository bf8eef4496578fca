"""An order waits for a candle with a trade."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.untraded import find_untraded_rows
from onetape.engine import AccountConfig, ExitConfig, SimulationResult, compute_metrics, simulate
from onetape.engine.buy_and_hold import compute_buy_and_hold_equity
from plain_engine import draw_rules, make_signals, walk
from repeatable import count_examples

FREE = AccountConfig(cash=1_000.0, fee_rate=0.0)
_ORDERS = {"b": 1, "s": -1, ".": 0}


def make_candles(bars: str, closes: list[float]) -> Candles:
    """Return candles, x with a trade and - without one, which repeats the close before it."""
    close = np.array(closes, dtype=np.float64)
    is_flat = np.array([bar == "-" for bar in bars])
    for bar in np.flatnonzero(is_flat).tolist():
        close[bar] = close[max(bar - 1, 0)]
    open_ = np.append(close[:1], close[:-1])
    volume = np.where(is_flat, 0.0, 5.0)
    times = np.arange(len(bars), dtype=np.int64) * 3_600
    return Candles.from_columns(
        times, open_, np.maximum(open_, close), np.minimum(open_, close), close, volume
    )


def run(
    bars: str, signals: str, closes: list[float] | None = None, rules: AccountConfig = FREE
) -> SimulationResult:
    signal = np.array([_ORDERS[one] for one in signals], np.int8)
    return simulate(make_candles(bars, closes or [100.0] * len(bars)), signal, rules)


def list_trade_bars(result: SimulationResult) -> list[tuple[int, int | None]]:
    return [(trade.entry_index, trade.exit_index) for trade in result.trades]


def test_a_sell_in_a_halt_fills_at_the_open_of_the_first_candle_with_a_trade():
    candles = make_candles("xxx----xx", [100.0] * 9)
    candles.open[7] = candles.low[7] = candles.close[7] = 60.0
    signal = np.array([1, 0, -1, 0, 0, 0, 0, 0, 0], np.int8)
    result = simulate(candles, signal, FREE)
    (trade,) = result.trades
    assert (trade.exit_index, trade.exit_price, trade.profit_ratio) == (
        7,
        60.0,
        pytest.approx(-0.4),
    )
    assert result.fill_log.waited == {7: 4}
    assert compute_metrics(result).waited_orders == 1


@pytest.mark.parametrize(
    ("bars", "signals", "trades", "waited"),
    [
        ("xx--xx", "xb....", [(4, None)], {4: 2}),  # a buy waits
        ("xx--xx", "xbbb..", [(4, None)], {4: 2}),  # a further BUY renews it
        ("xx--xx", "xbs...", [], {}),  # a SELL drops it
        ("xx--xx", "xb.s..", [], {}),  # also the newest one
        ("xx---xx", "xbsb...", [(5, None)], {5: 1}),  # a BUY after it waits again
        ("xxx--xx", "b.sb...", [(1, 5)], {5: 2}),  # a BUY drops no SELL
        ("xxx--xx", "b.sbbb.", [(1, 5), (6, None)], {5: 2}),  # its run enters after the sell
        ("xxx--", "b.s..", [(1, None)], {}),
        ("-----", "b.s..", [(1, 3)], {}),  # no volume at all: every candle counts as traded
    ],
)
def test_orders_that_are_due_in_candles_without_a_trade(
    bars: str, signals: str, trades: list[tuple[int, int | None]], waited: dict[int, int]
):
    result = run(bars, signals.replace("x", "."))
    assert list_trade_bars(result) == trades
    assert result.fill_log.waited == waited


@pytest.mark.parametrize(
    ("bars", "signals", "waiting"),
    [("xxx--", "b.s..", -1), ("xxx--", "..b..", 1), ("xxx--", "..bs.", 0), ("xxx--", "b....", 0)],
)
def test_an_order_that_still_waits_at_the_end_is_reported(bars: str, signals: str, waiting: int):
    result = run(bars, signals)
    assert result.fill_log.waiting == result.state.waiting == waiting


def test_a_series_that_has_volume_has_no_trade_in_a_range_without_any():
    candles, signal = make_candles("-----", [100.0] * 5), np.array([1, 0, -1, 0, 0], np.int8)
    assert not simulate(candles, signal, FREE, has_volume=True).trades


def test_a_cooldown_is_over_before_a_buy_may_be_due():
    # Out at 2; a BUY is due at 3, one candle too early, and nothing is traded until 6.
    rules = replace(FREE, cooldown_bars=1)
    assert list_trade_bars(run("xxx---xx", "bsb.....", rules=rules)) == [(1, 2)]
    assert list_trade_bars(run("xxx---xx", "bs.b....", rules=rules)) == [(1, 2), (6, None)]


def test_a_time_stop_waits_for_a_trade():
    rules = replace(FREE, exits=ExitConfig(time_stop_bars=2))
    result = run("xxx--xx", "b......", rules=rules)
    assert (list_trade_bars(result), result.exit_kinds) == ([(1, 5)], ("time_stop",))
    assert result.fill_log.waited == {5: 2}


def test_a_time_stop_that_waits_at_the_end_of_a_range_fills_at_the_first_open_of_the_next():
    rules = replace(FREE, exits=ExitConfig(time_stop_bars=2))
    candles, signal = make_candles("xxx--xx", [100.0] * 7), np.zeros(7, np.int8)
    signal[0] = 1
    first = simulate(candles[:5], signal[:5], rules)
    second = simulate(candles, signal, rules, 5, state=first.state)
    assert (list_trade_bars(first), list_trade_bars(second)) == ([(1, None)], [(-4, 0)])
    assert second.exit_kinds == ("time_stop",)


def test_a_falling_target_is_not_reached_in_a_candle_without_a_trade():
    exits = ExitConfig(target_table={1: 0.5, 3: -0.1})
    closes = [100.0, 100, 100, 100, 100, 100, 120, 120]
    result = run("xxx---xx", "b.......", closes, replace(FREE, exits=exits))
    assert list_trade_bars(result) == [(1, 6)]
    assert result.sells[0].price == 100


def test_a_price_without_a_trade_reaches_no_stop_and_raises_no_trailing_stop():
    candles = make_candles("xxx--xx", [100.0] * 7)
    for bar, price in ((3, 130.0), (4, 85.0)):
        for column in (candles.open, candles.high, candles.low, candles.close):
            column[bar] = price
    candles.open[5] = candles.high[6] = candles.open[6] = candles.close[5] = 100.0
    rules = replace(FREE, exits=ExitConfig(stop_loss=0.1, trailing_stop=0.05))
    result = simulate(candles, np.array([1, 0, 0, 0, 0, 0, 0], np.int8), rules)
    assert list_trade_bars(result) == [(1, None)]


def test_buying_and_holding_buys_in_the_first_candle_with_a_trade():
    candles = make_candles("x--xx", [100.0, 100, 100, 100, 120])
    equity = compute_buy_and_hold_equity(candles, FREE)
    assert equity is not None
    assert equity.tolist() == [1_000, 1_000, 1_000, 1_000, 1_200]


@settings(max_examples=count_examples(200))
@given(st.integers(0, 2**32 - 1), st.integers(2, 250), draw_rules())
def test_no_order_is_filled_in_a_candle_without_a_trade(
    seed: int, count: int, rules: AccountConfig
):
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    result = simulate(candles, signal, rules)
    untraded = find_untraded_rows(candles)
    assert not untraded[list(result.indices)].any()
    assert all(
        untraded[bar - candles_ : bar].all() for bar, candles_ in result.fill_log.waited.items()
    )
