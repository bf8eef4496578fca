"""Entry guards pause entries after losses; exits are made at any time."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cent_walk import make_cent_walk
from event_loop import simulate_by_events
from exact_account import run_exact
from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.engine import (
    AccountConfig,
    ClosedTrade,
    ExitConfig,
    PortfolioResult,
    SimulationResult,
    SymbolSeries,
    restore_state,
    simulate,
    simulate_portfolio,
)
from onetape.engine.guard_log import GuardLog
from plain_engine import draw_rules, make_signals, run_plain, walk
from plain_guards import GUARDS, draw_guards
from repeatable import count_examples
from step_broker import Made, StepBroker
from symbol_series import draw_busy_rules, make_busy_series, make_symbol_series

HOUR = 3_600
#: Monday, 2024-03-04 00:00 UTC.
MONDAY = 1_709_510_400
#: A stop of 10 % and no fees: each stop loses a tenth, and each trade without one nothing.
PLAIN = AccountConfig(cash=1_000.0, fee_rate=0.0, exits=ExitConfig(stop_loss=0.1))
_ORDERS = {"b": 1, "s": -1, ".": 0}
seeds = st.integers(0, 2**32 - 1)


def format_guard(trade_limit: int, lookback: int, stop: int, **others: Any) -> str:
    """Return the text of a guard."""
    parts = {
        "trade_limit": trade_limit,
        "lookback_period_candles": lookback,
        "stop_duration_candles": stop,
        **others,
    }
    return ",".join(f"{key}={value}" for key, value in parts.items())


def make_candles(bars: str, start: int = MONDAY) -> Candles:
    """Return hourly candles at 100: `-` without a trade, `v` falls to 85, `^` opens at 110."""
    price = np.full(len(bars), 100.0)
    open_ = np.array([110.0 if bar == "^" else 100.0 for bar in bars])
    low = np.array([85.0 if bar == "v" else 100.0 for bar in bars])
    times = start + np.arange(len(bars), dtype=np.int64) * HOUR
    volume = np.array([0.0 if bar == "-" else 1.0 for bar in bars])
    return Candles.from_columns(times, open_, np.maximum(open_, price), low, price, volume)


def parse_signals(text: str) -> Any:
    return np.array([_ORDERS[one] for one in text], np.int8)


def run(bars: str, text: str, rules: AccountConfig) -> SimulationResult:
    """Trade hourly candles; the signal of a bar is due at the open of the next one."""
    return simulate(make_candles(bars), parse_signals(text), rules)


def run_several(
    several: dict[str, tuple[str, str]], rules: AccountConfig, slots: int | None = None
) -> PortfolioResult:
    series = [
        SymbolSeries(name, make_candles(bars), parse_signals(text), 0, rules.trading_rules)
        for name, (bars, text) in several.items()
    ]
    return simulate_portfolio(series, rules, slots)


def list_trades(result: SimulationResult) -> list[tuple[int, int | None]]:
    return [(trade.entry_index, trade.exit_index) for trade in result.trades]


@pytest.mark.parametrize(
    ("guard", "trades"),
    [
        # Without a guard each BUY enters; the stops are in candles 1 and 3.
        (None, [(1, 1), (3, 3), (5, 7), (9, 11)]),
        # Two stops within three candles: candles 1 to 3. Nothing enters before candle 3 + 4 + 1.
        (format_guard(2, 3, 4), [(1, 1), (3, 3), (9, 11)]),
        # Within two candles, 2 and 3, there is one stop.
        (format_guard(2, 2, 4), [(1, 1), (3, 3), (5, 7), (9, 11)]),
        (format_guard(1, 1, 2), [(1, 1), (5, 7), (9, 11)]),
        (format_guard(3, 9, 9), [(1, 1), (3, 3), (5, 7), (9, 11)]),
        # A pause of five candles ends with the open of candle 9.
        (format_guard(2, 3, 5), [(1, 1), (3, 3), (9, 11)]),
        (format_guard(2, 3, 6), [(1, 1), (3, 3)]),
        # Each stop loses 10 %.
        (format_guard(2, 3, 4, required_profit=-0.1), [(1, 1), (3, 3), (5, 7), (9, 11)]),
        (format_guard(2, 3, 4, required_profit=-0.099), [(1, 1), (3, 3), (9, 11)]),
        (format_guard(2, 3, 4, only_per_pair="yes"), [(1, 1), (3, 3), (9, 11)]),
    ],
)
def test_the_stoploss_guard_pauses_entries_after_several_stops(
    guard: str | None, trades: list[tuple[int, int | None]]
) -> None:
    rules = replace(PLAIN, stoploss_guard=guard)
    assert list_trades(run("xvxvxxxxxxxx", "b.b.b.s.b.s.", rules)) == trades


def test_a_stop_with_a_profit_does_not_count_unless_it_is_below_the_required_profit() -> None:
    rules = replace(PLAIN, exits=ExitConfig(trailing_stop=0.05))
    # The trailing stop follows the open of 110 and sells at 104.50.
    bars, text = "xx^xxxx", "b..b..."
    free = run(bars, text, replace(rules, stoploss_guard=format_guard(1, 9, 9)))
    assert [trade.exit_kind for trade in free.trades] == ["trailing_stop", None]
    paused = replace(rules, stoploss_guard=format_guard(1, 9, 9, required_profit=0.05))
    assert list_trades(run(bars, text, paused)) == [(1, 2)]


#: Stops in candles 1 and 3, and exits without profit at the opens of 7 and 10.
BARS, FOUR_TRADES = "xvxvxxxxxxxx", "b.b.b.sb.s.."


@pytest.mark.parametrize(
    ("guard", "trades"),
    [
        # The running sum of the ratios is -0.1, then -0.2: a drawdown from 0 at the start.
        (format_guard(1, 9, 3, max_allowed_drawdown=0.15), [(1, 1), (3, 3), (8, 10)]),
        (format_guard(1, 9, 3, max_allowed_drawdown=0.2), [(1, 1), (3, 3), (5, 7), (8, 10)]),
        # At the exit of candle 7 the stop of candle 1 still counts.
        (format_guard(1, 9, 3, max_allowed_drawdown=0.05), [(1, 1), (5, 7)]),
        # Within two candles of 3 there is one stop.
        (format_guard(1, 2, 3, max_allowed_drawdown=0.15), [(1, 1), (3, 3), (5, 7), (8, 10)]),
        # The third trade ends at the open of candle 7, and entries pause in candle 8.
        (format_guard(3, 9, 1, max_allowed_drawdown=0.15), [(1, 1), (3, 3), (5, 7)]),
        (format_guard(3, 9, 1, max_allowed_drawdown=0.25), [(1, 1), (3, 3), (5, 7), (8, 10)]),
    ],
)
def test_the_drawdown_pause_uses_the_running_sum_of_profit_ratios(
    guard: str, trades: list[tuple[int, int | None]]
) -> None:
    assert list_trades(run(BARS, FOUR_TRADES, replace(PLAIN, drawdown_pause=guard))) == trades


@pytest.mark.parametrize(
    ("guard", "trades"),
    [
        (format_guard(1, 9, 3, required_profit=-0.05), [(1, 1), (5, 7)]),
        (format_guard(2, 9, 3, required_profit=-0.05), [(1, 1), (3, 3), (8, 10)]),
        # The sum of both is -0.2, which is not below it.
        (format_guard(2, 9, 3, required_profit=-0.2), [(1, 1), (3, 3), (5, 7), (8, 10)]),
        (format_guard(2, 2, 3, required_profit=-0.05), [(1, 1), (3, 3), (5, 7), (8, 10)]),
        # A profit of nothing is below 1 %: entries pause for one candle after each trade.
        (format_guard(1, 1, 1, required_profit=0.01), [(1, 1), (3, 3), (5, 7)]),
    ],
)
def test_low_profit_pairs_pauses_a_symbol_whose_summed_profit_is_too_low(
    guard: str, trades: list[tuple[int, int | None]]
) -> None:
    assert list_trades(run(BARS, FOUR_TRADES, replace(PLAIN, low_profit_pairs=guard))) == trades


SHARED = replace(PLAIN, sizing="quote_amount", quote_amount=100.0)


@pytest.mark.parametrize(
    ("given_rules", "of_b"),
    [
        # A stops in candles 1 and 3; the last BUY of B is due at 5.
        ({"stoploss_guard": format_guard(2, 9, 4)}, []),
        ({"stoploss_guard": format_guard(2, 9, 4, only_per_pair="yes")}, [(5, None)]),
        ({"low_profit_pairs": format_guard(1, 9, 9, required_profit=0)}, [(5, None)]),
        ({"drawdown_pause": format_guard(2, 9, 4, max_allowed_drawdown=0.1)}, []),
    ],
)
def test_a_guard_counts_all_symbols_or_each_alone(
    given_rules: dict[str, str], of_b: list[tuple[int, int | None]]
) -> None:
    rules = replace(SHARED, **given_rules)
    a, b = run_several({"A": ("xvxvxxx", "b.b...."), "B": ("xxxxxxx", "....b..")}, rules).parts
    assert len(a.trades) <= 2
    assert list_trades(b) == of_b


@pytest.mark.parametrize(
    ("bars_of_a", "of_b"),
    [
        # A stops inside candle 2, after B has entered at its open.
        ("xxv", [(2, None)]),
        # A opens beyond its stop: exits at an open come before entries.
        ("xxo", []),
    ],
)
def test_an_exit_at_an_open_pauses_entries_at_that_open_and_an_exit_inside_a_candle_does_not(
    bars_of_a: str, of_b: list[tuple[int, int | None]]
) -> None:
    rules = replace(SHARED, stoploss_guard=format_guard(1, 1, 1))
    candles = make_candles(bars_of_a.replace("o", "x"))
    if bars_of_a.endswith("o"):
        price = np.array([100.0, 100.0, 85.0])
        candles = replace(candles, open=price, high=price, low=price, close=price)
    series = [
        SymbolSeries("A", candles, parse_signals("b.."), 0, rules.trading_rules),
        SymbolSeries("B", make_candles("xxx"), parse_signals(".b."), 0, rules.trading_rules),
    ]
    result = simulate_portfolio(series, rules)
    assert [trade.exit_kind for trade in result.parts[0].trades] == ["stop_loss"]
    assert list_trades(result.parts[1]) == of_b
    require_equal(series, rules, None)


@pytest.mark.parametrize(
    ("bars", "text", "trades", "waited"),
    [
        # The stop in candle 1 pauses until candle 4, in which nothing is traded.
        ("xvxx-xx", "b..b...", [(1, 1), (5, None)], {5: 1}),
        # The BUY due at 3 is dropped there, although nothing is traded until 5.
        ("xvx--xx", "b.b....", [(1, 1)], {}),
        # The second BUY is due at 4, after the pause.
        ("xvx--xx", "b.bb...", [(1, 1), (5, None)], {5: 1}),
    ],
)
def test_a_buy_that_waits_for_a_trade_is_dropped_by_a_candle_in_the_pause(
    bars: str, text: str, trades: list[tuple[int, int | None]], waited: dict[int, int]
) -> None:
    result = run(bars, text, replace(PLAIN, stoploss_guard=format_guard(1, 1, 2)))
    assert list_trades(result) == trades
    assert result.fill_log.waited == waited


@pytest.mark.parametrize(
    ("bars", "text", "waiting"), [("xvxx--", "b..b..", 1), ("xvx---", "b.b...", 0)]
)
def test_a_buy_still_waits_at_the_end_where_no_candle_in_the_pause_has_dropped_it(
    bars: str, text: str, waiting: int
) -> None:
    rules = replace(PLAIN, stoploss_guard=format_guard(1, 1, 2))
    assert run(bars, text, rules).fill_log.waiting == waiting


def test_a_run_of_buys_that_begins_in_a_pause_enters_after_it() -> None:
    rules = replace(PLAIN, stoploss_guard=format_guard(1, 1, 3))
    assert list_trades(run("xvxxxxxx", "b.bbbbb.", rules)) == [(1, 1), (5, None)]


@pytest.mark.parametrize("name", GUARDS)
def test_months_count_as_one_candle_each(name: str) -> None:
    months = np.arange("2023-01", "2024-01", dtype="datetime64[M]")
    timestamp = months.astype("datetime64[s]").astype(np.int64)
    bars = make_candles("xvxxxxxxxxxx")
    candles = replace(bars, timestamp=timestamp)
    others = {"stoploss_guard": {}, "drawdown_pause": {"max_allowed_drawdown": 0}}
    guard = format_guard(1, 1, 4, **others.get(name, {"required_profit": 0}))
    rules = replace(PLAIN, **{name: guard})
    result = simulate(candles, parse_signals("b.bbbbbbbb.."), rules)
    assert list_trades(result) == [(1, 1), (6, None)]


def test_a_result_has_the_pauses_of_its_symbol_with_a_text_of_the_cause() -> None:
    rules = replace(SHARED, stoploss_guard=format_guard(2, 9, 4, only_per_pair="yes"))
    a, b = run_several({"A": ("xvxvxxx", "b.b...."), "B": ("xxxxxxx", "....b..")}, rules).parts
    (pause,) = a.pauses
    assert pause.describe() == (
        "stoploss guard: 2 stops within 9 candles; no entry for 4 candles after the exit in the "
        "candle of 2024-03-04 03:00"
    )
    assert [pause.covers(MONDAY + hour * HOUR) for hour in (3, 4, 7, 8)] == [
        *(False, True, True, False)
    ]
    assert b.pauses == ()


BAD_COUNTS = [
    ("trade_limit=0", "trade_limit of GUARD must be a whole number from 1 to 1,000,000,000"),
    ("trade_limit=1.5", "found '1.5'"),
    ("trade_limit=-1", "found '-1'"),
    ("trade_limit=\u0661", "trade_limit of GUARD must be a whole number"),
    ("lookback_period_candles=x", "lookback_period_candles of GUARD must be a whole number"),
    ("stop_duration_candles=2000000000", "stop_duration_candles of GUARD must be a whole number"),
]


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize(("part", "text"), BAD_COUNTS)
def test_invalid_counts_are_refused_in_one_line(name: str, part: str, text: str) -> None:
    given_rules = {"trade_limit": 1, "lookback_period_candles": 1, "stop_duration_candles": 1}
    key, _, value = part.partition("=")
    bound = {
        "stoploss_guard": {},
        "drawdown_pause": {"max_allowed_drawdown": 0.1},
        "low_profit_pairs": {"required_profit": 0.1},
    }[name]
    parts = {**given_rules, key: value, **bound}
    whole = ",".join(f"{one}={number}" for one, number in parts.items())
    require_refusal({name: whole}, text.replace("GUARD", name))


@pytest.mark.parametrize(
    ("given_rules", "text"),
    [
        ({"stoploss_guard": ""}, "stoploss_guard must be NAME=NUMBER joined by commas, such as"),
        ({"stoploss_guard": "4"}, "found '4'"),
        ({"stoploss_guard": "trade_limit="}, "found 'trade_limit='"),
        ({"stoploss_guard": format_guard(1, 1, 1) + ","}, "must be NAME=NUMBER joined by commas"),
        (
            {"stoploss_guard": "trade_limit=4"},
            "stoploss_guard needs lookback_period_candles, stop_duration_candles too, such as",
        ),
        ({"stoploss_guard": format_guard(1, 1, 1, trade_limits=2)}, "did you mean 'trade_limit'?"),
        (
            {"stoploss_guard": format_guard(1, 1, 1, max_allowed_drawdown=0.1)},
            "stop_duration_candles, required_profit, only_per_pair, found 'max_allowed_drawdown'",
        ),
        (
            {"stoploss_guard": format_guard(1, 1, 1) + ",trade_limit=2"},
            "must have trade_limit once",
        ),
        (
            {"stoploss_guard": format_guard(1, 1, 1, only_per_pair=2)},
            "must be yes or no, found '2'",
        ),
        (
            {"stoploss_guard": format_guard(1, 1, 1, required_profit="nan")},
            "required_profit of stoploss_guard must be a number from -1 to 1,000 (0.02 is 2 %), "
            "found 'nan'",
        ),
        (
            {"drawdown_pause": format_guard(1, 1, 1)},
            "drawdown_pause needs max_allowed_drawdown too",
        ),
        (
            {"drawdown_pause": format_guard(1, 1, 1, max_allowed_drawdown=-0.1)},
            "max_allowed_drawdown of drawdown_pause must be a number from 0 to 1,000",
        ),
        ({"drawdown_pause": format_guard(1, 1, 1, only_per_pair="no")}, "found 'only_per_pair'"),
        ({"low_profit_pairs": format_guard(1, 1, 1)}, "low_profit_pairs needs required_profit too"),
        ({"low_profit_pairs": format_guard(1, 1, 1, required_profit="much")}, "found 'much'"),
    ],
)
def test_invalid_guards_are_refused_in_one_line(given_rules: dict[str, str], text: str) -> None:
    require_refusal(given_rules, text)


def require_refusal(given_rules: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        AccountConfig(**given_rules)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_spaces_and_underscores_in_numbers_are_accepted() -> None:
    text = " trade_limit = 4 , lookback_period_candles=1_000, stop_duration_candles=2 "
    (guard,) = AccountConfig(stoploss_guard=text).entry_guards
    assert (guard.trade_limit, guard.lookback_period_candles, guard.bound) == (4, 1_000, 0.0)


@settings(max_examples=count_examples(200))
@given(
    given_guards=draw_guards(),
    ends=st.lists(
        st.tuples(
            st.integers(0, 40), st.booleans(), st.sampled_from("AB"), st.booleans(),
            st.sampled_from([-0.05, -0.021, -0.0001, 0.0, 0.02, 0.3]),
        ),
        max_size=40,
    ),
)  # fmt: skip
def test_pauses_computed_for_a_column_equal_those_of_each_time(
    *, given_guards: dict[str, Any], ends: list[tuple[int, bool, str, bool, float]]
) -> None:
    guards = AccountConfig(**given_guards).entry_guards
    trades = [
        ClosedTrade(symbol, hour * HOUR, ratio, is_stop=is_stop, is_inside=is_inside)
        for hour, is_inside, symbol, is_stop, ratio in sorted(ends)
    ]
    log = GuardLog(guards, HOUR, trades)
    moments = np.arange(80, dtype=np.int64) * HOUR
    for symbol in "AB":
        expected = [log.find_pause(symbol, moment) is not None for moment in moments.tolist()]
        assert log.mask_paused(symbol, moments).tolist() == expected
        listed = log.get_pauses(symbol)
        covered = [any(one.covers(moment) for one in listed) for moment in moments.tolist()]
        assert covered == expected
    # Trades that are left out have no effect on what comes after the others.
    later = GuardLog(guards, HOUR, log.trades)
    newest = trades[-1].timestamp if trades else 0
    for symbol in "AB":
        for moment in range(newest, newest + 60 * HOUR, HOUR):
            now, before = later.find_pause(symbol, moment), log.find_pause(symbol, moment)
            assert (now is None) == (before is None)


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
@given(seed=seeds, count=st.integers(2, 300), rules=draw_rules(), given_guards=draw_guards())
def test_with_guards_every_fill_equals_that_of_a_loop_over_the_bars(
    *, seed: int, count: int, rules: AccountConfig, given_guards: dict[str, Any]
) -> None:
    rules = replace(rules, **given_guards)
    candles, signal = walk(seed, count), make_signals(seed, count)
    result = simulate(candles, np.array(signal, np.int8), rules)
    plain = run_plain(candles, signal, rules)
    assert list_fills(result) == plain.fills
    assert [bar for bar, _ in result.refused] == plain.refused
    assert (result.cash, result.base) == (plain.cash, plain.base)
    assert result.equity.tolist() == plain.equity


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    count=st.integers(9, 120),
    rules=draw_rules(),
    given_guards=draw_guards(),
    symbols=st.integers(1, 4),
    slots=st.sampled_from([None, 1, 2]),
)
def test_with_guards_stepper_and_event_loop_make_the_fills_of_the_backtest(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    given_guards: dict[str, Any],
    symbols: int,
    slots: int | None,
) -> None:
    rules = replace(rules, **given_guards)
    several = make_symbol_series(
        seed, count, rules, symbols=symbols, has_detail=False, is_mixed=symbols > 1
    )
    require_equal(several, rules, slots)


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    given_guards=draw_guards(),
    symbols=st.integers(1, 4),
    slots=st.sampled_from([None, 1, 2]),
)
def test_with_guards_accounts_with_many_trades_make_the_fills_of_the_backtest(
    *,
    seed: int,
    rules: AccountConfig,
    given_guards: dict[str, Any],
    symbols: int,
    slots: int | None,
) -> None:
    rules = replace(rules, **given_guards)
    require_equal(make_busy_series(seed, 80, rules, symbols), rules, slots)


@settings(max_examples=count_examples(60))
@given(
    seed=seeds,
    count=st.integers(9, 60),
    rules=draw_rules(),
    given_guards=draw_guards(),
    symbols=st.integers(2, 3),
)
def test_with_guards_and_intrabar_candles_the_fills_equal_those_of_a_loop_over_events(
    *, seed: int, count: int, rules: AccountConfig, given_guards: dict[str, Any], symbols: int
) -> None:
    rules = replace(rules, **given_guards)
    series = make_symbol_series(seed, count, rules, symbols=symbols, has_detail=True, is_mixed=True)
    require_equal_by_events(series, rules, 2)


def require_equal(series: list[SymbolSeries], rules: AccountConfig, slots: int | None) -> None:
    result = simulate_portfolio(series, rules, slots)
    stepped = StepBroker(series, rules, slots).run()
    for part, market in zip(result.parts, stepped.markets.values(), strict=True):
        assert market.made == list_fills_by_side(part)
        assert market.refused == [bar for bar, _ in part.refused]
    assert stepped.cash == result.cash
    require_equal_by_events(series, rules, slots)


def require_equal_by_events(
    series: list[SymbolSeries], rules: AccountConfig, slots: int | None
) -> None:
    result = simulate_portfolio(series, rules, slots)
    by_events = simulate_by_events(series, rules, slots)
    assert by_events.cash == result.cash
    assert by_events.skipped_entries == result.skipped_entries
    for one, part in zip(by_events.parts, result.parts, strict=True):
        assert list_fills_by_side(one) == list_fills_by_side(part)
        assert (one.fill_log.waited, one.fill_log.waiting) == (
            part.fill_log.waited,
            part.fill_log.waiting,
        )


@settings(max_examples=count_examples(200))
@given(
    seed=seeds, rules=draw_busy_rules(), given_guards=draw_guards(), symbols=st.integers(1, 3),
    cut=st.integers(1, 59),
)  # fmt: skip
def test_a_state_with_guards_rebuilt_from_stored_facts_goes_on_as_if_never_stopped(
    *, seed: int, rules: AccountConfig, given_guards: dict[str, Any], symbols: int, cut: int
) -> None:
    rules = replace(rules, **given_guards)
    series = make_busy_series(seed, 60, rules, symbols)
    whole = StepBroker(series, rules).run()
    stopped = StepBroker(series, rules).run(until=cut * HOUR)
    facts = {name: market.facts for name, market in stopped.markets.items()}
    restored = restore_state(stopped.rules, facts, reversed(stopped.closed))
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
    given_guards=draw_guards(),
    at=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_with_guards_a_range_split_in_parts_gives_the_same_trades(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    given_guards: dict[str, Any],
    at: list[float],
) -> None:
    rules = replace(rules, **given_guards)
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
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


@settings(max_examples=count_examples(60))
@given(
    seed=seeds,
    symbols=st.integers(1, 3),
    given_guards=draw_guards(),
    exits=st.sampled_from(
        [ExitConfig(stop_loss=0.02, take_profit=0.03), ExitConfig(trailing_stop=0.02)]
    ),
    slots=st.sampled_from([None, 1, 2]),
)
def test_with_guards_several_symbols_equal_the_decimal_recomputation(
    *,
    seed: int,
    symbols: int,
    given_guards: dict[str, Any],
    exits: ExitConfig,
    slots: int | None,
) -> None:
    rules = AccountConfig(
        cash=50_000.0,
        fee_rate=0.00075,
        slippage_bps=2.0,
        sizing="equity_share",
        equity_share=0.02,
        exits=exits,
        reentry="while_signal" if seed % 2 else "new_signal",
        **given_guards,
    )
    walks = [make_cent_walk(seed + number, 300) for number in range(symbols)]
    signal = [
        np.random.default_rng(seed + number).integers(-1, 2, 300).tolist()
        for number in range(symbols)
    ]
    series = [
        SymbolSeries(str(number), prices.candles, np.array(own, np.int8), 0, rules.trading_rules)
        for number, (prices, own) in enumerate(zip(walks, signal, strict=True))
    ]
    result = simulate_portfolio(series, rules, slots)
    exact = run_exact(
        [(prices, own, rules.trading_rules) for prices, own in zip(walks, signal, strict=True)],
        rules,
        slots,
    )
    for part, symbol in zip(result.parts, exact.symbols, strict=True):
        assert [(side, bar) for side, bar, *_ in list_fills_by_side(part)] == [
            (fill.side, fill.bar) for fill in symbol.fills
        ]
    assert float(exact.cash) == pytest.approx(result.cash, rel=1e-9)
    assert exact.skipped == result.skipped_entries
