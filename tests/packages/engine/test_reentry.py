"""Which BUY enters after an exit: one of a run that has not entered yet, or any."""

from typing import Literal

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    PortfolioResult,
    SymbolSeries,
    simulate,
    simulate_portfolio,
)

Reentry = Literal["new_signal", "while_signal"]
STOP = AccountConfig(cash=1_000.0, fee_rate=0.0, exits=ExitConfig(stop_loss=0.1))
FREE = AccountConfig(cash=1_000.0, fee_rate=0.0)
_ORDERS = {"b": 1, "s": -1, ".": 0}


def parse_signals(signals: str) -> np.ndarray:
    return np.array([_ORDERS[one] for one in signals], np.int8)


def make_candles(count: int, stops: tuple[int, ...] = ()) -> Candles:
    """Return candles at 100 that fall to 85 and back inside each bar of `stops`."""
    price = np.full(count, 100.0)
    low = price.copy()
    low[list(stops)] = 85.0
    times = np.arange(count, dtype=np.int64) * 3_600
    return Candles.from_columns(times, price, price, low, price, np.ones(count))


def list_entries(signals: str, rules: AccountConfig, *stops: int) -> list[int]:
    result = simulate(make_candles(len(signals), stops), parse_signals(signals), rules)
    return [trade.entry_index for trade in result.trades]


@pytest.mark.parametrize(
    ("signals", "cooldown", "new_signal", "while_signal"),
    [
        # A stop inside bar 2 ends each first position; the order of bar t is the signal of t - 1.
        ("bbbbbb..", 0, [1], [1, 3]),  # one run, which has entered
        ("bb.bbb..", 0, [1, 4], [1, 4]),  # the second run is another one
        ("b.bbbb..", 0, [1, 3], [1, 3]),  # it begins right after the stop
        ("b.bbbb..", 2, [1, 5], [1, 5]),  # it begins in the cooldown and lasts longer
        ("b.bb....", 2, [1], [1]),  # it ends in the cooldown
        ("bbbbbb..", 2, [1], [1, 5]),  # the run that has entered outlasts the cooldown
    ],
)
def test_after_a_stop_a_run_of_buys_enters_once_or_again_by_the_setting(
    signals: str, cooldown: int, new_signal: list[int], while_signal: list[int]
):
    for reentry, expected in (("new_signal", new_signal), ("while_signal", while_signal)):
        rules = replace(STOP, cooldown_bars=cooldown, reentry=reentry)
        assert list_entries(signals, rules, 2) == expected, reentry


def test_a_run_that_begins_while_a_position_is_open_has_not_entered():
    # Bought at 1 by a run of one; the next run begins at 3, and the stop is inside 4.
    assert list_entries("b..bbb..", STOP, 4) == [1, 5]


def test_a_run_enters_again_at_each_stop_with_while_signal():
    rules = replace(STOP, reentry="while_signal")
    assert list_entries("bbbbbbbb", rules, 2, 4, 6) == [1, 3, 5, 7]
    assert list_entries("bbbbbbbb", STOP, 2, 4, 6) == [1]


def test_an_unknown_reentry_is_refused_with_the_nearest_value():
    with pytest.raises(UsageError, match="reentry must be one of new_signal, while_signal, found"):
        AccountConfig(reentry="new_signals")  # pyright: ignore[reportArgumentType]


def run_portfolio(rules: AccountConfig, *symbols: tuple[str, tuple[int, ...]]) -> PortfolioResult:
    series = [
        SymbolSeries(
            f"{number}/Q",
            make_candles(len(signals), stops),
            parse_signals(signals),
            0,
            NO_TRADING_RULES,
        )
        for number, (signals, stops) in enumerate(symbols)
    ]
    return simulate_portfolio(series, rules, 1)


def list_bought(result: PortfolioResult) -> list[tuple[str, int]]:
    return [(trade.symbol, trade.entry_index) for trade in result.trades]


def test_a_run_of_buys_that_found_all_slots_full_enters_when_an_exit_at_the_open_frees_one():
    result = run_portfolio(FREE, ("b..s....", ()), (".bbbbb..", ()))
    assert list_bought(result) == [("0/Q", 1), ("1/Q", 4)]
    assert result.skipped_entries == 0


def test_an_exit_inside_a_candle_frees_its_slot_at_the_next_open():
    result = run_portfolio(STOP, ("b.......", (4,)), (".bbbbb..", ()))
    assert list_bought(result) == [("0/Q", 1), ("1/Q", 5)]


def test_a_free_slot_goes_to_the_first_waiting_symbol():
    result = run_portfolio(FREE, (".bbbb...", ()), ("b..s....", ()), (".bbbbb..", ()))
    assert list_bought(result) == [("1/Q", 1), ("0/Q", 4)]
    assert result.skipped_entries == 1


def test_each_run_of_buys_that_ends_while_all_slots_are_full_is_counted_once():
    result = run_portfolio(FREE, ("b.......", ()), (".bb.b.bb", ()))
    assert list_bought(result) == [("0/Q", 1)]
    assert result.skipped_entries == 3
