"""Rules by which candles are stored, replaced and counted."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, SeriesKey, find_candle_fault
from onetape.core.errors import StoreError
from onetape.core.timeframes import Timeframe
from onetape.store.candles import (
    ensure_store_kind,
    find_series_gaps,
    insert_closed_rows,
    read_candle_at,
    read_closed_range,
    read_closed_timestamps,
    read_first_candle_after,
    read_last_closed,
    read_last_closed_timestamp,
    read_series_summaries,
    replace_forming,
)
from onetape.store.database import Store
from onetape.store.reading import read_closed_between
from onetape.store.stream_closes import store_marked
from repeatable import count_examples

HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")
ONE_HOUR = Timeframe.parse("1h")
REVISIONS = "SELECT timestamp, old_close, new_close FROM revisions ORDER BY id"

# Sharing a session's database among examples is intended: each uses a different series.
many = settings(
    max_examples=count_examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make_candle(hour: int, close: float = 105.0) -> Candle:
    return Candle(hour * HOUR, 100.0, 110.0, 90.0, close, 12.5)


def put(store: Store, key: SeriesKey, *rows: Candle) -> tuple[int, int, int]:
    report = insert_closed_rows(store, key, rows, source="rest", seen_ms=1)
    return report.inserted, report.present, report.quarantined


def query_rows(store: Store, statement: str) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return connection.execute(statement).fetchall()


def test_a_batch_is_stored_once_and_present_the_second_time(store: Store) -> None:
    assert put(store, KEY, make_candle(1), make_candle(0), make_candle(1)) == (2, 0, 0)
    assert put(store, KEY, make_candle(0), make_candle(1), make_candle(2)) == (1, 2, 0)
    assert read_closed_between(store, KEY, 0, 10 * HOUR).timestamp.tolist() == [0, HOUR, 2 * HOUR]


def test_an_empty_batch_stores_nothing(store: Store) -> None:
    assert put(store, KEY) == (0, 0, 0)


def test_a_closed_candle_is_unchanged_and_a_late_value_is_stored_once_as_a_revision(
    store: Store,
) -> None:
    put(store, KEY, make_candle(0))
    assert put(store, KEY, make_candle(0, 101.0)) == (0, 1, 0)
    put(store, KEY, make_candle(0, 101.0))
    replace_forming(store, KEY, make_candle(0, 102.0), seen_ms=1)
    replace_forming(store, KEY, make_candle(0), seen_ms=1)
    assert read_candle_at(store, KEY, 0) == make_candle(0)
    assert query_rows(store, REVISIONS) == [(0, 105.0, 101.0), (0, 105.0, 102.0)]


def test_an_accepted_correction_is_an_update(store: Store) -> None:
    put(store, KEY, make_candle(0))
    with store.write() as connection:
        connection.execute("UPDATE ohlcv_data SET close = 101.0")
    assert read_candle_at(store, KEY, 0) == make_candle(0, 101.0)


def test_a_forming_candle_is_replaced_until_it_is_closed(store: Store) -> None:
    put(store, KEY, make_candle(0))
    assert replace_forming(store, KEY, make_candle(1, 101.0), seen_ms=1)
    assert replace_forming(store, KEY, make_candle(1, 102.0), seen_ms=1)
    assert read_last_closed(store, KEY, 5).close.tolist() == [105.0]
    assert store_marked(store, KEY, make_candle(1, 102.0), closed_ms=1)
    assert replace_forming(store, KEY, make_candle(1, 103.0), seen_ms=1)
    assert read_last_closed(store, KEY, 5).close.tolist() == [105.0, 102.0]


def test_a_forming_candle_is_not_closed_by_a_later_row(store: Store) -> None:
    replace_forming(store, KEY, make_candle(0), seen_ms=1)
    replace_forming(store, KEY, make_candle(1), seen_ms=1)
    assert len(read_last_closed(store, KEY, 5)) == 0


def test_rest_replaces_a_forming_row_and_counts_it_as_new(store: Store) -> None:
    replace_forming(store, KEY, make_candle(0, 101.0), seen_ms=1)
    assert put(store, KEY, make_candle(0)) == (1, 0, 0)
    assert read_last_closed(store, KEY, 5).close.tolist() == [105.0]


def test_rest_does_not_change_the_forming_row_of_another_candle(store: Store) -> None:
    replace_forming(store, KEY, make_candle(1, 101.0), seen_ms=1)
    put(store, KEY, make_candle(0), make_candle(2))
    assert read_candle_at(store, KEY, HOUR) == make_candle(1, 101.0)


def test_a_bad_row_is_quarantined_and_the_rest_is_stored(store: Store) -> None:
    bad = make_candle(1)._replace(high=nan)
    assert put(store, KEY, make_candle(0), bad, make_candle(2)) == (2, 0, 1)
    assert not replace_forming(store, KEY, make_candle(3)._replace(volume=inf), seen_ms=7)
    quarantined = query_rows(store, "SELECT seen_ms, source, fault, payload FROM quarantine")
    payload = '["3600", "100.0", "nan", "90.0", "105.0", "12.5"]'
    assert quarantined[0] == (1, "rest", "a value is not a finite number", payload)
    assert quarantined[1][:2] == (7, "ws")


def test_simulated_and_real_candles_are_never_in_one_file(store: Store) -> None:
    put(store, KEY, make_candle(0))
    with pytest.raises(StoreError, match="simulated and real candles may not share a file"):
        put(store, SeriesKey("simulator", "BTC/USDT", "1h"), make_candle(0))
    with pytest.raises(StoreError, match=r"real exchange.*simulator; choose another file"):
        ensure_store_kind(store, "simulator")
    ensure_store_kind(store, "kraken")


def test_candles_of_a_test_network_have_a_separate_file(store: Store) -> None:
    ensure_store_kind(store, "binance", is_sandbox=True)
    put(store, KEY, make_candle(0))
    ensure_store_kind(store, "binance", is_sandbox=True)
    with pytest.raises(StoreError, match=r"test network, which never share a file.* binance;"):
        ensure_store_kind(store, "binance")


def test_a_test_network_is_refused_where_there_are_other_candles(store: Store) -> None:
    put(store, KEY, make_candle(0))
    with pytest.raises(StoreError, match=r"real exchange.*test network of binance; choose another"):
        ensure_store_kind(store, "binance", is_sandbox=True)


def test_an_empty_file_takes_candles_of_any_kind(store: Store) -> None:
    ensure_store_kind(store, "simulator")
    put(store, SeriesKey("simulator", "BTC/USDT", "1h"), make_candle(0))
    with pytest.raises(StoreError, match=r"candles of the simulator.*binance"):
        ensure_store_kind(store, "binance")


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([90.0, 100.0, 110.0])
wild_rows = st.builds(
    Candle,
    st.sampled_from([hour * HOUR for hour in range(-1, 12)]) | st.integers(0, 50_000),
    *[numbers] * 5,
)
sound_rows = st.builds(make_candle, st.integers(0, 11), st.sampled_from([95.0, 100.0, 105.0]))


@many
@given(
    batch=st.lists(wild_rows | sound_rows, max_size=30),
    forming=st.lists(sound_rows, max_size=4),
    before=st.lists(sound_rows, max_size=6),
)
def test_the_counts_of_every_batch_add_up(
    shared_store: Store,
    fresh_keys: Iterator[SeriesKey],
    batch: list[Candle],
    forming: list[Candle],
    before: list[Candle],
) -> None:
    key = next(fresh_keys)
    put(shared_store, key, *before)
    for row in forming:
        replace_forming(shared_store, key, row, seen_ms=1)
    closed_before = {row.timestamp for row in before}

    inserted, present, quarantined = put(shared_store, key, *batch)

    sound = {row.timestamp for row in batch if find_candle_fault(row, ONE_HOUR) is None}
    assert quarantined == sum(find_candle_fault(row, ONE_HOUR) is not None for row in batch)
    assert present == len(sound & closed_before)
    assert inserted == len(sound - closed_before)
    stored = read_closed_between(shared_store, key, 0, 100 * HOUR)
    assert set(stored.timestamp.tolist()) == sound | closed_before


@many
@given(
    hours=st.sets(st.integers(0, 40)),
    start=st.integers(-2 * HOUR, 40 * HOUR),
    length=st.integers(0, 30 * HOUR),
)
def test_gaps_and_candles_of_a_range_add_up_to_the_range(
    shared_store: Store,
    fresh_keys: Iterator[SeriesKey],
    hours: set[int],
    start: int,
    length: int,
) -> None:
    key = next(fresh_keys)
    put(shared_store, key, *(make_candle(hour) for hour in hours))
    gaps = find_series_gaps(shared_store, key, start, start + length)
    absent = {
        hour * HOUR
        for hour in range(-3, 80)
        if start <= hour * HOUR < start + length and hour not in hours
    }
    listed = [moment for gap in gaps for moment in range(*gap, HOUR)]
    assert listed == sorted(absent)
    assert all(left[1] < right[0] for left, right in pairwise(gaps))


def test_a_month_without_candles_is_one_gap_by_the_calendar(store: Store) -> None:
    key = SeriesKey("binance", "BTC/USDT", "1M")
    january, april, may = 1_704_067_200, 1_711_929_600, 1_714_521_600
    put(store, key, make_candle(january // HOUR), make_candle(april // HOUR))
    february = 1_706_745_600
    assert find_series_gaps(store, key, january, may) == [(february, april)]


def test_the_last_candles_are_read_in_order(store: Store) -> None:
    put(store, KEY, *(make_candle(hour) for hour in range(5)))
    replace_forming(store, KEY, make_candle(5), seen_ms=1)
    assert read_last_closed(store, KEY, 2).timestamp.tolist() == [3 * HOUR, 4 * HOUR]
    assert read_last_closed(store, KEY, 2, up_to=2 * HOUR).timestamp.tolist() == [HOUR, 2 * HOUR]
    assert read_closed_timestamps(store, KEY, after=2 * HOUR) == [3 * HOUR, 4 * HOUR]
    assert read_last_closed_timestamp(store, KEY, 3 * HOUR) == 2 * HOUR
    assert read_last_closed_timestamp(store, KEY, 0) is None
    assert read_first_candle_after(store, KEY, 4 * HOUR) == make_candle(5)
    assert read_first_candle_after(store, KEY, 5 * HOUR) is None
    assert read_candle_at(store, KEY, 9 * HOUR) is None


def test_the_stored_range_ends_with_the_last_closed_candle(store: Store) -> None:
    assert read_closed_range(store, KEY) is None
    replace_forming(store, KEY, make_candle(9), seen_ms=1)
    assert read_closed_range(store, KEY) is None
    put(store, KEY, make_candle(2), make_candle(4))
    assert read_closed_range(store, KEY) == (2 * HOUR, 4 * HOUR)


def test_every_series_is_listed_with_its_rows(store: Store) -> None:
    put(store, KEY, make_candle(0), make_candle(1))
    put(store, SeriesKey("binance", "ETH/USDT", "1h"), make_candle(3))
    listed = [(str(one.key), one.first, one.last, one.rows) for one in read_series_summaries(store)]
    assert listed == [
        ("binance BTC/USDT 1h", 0, HOUR, 2),
        ("binance ETH/USDT 1h", 3 * HOUR, 3 * HOUR, 1),
    ]
