"""Copy the newest candles to a database in memory, for a trader whose database file fails.

With a full or damaged disk the trader goes on to watch the stops of its positions on this copy.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import apsw

from onetape.core.candles import SeriesKey
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.migrations import migrate

#: Tables that are copied completely: the kind of market in the file, and rules of markets.
_COPIED_TABLES = ("store_kind", "markets", "recordings")


class MemoryStore(Store):
    """A database in memory, with the path of its source file for messages."""

    def __init__(self, path: Path, connection: DatabaseConnection) -> None:
        """Wrap an open connection; use `copy_to_memory`."""
        super().__init__(path, connection, None)
        # The cache files belong to the database file.
        self.uses_cache = False

    def _is_in_place(self) -> bool:
        return True


def copy_to_memory(store: Store, series: Iterable[tuple[SeriesKey, int]]) -> MemoryStore:
    """Copy candles and the rows about their gaps into memory; the caller closes the copy.

    Args:
        store: The open database; it is read only.
        series: Each series with the open of the first candle to copy, epoch seconds.

    Raises:
        StoreError: the file cannot be read.
    """
    connection = cast("DatabaseConnection", apsw.Connection(":memory:"))
    migrate(connection, store.path)
    connection.execute("BEGIN")
    with store.read() as source:
        for table in _COPIED_TABLES:
            _copy(source, connection, f"SELECT * FROM {table}", (), table)
        for key, start in series:
            of_series = "exchange = ? AND symbol = ? AND timeframe = ?"
            rows = f"SELECT * FROM ohlcv_data WHERE {of_series} AND timestamp >= ?"
            _copy(source, connection, rows, (*key.names, start), "ohlcv_data")
            gaps = f"SELECT * FROM gaps WHERE {of_series}"
            _copy(source, connection, gaps, key.names, "gaps")
    connection.execute("COMMIT")
    return MemoryStore(store.path, connection)


def _copy(
    source: DatabaseConnection,
    target: DatabaseConnection,
    query: str,
    values: tuple[str | int, ...],
    table: str,
) -> None:
    rows = source.execute(query, values).fetchall()
    if rows:
        placeholders = ", ".join("?" for _ in rows[0])
        target.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({placeholders})", rows)
