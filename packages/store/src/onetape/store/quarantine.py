"""Rows that were refused: how many of each fault, and what the exchange sent for the first ones.

An exchange that turns mad must not fill the disk: of each series and fault, quarantine keeps the
first `KEPT_PAYLOADS` rows, and `quarantine_counts` counts all. Times are epoch milliseconds.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final, Literal

from msgspec import Struct

from onetape.core.candles import Candle, SeriesKey
from onetape.store.connection import Connection
from onetape.store.database import Store

Source = Literal["rest", "ws", "import", "resample"]
#: Refused rows kept of each series and fault; the others are only counted.
KEPT_PAYLOADS: Final = 1_000
#: So much is kept of each.
MOST_CHARACTERS: Final = 4_000


class RefusedRows(Struct, frozen=True):
    """How many rows of a series were refused for one fault."""

    key: SeriesKey
    fault: str
    refused: int
    first_seen_ms: int
    last_seen_ms: int


def quarantine(
    store: Store,
    key: SeriesKey,
    row: Candle,
    *,
    source: Source,
    fault: str,
    seen_ms: int,
    raw: str | None = None,
) -> None:
    """Write down a candle that may not be stored, with the reason in a few words.

    Args:
        store: The open database.
        key: The series it came for.
        row: What was understood of it.
        source: Where it came from.
        fault: Why it may not be stored; one of few, as each is counted on its own.
        seen_ms: When it came.
        raw: What the exchange sent; None: `row` in words.

    Raises:
        StoreError: the file cannot be written.
    """
    payloads = {} if raw is None else {row: raw}
    with store.write() as connection:
        refuse(connection, key, [(row, fault)], payloads, source=source, seen_ms=seen_ms)


def refuse(
    connection: Connection,
    key: SeriesKey,
    refused: Iterable[tuple[Candle, str]],
    raw: Mapping[Candle, str],
    *,
    source: Source,
    seen_ms: int,
) -> None:
    """Count refused rows, each with its fault, and keep the first; inside a write transaction."""
    rows_of: dict[str, list[Candle]] = {}
    for row, fault in refused:
        rows_of.setdefault(fault, []).append(row)
    for fault, rows in rows_of.items():
        counted = connection.execute(
            "INSERT INTO quarantine_counts (exchange, symbol, timeframe, fault, refused, "
            "first_seen_ms, last_seen_ms) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "refused = refused + excluded.refused, last_seen_ms = excluded.last_seen_ms "
            "RETURNING refused",
            (*key.names, fault, len(rows), seen_ms, seen_ms),
        ).get
        room = max(KEPT_PAYLOADS - (counted - len(rows)), 0)
        connection.executemany(
            "INSERT INTO quarantine (exchange, symbol, timeframe, seen_ms, source, fault, payload) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *key.names,
                    seen_ms,
                    source,
                    fault,
                    (raw.get(row) or _in_words(row))[:MOST_CHARACTERS],
                )
                for row in islice(rows, room)
            ],
        )


def refused_rows(store: Store, key: SeriesKey | None = None) -> list[RefusedRows]:
    """Return what was refused of a series, or of all, by series and fault."""
    where = "" if key is None else "WHERE exchange = ? AND symbol = ? AND timeframe = ?"
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, timeframe, fault, refused, first_seen_ms, last_seen_ms "
            f"FROM quarantine_counts {where} ORDER BY 1, 2, 3, 4",
            () if key is None else key.names,
        ).fetchall()
    return [RefusedRows(SeriesKey(*row[:3]), *row[3:]) for row in rows]


def _in_words(row: Candle) -> str:
    # Only a refused row needs it, and a reader refuses none.
    import json

    return json.dumps([repr(value) for value in row])
