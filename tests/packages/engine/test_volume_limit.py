"""An entry buys at most a fraction of the volume of the candle before the one that fills it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import (
    AccountConfig,
    ModelFill,
    OrderContext,
    RefusedOrder,
    SimulationResult,
    SymbolSeries,
    compute_metrics,
    simulate,
    simulate_buy,
    simulate_portfolio,
)
from onetape.engine.buy_and_hold import compute_buy_and_hold
from plain_engine import draw_rules, make_signals, walk
from repeatable import count_examples

FREE = AccountConfig(cash=1_000.0, fee_rate=0.0, max_volume_share=0.1)
seeds = st.integers(0, 2**32 - 1)


def make_candles(volumes: Sequence[float], price: float = 10.0) -> Candles:
    """Return hours whose price moves by a cent around its open, with these volumes."""
    count = len(volumes)
    opens = np.full(count, price)
    times = np.arange(count, dtype=np.int64) * 3_600
    return Candles.from_columns(
        times, opens, opens + 0.01, opens - 0.01, opens, np.array(volumes, dtype=np.float64)
    )


def run(rules: AccountConfig, volumes: Sequence[float], signal: str) -> SimulationResult:
    """Return a run of signals, b for BUY and s for SELL."""
    codes = np.array([{"b": 1, "s": -1, ".": 0}[one] for one in signal], dtype=np.int8)
    return simulate(make_candles(volumes), codes, rules)


def test_an_entry_buys_a_fraction_of_the_volume_before_its_candle_and_not_of_its_own():
    result = run(FREE, [500, 200, 900, 900], ".b..")
    (bought,) = result.fills
    assert bought.amount == pytest.approx(0.1 * 200)
    assert result.cash == pytest.approx(1_000 - 200)


def test_an_entry_below_the_limit_is_unchanged():
    result = run(FREE, [5_000, 5_000, 1, 1], ".b..")
    assert result.fills[0].amount == pytest.approx(100.0)
    assert result.fill_log.limited == 0


def test_an_exit_sells_everything_whatever_the_volume_is():
    bought, sold = run(FREE, [500, 500, 0.5, 0.5, 0.5], ".b.s.").fills
    assert bought.amount == sold.amount == pytest.approx(50.0)


def test_the_limit_is_rounded_down_to_the_amount_step():
    steps = TradingRules(Decimal("0.01"), Decimal("0.1"), Decimal("0.1"), Decimal(1))
    result = run(replace(FREE, trading_rules=steps), [1, 78, 1, 1], ".b..")
    assert result.fills[0].amount == pytest.approx(7.8)
    result = run(replace(FREE, trading_rules=steps), [1, 78.9, 1, 1], ".b..")
    assert result.fills[0].amount == pytest.approx(7.8)


def test_a_limited_order_moves_the_price_by_its_own_share_alone():
    fill = simulate_buy(replace(FREE, volume_impact=0.2), 1_000.0, 10.0, OrderContext(volume=50.0))
    assert isinstance(fill, ModelFill)
    assert (fill.amount, fill.price) == (pytest.approx(5.0), pytest.approx(10.0 * 1.02))


@pytest.mark.parametrize(
    "sizing", [{"sizing": "quote_amount", "quote_amount": 2_000.0},
               {"sizing": "base_amount", "base_amount": 200.0}]
)  # fmt: skip
def test_a_fixed_size_above_the_cash_is_refused_before_the_limit_applies(
    sizing: dict[str, Any],
):
    fill = simulate_buy(replace(FREE, **sizing), 1_000.0, 10.0, OrderContext(volume=50.0))
    assert isinstance(fill, RefusedOrder)
    assert fill.kind in ("cash_below_order", "cash_below_cost")


def test_after_a_candle_without_volume_an_entry_is_refused_and_the_next_buy_enters():
    result = run(FREE, [500, 0, 500, 500], ".bb.")
    ((bar, refused),) = result.refused
    assert (bar, refused.reason) == (
        2,
        "the last candle's volume is 0, so max_volume_share 0.1 allows a buy of 0, which is too "
        "small for an order",
    )
    assert [trade.entry_index for trade in result.trades] == [3]


def test_an_entry_that_the_limit_makes_smaller_than_the_minimum_order_is_refused():
    steps = TradingRules(Decimal("0.01"), Decimal("0.1"), Decimal("0.1"), Decimal(5))
    result = run(replace(FREE, trading_rules=steps), [1, 3, 1, 1], ".b..")
    assert [refused.kind for _, refused in result.refused] == ["volume_limit_too_small"]
    assert result.fills == ()


def test_entries_that_were_made_smaller_are_counted():
    result = run(FREE, [9_000, 500, 5, 9_000, 5, 5, 200, 5], ".b.s.b.s")
    assert len(result.trades) == 2
    assert compute_metrics(result).limited_entries == 2
    whole = run(FREE, [9_000, 500, 5, 9_000, 9_000, 9_000, 200, 5], ".b.s.b.s")
    assert compute_metrics(whole).limited_entries == 1


def test_an_entry_that_only_rounding_makes_smaller_is_not_counted():
    steps = TradingRules(Decimal("0.01"), Decimal(10), Decimal(10), Decimal(5))
    rules = replace(FREE, cash=659.0, trading_rules=steps)
    result = run(rules, [1, 605, 1, 1], ".b..")
    assert result.fills[0].amount == 60.0
    assert result.fill_log.limited == 0


def test_symbols_that_share_an_account_are_limited_by_their_own_volume():
    signal = np.array([0, 1, 0, 0], np.int8)
    series = [
        SymbolSeries(name, make_candles(volumes), signal, 0, NO_TRADING_RULES)
        for name, volumes in (("A/Q", [1, 300, 1, 1]), ("B/Q", [1, 80, 1, 1]))
    ]  # fmt: skip
    result = simulate_portfolio(series, FREE)
    assert [part.fills[0].amount for part in result.parts] == [
        pytest.approx(30.0),
        pytest.approx(8.0),
    ]
    assert compute_metrics(result).limited_entries == 2


def test_buying_and_holding_is_not_limited():
    candles = make_candles([1, 1, 1])
    assert compute_buy_and_hold(candles, FREE) == compute_buy_and_hold(
        candles, replace(FREE, max_volume_share=None)
    )


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_fraction_outside_its_bounds_is_refused(share: float):
    with pytest.raises(UsageError, match="max_volume_share must be above 0 and at most 1"):
        AccountConfig(max_volume_share=share)


@settings(max_examples=count_examples(200))
@given(seeds, st.integers(2, 300), draw_rules(), st.sampled_from([0.0005, 0.03, 1.0]))
def test_no_buy_is_larger_than_its_fraction_of_the_volume_before(
    seed: int, count: int, rules: AccountConfig, share: float
):
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    result = simulate(candles, signal, replace(rules, max_volume_share=share))
    for bar, fill in zip(result.indices, result.fills, strict=True):
        if fill.side == "buy":
            # A step is not missed by the rounding of floats: core.trading_rules.
            least = float(rules.trading_rules.amount_step or 0) * 1e-6
            assert fill.amount <= share * candles.volume[bar - 1] * (1 + 1e-12) + least


@settings(max_examples=count_examples(200))
@given(seeds, st.integers(3, 200), draw_rules(), st.data())
def test_the_volume_of_a_candle_and_of_later_ones_changes_no_fill_before_its_close(
    seed: int, count: int, rules: AccountConfig, data: st.DataObject
):
    rules = replace(rules, max_volume_share=0.01, volume_impact=0.0)
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    first = data.draw(st.integers(1, count - 1))
    volume = candles.volume.copy()
    volume[first:] *= 0.25
    changed = replace(candles, volume=volume)
    before, after = (simulate(one, signal, rules) for one in (candles, changed))

    def known(result: SimulationResult) -> list[tuple[int, ModelFill]]:
        pairs = zip(result.indices, result.fills, strict=True)
        return [(bar, fill) for bar, fill in pairs if bar <= first]

    assert known(before) == known(after)


@settings(max_examples=count_examples(100))
@given(seeds, st.integers(2, 300), draw_rules())
def test_a_limit_that_no_entry_reaches_changes_nothing(seed: int, count: int, rules: AccountConfig):
    walked, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    candles = replace(walked, volume=np.where(walked.volume > 0, 1e12, 1e11))
    free = simulate(candles, signal, replace(rules, max_volume_share=None))
    limited = simulate(candles, signal, replace(rules, max_volume_share=1.0))
    assert limited.fills == free.fills
    assert limited.equity.tolist() == pytest.approx(free.equity.tolist(), rel=1e-12)
    assert limited.fill_log.limited == 0
