"""Read and accept revisions: values for closed candles that differ from the stored values.

An insert never overwrites a closed candle: a trigger writes the different value to the table
`revisions`, once. A revision becomes the candle's value only when it is accepted, and only if its
rank is higher (ranks.py), unless a person forces it. If the exchange returns the stored value
again, open revisions of the candle are settled without a change. Times of candles are epoch
seconds.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from onetape.core.candles import Candle, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.errors import StoreError, UsageError
from onetape.store.closed_rows import update_early_reads
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.marked_decisions import USUAL_WINDOW, mark_decisions
from onetape.store.ranks import (
    RANK_NAMES,
    REST_AT_CLOSE,
    REVISION_RANK_SQL,
    ROW_RANK_SQL,
    STREAM_CLOSE,
    outranks,
)
from onetape.store.stream_closes import note_stream_close

_CANDLE: Final = "exchange = ? AND symbol = ? AND timeframe = ? AND timestamp = ?"
_SELECT: Final = (
    "SELECT id, exchange, symbol, timeframe, timestamp, "
    "old_open, old_high, old_low, old_close, old_volume, "
    "new_open, new_high, new_low, new_close, new_volume, source, seen_ms, accepted, "
    f"{REVISION_RANK_SQL}, (SELECT {ROW_RANK_SQL} FROM ohlcv_data o WHERE o.exchange = r.exchange "
    "AND o.symbol = r.symbol AND o.timeframe = r.timeframe AND o.timestamp = r.timestamp "
    "AND o.closed IS NOT 0) FROM revisions r"
)


class Revision(Struct, frozen=True):
    """A value of a closed candle that differed from the stored value when it arrived."""

    id: int
    """Number of the revision, which a person names to accept it."""
    key: SeriesKey
    old: Candle
    """Stored value of the candle when the other value arrived."""
    new: Candle
    """Value of the candle that arrived later."""
    source: str | None
    """Origin of the new value: rest, ws, import; None: plain SQL."""
    seen_ms: int
    """Time at which the new value arrived, by the computer's clock, epoch milliseconds."""
    accepted: bool
    """Whether the revision is settled: accepted, outranked by another, or taken back."""
    rank: int
    """Rank of the new value, as in ranks.py."""
    stored_rank: int | None
    """Rank of the candle's present value; None if the candle is not stored any more."""

    @property
    def outranks(self) -> bool:
        """Whether the revision may be accepted without force."""
        return self.stored_rank is not None and outranks(self.rank, self.stored_rank)


def read_revisions(
    store: Store, key: SeriesKey | None = None, *, open_only: bool = True
) -> list[Revision]:
    """Return the revisions of a series, or of all series, in order of arrival.

    Args:
        store: The open database.
        key: The series; None: all series.
        open_only: Whether settled revisions are left out.
    """
    conditions = ["accepted = 0"] if open_only else []
    if key is not None:
        conditions.append("exchange = ? AND symbol = ? AND timeframe = ?")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    with store.read() as connection:
        rows = connection.execute(
            f"{_SELECT} {where} ORDER BY id", () if key is None else key.names
        ).fetchall()
    return [_make_revision(row) for row in rows]


def accept(
    store: Store, revision_ids: Iterable[int], *, accepted_ms: int, force: bool = False
) -> int:
    """Give candles their revised values, all in one transaction; return the number of changes.

    The decisions of every account that may have used such a candle are marked, so that their
    traders evaluate them again.

    Of several given revisions of one candle, the one with the highest rank is accepted, and of
    equal ranks the latest. Open revisions of lower rank are settled too. A revision that is settled
    already changes nothing.

    Args:
        store: The open database.
        revision_ids: Ids of the revisions.
        accepted_ms: Time of the acceptance, epoch milliseconds.
        force: Whether a value of a lower rank than the stored one is accepted too.

    Raises:
        UsageError: there is no revision of that number, or one does not outrank the stored value
            and `force` is not set; nothing was changed.
        StoreError: a candle is not there any more, its new value may not be stored, or the file
            cannot be written; nothing was changed.
    """
    with store.write() as connection:
        named = [_read_revision(store, connection, each) for each in sorted(set(revision_ids))]
        best = _select_best_of_each([revision for revision in named if not revision.accepted])
        for revision in best:
            if not (force or revision.outranks or revision.stored_rank is None):
                rank = (
                    "of the same rank"
                    if revision.rank == revision.stored_rank
                    else "that ranks higher"
                )
                raise UsageError(
                    f"revision {revision.id} of {revision.key} "
                    f"{format_utc(revision.new.timestamp)} UTC would replace a value {rank}: "
                    f"{RANK_NAMES[revision.stored_rank]} by {RANK_NAMES[revision.rank]}; if that "
                    "is meant, add --force"
                )
        _accept_and_mark(store, connection, best, accepted_ms)
        return len(best)


def accept_outranking(store: Store, revision_ids: Iterable[int], *, accepted_ms: int) -> int:
    """Accept the revisions that outrank the stored values, as `accept` does; leave others open.

    Raises:
        UsageError: there is no revision of that number; nothing was changed.
        StoreError: a candle is not stored any more, its new value may not be stored, or the file
            cannot be written; nothing was changed.
    """
    with store.write() as connection:
        named = [_read_revision(store, connection, each) for each in sorted(set(revision_ids))]
        best = _select_best_of_each(
            [revision for revision in named if not revision.accepted and revision.outranks]
        )
        _accept_and_mark(store, connection, best, accepted_ms)
        return len(best)


def accept_proven(
    store: Store, connection: DatabaseConnection, key: SeriesKey, ranks: tuple[int, ...]
) -> list[Revision]:
    """Accept the open revisions of a series that have a higher rank than the stored value.

    Args:
        store: The open database.
        connection: Connection of its open write transaction.
        key: The series.
        ranks: Only stored values of these ranks are replaced.

    Returns:
        The accepted revisions, in the order of their numbers.
    """
    rows = connection.execute(
        f"{_SELECT} WHERE accepted = 0 AND exchange = ? AND symbol = ? AND timeframe = ? "
        "ORDER BY id",
        key.names,
    ).fetchall()
    best = _select_best_of_each(
        revision
        for revision in map(_make_revision, rows)
        if revision.stored_rank in ranks and revision.rank > revision.stored_rank
    )
    for revision in best:
        _accept(store, connection, revision)
    return best


def _accept_and_mark(
    store: Store, connection: DatabaseConnection, revisions: Iterable[Revision], accepted_ms: int
) -> None:
    """Accept revisions and mark the decisions that may have used their candles."""
    for revision in revisions:
        _accept(store, connection, revision)
        mark_decisions(connection, revision.key, revision.new.timestamp, USUAL_WINDOW, accepted_ms)


def _read_revision(store: Store, connection: DatabaseConnection, revision_id: int) -> Revision:
    rows = connection.execute(f"{_SELECT} WHERE id = ?", (revision_id,)).fetchall()
    if not rows:
        raise UsageError(
            f"{store.path} has no revision {revision_id}; list them: uv run backfiller revisions"
        )
    return _make_revision(rows[0])


def _select_best_of_each(revisions: Iterable[Revision]) -> list[Revision]:
    """Return the revision of the highest rank for each candle; of equal ranks, the latest."""
    best: dict[tuple[SeriesKey, int], Revision] = {}
    for revision in revisions:
        candle = (revision.key, revision.new.timestamp)
        if candle not in best or best[candle].rank <= revision.rank:
            best[candle] = revision
    return list(best.values())


def _accept(store: Store, connection: DatabaseConnection, revision: Revision) -> None:
    """Give a candle the value of a revision; inside a write transaction."""
    names = (*revision.key.names, revision.new.timestamp)
    connection.execute(
        "UPDATE ohlcv_data SET open = ?, high = ?, low = ?, close = ?, volume = ?, source = ? "
        f"WHERE {_CANDLE} AND closed IS NOT 0",
        (*revision.new[1:], revision.source, *names),
    )
    if connection.changes() != 1:
        raise StoreError(
            f"{store.path}: the candle of revision {revision.id} is not stored any more; fetch it "
            "again: uv run backfiller repair"
        )
    update_early_reads(
        connection,
        revision.key,
        early=[revision.new.timestamp] if revision.rank == REST_AT_CLOSE else [],
        late=[] if revision.rank == REST_AT_CLOSE else [revision.new.timestamp],
    )
    if revision.rank == STREAM_CLOSE:
        note_stream_close(
            connection, revision.key, revision.new.timestamp, closed_ms=revision.seen_ms
        )
    # Revisions of a higher rank, and later ones of the same rank, stay open.
    connection.execute(
        f"UPDATE revisions AS r SET accepted = 1 WHERE {_CANDLE} AND accepted = 0 "
        f"AND ({REVISION_RANK_SQL} < ? OR ({REVISION_RANK_SQL} = ? AND id <= ?))",
        (*names, revision.rank, revision.rank, revision.id),
    )


def _make_revision(row: tuple[Any, ...]) -> Revision:
    return Revision(
        id=row[0],
        key=SeriesKey(*row[1:4]),
        old=Candle(*row[4:10]),
        new=Candle(row[4], *row[10:15]),
        source=row[15],
        seen_ms=row[16],
        accepted=bool(row[17]),
        rank=row[18],
        stored_rank=row[19],
    )
