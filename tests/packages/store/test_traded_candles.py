"""The first candle with a trade after a time."""

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.core.untraded import is_untraded
from onetape.store.candles import insert_closed_rows, replace_forming
from onetape.store.database import Store
from onetape.store.reading import read_first_traded_after

HOUR = 3_600
KEY = SeriesKey("binance", "BTC/USDT", "1h")
TRADED = Candle(0, 100, 101, 99, 100, 5)
FLAT = Candle(0, 100, 100, 100, 100, 0)
MOVED = Candle(0, 100, 101, 99, 100, 0)


def store_candles(store: Store, *kinds: Candle) -> list[Candle]:
    """Store one closed candle an hour, of these kinds."""
    rows = [row._replace(timestamp=hour * HOUR) for hour, row in enumerate(kinds)]
    insert_closed_rows(store, KEY, rows, source="rest", seen_ms=0)
    return rows


@pytest.mark.parametrize("found", [TRADED, MOVED])
def test_candles_without_a_trade_are_skipped(store: Store, found: Candle) -> None:
    rows = store_candles(store, TRADED, FLAT, FLAT, FLAT, found, TRADED)
    assert read_first_traded_after(store, KEY, 0) == rows[4]
    assert not is_untraded(rows[4])
    assert read_first_traded_after(store, KEY, 4 * HOUR) == rows[5]


def test_there_is_no_traded_candle_while_the_market_halts_even_if_one_is_forming(
    store: Store,
) -> None:
    store_candles(store, TRADED, FLAT, FLAT)
    forming = FLAT._replace(timestamp=3 * HOUR)
    replace_forming(store, KEY, forming, seen_ms=0)
    assert read_first_traded_after(store, KEY, 0) is None
    traded = TRADED._replace(timestamp=3 * HOUR)
    replace_forming(store, KEY, traded, seen_ms=0)
    assert read_first_traded_after(store, KEY, 0) == traded


def test_in_a_series_without_any_volume_every_candle_counts(store: Store) -> None:
    rows = store_candles(store, FLAT, FLAT, MOVED)
    assert read_first_traded_after(store, KEY, 0) == rows[1]


def test_there_is_no_traded_candle_after_the_last_one(store: Store) -> None:
    store_candles(store, TRADED)
    assert read_first_traded_after(store, KEY, 0) is None
