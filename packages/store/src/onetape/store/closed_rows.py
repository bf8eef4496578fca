"""Insert a batch of candles that are proven closed into `ohlcv_data`, in one transaction.

A stored row that is not closed is replaced. A stored closed row stays: a different value becomes a
revision, written by a trigger. Rows of REST also update `early_reads` (values that REST returned
right at the close) and `stream_closes` (candles that are still to be compared with REST).
"""

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
#: A batch is split where more than this many candles are missing between two rows.
_FAR_CANDLES: Final = 50
#: Rows in one INSERT: with a single row, half of the time is spent on the statement.
_ROWS_PER_STATEMENT: Final = 50
_VALUES: Final = "(?1, ?2, ?3, 1, ?4, ?, ?, ?, ?, ?, ?)"
_INSERT_ONE: Final = (
    "INSERT OR IGNORE INTO ohlcv_data (exchange, symbol, timeframe, closed, source, timestamp, "
    f"open, high, low, close, volume) VALUES {_VALUES}"
)
_INSERT_MANY: Final = f"{_INSERT_ONE}{f', {_VALUES}' * (_ROWS_PER_STATEMENT - 1)}"
#: A candle as `Candle` lists it: open in epoch seconds, four prices, volume.
Row = tuple[Any, ...]


class StoredCounts(Struct, frozen=True):
    """Counts of the sound rows of a batch."""

    inserted: int = 0
    """Number of candles that were new."""
    present: int = 0
    """Number of candles that were stored as closed before."""
    revised: int = 0
    """Number of new rows of `revisions`."""


def store_closed_batch(
    connection: DatabaseConnection,
    key: SeriesKey,
    rows: Sequence[Row],
    *,
    source: Source,
    seen_ms: int,
) -> StoredCounts:
    """Insert sound candles with INSERT OR IGNORE; stored rows that are not closed are replaced.

    Args:
        connection: Connection of an open write transaction.
        key: The series.
        rows: The candles, oldest first and without duplicates.
        source: Origin of the rows: rest, ws, import or resample.
        seen_ms: Market time at which the rows were read, epoch milliseconds (REST: of the request);
            decides whether a value of REST is final.

    Raises:
        StoreError: after the insert, a row is not in the table.
    """
    total = StoredCounts()
    timeframe = Timeframe.parse(key.timeframe)
    # REST values of candles that open before this time (epoch seconds) are final.
    final_before = timeframe.floor(max(seen_ms - SETTLED_MS, 0) // 1_000)
    for part in _split_at_long_gaps(rows, timeframe.seconds):
        done = _store_part(connection, key, part, source, final_before)
        total = StoredCounts(
            total.inserted + done.inserted,
            total.present + done.present,
            total.revised + done.revised,
        )
    return total


def _split_at_long_gaps(rows: Sequence[Row], seconds: int) -> Iterator[Sequence[Row]]:
    """Split rows at long gaps, because all stored rows between the ends of a part are read."""
    far = _FAR_CANDLES * seconds
    begun = 0
    if rows[-1][0] - rows[0][0] > far * len(rows) // 2:
        for number in range(1, len(rows)):
            if rows[number][0] - rows[number - 1][0] > far:
                yield rows[begun:number]
                begun = number
    yield rows[begun:] if begun else rows


def update_early_reads(
    connection: DatabaseConnection, key: SeriesKey, *, early: Iterable[int], late: Iterable[int]
) -> None:
    """Add the candles `early` to the table `early_reads`, and delete the candles `late` from it.

    Args:
        connection: Connection of an open write transaction.
        key: The series.
        early: Opens of candles whose stored value came from REST right at the close, epoch seconds.
        late: Opens of candles whose stored value has another origin, epoch seconds.
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


def _store_part(
    connection: DatabaseConnection,
    key: SeriesKey,
    rows: Sequence[Row],
    source: Source,
    final_before: int,
) -> StoredCounts:
    """Store rows inside a write transaction; return the counts of new, present and revised candles.

    Args:
        connection: Connection of the write transaction.
        key: The series.
        rows: Closed candles, oldest first, at least one.
        source: Origin of the candles.
        final_before: REST values of candles that open before this time are final, epoch seconds.

    Raises:
        StoreError: a candle was neither stored nor present.
    """
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
            _settle_withdrawn_revisions(connection, key, span, rows, closed, final_before)
        _update_early_reads_from_rest(connection, key, span, rows, closed, final_before)
        _delete_comparison_marks(connection, key, span, rows, final_before)
    changed = [row for row in new if row[0] in closed] if closed else []
    _raise_ranks_of_open_revisions(connection, key, changed, source, final_before)
    _insert_or_ignore(connection, key, new, source)
    if source == "rest" and changed:
        connection.execute(
            "UPDATE revisions SET rank = iif(timestamp < ?, ?, ?) WHERE id > ? AND rank IS NULL",
            (final_before, REST_SETTLED, REST_AT_CLOSE, newest_revision),
        )
    arrived = connection.execute(
        f"SELECT count(*) FROM ohlcv_data WHERE {_SERIES} AND timestamp BETWEEN ? AND ? "
        "AND closed = 1",
        span,
    ).get
    present = sum(row[0] in closed for row in rows) if closed else 0
    # No closed row is deleted above, so additional closed rows come from this batch.
    inserted = arrived - len(closed)
    if inserted + present != len(rows):
        raise StoreError(
            f"of {len(rows)} {key} candles only {inserted + present} arrived and none was stored; "
            "please report this"
        )
    revised = connection.execute(
        "SELECT count(*) FROM revisions WHERE id > ?", (newest_revision,)
    ).get
    return StoredCounts(inserted, present, revised)


def _update_early_reads_from_rest(
    connection: DatabaseConnection,
    key: SeriesKey,
    span: tuple[Any, ...],
    rows: Sequence[Row],
    closed: dict[int, Row],
    final_before: int,
) -> None:
    """Add new candles that REST returned right at their close to `early_reads`.

    Candles whose stored value equals the final value of REST are deleted from `early_reads`.
    `closed` has the closed rows from before the batch, keyed by open. REST values of candles that
    open before `final_before` (epoch seconds) are final.
    """
    known = {
        time
        for (time,) in connection.execute(
            f"SELECT timestamp FROM early_reads WHERE {_SERIES} AND timestamp BETWEEN ? AND ?", span
        )
    }
    late = [
        row[0]
        for row in (rows if known else ())
        if row[0] in known and row[0] < final_before and closed.get(row[0], row) == row
    ]
    early: list[int] = []
    for row in reversed(rows):
        if row[0] < final_before:
            break
        if row[0] not in closed:
            early.append(row[0])
    update_early_reads(connection, key, early=early, late=late)


def _delete_comparison_marks(
    connection: DatabaseConnection,
    key: SeriesKey,
    span: tuple[Any, ...],
    rows: Sequence[Row],
    final_before: int,
) -> None:
    """Delete from `stream_closes` the candles that these REST rows were compared with."""
    waiting = {
        time
        for (time,) in connection.execute(
            f"SELECT timestamp FROM stream_closes WHERE {_SERIES} AND timestamp BETWEEN ? AND ?",
            span,
        )
    }
    compared = waiting and [row[0] for row in rows if row[0] in waiting and row[0] < final_before]
    connection.executemany(
        f"DELETE FROM stream_closes WHERE {_SERIES} AND timestamp = ?",
        [(*key.names, time) for time in compared],
    )


def _raise_ranks_of_open_revisions(
    connection: DatabaseConnection,
    key: SeriesKey,
    rows: Sequence[Row],
    source: Source,
    final_before: int,
) -> None:
    """Give open revisions with these values the rank of `source`, if that rank is higher."""
    connection.executemany(
        f"UPDATE revisions AS r SET source = ?, rank = ? WHERE {_SERIES} AND timestamp = ? "
        "AND new_open = ? AND new_high = ? AND new_low = ? AND new_close = ? AND new_volume = ? "
        f"AND accepted = 0 AND {REVISION_RANK_SQL} < ?",
        [
            (source, rank, *key.names, *row, rank)
            for row in rows
            for rank in [_rank(source, is_final=row[0] < final_before)]
        ],
    )


def _rank(source: Source, *, is_final: bool) -> int:
    if source == "rest":
        return REST_SETTLED if is_final else REST_AT_CLOSE
    return FRAME if source == "ws" else FILE


def _settle_withdrawn_revisions(
    connection: DatabaseConnection,
    key: SeriesKey,
    span: tuple[Any, ...],
    rows: Sequence[Row],
    closed: dict[int, Row],
    final_before: int,
) -> None:
    """Settle the open revisions of candles whose stored value the exchange returns again.

    If such a revision were accepted later, the candle would get a value that the exchange has taken
    back. A revision of a higher rank than this response stays open.
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
                (*key.names, time, REST_SETTLED if time < final_before else REST_AT_CLOSE)
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
    """Delete the stored rows of these candles that are not closed.

    A forming row of a process that was killed would block the final row forever. A row of plain SQL
    may have been read as closed, so a different value is stored as an accepted revision.
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
