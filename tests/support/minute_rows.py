"""Databases of invented minutes, and a function that damages one."""

from pathlib import Path

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store

KEY = SeriesKey("binance", "BTC/USDT", "1m")
_PAGE_BYTES = 4_096


def write_rows(store: Store, count: int, start: int = 0) -> None:
    """Store a number of minutes, from minute `start` after 1970 on."""
    rows = [Candle((start + i) * 60, 1.0, 2.0, 0.5, 1.5, float(i)) for i in range(count)]
    insert_closed_rows(store, KEY, rows, source="rest", seen_ms=1)


def read_sound_candles(path: Path) -> int:
    """Return the candles of a database, which must be sound to its last page."""
    with open_store(path, create=False, whole=True) as store, store.read() as connection:
        return connection.execute("SELECT count(*) FROM ohlcv_data").get


def spoil_a_page(path: Path) -> None:
    """Overwrite a page in the middle of a closed database."""
    pages = path.stat().st_size // _PAGE_BYTES
    with path.open("r+b") as file:
        file.seek(pages // 2 * _PAGE_BYTES)
        file.write(b"\xff" * _PAGE_BYTES)
