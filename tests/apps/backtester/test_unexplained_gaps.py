"""Unexplained gaps: no window crosses one, and a note has the time from which a run trades."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.store.candles import insert_columns
from onetape.store.database import open_store
from onetape.store.gaps import set_gap

Run = Callable[..., Any]
HOUR, DAY = 3_600, 86_400
START = 1_704_067_200
KEY = SeriesKey("simulator", "BTC/USDT", "1h")
PERIOD = 120
#: A strategy that buys above an average and sells below it.
BREAKOUT = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, indicators, parameter


@dataclass(frozen=True)
class Breakout(Strategy):
    name: ClassVar[str] = "breakout"
    higher_timeframes: ClassVar[tuple[str, ...]] = HIGHER
    period: int = parameter(120, ge=2, le=500)

    @property
    def lookback(self):
        return self.period

    @property
    def higher_lookback(self):
        return 3

    def evaluate(self, candles, higher):
        average = indicators.sma(candles.close, self.period)
        if higher:
            average = higher["1d"].as_of(indicators.sma(higher["1d"].close, 3))
        above = np.where(candles.close > average, 1, -1)
        signal = np.where(np.isnan(average), 0, above).astype(np.int8)
        return Signals(signal, {"average": average}, overlays=frozenset({"average"}))
"""
FLAGS = ("--strategy", "breakout", "--fee", "0", "--trading-rules", "none")


def format_hour(hours: int) -> str:
    """Return the date a number of hours after the first candle, as text of a flag."""
    return format_utc(START + hours * HOUR).replace(" ", "T")


@pytest.fixture(autouse=True)
def breakout(folder: Path) -> Callable[..., None]:
    """Write user/strategies/breakout.py; return a function that lets it need days."""
    path = folder / "user" / "strategies" / "breakout.py"
    path.parent.mkdir(parents=True)

    def write(higher: tuple[str, ...] = ()) -> None:
        path.write_text(BREAKOUT.replace("HIGHER", repr(higher)), encoding="utf-8")

    write()
    return write


def delete(database: Path, first: int, last: int, timeframe: str = "1h") -> None:
    """Delete the candles from one hour up to another, both counted from the first candle."""
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE timeframe = ? AND timestamp >= ? AND timestamp < ?",
            (timeframe, START + first * HOUR, START + last * HOUR),
        )


def get_start_note(document: dict[str, Any]) -> str:
    """Return the one line with the time since which is traded."""
    (note,) = [note for note in document["notes"] if "trading" in note]
    return note


def test_the_warm_up_of_a_range_begins_after_the_gap_before_it(
    backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    document = backtest_json(*FLAGS, "--from", format_hour(1_510)).document
    since = START + (1_500 + PERIOD) * HOUR
    assert get_start_note(document) == (
        f"trading starts {format_utc(since)} UTC, after a warm-up of 120 candles behind the "
        f"gap {format_hour(1_000).replace('T', ' ')} to {format_hour(1_500).replace('T', ' ')} UTC"
    )
    assert document["pauses"] == [
        {
            "symbol": "BTC/USDT",
            "gap_from": START + 1_000 * HOUR,
            "gap_to": START + 1_500 * HOUR,
            "timeframe": "1h",
            "trading_since": since,
        }
    ]
    assert not any("of warm-up where" in note for note in document["notes"])
    assert min(trade["entry_timestamp"] for trade in document["trades"]) >= since


def test_what_is_stored_before_a_gap_changes_nothing_after_it(
    backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    with_past = backtest_json(*FLAGS, "--from", format_hour(1_500)).document
    delete(database, 0, 1_500)
    without = backtest_json(*FLAGS, "--from", format_hour(1_500)).document
    # The average of too few candles is unknown, so this strategy waits where a series begins, too.
    assert with_past["trades"] == without["trades"]
    assert with_past["metrics"] == without["metrics"]
    assert without["pauses"] == []


def test_a_warm_up_crosses_a_gap_that_also_exists_at_the_exchange(
    backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    with open_store(database, create=False) as store:
        start, end = START + 1_000 * HOUR, START + 1_500 * HOUR
        set_gap(store, KEY, start, end, state="none at exchange", requested_ms=1)
    document = backtest_json(*FLAGS, "--from", format_hour(1_510)).document
    assert (document["pauses"], document["warm_up"]) == ([], PERIOD)


def test_no_warm_up_crosses_a_gap_of_an_imported_file(backtest_json: Run, database: Path) -> None:
    delete(database, 1_000, 1_500)
    with open_store(database, create=False) as store:
        start, end = START + 1_000 * HOUR, START + 1_500 * HOUR
        set_gap(store, KEY, start, end, state="unknown: import", requested_ms=1)
    assert backtest_json(*FLAGS, "--from", format_hour(1_510)).document["warm_up"] == 10


def test_a_gap_further_back_than_the_warm_up_is_not_mentioned(
    backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    document = backtest_json(*FLAGS, "--from", format_hour(1_500 + PERIOD)).document
    assert (document["pauses"], document["warm_up"]) == ([], PERIOD)


def test_after_an_allowed_gap_trading_starts_again_with_a_full_warm_up(
    backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    delete(database, 2_000, 2_001)
    document = backtest_json(*FLAGS, "--allow-gaps").document
    assert [pause["trading_since"] for pause in document["pauses"]] == [
        START + (1_500 + PERIOD) * HOUR,
        START + (2_001 + PERIOD) * HOUR,
    ]
    assert get_start_note(document).endswith("; 1 earlier gap paused trading too")
    quiet = [
        range(START + low * HOUR, START + (high + PERIOD) * HOUR, HOUR)
        for low, high in ((1_000, 1_500), (2_000, 2_001))
    ]
    moments = [trade["entry_timestamp"] for trade in document["trades"]]
    assert not any(moment in pause for moment in moments for pause in quiet)


def test_a_position_over_a_gap_stays_and_its_stop_fills_at_the_first_open_beyond_it(
    backtest_json: Run, database: Path, candles: Candles
) -> None:
    whole = backtest_json(*FLAGS, "--no-check").document["trades"]
    # A position that would be held over the gap; behind it the price is lower.
    held = next(
        trade
        for trade in whole
        if trade["exit_timestamp"] and trade["exit_timestamp"] - trade["entry_timestamp"] > 5 * HOUR
    )
    first = (held["entry_timestamp"] - START) // HOUR + 2
    after = next(
        hour
        for hour in range(first + 10, len(candles) - 1)
        if candles.open[hour] < held["entry_price"] * 0.99
    )
    delete(database, first, after)
    stopped = backtest_json(*FLAGS, "--allow-gaps", "--stop-loss", "0.005").document["trades"]
    (trade,) = [one for one in stopped if one["entry_timestamp"] == held["entry_timestamp"]]
    assert (trade["exit_kind"], trade["exit_timestamp"]) == ("stop_loss", START + after * HOUR)
    assert trade["exit_price"] == candles.open[after]
    kept = backtest_json(*FLAGS, "--allow-gaps").document["trades"]
    (trade,) = [one for one in kept if one["entry_timestamp"] == held["entry_timestamp"]]
    # Without a stop it is the strategy's to sell, which decides again after the warm-up.
    assert (trade["exit_timestamp"] or 2**40) >= START + (after + PERIOD) * HOUR


def test_a_range_that_ends_before_the_warm_up_is_full_trades_nothing_and_states_it(
    backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    document = backtest_json(
        *FLAGS, "--from", format_hour(1_510), "--to", format_hour(1_600)
    ).document
    assert (document["trades"], document["pauses"][0]["trading_since"]) == ([], None)
    assert "the range ends before a warm-up of 120 candles" in get_start_note(document)
    assert document["check"]["clean"] is None


@pytest.mark.parametrize(
    ("first", "begins", "ends"),
    [
        (0, "trading starts again ", "; 1 earlier gap paused trading too"),
        (1_000, "trading starts ", " UTC"),
    ],
)
def test_the_note_distinguishes_trading_that_starts_from_trading_that_starts_again(
    backtest_json: Run, database: Path, first: int, begins: str, ends: str
) -> None:
    delete(database, 500, 510)
    delete(database, 1_000, 1_100)
    note = get_start_note(
        backtest_json(*FLAGS, "--from", format_hour(first), "--allow-gaps").document
    )
    since = format_utc(START + (1_100 + PERIOD) * HOUR)
    assert note.startswith(f"{begins}{since} UTC, after a warm-up of 120 candles")
    assert note.endswith(ends)


@pytest.mark.usefixtures("check_all_bars")
def test_sampled_and_full_check_use_only_bars_with_a_decision(
    backtest_json: Run, backtester: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    decided = 120 * 24 - 1_500 - (PERIOD - 1)
    flags = (*FLAGS, "--from", format_hour(1_500))
    assert backtest_json(*flags).document["check"]["bars"] == decided
    ended = backtester("check", "--exchange", "simulator", *flags)
    line, note = ended.out.splitlines()
    assert (ended.code, line) == (0, f"bias check: passed, {decided:,} bars")
    assert note.startswith("note: trading starts ")


def test_explain_states_that_a_candle_is_warm_up_after_a_gap(
    backtester: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    flags = ("explain", "--exchange", "simulator", *FLAGS, "--from", format_hour(1_500))
    printed = backtester(*flags, "--at", format_hour(1_550)).out
    assert "signal:     HOLD (warm-up after the gap 2024-02-11 16:00 to" in printed
    assert "warm-up is not full, so the strategy does not decide on this candle" in printed
    assert "does not decide" not in backtester(*flags, "--at", format_hour(1_500 + PERIOD)).out


def test_an_optimization_warms_up_after_a_gap_as_backtests_of_its_combinations_do(
    optimize: Callable[..., dict[str, Any]], backtest_json: Run, database: Path
) -> None:
    delete(database, 1_000, 1_500)
    flags = (*FLAGS, "--from", format_hour(1_510))
    found = optimize(*flags, "--param", "period=110,150")
    (note,) = [note for note in found["notes"] if "trading" in note]
    assert "a warm-up of 150 candles, the longest of all combinations," in note
    end = format_utc(found["in_sample"]["to"]).replace(" ", "T")
    for result in found["results"]:
        period = f"period={result['parameters']['period']}"
        alone = backtest_json(*flags, "--to", end, "--param", period)
        assert alone.document["metrics"] == result["in_sample"]


def test_an_optimization_restarts_once_a_gap_is_explained(
    optimize: Callable[..., dict[str, Any]], database: Path
) -> None:
    delete(database, 1_000, 1_500)
    flags = (*FLAGS, "--from", format_hour(1_510), "--param", "period=110,150")
    first = optimize(*flags)
    with open_store(database, create=False) as store:
        start, end = START + 1_000 * HOUR, START + 1_500 * HOUR
        set_gap(store, KEY, start, end, state="none at exchange", requested_ms=1)
    assert optimize(*flags)["folder"] != first["folder"]


def test_a_symbol_with_a_gap_waits_and_the_others_trade(backtest_json: Run, database: Path) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume, closed, source) SELECT exchange, 'ETH/USDT', timeframe, timestamp, "
            "open, high, low, close, volume, closed, source FROM ohlcv_data"
        )
        connection.execute(
            "DELETE FROM ohlcv_data WHERE symbol = 'ETH/USDT' AND timestamp >= ? AND timestamp < ?",
            (START + 1_000 * HOUR, START + 1_500 * HOUR),
        )
    flags = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT", *FLAGS, "--from", format_hour(1_500))
    document = backtest_json(*flags, "--sizing", "equity_share=0.4").document
    (pause,) = document["pauses"]
    assert (pause["symbol"], pause["gap_to"]) == ("ETH/USDT", START + 1_500 * HOUR)
    assert get_start_note(document).startswith("ETH/USDT: trading starts ")
    trades = [trade for trade in document["trades"] if trade["symbol"] == "ETH/USDT"]
    assert min(trade["entry_timestamp"] for trade in trades) >= pause["trading_since"]


def put_days(database: Path, candles: Candles, lacking: range) -> None:
    """Store the days of the candles, from 200 days before, without some of the real ones."""
    days = resample(candles, Timeframe.parse("1h"), Timeframe.parse("1d"))
    keep = np.array([number for number in range(len(days)) if number not in lacking])
    with open_store(database, create=False) as store:
        key = SeriesKey("simulator", "BTC/USDT", "1d")
        insert_columns(store, key, days.take(keep), source="rest", seen_ms=1)


def test_a_gap_in_the_warm_up_of_a_higher_timeframe_delays_trading(
    backtest_json: Run,
    backtester: Run,
    database: Path,
    candles: Candles,
    breakout: Callable[..., None],
) -> None:
    breakout(("1d",))
    # Day 2 is neither stored nor can it be built, the traded candles begin at day 5.
    put_days(database, candles, range(2, 3))
    delete(database, 0, 5 * 24)
    flags = (*FLAGS, "--from", format_hour(6 * 24))
    document = backtest_json(*flags).document
    since = START + 103 * DAY + PERIOD * HOUR
    assert [pause["trading_since"] for pause in document["pauses"]] == [since]
    assert get_start_note(document).endswith(
        "behind the gap of 1d candles 2024-01-03 00:00 to 2024-01-04 00:00 UTC"
    )
    assert min(trade["entry_timestamp"] for trade in document["trades"]) >= since
    printed = backtester("check", "--exchange", "simulator", *flags, "--json")
    assert json.loads(printed.out)["clean"] is True


def test_days_without_hours_at_the_exchange_are_not_a_gap(
    backtest_json: Run, database: Path, breakout: Callable[..., None]
) -> None:
    breakout(("1d",))
    delete(database, 1_200, 1_272)
    with open_store(database, create=False) as store:
        start, end = START + 1_200 * HOUR, START + 1_272 * HOUR
        set_gap(store, KEY, start, end, state="none at exchange", requested_ms=1)
    document = backtest_json(*FLAGS).document
    assert (document["pauses"], document["known_outages"]) == ([], 72)
