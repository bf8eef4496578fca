"""Ranges of closed candles as columns, with and without chunk files."""

from collections.abc import Iterator

import numpy as np
import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.core.digest import compute_data_digest
from onetape.store import reading
from onetape.store.cache import find_chunks, get_cache_folder
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import Store
from onetape.store.reading import read_closed_between
from plain_rows import list_candles, read_plain_rows

KEY = SeriesKey("binance", "BTC/USDT", "1h")
HOUR = 3_600
YEAR = 365 * 86_400


def make_candle(hour: int, volume: float = 1.5) -> Candle:
    return Candle(hour * HOUR, 100.1, 110.7, 90.3, 105.9, volume)


def insert(store: Store, hours: Iterator[int] | range, key: SeriesKey = KEY) -> None:
    rows = [make_candle(hour, hour / 7) for hour in hours]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=1)


def is_cached(store: Store, key: SeriesKey = KEY) -> list[tuple[int, int]]:
    with store.read() as connection:
        chunks = find_chunks(connection, key, 0, 2**40)
    return [(chunk.start, chunk.candles) for chunk in chunks]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cache for short ranges too."""
    monkeypatch.setattr(reading, "ROWS_WITHOUT_CACHE", 0)


@pytest.mark.parametrize("whether", [False, True])
def test_columns_have_the_types_and_order_of_candles(store: Store, whether: bool) -> None:
    insert(store, range(reading.ROWS_WITHOUT_CACHE + 10))
    candles = read_closed_between(store, KEY, 0, 2**40, cached=whether)
    assert candles.timestamp.dtype == np.int64
    prices = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    assert {column.dtype for column in prices} == {np.dtype(np.float64)}
    assert all(column.flags.c_contiguous for column in (candles.timestamp, *prices))
    assert list_candles(candles) == read_plain_rows(store, KEY)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 2**40), (-5, 2**40), (YEAR, 2 * YEAR), (YEAR - HOUR, YEAR + HOUR), (YEAR + 1, YEAR + 2),
        (5, 5), (2 * YEAR, YEAR), (10 * YEAR, 2**40),
    ],
)  # fmt: skip
def test_a_range_is_exact_to_the_second_from_chunks_as_from_rows(
    store: Store, start: int, end: int
) -> None:
    hours = [*range(8_755, 8_765), *range(17_000, 17_003), *range(40_000, 40_005)]
    insert(store, iter(hours))
    for _ in range(2):
        assert list_candles(read_closed_between(store, KEY, start, end)) == read_plain_rows(
            store, KEY, start, end
        )
    read_closed_between(store, KEY, 0, 2**40)
    assert [start for start, _ in is_cached(store)] == [0, YEAR, 4 * YEAR]
    assert list_candles(read_closed_between(store, KEY, start, end)) == read_plain_rows(
        store, KEY, start, end
    )


def test_a_short_range_makes_no_files(store: Store) -> None:
    insert(store, range(reading.ROWS_WITHOUT_CACHE))
    read_closed_between(store, KEY, 0, 2**40)
    assert is_cached(store) == []
    assert not get_cache_folder(store.path).exists()


@pytest.mark.usefixtures("always")
def test_a_chunk_never_serves_a_forming_row(store: Store) -> None:
    insert(store, range(5))
    replace_forming(store, KEY, make_candle(5, volume=0.1), seen_ms=1)
    assert len(read_closed_between(store, KEY, 0, 2**40)) == 5
    replace_forming(store, KEY, make_candle(5, volume=0.2), seen_ms=2)
    assert is_cached(store) == [(0, 5)], "a forming row empties no cache"
    assert len(read_closed_between(store, KEY, 0, 2**40)) == 5


@pytest.mark.usefixtures("always")
def test_a_range_with_a_row_of_plain_sql_is_never_cached(store: Store) -> None:
    insert(store, range(5))
    with store.write() as connection:
        connection.execute("UPDATE ohlcv_data SET closed = NULL WHERE timestamp = 3600")
    assert len(read_closed_between(store, KEY, 0, 2**40)) == 5
    assert is_cached(store) == []


@pytest.mark.usefixtures("always")
def test_a_transaction_reads_its_own_changes_through_the_cache(store: Store) -> None:
    insert(store, range(5))
    read_closed_between(store, KEY, 0, 2**40)
    with store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data WHERE timestamp = 0")
        assert read_closed_between(store, KEY, 0, 2**40).timestamp.tolist()[0] == HOUR
        assert connection.in_transaction
    assert is_cached(store) == [], "nothing is built in a transaction of another program"


@pytest.mark.usefixtures("always")
def test_the_digest_is_the_same_from_rows_and_from_chunks(store: Store) -> None:
    insert(store, range(8_755, 8_765))
    read_closed_between(store, KEY, 0, 2**40)
    assert is_cached(store) == [(0, 5), (YEAR, 5)]
    digests = {
        compute_data_digest(read_closed_between(store, KEY, 0, 2**40, cached=each))
        for each in (False, True)
    }
    assert len(digests) == 1
