"""The revision ledger: a late value is kept beside the candle until a person accepts it."""

from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import StoreError, UsageError
from onetape.store.candles import InsertReport, insert_closed, row_at
from onetape.store.database import Store
from onetape.store.reading import closed_between
from onetape.store.revisions import accept, revisions_of

HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")
OTHER = SeriesKey("binance", "ETH/USDT", "1h")
PLAIN = (
    "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, close, "
    "volume) VALUES ('binance', 'BTC/USDT', '1h', ?, 100, 110, 90, ?, 12.5)"
)


def candle(hour: int, close: float = 105.0) -> Candle:
    return Candle(hour * HOUR, 100.0, 110.0, 90.0, close, 12.5)


def put(store: Store, *rows: Candle, key: SeriesKey = KEY) -> InsertReport:
    return insert_closed(store, key, rows, source="rest", seen_ms=1)


def closes(store: Store, *, open_only: bool = True) -> list[tuple[float, float, bool]]:
    found = revisions_of(store, open_only=open_only)
    return [(one.old.close, one.new.close, one.accepted) for one in found]


def test_a_revision_names_the_candle_both_values_and_the_source(store: Store) -> None:
    put(store, candle(1))
    put(store, candle(1, 99.0))
    (revision,) = revisions_of(store)
    assert (revision.key, revision.old, revision.new) == (KEY, candle(1), candle(1, 99.0))
    assert (revision.source, revision.accepted) == ("rest", False)
    assert revision.seen_ms > 1_700_000_000_000


def test_revisions_are_listed_of_one_series_or_of_all(store: Store) -> None:
    for key in (KEY, OTHER):
        put(store, candle(1), key=key)
        put(store, candle(1, 99.0), key=key)
    assert [each.key for each in revisions_of(store)] == [KEY, OTHER]
    assert [each.key for each in revisions_of(store, OTHER)] == [OTHER]


def test_an_accepted_revision_is_the_candle_and_comes_no_more(store: Store) -> None:
    put(store, candle(1))
    put(store, candle(1, 99.0))
    (revision,) = revisions_of(store)
    assert accept(store, [revision.id]) == 1
    assert closed_between(store, KEY, 0, 9 * HOUR).close.tolist() == [99.0]
    assert closes(store) == []
    assert closes(store, open_only=False) == [(105.0, 99.0, True)]
    assert accept(store, [revision.id]) == 0
    assert put(store, candle(1, 99.0)) == InsertReport(present=1)


def test_of_two_revisions_of_a_candle_the_later_settles_both(store: Store) -> None:
    put(store, candle(1))
    put(store, candle(1, 99.0))
    put(store, candle(1, 98.0))
    accept(store, [revisions_of(store)[-1].id])
    assert row_at(store, KEY, HOUR) == candle(1, 98.0)
    assert closes(store) == []


def test_a_value_that_the_exchange_takes_back_is_not_accepted_with_all_others(store: Store) -> None:
    put(store, candle(1), candle(2))
    put(store, candle(1, 99.0), candle(2, 98.0))
    is_open = [one.id for one in revisions_of(store)]
    assert put(store, candle(1)) == InsertReport(present=1)
    assert closes(store) == [(105.0, 98.0, False)]
    assert accept(store, is_open) == 1
    assert row_at(store, KEY, HOUR) == candle(1)
    assert row_at(store, KEY, 2 * HOUR) == candle(2, 98.0)


def test_a_file_that_has_the_stored_value_settles_nothing(store: Store) -> None:
    put(store, candle(1))
    put(store, candle(1, 99.0))
    insert_closed(store, KEY, [candle(1)], source="import", seen_ms=1)
    assert len(closes(store)) == 1


def test_an_unknown_revision_changes_nothing(store: Store) -> None:
    put(store, candle(1))
    put(store, candle(1, 99.0))
    with pytest.raises(UsageError, match="has no revision 77; list them"):
        accept(store, [revisions_of(store)[0].id, 77])
    assert row_at(store, KEY, HOUR) == candle(1)
    assert len(closes(store)) == 1


def test_a_revision_of_a_candle_that_was_deleted_is_refused(store: Store) -> None:
    put(store, candle(1))
    put(store, candle(1, 99.0))
    with store.write() as connection:
        connection.execute("DELETE FROM ohlcv_data")
    with pytest.raises(StoreError, match="the candle of revision 1 is not stored any more"):
        accept(store, [1])


def test_a_value_that_no_candle_may_have_is_not_accepted(store: Store, foreign: Any) -> None:
    put(store, candle(1))
    # The trigger keeps what plain SQL tried to write, before any check of the table.
    foreign(store.path, (PLAIN, [HOUR, 500.0]))
    (revision,) = revisions_of(store)
    assert (revision.new.close, revision.source) == (500.0, None)
    with pytest.raises(StoreError, match="CHECK constraint failed"):
        accept(store, [revision.id])
    assert row_at(store, KEY, HOUR) == candle(1)


def test_rest_replaces_a_row_of_plain_sql_and_keeps_a_different_value_as_a_revision(
    store: Store, foreign: Any
) -> None:
    foreign(store.path, (PLAIN, [HOUR, 99.0]), (PLAIN, [2 * HOUR, 105.0]))
    report = put(store, candle(1), candle(2), candle(3))
    assert report == InsertReport(inserted=3, revised=1)
    assert row_at(store, KEY, HOUR) == candle(1)
    assert closes(store, open_only=False) == [(99.0, 105.0, True)]
