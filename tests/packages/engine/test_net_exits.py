"""Exits net of fees: net targets, trailing from an offset on, exits in profit only."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cent_walk import make_exact
from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.engine import AccountConfig, ExitConfig, SimulationResult, simulate
from onetape.engine.exits import TARGET, compute_levels, find_exit_in_bar
from repeatable import count_examples

Bar = tuple[float, float, float, float]


def run_simulation(bars: list[Bar], signal: list[int], rules: AccountConfig) -> SimulationResult:
    """Return the run of bars of open, high, low and close, one an hour."""
    open_, high, low, close = np.array(bars, dtype=np.float64).T
    times = 3_600 * np.arange(len(bars), dtype=np.int64)
    candles = Candles.from_columns(times, open_, high, low, close, np.full(len(bars), 10.0))
    return simulate(candles, np.array(signal, np.int8), rules)


def make_account(exits: ExitConfig, **settings: Any) -> AccountConfig:
    return AccountConfig(cash=1_000.0, exits=exits, **settings)


def list_exits(result: SimulationResult) -> list[tuple[int, str, float]]:
    return [
        (trade.exit_index, trade.exit_kind or "", round(sell.before_slippage, 9))
        for trade, sell in zip(result.trades, result.sells, strict=False)
        if trade.exit_index is not None
    ]


@pytest.mark.parametrize("offset", [-0.1, -0.02, 0.003, 0.01, 0.02, 0.05])
def test_a_price_exactly_at_an_offset_is_not_above_the_offset(offset: float):
    exits = ExitConfig(exit_profit_offset=offset, trailing_stop=0.1)
    trailing = ExitConfig(trailing_offset=max(offset, 0.0), trailing_stop=0.1)
    for cents in range(1_000, 20_000, 100):
        price = cents / 100
        assert not exits.sell_counts(price, float(make_exact(price) * (1 + make_exact(offset))))
        highest = float(make_exact(price) * (1 + make_exact(max(offset, 0.0))))
        assert compute_levels(trailing, price, highest, 1, 0.0).stop < 0


def test_a_net_target_earns_its_share_of_the_cost_after_both_fees():
    exits = ExitConfig(take_profit=0.1, net_targets=True)
    bars = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(100.0, 120.0, 100.0, 110.0)]
    rules = make_account(exits, fee_rate=0.01, maker_fee_rate=0.005)
    result = run_simulation(bars, [1, 0, 0], rules)
    assert list_exits(result) == [(2, "target", round(100 * 1.1 * 1.01 / 0.995, 9))]
    assert result.cash == pytest.approx(1_100.0)


def test_a_net_target_counts_a_fee_that_was_paid_in_coins():
    exits = ExitConfig(target_table={0: 0.1}, net_targets=True)
    rules = make_account(exits, fee_rate=0.01, fee_currency="base")
    bars = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(100.0, 120.0, 100.0, 110.0)]
    assert run_simulation(bars, [1, 0, 0], rules).cash == pytest.approx(1_100.0)


def test_a_sell_counts_only_if_its_candle_closes_above_the_offset_after_fees():
    exits = ExitConfig(exit_profit_offset=0.02)
    bound = 100 * 1.02 * 1.001 / 0.999
    bars: list[Bar] = [
        (100.0, 100.0, 100.0, 100.0),
        (100.0, 101.0, 99.0, round(bound - 0.01, 2)),
        (99.0, 103.0, 99.0, round(bound + 0.01, 2)),
        (98.0, 98.0, 98.0, 98.0),
    ]
    result = run_simulation(bars, [1, -1, -1, 0], make_account(exits))
    assert list_exits(result) == [(3, "signal", 98.0)]


def test_a_sell_at_a_loss_is_ignored_and_the_position_keeps_its_stop():
    exits = ExitConfig(stop_loss=0.1, exit_profit_offset=0.0)
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 95.0, 95.0)]
    bars += [(95.0, 95.0, 94.0, 94.0), (94.0, 94.0, 85.0, 85.0)]
    assert list_exits(run_simulation(bars, [1, -1, -1, -1], make_account(exits))) == [
        (3, "stop_loss", 90.0)
    ]


def test_the_trailing_stop_begins_at_its_offset():
    exits = ExitConfig(stop_loss=0.1, trailing_stop=0.01, trailing_offset=0.05)
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0), (100.0, 104.0, 100.0, 104.0)]
    bars += [(104.0, 104.0, 101.0, 102.0), (102.0, 110.0, 109.5, 110.0)]
    bars += [(110.0, 110.0, 100.0, 100.0)]
    found = list_exits(run_simulation(bars, [1, 0, 0, 0, 0], make_account(exits, fee_rate=0.0)))
    assert found == [(4, "trailing_stop", 108.9)]


def test_below_the_offset_the_trailing_stop_has_another_distance():
    exits = ExitConfig(trailing_stop=0.01, trailing_offset=0.05, trailing_stop_before_offset=0.1)
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0), (100.0, 104.0, 100.0, 104.0)]
    bars += [(104.0, 104.0, 93.7, 94.0), (94.0, 94.0, 90.0, 90.0)]
    found = list_exits(run_simulation(bars, [1, 0, 0, 0], make_account(exits, fee_rate=0.0)))
    assert found == [(3, "trailing_stop", 93.6)]


def test_the_stop_moves_to_break_even_once_the_profit_was_above_the_offset():
    exits = ExitConfig(stop_loss=0.1, break_even=0.02)
    even = 100 * 1.001 / 0.999
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0), (100.0, 102.2, 99.0, 102.0)]
    bars += [(102.0, 102.3, 101.0, 102.0), (102.0, 102.0, 99.0, 99.0)]
    assert list_exits(run_simulation(bars, [1, 0, 0, 0], make_account(exits))) == [
        (3, "trailing_stop", round(even, 9))
    ]
    # 2 % above the entry is less than 2 % above both fees.
    assert list_exits(run_simulation([*bars[:2], bars[3]], [1, 0, 0], make_account(exits))) == []


def test_a_break_even_stop_returns_the_cost_of_the_entry():
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(100.0, 110.0, 100.0, 110.0)]
    bars += [(110.0, 110.0, 50.0, 50.0)]
    rules = make_account(ExitConfig(break_even=0.05), fee_rate=0.01)
    assert run_simulation(bars, [1, 0, 0, 0], rules).cash == pytest.approx(1_000.0)


def test_a_low_between_the_old_stop_and_break_even_exits_at_break_even():
    exits = ExitConfig(stop_loss=0.1, break_even=0.02)
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0), (100.0, 103.0, 95.0, 96.0)]
    result = run_simulation(bars, [1, 0], make_account(exits, fee_rate=0.0))
    assert list_exits(result) == [(1, "trailing_stop", 100.0)]
    assert result.fill_log.ambiguous == 1


def find_worst_exit(
    bar: tuple[float, float, float], exits: ExitConfig, highest: float
) -> float | None:
    """Return the lowest exit of all paths that rise to one price and then fall to the low.

    The entry was at 100; no fee. A path that never rises is the one to the open.
    """
    open_, high, low = bar
    offset = exits.trailing_offset or 0.0
    begins = 100 * (1 + offset) if exits.trailing_offset is not None else 0.0
    even = math.inf if exits.break_even is None else 100 * (1 + exits.break_even)

    def stop(top: float) -> float:
        found = 100 * (1 - (exits.stop_loss or 1.0))
        if top > begins:
            found = max(found, top * (1 - (exits.trailing_stop or 1.0)))
        if exits.trailing_stop_before_offset is not None:
            found = max(found, min(top, begins) * (1 - exits.trailing_stop_before_offset))
        return max(found, 100.0) if top > even else found

    if open_ <= stop(highest):
        return open_
    distances = [exits.trailing_stop, exits.trailing_stop_before_offset]
    tops = [low / (1 - distance) for distance in distances if distance is not None]
    tops += [open_, high, begins, np.nextafter(begins, math.inf)]
    tops += [even, np.nextafter(even, math.inf)]
    stops = [stop(max(highest, top)) for top in tops if open_ <= top <= high]
    return min((one for one in stops if one >= low * (1 - 1e-12)), default=None)


@st.composite
def draw_trailing_exits(draw: st.DrawFn) -> ExitConfig:
    trailing = draw(st.sampled_from([None, 0.005, 0.02, 0.1]))
    offset = None if trailing is None else draw(st.sampled_from([0.0, 0.01, 0.03, 0.08]))
    return ExitConfig(
        stop_loss=draw(st.sampled_from([None, 0.08, 0.2])),
        trailing_stop=trailing,
        trailing_offset=offset,
        trailing_stop_before_offset=None
        if offset is None
        else draw(st.sampled_from([None, 0.03, 0.06])),
        break_even=draw(st.sampled_from([None, 0.0, 0.02, 0.05])),
    )


@settings(max_examples=count_examples(600))
@given(draw_trailing_exits(), st.tuples(*[st.floats(88, 115)] * 4), st.floats(100, 112))
def test_no_path_through_a_bar_sells_lower_than_the_exit(
    exits: ExitConfig, prices: tuple[float, ...], highest: float
):
    open_, high, low = prices[0], max(prices), min(prices)
    found = find_exit_in_bar(open_, high, low, compute_levels(exits, 100.0, highest, 1, 0.0))
    worst = find_worst_exit((open_, high, low), exits, highest)
    assert (found is None) == (worst is None)
    if found is not None and worst is not None:
        assert found.price == pytest.approx(worst, rel=1e-9)
        assert found.kind != TARGET
        assert low * (1 - 1e-9) <= found.price <= high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("given_exits", "setting"),
    [
        ({"trailing_offset": 0.05}, "exits.trailing_offset"),
        (
            {"trailing_stop": 0.05, "trailing_stop_before_offset": 0.1},
            "exits.trailing_stop_before_offset",
        ),
    ],
)
def test_an_offset_without_its_exit_is_refused(given_exits: dict[str, Any], setting: str):
    with pytest.raises(UsageError, match="needs") as raised:
        ExitConfig(**given_exits)
    assert raised.value.settings == (setting,)


def test_a_net_target_of_0_sells_once_both_fees_are_won_back():
    exits = ExitConfig(target_table={0: 0.0}, net_targets=True)
    bars: list[Bar] = [(100.0, 100.0, 100.0, 100.0), (100.0, 100.1, 99.0, 100.0)]
    bars += [(100.0, 101.0, 100.0, 101.0)]
    result = run_simulation(bars, [1, 0, 0], make_account(exits, fee_rate=0.001))
    assert list_exits(result) == [(2, "target", round(100 * 1.001 / 0.999, 9))]
    assert result.cash == pytest.approx(1_000.0)
    with pytest.raises(UsageError, match="begin above 0"):
        ExitConfig(target_table={0: -0.01}, net_targets=True)
