"""Correct closed candles by better values, and find the decisions that used the old values.

A trader calls this after each read of REST. A correction and the marks on the decisions that used
the candle are written in one transaction, so a process that is killed right after it still finds
the marked decisions when it starts again. The trader evaluates a marked decision again and stores
the effect as a text. A decision on which the strategy returned no signal is marked as well. Times
of candles are epoch seconds.
"""

import contextlib

from msgspec import Struct

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import UsageError
from onetape.core.timeframes import Timeframe
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.marked_decisions import mark_decisions
from onetape.store.ranks import REST_AT_CLOSE, STREAM_CLOSE
from onetape.store.revisions import accept_proven

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"


class Correction(Struct, frozen=True):
    """A closed candle that got the value of a source with a higher rank (ranks.py)."""

    before: Candle
    """The candle with the value that was stored before."""
    after: Candle
    """The candle with its new value."""


class CorrectedDecision(Struct, frozen=True):
    """A marked decision: a candle that it used was corrected, or the strategy returned no signal.

    It has to be evaluated again.
    """

    decision: str
    """Unique id of the decision."""
    timestamp: int
    """Open of the candle that was decided on, epoch seconds."""
    signal: int
    """Signal of the strategy at the decision: -1 sell, 0 hold, 1 buy."""
    corrected_ms: int
    """Time at which the decision was marked, market time, epoch milliseconds."""
    failure: str | None = None
    """Reason for the missing signal, such as `strategy late`; None: there was a signal."""


def accept_corrections(
    store: Store,
    key: SeriesKey,
    *,
    window: int,
    corrected_ms: int,
) -> list[Correction]:
    """Accept open revisions of a higher rank, and mark decisions that may have used the candles.

    Only values that came from the stream's mark, or from REST right at the close, are replaced. The
    first trader that reads REST does this for all accounts, so the decisions of every account are
    marked. Decisions on shorter timeframes of the symbol are marked too, because their strategy may
    use this series as a higher timeframe. Candles of higher timeframes that were built from a
    corrected candle are deleted, so that they are built again.

    Args:
        store: The open database.
        key: The series.
        window: Maximum number of candles that a decision of any account depends on.
        corrected_ms: Market time, epoch milliseconds.

    Returns:
        The candles whose values changed, oldest first.

    Raises:
        StoreError: the file cannot be written; nothing was changed.
    """
    with store.read() as connection:
        waiting = connection.execute(
            f"SELECT 1 FROM revisions WHERE {_SERIES} AND accepted = 0 LIMIT 1", key.names
        ).get
    if waiting is None:
        return []
    with store.write() as connection:
        accepted = accept_proven(store, connection, key, (REST_AT_CLOSE, STREAM_CLOSE))
        for revision in accepted:
            mark_decisions(connection, key, revision.new.timestamp, window, corrected_ms)
            _delete_built_candles(connection, key, revision.new.timestamp)
    corrections = (Correction(revision.old, revision.new) for revision in accepted)
    return sorted(corrections, key=lambda each: each.after.timestamp)


def _delete_built_candles(connection: DatabaseConnection, key: SeriesKey, opened: int) -> None:
    """Delete the stored candles of higher timeframes that were built from a candle."""
    shorter = Timeframe.parse(key.timeframe)
    connection.executemany(
        f"DELETE FROM ohlcv_data WHERE {_SERIES} AND timestamp = ? AND source = 'resample'",
        [
            (key.exchange, key.symbol, each.name, each.floor(opened))
            for each in _read_timeframes(connection, key)
            if each.seconds > shorter.seconds
        ],
    )


def _read_timeframes(connection: DatabaseConnection, key: SeriesKey) -> list[Timeframe]:
    """Return the timeframes in which a symbol has candles; each query jumps to the next one."""
    found: list[Timeframe] = []
    name = ""
    while rows := connection.execute(
        "SELECT timeframe FROM ohlcv_data WHERE exchange = ? AND symbol = ? AND timeframe > ? "
        "ORDER BY timeframe LIMIT 1",
        (key.exchange, key.symbol, name),
    ).fetchall():
        ((name,),) = rows
        # Rows of plain SQL may have any timeframe name; no candles are built for those.
        with contextlib.suppress(UsageError):
            found.append(Timeframe.parse(name))
    return found


def read_decisions_to_evaluate_again(
    store: Store, key: SeriesKey, *, account: str
) -> list[CorrectedDecision]:
    """Return the decisions of an account on a series that have to be evaluated again, in order."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT d.decision, d.timestamp, d.signal, d.corrected_ms, "
            "nullif(json_extract(d.gates, '$.strategy'), 'ok') "
            "FROM decisions d JOIN sessions s ON s.session = d.session "
            "WHERE d.corrected_ms IS NOT NULL AND d.correction IS NULL "
            "AND s.account = ? AND s.exchange = ? AND s.symbol = ? AND s.timeframe = ? "
            "ORDER BY d.timestamp, d.decided_ms",
            (account, *key.names),
        ).fetchall()
    return [CorrectedDecision(*row) for row in rows]


def store_correction(store: Store, decision: CorrectedDecision, text: str) -> None:
    """Store the result of evaluating a marked decision again, as a text; the mark ends.

    A decision that was marked once more after it was read stays marked.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "UPDATE decisions SET correction = ? WHERE decision = ? AND corrected_ms = ?",
            (text, decision.decision, decision.corrected_ms),
        )
