"""The revision ledger: values that an exchange gave for candles that were closed already.

A closed candle is never overwritten by an insert: a trigger writes the different value here, once.
Only `accept` makes it the candle's value. Where the exchange sends the stored value again, what
came in between is settled. Times of candles are epoch seconds.
"""

from collections.abc import Iterable

from msgspec import Struct

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import StoreError, UsageError
from onetape.store.connection import Connection
from onetape.store.database import Store

_OLD = "old_open, old_high, old_low, old_close, old_volume"
_NEW = "new_open, new_high, new_low, new_close, new_volume"
_CANDLE = "exchange = ? AND symbol = ? AND timeframe = ? AND timestamp = ?"


class Revision(Struct, frozen=True):
    """A value that differs from the one stored."""

    id: int
    key: SeriesKey
    old: Candle
    """What the tape held when the other value came."""
    new: Candle
    """What came later."""
    source: str | None
    """Where it came from: rest, ws, import; None: plain SQL."""
    seen_ms: int
    """When it came, epoch milliseconds of the computer's time."""
    accepted: bool
    """Whether it is settled: the tape holds the new value since, or a still newer one."""


def revisions_of(
    store: Store, key: SeriesKey | None = None, *, open_only: bool = True
) -> list[Revision]:
    """Return the revisions of a series, or of all, in the order in which they came.

    Args:
        store: The open database.
        key: The series; None: all.
        open_only: Leave out those that were accepted.
    """
    conditions = ["accepted = 0"] if open_only else []
    if key is not None:
        conditions.append("exchange = ? AND symbol = ? AND timeframe = ?")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT id, exchange, symbol, timeframe, timestamp, {_OLD}, {_NEW}, source, seen_ms, "
            f"accepted FROM revisions {where} ORDER BY id",
            () if key is None else key.names,
        ).fetchall()
    return [
        Revision(
            id=row[0],
            key=SeriesKey(*row[1:4]),
            old=Candle(*row[4:10]),
            new=Candle(row[4], *row[10:15]),
            source=row[15],
            seen_ms=row[16],
            accepted=bool(row[17]),
        )
        for row in rows
    ]


def accept(store: Store, revision_ids: Iterable[int]) -> int:
    """Give candles their revised values, all in one transaction, and return how many changed.

    Of several revisions of one candle the latest that is named counts; those before it are settled
    with it. One that was accepted before changes nothing.

    Raises:
        UsageError: there is no revision of that number; nothing was changed.
        StoreError: a candle is not there any more, its new value may not be stored, or the file
            cannot be written; nothing was changed.
    """
    with store.write() as connection:
        return sum(_accept(store, connection, each) for each in sorted(set(revision_ids)))


def _accept(store: Store, connection: Connection, revision_id: int) -> bool:
    """Accept one revision, unless it is; inside a write transaction."""
    rows = connection.execute(
        f"SELECT accepted, exchange, symbol, timeframe, timestamp, {_NEW} FROM revisions "
        "WHERE id = ?",
        (revision_id,),
    ).fetchall()
    if not rows:
        raise UsageError(
            f"{store.path} has no revision {revision_id}; list them: uv run backfiller revisions"
        )
    accepted, *candle = rows[0]
    if accepted:
        return False
    names, values = candle[:4], candle[4:]
    connection.execute(
        "UPDATE ohlcv_data SET open = ?, high = ?, low = ?, close = ?, volume = ? "
        f"WHERE {_CANDLE} AND closed IS NOT 0",
        (*values, *names),
    )
    if connection.changes() != 1:
        raise StoreError(
            f"{store.path}: the candle of revision {revision_id} is not stored any more; fetch it "
            "again: uv run backfiller repair"
        )
    connection.execute(
        f"UPDATE revisions SET accepted = 1 WHERE {_CANDLE} AND id <= ?", (*names, revision_id)
    )
    return True
