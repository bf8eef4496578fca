"""One batch of candles that are proven closed, into the table, inside one write transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from onetape.core.candles import SeriesKey
from onetape.core.errors import StoreError
from onetape.store.connection import Connection
from onetape.store.quarantine import Source

_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"
_NOW_MS: Final = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
#: A candle as `Candle` lists it: open in epoch seconds, four prices, volume.
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of the sound rows of a batch."""

    inserted: int
    present: int
    revised: int


def store_closed(
    connection: Connection, key: SeriesKey, rows: Sequence[Row], *, source: Source
) -> Stored:
    """Insert sound candles, oldest first and each once, with INSERT OR IGNORE.

    Raises:
        StoreError: a row did not arrive.
    """
    span = (*key.names, rows[0][0], rows[-1][0])
    before = connection.execute(
        f"SELECT timestamp, closed FROM ohlcv_data WHERE {_SERIES} AND timestamp BETWEEN ? AND ?",
        span,
    ).fetchall()
    newest_revision = connection.execute("SELECT ifnull(max(id), 0) FROM revisions").get
    present = _clear_unproven(connection, key, rows, before, source) if before else 0
    connection.executemany(
        "INSERT OR IGNORE INTO ohlcv_data (exchange, symbol, timeframe, closed, source, timestamp, "
        "open, high, low, close, volume) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)",
        # The parts that all rows share, before each row: `head + row`, without a step of Python.
        map((*key.names, source).__add__, rows),
    )
    arrived = connection.execute(
        f"SELECT count(*) FROM ohlcv_data WHERE {_SERIES} AND timestamp BETWEEN ? AND ? "
        "AND closed = 1",
        span,
    ).get
    # Closed rows stay as they are, so what is more than before is ours.
    inserted = arrived - sum(closed == 1 for _, closed in before)
    if inserted + present != len(rows):
        raise StoreError(
            f"of {len(rows)} {key} candles only {inserted + present} arrived and none was kept; "
            "please report this"
        )
    revised = connection.execute(
        "SELECT count(*) FROM revisions WHERE id > ?", (newest_revision,)
    ).get
    return Stored(inserted, present, revised)


def _clear_unproven(
    connection: Connection,
    key: SeriesKey,
    rows: Sequence[Row],
    before: Sequence[Row],
    source: Source,
) -> int:
    """Delete rows of these candles that are not closed; return how many are there and closed.

    A forming row left by a process that was killed would block the final one for ever. A row of
    plain SQL may have been read as closed: a different value of it is kept as a revision.
    """
    sent: dict[int, Row] = {row[0]: row for row in rows}
    mine = [(timestamp, closed) for timestamp, closed in before if timestamp in sent]
    connection.executemany(
        "INSERT INTO revisions (exchange, symbol, timeframe, timestamp, seen_ms, source, "
        "old_open, old_high, old_low, old_close, old_volume, "
        "new_open, new_high, new_low, new_close, new_volume, accepted) "
        f"SELECT exchange, symbol, timeframe, timestamp, {_NOW_MS}, ?1, "
        "open, high, low, close, volume, ?2, ?3, ?4, ?5, ?6, 1 FROM ohlcv_data "
        "WHERE (open, high, low, close, volume) <> (?2, ?3, ?4, ?5, ?6) "
        "AND exchange = ?7 AND symbol = ?8 AND timeframe = ?9 AND timestamp = ?10",
        [
            (source, *sent[timestamp][1:], *key.names, timestamp)
            for timestamp, closed in mine
            if closed is None
        ],
    )
    connection.executemany(
        f"DELETE FROM ohlcv_data WHERE {_SERIES} AND timestamp = ? AND closed IS NOT 1",
        [(*key.names, timestamp) for timestamp, closed in mine if closed != 1],
    )
    return sum(closed == 1 for _, closed in mine)
