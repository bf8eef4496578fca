"""Entries keep to trading hours and weekdays; exits are made at any time."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from event_loop import simulate_by_events
from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    SimulationResult,
    SymbolSeries,
    restore_state,
    simulate,
    simulate_portfolio,
)
from onetape.engine.account_config import Reentry
from onetape.engine.entry_hours import parse_entry_hours
from onetape.engine.entry_hours_filter import find_rows_in_hours
from plain_engine import draw_rules, make_signals, run_plain, walk
from plain_hours import STARTS, draw_hours, is_within, move_candles, move_series
from repeatable import count_examples
from step_broker import Made, StepBroker
from symbol_series import draw_busy_rules, make_busy_series, make_symbol_series

HOUR = 3_600
#: Monday, 2024-03-04 00:00 UTC.
MONDAY = 1_709_510_400
FREE = AccountConfig(cash=1_000.0, fee_rate=0.0, trading_hours="08:00-12:00")
STOP = replace(FREE, exits=ExitConfig(stop_loss=0.1))
_ORDERS = {"b": 1, "s": -1, ".": 0}

seeds = st.integers(0, 2**32 - 1)
starts = st.sampled_from(STARTS)
lengths = st.sampled_from([900, HOUR, 4 * HOUR])


def make_candles(bars: str, start: int = MONDAY, *, stops: tuple[int, ...] = ()) -> Candles:
    """Return hourly candles at 100, `-` without a trade; in `stops` they fall to 85."""
    count = len(bars)
    price = np.full(count, 100.0)
    low = price.copy()
    low[list(stops)] = 85.0
    times = start + np.arange(count, dtype=np.int64) * HOUR
    volume = np.array([0.0 if bar == "-" else 1.0 for bar in bars])
    return Candles.from_columns(times, price, price, low, price, volume)


def list_trades(result: SimulationResult) -> list[tuple[int, int | None]]:
    return [(trade.entry_index, trade.exit_index) for trade in result.trades]


def run(
    signals: str, rules: AccountConfig, bars: str = "", start: int = MONDAY, stops: Any = ()
) -> SimulationResult:
    """Trade hourly candles; the signal of a bar is due at the open of the next one."""
    signal = np.array([_ORDERS[one] for one in signals], np.int8)
    candles = make_candles(bars or "x" * len(signals), start, stops=stops)
    return simulate(candles, signal, rules)


# Each signal stands for one hour from Monday, 00:00 UTC on.
@pytest.mark.parametrize(
    ("signals", "trades"),
    [
        ("......b........", []),  # would be filled at 07:00
        (".......b.......", [(8, None)]),  # known at 08:00, the first open of the hours
        ("..........b....", [(11, None)]),  # the last open of the hours
        ("...........b...", []),  # known at 12:00, which is outside
        (".....bbbb......", [(8, None)]),  # a run that begins outside enters at the first open
        (".........b....s", [(10, None)]),
        (".........b...s.", [(10, 14)]),  # an exit is made outside
    ],
)
def test_entries_are_made_only_at_opens_within_the_hours(
    signals: str, trades: list[tuple[int, int | None]]
) -> None:
    assert list_trades(run(signals, FREE)) == trades


@pytest.mark.parametrize(
    ("reentry", "trades"), [("new_signal", [(8, 9)]), ("while_signal", [(8, 9), (10, None)])]
)
def test_a_run_of_buys_that_begins_outside_the_hours_enters_by_the_reentry_rule(
    reentry: Reentry, trades: list[tuple[int, int | None]]
) -> None:
    rules = replace(STOP, reentry=reentry)
    assert list_trades(run("...bbbbbbbbbbbb", rules, stops=(9,))) == trades


def test_a_run_of_buys_that_has_not_entered_enters_in_the_hours_of_the_next_day() -> None:
    signals = "." * 20 + "b" * 16
    assert list_trades(run(signals, FREE)) == [(32, None)]


def test_a_run_of_buys_that_has_entered_stays_used_up_overnight() -> None:
    signals = "." * 9 + "b" * 30
    assert list_trades(run(signals, STOP, stops=(11,))) == [(10, 11)]
    again = replace(STOP, reentry="while_signal")
    assert list_trades(run(signals, again, stops=(11,))) == [(10, 11), (32, None)]


@pytest.mark.parametrize(
    ("bars", "signals", "trades", "waited"),
    [
        # Nothing is traded at 08:00 and 09:00: the order of 08:00 waits until 10:00.
        ("xxxxxxxx--xxxxx", ".......b.......", [(10, None)], {10: 2}),
        # The one of 07:00 is dropped, and the one of 09:00 waits.
        ("xxxxxxx---xxxxx", "......b.b......", [(10, None)], {10: 1}),
        ("xxxxxxx---xxxxx", "......b........", [], {}),
        # The one of 11:00 is dropped at 12:00: nothing is traded until 13:00.
        ("xxxxxxxxxxx--xx", "..........b....", [], {}),
        ("xxxxxxxxxxxx--x", "..........bb...", [(11, None)], {}),
    ],
)
def test_a_waiting_order_is_dropped_by_a_candle_outside_the_hours(
    bars: str, signals: str, trades: list[tuple[int, int | None]], waited: dict[int, int]
) -> None:
    result = run(signals, FREE, bars)
    assert list_trades(result) == trades
    assert result.fill_log.waited == waited
    assert result.fill_log.waiting == 0


@pytest.mark.parametrize(("bars", "waiting"), [("x" * 9 + "--", 1), ("x" * 9 + "----", 0)])
def test_a_waiting_order_still_waits_at_the_end_if_no_candle_has_dropped_it(
    bars: str, waiting: int
) -> None:
    signals = "." * 8 + "b" + "." * (len(bars) - 9)
    assert run(signals, FREE, bars).fill_log.waiting == waiting


def test_a_run_of_buys_that_entered_before_a_range_does_not_use_up_the_next_run() -> None:
    # The first run is due from 09:00 to 14:00, the second one from 08:00 on the next day.
    signals = "." * 8 + "b" * 6 + "." * 17 + "b" * 6
    candles = make_candles("x" * len(signals), stops=(10,))
    signal = np.array([_ORDERS[one] for one in signals], np.int8)
    first = simulate(candles[:11], signal[:11], STOP)
    second = simulate(candles, signal, STOP, 11, state=first.state)
    assert list_trades(first) == [(9, 10)]
    assert list_trades(second) == [(32 - 11, None)]


@pytest.mark.parametrize("cut", range(11, 16))
def test_an_order_dropped_outside_the_hours_is_not_due_again_after_a_restart(cut: int) -> None:
    # Due at 11:00, dropped at 12:00, and nothing is traded until 13:00.
    bars, signals = "xxxxxxxxxxx--xx", "..........b...."
    signal = np.array([_ORDERS[one] for one in signals], np.int8)
    series = [SymbolSeries("A", make_candles(bars), signal, 0, FREE.trading_rules)]
    stopped = StepBroker(series, FREE).run(until=MONDAY + cut * HOUR)
    facts = {name: market.facts for name, market in stopped.markets.items()}
    restored = restore_state(stopped.rules, facts)
    assert restored == stopped.state
    assert restored.symbols["A"].buy_due is (cut in (11, 12))


def test_a_daylight_saving_change_moves_the_hours() -> None:
    rules = replace(FREE, trading_timezone="Europe/Berlin")
    # Clocks there went from 02:00 to 03:00 on Sunday, 2024-03-31.
    saturday = int(datetime(2024, 3, 30, tzinfo=UTC).timestamp())
    signals = "b" * 47 + "s"
    first = run(signals, rules, start=saturday).trades[0]
    assert datetime.fromtimestamp(first.entry_timestamp, UTC).hour == 7
    second = run(signals, rules, start=saturday + 86_400).trades[0]
    assert datetime.fromtimestamp(second.entry_timestamp, UTC).hour == 6


def test_the_weekday_is_that_of_the_stated_time_zone() -> None:
    # Monday there begins on Sunday, 15:00 UTC.
    rules = AccountConfig(trading_days="mon", trading_timezone="Asia/Tokyo")
    result = run("b" * 40, rules, start=MONDAY - 86_400)
    assert result.trades[0].entry_index == 15


@pytest.mark.parametrize(
    ("hours", "days", "inside", "outside"),
    [
        ("22:00-06:00", None, ["22:00", "00:00", "05:59"], ["06:00", "21:59", "12:00"]),
        ("00:00-24:00", None, ["00:00", "23:59"], []),
        ("8:00-12:00, 13:00-17:30", None, ["08:00", "13:00", "17:29"], ["12:00", "12:59", "17:30"]),
        ("18:00-00:00", None, ["18:00", "23:59"], ["00:00", "17:59"]),
        (None, "fri-mon", ["00:00"], []),
        (None, "Tue, sat-sun", [], ["00:00", "23:59"]),
        ("08:00-09:00", "mon", ["08:30"], ["09:00"]),
        ("08:00-09:00", "tue", [], ["08:30"]),
    ],
)
def test_hours_and_days_are_parsed(
    hours: str | None, days: str | None, inside: list[str], outside: list[str]
) -> None:
    parsed = parse_entry_hours(hours, days, "UTC")
    for texts, expected in ((inside, True), (outside, False)):
        for text in texts:
            hour, minute = text.split(":")
            moment = MONDAY + int(hour) * HOUR + int(minute) * 60
            assert parsed.contains(moment) is expected, text


@pytest.mark.parametrize(
    ("given_rules", "text"),
    [
        ({"trading_hours": "8-22"}, "trading_hours must be HH:MM-HH:MM from 00:00 to 24:00"),
        ({"trading_hours": "08:00"}, "such as 08:00-22:00 or 08:00-12:00,13:00-17:30, found "),
        ({"trading_hours": "08:00-25:00"}, "found '08:00-25:00'"),
        ({"trading_hours": "08:60-22:00"}, "found '08:60-22:00'"),
        ({"trading_hours": "24:00-08:00"}, "found '24:00-08:00'"),
        ({"trading_hours": ""}, "found ''"),
        ({"trading_hours": "08:00-12:00,"}, "found '08:00-12:00,'"),
        ({"trading_hours": "08:00-08:00"}, "trading_hours must not begin and end at the same time"),
        ({"trading_days": "mon-fir"}, "found 'mon-fir'; did you mean 'fri'?"),
        ({"trading_days": ""}, "trading_days must be days or ranges of days (mon, tue, wed, thu, "),
        ({"trading_days": "weekdays"}, "joined by commas, such as mon-fri or sat,sun, found"),
        (
            {"trading_days": "mon", "trading_timezone": "Mars/Base"},
            "trading_timezone 'Mars/Base' is not known; write a name such as UTC or Europe/Berlin",
        ),
        (
            {"trading_timezone": "Europe/Berlin"},
            "trading_timezone needs trading_hours or trading_days; set one of them",
        ),
    ],
)
def test_invalid_hours_are_refused_in_one_line(given_rules: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        AccountConfig(**given_rules)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=count_examples(200))
@given(
    given_hours=draw_hours(),
    start=starts,
    gaps=st.lists(st.integers(1, 200_000), min_size=1, max_size=60),
)
def test_hours_computed_for_a_column_equal_those_of_each_time(
    *, given_hours: dict[str, Any], start: int, gaps: list[int]
) -> None:
    rules = AccountConfig(**given_hours)
    hours = rules.entry_hours
    assert hours is not None
    moments = start + np.cumsum(np.array(gaps, dtype=np.int64))
    expected = [is_within(rules, moment) for moment in moments.tolist()]
    assert find_rows_in_hours(hours, moments).tolist() == expected
    assert [hours.contains(moment) for moment in moments.tolist()] == expected


def list_fills(result: SimulationResult) -> list[tuple[int, str, float, float, str]]:
    return [
        (bar, side, price, amount, kind)
        for side, bar, price, amount, kind in list_fills_by_side(result)
    ]


def list_fills_by_side(result: SimulationResult) -> list[Made]:
    kinds = iter(result.exit_kinds)
    return [
        (fill.side, bar, fill.price, fill.amount, "" if fill.side == "buy" else next(kinds))
        for bar, fill in zip(result.indices, result.fills, strict=True)
    ]


@settings(max_examples=count_examples(400))
@given(
    seed=seeds,
    count=st.integers(2, 300),
    rules=draw_rules(),
    given_hours=draw_hours(),
    start=starts,
    seconds=lengths,
)
def test_with_trading_hours_every_fill_equals_that_of_a_loop_over_the_bars(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    given_hours: dict[str, Any],
    start: int,
    seconds: int,
) -> None:
    rules = replace(rules, **given_hours)
    candles, signal = move_candles(walk(seed, count), start, seconds), make_signals(seed, count)
    result = simulate(candles, np.array(signal, np.int8), rules)
    plain = run_plain(candles, signal, rules)
    assert list_fills(result) == plain.fills
    assert [bar for bar, _ in result.refused] == plain.refused
    assert (result.cash, result.base) == (plain.cash, plain.base)
    assert result.equity.tolist() == plain.equity
    entered = [trade.entry_timestamp for trade in result.trades]
    assert all(is_within(rules, moment) for moment in entered)


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    count=st.integers(9, 120),
    rules=draw_rules(),
    given_hours=draw_hours(),
    symbols=st.integers(1, 4),
    slots=st.sampled_from([None, 1, 2]),
    start=starts,
    seconds=lengths,
)
def test_with_trading_hours_stepper_and_event_loop_make_the_fills_of_the_backtest(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    given_hours: dict[str, Any],
    symbols: int,
    slots: int | None,
    start: int,
    seconds: int,
) -> None:
    rules = replace(rules, **given_hours)
    several = make_symbol_series(
        seed, count, rules, symbols=symbols, has_detail=False, is_mixed=symbols > 1
    )
    require_equal(move_series(several, start, seconds), rules, slots)


@settings(max_examples=count_examples(150))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    given_hours=draw_hours(),
    symbols=st.integers(1, 4),
    slots=st.sampled_from([None, 1, 2]),
    start=starts,
)
def test_with_trading_hours_accounts_with_many_trades_make_the_fills_of_the_backtest(
    *,
    seed: int,
    rules: AccountConfig,
    given_hours: dict[str, Any],
    symbols: int,
    slots: int | None,
    start: int,
) -> None:
    rules = replace(rules, **given_hours)
    require_equal(
        move_series(make_busy_series(seed, 80, rules, symbols), start, HOUR), rules, slots
    )


def require_equal(series: list[SymbolSeries], rules: AccountConfig, slots: int | None) -> None:
    result = simulate_portfolio(series, rules, slots)
    stepped = StepBroker(series, rules, slots).run()
    for part, market in zip(result.parts, stepped.markets.values(), strict=True):
        assert market.made == list_fills_by_side(part)
        assert market.refused == [bar for bar, _ in part.refused]
    assert stepped.cash == result.cash
    by_events = simulate_by_events(series, rules, slots)
    assert by_events.skipped_entries == result.skipped_entries
    assert [part.fill_log.waited for part in by_events.parts] == [
        part.fill_log.waited for part in result.parts
    ]


@settings(max_examples=count_examples(150))
@given(
    seed=seeds, rules=draw_busy_rules(), given_hours=draw_hours(), cut=st.integers(1, 59),
    start=starts,
)  # fmt: skip
def test_a_state_with_trading_hours_rebuilt_from_stored_facts_goes_on_as_if_never_stopped(
    *, seed: int, rules: AccountConfig, given_hours: dict[str, Any], cut: int, start: int
) -> None:
    rules = replace(rules, **given_hours)
    series = move_series(make_busy_series(seed, 60, rules, 1), start, HOUR)
    whole = StepBroker(series, rules).run()
    stopped = StepBroker(series, rules).run(until=start + cut * HOUR)
    facts = {name: market.facts for name, market in stopped.markets.items()}
    restored = restore_state(stopped.rules, facts)
    assert restored == stopped.state
    stopped.state = restored
    for moment in stopped.moments[cut:]:
        stopped.trade(moment)
    for name, market in whole.markets.items():
        assert stopped.markets[name].made == market.made


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    count=st.integers(2, 200),
    rules=draw_rules(),
    given_hours=draw_hours(),
    at=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    start=starts,
)
@example(
    seed=6,
    count=60,
    rules=AccountConfig(),
    given_hours={"trading_hours": "00:00-01:00"},
    at=[0.5],
    start=STARTS[0],
)
def test_with_trading_hours_a_range_split_in_parts_gives_the_same_trades(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    given_hours: dict[str, Any],
    at: list[float],
    start: int,
) -> None:
    rules = replace(rules, **given_hours)
    candles = move_candles(walk(seed, count), start, HOUR)
    signal = np.array(make_signals(seed, count), np.int8)
    whole = simulate(candles, signal, rules)
    bounds = sorted({0, *(int(part * count) for part in at), count})
    parts: list[SimulationResult] = []
    for first, end in pairwise(bounds):
        state = parts[-1].state if parts else None
        parts.append(simulate(candles[:end], signal[:end], rules, first, state=state))
    fills = [
        (bar + first, fill)
        for part, first in zip(parts, bounds, strict=False)
        for bar, fill in zip(part.indices, part.fills, strict=True)
    ]
    assert fills == list(zip(whole.indices, whole.fills, strict=True))
    assert parts[-1].state == whole.state
