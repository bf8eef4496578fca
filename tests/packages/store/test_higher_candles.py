"""Candles of a higher timeframe: stored or built, and none built over an unexplained gap."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.core.candles import Candles, SeriesKey
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.store.candles import insert_columns
from onetape.store.database import Store, open_store
from onetape.store.gaps import set_gap
from onetape.store.higher_candles import read_higher_candles, store_built_candles

HOUR, DAY_SECONDS = 3_600, 86_400
START = 1_704_067_200
HOURLY = SeriesKey("binance", "BTC/USDT", "1h")
DAILY = replace(HOURLY, timeframe="1d")
DAY = Timeframe.parse("1d")


def make_hours(count: int) -> Candles:
    close = np.arange(100.0, 100.0 + count)
    timestamp = START + np.arange(count, dtype=np.int64) * HOUR
    return Candles.from_columns(timestamp, close, close + 1, close - 1, close, np.ones(count))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "x.db", create=True) as opened:
        insert_columns(opened, HOURLY, make_hours(24 * 5 + 7), source="rest", seen_ms=1)
        yield opened


def read_days(store: Store, end: int) -> list[int]:
    found = read_higher_candles(store, HOURLY, DAY, START, end)
    return [(opened - START) // DAY_SECONDS for opened in found.candles.timestamp.tolist()]


def test_closed_days_are_built_from_hours_and_the_forming_day_is_not(store: Store) -> None:
    found = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    made = resample(make_hours(127), Timeframe.parse("1h"), DAY)
    assert np.array_equal(found.candles.close, made.close)
    assert (len(found.built), found.missing) == (5, [])
    assert found.origin_text == "0 stored, 5 built from a lower timeframe"


def test_a_day_exists_at_its_end_and_not_an_hour_before(store: Store) -> None:
    assert read_days(store, START + 47 * HOUR) == [0]
    assert read_days(store, START + 48 * HOUR) == [0, 1]


def test_a_stored_day_takes_precedence_over_one_that_could_be_built(store: Store) -> None:
    other = replace(
        resample(make_hours(127), Timeframe.parse("1h"), DAY)[1:2],
        close=np.array([125.5]),
        high=np.array([200.0]),
    )
    insert_columns(store, DAILY, other, source="rest", seen_ms=1)
    found = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    assert found.candles.close.tolist()[:3] == [123.0, 125.5, 171.0]
    assert found.origin_text == "1 stored, 4 built from a lower timeframe"


def test_built_days_are_stored_so_that_later_readers_get_the_same(store: Store) -> None:
    first = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    store_built_candles(store, first, seen_ms=2)
    again = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    assert np.array_equal(again.candles.open, first.candles.open)
    assert again.origin_text == "5 stored, 0 built from a lower timeframe"


def test_candles_of_another_market_in_the_traded_timeframe_are_read_and_not_built(
    store: Store,
) -> None:
    end = START + 127 * HOUR
    found = read_higher_candles(store, HOURLY, Timeframe.parse("1h"), START, end)
    assert np.array_equal(found.candles.close, make_hours(127).close)
    assert (len(found.built), found.missing) == (0, [])
    later = read_higher_candles(store, HOURLY, Timeframe.parse("1h"), START, end + 2 * HOUR)
    assert later.missing == [(end, end + 2 * HOUR)]
    before = read_higher_candles(store, HOURLY, Timeframe.parse("1h"), START - HOUR, end)
    assert (before.begins_inside, before.gaps) == (True, [])


def remove(store: Store, hour: int) -> None:
    with store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp = ?", (START + hour * HOUR,))


@pytest.mark.parametrize("hour", [24, 30, 47])
def test_a_day_with_an_unexplained_gap_is_missing(store: Store, hour: int) -> None:
    remove(store, hour)
    found = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    assert read_days(store, START + 127 * HOUR) == [0, 2, 3, 4]
    assert found.missing == [(START + DAY_SECONDS, START + 2 * DAY_SECONDS)]


@pytest.mark.parametrize("hour", [24, 30, 47])
def test_a_day_with_an_outage_of_the_exchange_is_built_without_it(store: Store, hour: int) -> None:
    remove(store, hour)
    start = START + hour * HOUR
    set_gap(store, HOURLY, start, start + HOUR, state="none at exchange", requested_ms=1)
    assert read_days(store, START + 127 * HOUR) == [0, 1, 2, 3, 4]


def test_a_day_before_the_first_hour_is_missing(store: Store) -> None:
    found = read_higher_candles(store, HOURLY, DAY, START - DAY_SECONDS, START + 127 * HOUR)
    assert found.missing == [(START - DAY_SECONDS, START)]


def test_a_quiet_day_is_built_by_whether_its_whole_series_has_volume(tmp_path: Path) -> None:
    # The second day has no volume: an hour that repeats a price, then hours that moved.
    flat, moved = np.full(1, 90.0), np.full(23, 100.0)
    close = np.concatenate((np.full(24, 80.0), flat, moved))
    reach = np.concatenate((np.zeros(25), np.ones(23)))
    volume = np.concatenate((np.ones(24), np.zeros(24)))
    timestamp = START + np.arange(48, dtype=np.int64) * HOUR
    candles = Candles.from_columns(timestamp, close, close + reach, close - reach, close, volume)
    with open_store(tmp_path / "quiet.db", create=True) as store:
        insert_columns(store, HOURLY, candles, source="rest", seen_ms=1)
        whole, part = (
            read_higher_candles(store, HOURLY, DAY, start, START + 2 * DAY_SECONDS).candles
            for start in (START, START + DAY_SECONDS)
        )
    assert (whole.open[1], part.open[0]) == (100.0, 100.0)


def delete_hours(store: Store, first: int, last: int) -> None:
    with store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE timestamp >= ? AND timestamp < ?",
            (START + first * HOUR, START + last * HOUR),
        )


def test_a_day_without_any_hour_at_the_exchange_is_not_missing(store: Store) -> None:
    delete_hours(store, 48, 72)
    day = (START + 2 * DAY_SECONDS, START + 3 * DAY_SECONDS)
    assert read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR).missing == [day]
    set_gap(store, HOURLY, *day, state="none at exchange", requested_ms=1)
    found = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    assert (found.missing, len(found.candles)) == ([], 4)


def test_only_the_days_with_unknown_hours_of_a_longer_gap_are_missing(store: Store) -> None:
    delete_hours(store, 24, 96)
    set_gap(
        store,
        HOURLY,
        START + 24 * HOUR,
        START + 60 * HOUR,
        state="none at exchange",
        requested_ms=1,
    )
    found = read_higher_candles(store, HOURLY, DAY, START, START + 127 * HOUR)
    assert found.missing == [(START + 2 * DAY_SECONDS, START + 4 * DAY_SECONDS)]


def test_the_time_before_a_market_began_is_missing_and_no_gap(store: Store) -> None:
    found = read_higher_candles(store, HOURLY, DAY, START - 9 * DAY_SECONDS, START + 127 * HOUR)
    assert found.missing == [(START - 9 * DAY_SECONDS, START)]
    assert found.gaps == []


def test_a_gap_after_older_candles_counts_even_if_it_begins_before_the_requested_range(
    store: Store,
) -> None:
    delete_hours(store, 30, 72)
    found = read_higher_candles(store, HOURLY, DAY, START + DAY_SECONDS, START + 127 * HOUR)
    assert found.gaps == [(START + DAY_SECONDS, START + 3 * DAY_SECONDS)]
