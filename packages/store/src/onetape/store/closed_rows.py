"""Write one batch of proven closed candles into the table, inside one write transaction."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from msgspec import Struct

from onetape.core.candles import SeriesKey
from onetape.core.errors import StoreError
from onetape.core.timeframes import Timeframe
from onetape.store.connection import DatabaseConnection
from onetape.store.quarantine import Source
from onetape.store.ranks import (
    FILE,
    FRAME,
    REST_AT_CLOSE,
    REST_SETTLED,
    REVISION_RANK_SQL,
    SETTLED_MS,
)

_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"
_NOW_MS: Final = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
#: A batch that skips this many candles is stored in parts.
_FAR_CANDLES: Final = 50
#: Half of the cost of an insert is the statement, not the row.
_ROWS_PER_STATEMENT: Final = 50
_VALUES: Final = "(?1, ?2, ?3, 1, ?4, ?, ?, ?, ?, ?, ?)"
_INSERT_ONE: Final = (
    "INSERT OR IGNORE INTO ohlcv_data (exchange, symbol, timeframe, closed, source, timestamp, "
    f"open, high, low, close, volume) VALUES {_VALUES}"
)
_INSERT_MANY: Final = f"{_INSERT_ONE}{f', {_VALUES}' * (_ROWS_PER_STATEMENT - 1)}"
#: A candle as `Candle` lists it: open in epoch seconds, four prices, volume.
Row = tuple[Any, ...]


class Stored(Struct, frozen=True):
    """Counts of the sound rows of a batch: inserted, present and revised."""

    inserted: int = 0
    present: int = 0
    revised: int = 0


def store_closed(
    connection: DatabaseConnection,
    key: SeriesKey,
    rows: Sequence[Row],
    *,
    source: Source,
    seen_ms: int,
) -> Stored:
    """Insert sound candles, oldest first and each once, with INSERT OR IGNORE.

    Args:
        connection: Connection of an open write transaction.
        key: The series.
        rows: The candles.
        source: Origin of the events.
        seen_ms: When, market time in epoch milliseconds: REST's values are final some time after
            the close.

    Raises:
        StoreError: a row did not arrive.
    """
    total = Stored()
    timeframe = Timeframe.parse(key.timeframe)
    # A candle that opens before this time had settled when it was read.
    final = timeframe.floor(max(seen_ms - SETTLED_MS, 0) // 1_000)
    for part in _split_at_jumps(rows, timeframe.seconds):
        done = _store(connection, key, part, source, final)
        total = Stored(
            total.inserted + done.inserted,
            total.present + done.present,
            total.revised + done.revised,
        )
    return total


def _split_at_jumps(rows: Sequence[Row], seconds: int) -> Iterator[Sequence[Row]]:
    """Cut rows at far jumps, because all stored rows between the ends of a part are read."""
    far = _FAR_CANDLES * seconds
    begun = 0
    if rows[-1][0] - rows[0][0] > far * len(rows) // 2:
        for number in range(1, len(rows)):
            if rows[number][0] - rows[number - 1][0] > far:
                yield rows[begun:number]
                begun = number
    yield rows[begun:] if begun else rows


def note_early_reads(
    connection: DatabaseConnection, key: SeriesKey, *, early: Iterable[int], late: Iterable[int]
) -> None:
    """Record which candles (epoch seconds) have a value of REST read right at the close.

    Args:
        connection: Connection of an open write transaction.
        key: The series.
        early: Candles whose stored value came from REST right at the close.
        late: Candles whose stored value came otherwise.
    """
    connection.executemany(
        "INSERT OR IGNORE INTO early_reads (exchange, symbol, timeframe, timestamp) "
        "VALUES (?, ?, ?, ?)",
        [(*key.names, time) for time in early],
    )
    connection.executemany(
        f"DELETE FROM early_reads WHERE {_SERIES} AND timestamp = ?",
        [(*key.names, time) for time in late],
    )


def _store(
    connection: DatabaseConnection, key: SeriesKey, rows: Sequence[Row], source: Source, final: int
) -> Stored:
    span = (*key.names, rows[0][0], rows[-1][0])
    before = connection.execute(
        "SELECT timestamp, open, high, low, close, volume, closed FROM ohlcv_data "
        f"WHERE {_SERIES} AND timestamp BETWEEN ? AND ?",
        span,
    ).fetchall()
    newest_revision = connection.execute("SELECT ifnull(max(id), 0) FROM revisions").get
    closed = {row[0]: row[:6] for row in before if row[6] == 1}
    if len(closed) < len(before):
        _clear_unproven(connection, key, rows, before, source)
    new = [row for row in rows if closed.get(row[0]) != row] if closed else rows
    if source == "rest":
        if len(new) < len(rows):
            _settle_taken_back(connection, key, span, rows, closed, final)
        _rank_reads(connection, key, span, rows, closed, final)
        _note_compared(connection, key, span, rows, final)
    changed = [row for row in new if row[0] in closed] if closed else []
    _rank_known(connection, key, changed, source, final)
    _insert_or_ignore(connection, key, new, source)
    if source == "rest" and changed:
        connection.execute(
            "UPDATE revisions SET rank = iif(timestamp < ?, ?, ?) WHERE id > ? AND rank IS NULL",
            (final, REST_SETTLED, REST_AT_CLOSE, newest_revision),
        )
    arrived = connection.execute(
        f"SELECT count(*) FROM ohlcv_data WHERE {_SERIES} AND timestamp BETWEEN ? AND ? "
        "AND closed = 1",
        span,
    ).get
    present = sum(row[0] in closed for row in rows) if closed else 0
    # Closed rows never change, so the additional ones come from this batch.
    inserted = arrived - len(closed)
    if inserted + present != len(rows):
        raise StoreError(
            f"of {len(rows)} {key} candles only {inserted + present} arrived and none was stored; "
            "please report this"
        )
    revised = connection.execute(
        "SELECT count(*) FROM revisions WHERE id > ?", (newest_revision,)
    ).get
    return Stored(inserted, present, revised)


def _rank_reads(
    connection: DatabaseConnection,
    key: SeriesKey,
    span: tuple[Any, ...],
    rows: Sequence[Row],
    closed: dict[int, Row],
    final: int,
) -> None:
    """Store which of these values REST returned right at the close, and which are confirmed."""
    known = {
        time
        for (time,) in connection.execute(
            f"SELECT timestamp FROM early_reads WHERE {_SERIES} AND timestamp BETWEEN ? AND ?", span
        )
    }
    late = [
        row[0]
        for row in (rows if known else ())
        if row[0] in known and row[0] < final and closed.get(row[0], row) == row
    ]
    early: list[int] = []
    for row in reversed(rows):
        if row[0] < final:
            break
        if row[0] not in closed:
            early.append(row[0])
    note_early_reads(connection, key, early=early, late=late)


def _note_compared(
    connection: DatabaseConnection,
    key: SeriesKey,
    span: tuple[Any, ...],
    rows: Sequence[Row],
    final: int,
) -> None:
    """Delete the marks of candles to compare with REST, after the comparison."""
    waiting = {
        time
        for (time,) in connection.execute(
            f"SELECT timestamp FROM stream_closes WHERE {_SERIES} AND timestamp BETWEEN ? AND ?",
            span,
        )
    }
    compared = waiting and [row[0] for row in rows if row[0] in waiting and row[0] < final]
    connection.executemany(
        f"DELETE FROM stream_closes WHERE {_SERIES} AND timestamp = ?",
        [(*key.names, time) for time in compared],
    )


def _rank_known(
    connection: DatabaseConnection, key: SeriesKey, rows: Sequence[Row], source: Source, final: int
) -> None:
    """Give open revisions with these values the rank of this source, if that is higher."""
    connection.executemany(
        f"UPDATE revisions AS r SET source = ?, rank = ? WHERE {_SERIES} AND timestamp = ? "
        "AND new_open = ? AND new_high = ? AND new_low = ? AND new_close = ? AND new_volume = ? "
        f"AND accepted = 0 AND {REVISION_RANK_SQL} < ?",
        [
            (source, rank, *key.names, *row, rank)
            for row in rows
            for rank in [_rank(source, is_final=row[0] < final)]
        ],
    )


def _rank(source: Source, *, is_final: bool) -> int:
    if source == "rest":
        return REST_SETTLED if is_final else REST_AT_CLOSE
    return FRAME if source == "ws" else FILE


def _settle_taken_back(
    connection: DatabaseConnection,
    key: SeriesKey,
    span: tuple[Any, ...],
    rows: Sequence[Row],
    closed: dict[int, Row],
    final: int,
) -> None:
    """Settle open revisions of candles for which the exchange sends the stored value again.

    Accepted later, such a revision would give the candle a value that the exchange has withdrawn. A
    revision that outranks the exchange's present value stays open.
    """
    revised = connection.execute(
        f"SELECT DISTINCT timestamp FROM revisions WHERE {_SERIES} AND timestamp BETWEEN ? AND ? "
        "AND accepted = 0",
        span,
    ).fetchall()
    if revised:
        sent: dict[int, Row] = {row[0]: row for row in rows}
        connection.executemany(
            f"UPDATE revisions AS r SET accepted = 1 WHERE {_SERIES} AND timestamp = ? "
            f"AND {REVISION_RANK_SQL} <= ?",
            [
                (*key.names, time, REST_SETTLED if time < final else REST_AT_CLOSE)
                for (time,) in revised
                if time in sent and sent[time] == closed.get(time)
            ],
        )


def _insert_or_ignore(
    connection: DatabaseConnection, key: SeriesKey, rows: Sequence[Row], source: Source
) -> None:
    head = (*key.names, source)
    whole = len(rows) - len(rows) % _ROWS_PER_STATEMENT
    connection.executemany(
        _INSERT_MANY,
        (
            (*head, *chain.from_iterable(rows[first : first + _ROWS_PER_STATEMENT]))
            for first in range(0, whole, _ROWS_PER_STATEMENT)
        ),
    )
    connection.executemany(_INSERT_ONE, map(head.__add__, rows[whole:]))


def _clear_unproven(
    connection: DatabaseConnection,
    key: SeriesKey,
    rows: Sequence[Row],
    before: Sequence[Row],
    source: Source,
) -> None:
    """Delete rows of these candles that are not closed.

    A forming row left by a process that was killed would block the final one forever. A row of
    plain SQL may have been read as closed: a different value of it is stored as a revision.
    """
    sent: dict[int, Row] = {row[0]: row for row in rows}
    unproven = [row for row in before if row[6] != 1 and row[0] in sent]
    connection.executemany(
        "INSERT INTO revisions (exchange, symbol, timeframe, source, timestamp, "
        "old_open, old_high, old_low, old_close, old_volume, "
        "new_open, new_high, new_low, new_close, new_volume, accepted, seen_ms) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, {_NOW_MS})",
        [
            (*key.names, source, *row[:6], *sent[row[0]][1:])
            for row in unproven
            if row[6] is None and row[:6] != sent[row[0]]
        ],
    )
    connection.executemany(
        f"DELETE FROM ohlcv_data WHERE {_SERIES} AND timestamp = ?",
        [(*key.names, row[0]) for row in unproven],
    )
