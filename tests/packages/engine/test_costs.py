"""Costs of each kind of exit, compared with results computed by hand."""

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.engine import AccountConfig, ExitConfig, SimulationResult, simulate

HOUR = 3_600
#: Opens and closes at 100; the third candle reaches 112 or 88, the others stay.
FLAT = np.full(6, 100.0)


def run(
    rules: AccountConfig, *, high: float = 100.0, low: float = 100.0, signal: str = "b....."
) -> SimulationResult:
    """Return a run of signals, b for BUY and s for SELL, over flat candles with one wick."""
    highs, lows = FLAT.copy(), FLAT.copy()
    highs[2], lows[2] = high, low
    times = np.arange(6, dtype=np.int64) * HOUR
    candles = Candles.from_columns(times, FLAT, highs, lows, FLAT, np.ones(6))
    codes = np.array([{"b": 1, "s": -1, ".": 0}[one] for one in signal], dtype=np.int8)
    return simulate(candles, codes, rules)


@pytest.mark.parametrize(("maker", "rate"), [(0.002, 0.002), (0.0, 0.0), (None, 0.01)])
def test_a_target_fills_with_the_maker_fee_and_no_slippage(maker: float | None, rate: float):
    rules = AccountConfig(
        fee_rate=0.01, maker_fee_rate=maker, slippage_bps=10, spread_bps=20, volume_impact=0.1,
        exits=ExitConfig(take_profit=0.1),
    )  # fmt: skip
    sold = run(rules, high=112.0).fills[1]
    assert (sold.price, sold.slippage_quote) == (pytest.approx(110.0), 0.0)
    assert sold.fee == pytest.approx(sold.notional * rate)
    assert sold.is_maker


def test_a_stop_fills_with_the_taker_fee_and_slippage():
    exits = ExitConfig(stop_loss=0.1)
    rules = AccountConfig(fee_rate=0.01, maker_fee_rate=0.002, slippage_bps=10, exits=exits)
    sold = run(rules, low=88.0).fills[1]
    assert sold.price == pytest.approx(90.0 * 0.999)
    assert sold.fee == pytest.approx(sold.notional * 0.01)
    assert not sold.is_maker


def test_half_of_the_spread_is_paid_in_each_order_in_addition_to_the_slippage():
    bought, sold = run(AccountConfig(spread_bps=20, slippage_bps=5), signal="b.s...").fills
    assert (bought.price, sold.price) == (pytest.approx(100.15), pytest.approx(99.85))


@pytest.mark.parametrize(
    ("signal", "bars", "entries"),
    [
        ("b.b...", 0, [1, 3]),
        ("b.b...", 1, [1]),
        ("b..b..", 1, [1, 4]),
        ("b..b..", 2, [1]),
        ("b.b.b.", 2, [1, 5]),
    ],
)
def test_a_cooldown_enters_nothing_for_so_many_candles_after_an_exit(
    signal: str, bars: int, entries: list[int]
):
    # Bought at the open of 1 and stopped out inside 2.
    rules = AccountConfig(cooldown_bars=bars, exits=ExitConfig(stop_loss=0.1))
    result = run(rules, low=88.0, signal=signal)
    assert [trade.entry_index for trade in result.trades] == entries
