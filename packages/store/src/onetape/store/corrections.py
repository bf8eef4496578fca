"""Corrections: values that outrank the values that decisions used, and their effect on decisions.

A decision on which the strategy returned no signal is evaluated again in the same way.

A correction is accepted and the decisions that rested on the candle are marked in one transaction,
so that a process killed right after it evaluates them again when it is back. Times of candles are
epoch seconds.
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
    """A closed candle that got the value of a better source."""

    before: Candle
    after: Candle


class CorrectedDecision(Struct, frozen=True):
    """A decision that has to be evaluated again.

    The decision's candle was corrected since, or the strategy returned no signal.
    """

    decision: str
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
    """Give candles the values of better sources, and mark the decisions that rested on them.

    Only values that the stream's mark or REST right at the close gave are replaced. Decisions of
    every account are marked: whichever trader reads REST first settles the comparison for all. So
    are those on shorter timeframes of the symbol, whose strategy may use this series as a higher
    one. Higher candles that were built from a corrected one are removed, so that they are built
    again.

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
        for one in accepted:
            mark_decisions(connection, key, one.new.timestamp, window, corrected_ms)
            _delete_built(connection, key, one.new.timestamp)
    return sorted(
        (Correction(one.old, one.new) for one in accepted), key=lambda each: each.after.timestamp
    )


def _delete_built(connection: DatabaseConnection, key: SeriesKey, opened: int) -> None:
    """Delete the candles of higher timeframes that were built from a candle, of any strategy."""
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
    """Return the timeframes in which a symbol has candles, by jumps along the index."""
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
    """Return the marked decisions of an account on a series, oldest first."""
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
    """Store the effect of a correction on a decision, as a text.

    A decision that was marked again since its reading stays marked.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "UPDATE decisions SET correction = ? WHERE decision = ? AND corrected_ms = ?",
            (text, decision.decision, decision.corrected_ms),
        )
