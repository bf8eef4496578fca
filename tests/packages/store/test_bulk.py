"""Batches and columns: sound rows are stored once, unsound ones refused, counted, quarantined."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, Candles, SeriesKey, find_candle_fault
from onetape.core.errors import StoreError
from onetape.core.timeframes import Timeframe
from onetape.store import candles as candles_module
from onetape.store import closed_rows
from onetape.store.batches import convert_rows_to_columns
from onetape.store.candles import (
    BULK_ROWS,
    InsertReport,
    insert_closed_rows,
    insert_columns,
    read_candle_at,
    read_closed_range,
    read_last_closed,
    replace_forming,
)
from onetape.store.database import Store, open_store
from onetape.store.quarantine import (
    MAX_STORED_ROWS,
    MOST_CHARACTERS,
    quarantine_row,
    read_quarantined_rows,
    read_refused_rows,
)
from onetape.store.reading import read_closed_between
from repeatable import count_examples

HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")
ONE_HOUR = Timeframe.parse("1h")
SOUND = Candle(HOUR, 100.0, 110.0, 90.0, 105.0, 12.5)

Insert = Callable[[Store, SeriesKey, Sequence[Candle]], InsertReport]


def insert_by_rows(store: Store, key: SeriesKey, rows: Sequence[Candle]) -> InsertReport:
    return insert_closed_rows(store, key, rows, source="rest", seen_ms=7)


def insert_by_columns(store: Store, key: SeriesKey, rows: Sequence[Candle]) -> InsertReport:
    return insert_columns(store, key, convert_rows_to_columns(rows), source="import", seen_ms=7)


both = pytest.mark.parametrize("insert", [insert_by_rows, insert_by_columns])
# Sharing a session's database among examples is intended: each uses a different series.
many = settings(
    max_examples=count_examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make_candle(hour: int, close: float = 105.0) -> Candle:
    return SOUND._replace(timestamp=hour * HOUR, close=close)


def make_hours(count: int) -> Candles:
    price = np.arange(count, dtype=np.float64) % 7 + 100
    return Candles(np.arange(count) * HOUR, price, price + 2, price - 2, price, price)


def find_no_fault(_candles: Candles, _timeframe: Timeframe) -> dict[int, str]:
    return {}


def do_nothing(*_: object) -> None:
    pass


def read_payloads(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return connection.execute(
            "SELECT symbol, source, fault, payload FROM quarantine ORDER BY id"
        ).fetchall()


#: Failure mode 21: what a value of a candle may not be. CCXT passes all of it on; None becomes NaN.
BAD_VALUES = {
    "NaN, or None": {"close": nan},
    "infinite": {"high": inf},
    "infinite downwards": {"low": -inf},
    "1e400": {"volume": float("1e400")},
    "beyond every market": {"high": 1e300},
    "negative": {"low": -90.0},
    "zero": {"open": 0.0, "low": 0.0},
    "negative volume": {"volume": -1.0},
    "volume without end": {"volume": nan},
    "high under low": {"high": 80.0},
    "close over high": {"close": 111.0},
    "close under low": {"close": 89.0},
    "open over high": {"open": 111.0},
    "open under low": {"open": 89.0},
}
#: Failure mode 22: what its time may not be. None comes as -1.
BAD_TIMES = {
    "None": -1,
    "milliseconds": 1_704_067_200_000,
    "2^50": 2**50,
    "more than 64 bits": 2**70,
    "negative": -HOUR,
    "off the grid": HOUR + 60,
}
BAD_ROWS = {
    **{name: SOUND._replace(**fields) for name, fields in BAD_VALUES.items()},
    **{name: SOUND._replace(timestamp=timestamp) for name, timestamp in BAD_TIMES.items()},
}


@both
@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_refused_counted_and_quarantined_and_the_others_are_stored(
    store: Store, insert: Insert, bad: Candle
) -> None:
    """Failure modes 21 and 22."""
    report = insert(store, KEY, [make_candle(0), bad, make_candle(2)])
    assert report == InsertReport(inserted=2, quarantined=1)
    assert read_closed_between(store, KEY, 0, 10 * HOUR).timestamp.tolist() == [0, 2 * HOUR]
    assert [(each.refused, each.first_seen_ms) for each in read_refused_rows(store)] == [(1, 7)]
    assert len(read_payloads(store)) == 1


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("bad", [BAD_ROWS["close over high"], BAD_ROWS["off the grid"]])
def test_without_the_check_of_each_row_a_bad_row_is_lost_or_stored(
    store: Store, bad: Candle, monkeypatch: pytest.MonkeyPatch, *, guarded: bool
) -> None:
    """Failure mode 21, once with its guard switched off."""
    if not guarded:
        monkeypatch.setattr(candles_module, "find_candle_faults", find_no_fault)
    # OR IGNORE drops a row that the table refuses; the batch that is not whole is then given up.
    with suppress(StoreError):
        insert_by_rows(store, KEY, [make_candle(0), bad])
    kept_well = (
        read_last_closed(store, KEY, 9).timestamp.tolist() == [0] and len(read_payloads(store)) == 1
    )
    assert kept_well is guarded


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([90.0, 100.0, 110.0])
bad_rows = st.sampled_from(list(BAD_ROWS.values()))
wild_rows = st.builds(Candle, st.integers(-(2**70), 2**70) | st.integers(0, 20), *[numbers] * 5)
sound_rows = st.builds(make_candle, st.integers(0, 20), st.sampled_from([95.0, 100.0, 105.0]))


@many
@given(rows=st.lists(bad_rows | wild_rows | sound_rows, max_size=40))
@pytest.mark.parametrize("insert", [insert_by_rows, insert_by_columns])
def test_any_rows_are_either_stored_or_refused_and_counted(
    shared_store: Store, fresh_keys: Iterator[SeriesKey], insert: Insert, rows: list[Candle]
) -> None:
    key = next(fresh_keys)
    report = insert(shared_store, key, rows)
    # The rule itself is tested in the package core; here, that no row escapes it.
    sound = {row.timestamp: row for row in rows if find_candle_fault(row, ONE_HOUR) is None}
    refused = [(fault, repr(row)) for row in rows if (fault := find_candle_fault(row, ONE_HOUR))]
    assert report == InsertReport(len(sound), 0, len(refused), 0)
    # A row that came twice counts once; columns turn an invalid time into -1.
    faults = Counter(fault for fault, _ in set(refused))
    found = {each.fault: each.refused for each in read_refused_rows(shared_store, key)}
    assert set(found) == set(faults)
    assert all(found[fault] <= faults[fault] for fault in found)
    kept = [one for fault in found for one in read_quarantined_rows(shared_store, key, fault, 99)]
    assert sum(one.times for one in kept) == len(refused)
    stored = read_closed_between(shared_store, key, 0, 2**40)
    assert stored.close.tolist() == [sound[time].close for time in sorted(sound)]
    assert stored.timestamp.tolist() == sorted(sound)


@both
def test_unordered_and_duplicate_rows_are_stored_in_order_and_once(
    store: Store, insert: Insert
) -> None:
    """Failure mode 19."""
    report = insert(
        store,
        KEY,
        [make_candle(3), make_candle(1), make_candle(3), make_candle(2), make_candle(1, 99.0)],
    )
    assert report == InsertReport(inserted=3)
    read = read_closed_between(store, KEY, 0, 10 * HOUR)
    assert read.timestamp.tolist() == [HOUR, 2 * HOUR, 3 * HOUR]
    assert read.close.tolist() == [99.0, 105.0, 105.0]


@both
def test_a_later_value_of_a_closed_candle_is_reported_once_and_the_first_one_stays(
    store: Store, insert: Insert
) -> None:
    """Failure mode 18."""
    insert(store, KEY, [make_candle(0), make_candle(1)])
    late = [make_candle(0), make_candle(1, 99.0), make_candle(2)]
    assert insert(store, KEY, late) == InsertReport(inserted=1, present=2, revised=1)
    assert insert(store, KEY, late) == InsertReport(present=3)
    assert read_candle_at(store, KEY, HOUR) == make_candle(1)


#: Stores the newest state of a forming candle, prints it, and waits to be killed.
FORMING = """
import sys, time
from pathlib import Path
from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import replace_forming
from onetape.store.database import open_store
store = open_store(Path(sys.argv[1]), create=True)
row = Candle(3600, 100.0, 110.0, 90.0, 99.0, 1.0)
replace_forming(store, SeriesKey("binance", "BTC/USDT", "1h"), row, seen_ms=1)
print("stored", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_final_row_replaces_the_forming_row_of_a_killed_process(
    path: Path,
    child_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    guarded: bool,
) -> None:
    """Failure mode 17, once with its guard switched off."""
    command = [sys.executable, "-c", FORMING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"stored\n"
        child.kill()
    if not guarded:
        monkeypatch.setattr(closed_rows, "_clear_unproven", do_nothing)
    with open_store(path, create=False) as store:
        # Without the delete OR IGNORE keeps the forming row; that nothing arrived is an error.
        with suppress(StoreError):
            insert_by_rows(store, KEY, [make_candle(1), make_candle(2)])
        assert (read_candle_at(store, KEY, HOUR) == make_candle(1)) is guarded
        assert (read_closed_range(store, KEY) == (HOUR, 2 * HOUR)) is guarded


def test_columns_of_several_transactions_are_stored_completely_and_found_by_the_next_call(
    store: Store,
) -> None:
    count = 2 * BULK_ROWS + 17
    columns = make_hours(count)
    assert insert_columns(store, KEY, columns, source="import", seen_ms=1).inserted == count
    read = read_closed_between(store, KEY, 0, count * HOUR)
    assert np.array_equal(read.timestamp, columns.timestamp)
    assert np.array_equal(read.high, columns.high)
    assert insert_columns(store, KEY, columns, source="import", seen_ms=1).present == count


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 149])
def test_any_number_of_rows_is_stored(store: Store, count: int) -> None:
    assert (
        insert_columns(store, KEY, make_hours(count), source="import", seen_ms=1).inserted == count
    )
    assert len(read_last_closed(store, KEY, 999)) == count


@both
def test_a_row_from_long_ago_in_a_batch_is_stored_and_counted_like_the_others(
    store: Store, insert: Insert
) -> None:
    insert_by_rows(store, KEY, [make_candle(hour) for hour in range(1_000)])
    late = [make_candle(hour, 99.0) for hour in (3, 990, 991, 1_000, 9_000, 9_001)]
    assert insert(store, KEY, late) == InsertReport(inserted=3, present=3, revised=3)
    assert read_closed_range(store, KEY) == (0, 9_001 * HOUR)


def test_columns_around_stored_rows_count_inserted_present_and_revised_rows(store: Store) -> None:
    insert_by_rows(store, KEY, [make_candle(5), make_candle(9)])
    replace_forming(store, KEY, make_candle(7), seen_ms=1)
    report = insert_columns(store, KEY, make_hours(8), source="import", seen_ms=1)
    assert report == InsertReport(inserted=7, present=1, revised=1)


def test_a_failed_batch_stores_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "find_candle_faults", find_no_fault)
    with pytest.raises(StoreError, match="none was stored; please report this"):
        insert_by_rows(store, KEY, [make_candle(0), BAD_ROWS["negative"]])
    assert read_closed_range(store, KEY) is None


def test_the_quarantine_keeps_the_first_payloads_of_a_fault_and_counts_the_rest(
    store: Store,
) -> None:
    bad = BAD_ROWS["close over high"]
    insert_by_rows(
        store, KEY, [bad._replace(volume=number) for number in range(1, MAX_STORED_ROWS)]
    )
    insert_by_rows(store, KEY, [bad, bad._replace(volume=-0.0), bad._replace(volume=nan)])
    insert_by_columns(store, SeriesKey("binance", "ETH/USDT", "1h"), [bad])
    kept = Counter((symbol, fault) for symbol, _, fault, _ in read_payloads(store))
    counted = {(each.key.symbol, each.fault): each.refused for each in read_refused_rows(store)}
    outside, not_finite = (
        "high or low does not hold open and close",
        "a value is not a finite number",
    )
    assert kept == {
        ("BTC/USDT", outside): MAX_STORED_ROWS,
        ("BTC/USDT", not_finite): 1,
        ("ETH/USDT", outside): 1,
    }
    assert counted == {**kept, ("BTC/USDT", outside): MAX_STORED_ROWS + 1}


def test_a_row_that_is_refused_at_every_request_is_quarantined_once_and_counted(
    store: Store,
) -> None:
    bad = BAD_ROWS["close over high"]
    for seen_ms in (5, 9, 12):
        insert_closed_rows(store, KEY, [bad], source="rest", seen_ms=seen_ms, raw={bad: "[1, 2]"})
    (kept,) = read_quarantined_rows(store, KEY, "high or low does not hold open and close", 10)
    assert (kept.times, kept.first_seen_ms, kept.last_seen_ms) == (3, 5, 12)
    assert (kept.payload, kept.timestamp, kept.source) == ("[1, 2]", bad.timestamp, "rest")
    assert [
        (one.refused, one.first_seen_ms, one.last_seen_ms) for one in read_refused_rows(store)
    ] == [(1, 5, 12)]


def test_the_text_of_the_exchange_is_quarantined_if_it_is_known(store: Store) -> None:
    bad = BAD_ROWS["NaN, or None"]
    raw = {bad: '[3600000,"100",null]', SOUND._replace(low=0.0): "x" * 9_000}
    insert_closed_rows(store, KEY, list(raw), source="rest", seen_ms=1, raw=raw)
    quarantine_row(store, KEY, bad, source="ws", fault="time is long past", seen_ms=1, raw="{}")
    quarantine_row(store, KEY, SOUND, source="ws", fault="time is long past", seen_ms=1)
    words = '["3600", "100.0", "110.0", "90.0", "105.0", "12.5"]'
    kept = [row[3] for row in read_payloads(store)]
    assert kept == ['[3600000,"100",null]', "x" * MOST_CHARACTERS, "{}", words]
