"""Store and read the quarantine: candle rows that were refused, with the reason.

A row that arrives again and again is stored once, with the number of arrivals. So that a faulty
exchange cannot fill the disk, the table `quarantine` has only the first `MAX_STORED_ROWS` rows of
each series and fault, and `quarantine_counts` counts all. Times are epoch milliseconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from onetape.core.candles import LATEST_TIMESTAMP, Candle, SeriesKey
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store

#: Origin of a candle: REST, the stream (ws), an imported file, or built from a lower timeframe.
Source = Literal["rest", "ws", "import", "resample"]
#: Maximum refused rows stored of each series and fault; the others are only counted.
MAX_STORED_ROWS: Final = 1_000
#: Maximum number of characters stored of each refused row.
MOST_CHARACTERS: Final = 4_000
_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"


class RefusedRows(Struct, frozen=True):
    """Number of rows of a series that were refused for one fault."""

    key: SeriesKey
    fault: str
    """Reason of the refusal, in a few words."""
    refused: int
    """Number of different rows; a row beyond the stored ones counts at each arrival."""
    first_seen_ms: int
    last_seen_ms: int


class QuarantinedRow(Struct, frozen=True):
    """A refused row, as received."""

    key: SeriesKey
    timestamp: int | None
    """Open of the row's candle, epoch seconds; None: no candle can have the row's time."""
    source: Source
    """Origin of the row at its first arrival."""
    fault: str
    """Reason of the refusal, in a few words."""
    payload: str
    """Text of the row as the exchange sent it, cut to 4,000 characters."""
    times: int
    """Number of arrivals of the row."""
    first_seen_ms: int
    last_seen_ms: int


def quarantine_row(
    store: Store,
    key: SeriesKey,
    row: Candle,
    *,
    source: Source,
    fault: str,
    seen_ms: int,
    raw: str | None = None,
) -> None:
    """Store one refused row in the quarantine, with the reason in a few words.

    Args:
        store: The open database.
        key: The series that the row was read for.
        row: Row as far as it was parsed.
        source: Source of the row.
        fault: Fault of the row; one of a few, because each is counted separately.
        seen_ms: Market time at which the row arrived, epoch milliseconds.
        raw: Text that the exchange sent; None: `row` as a text.

    Raises:
        StoreError: the file cannot be written.
    """
    payloads = {} if raw is None else {row: raw}
    with store.write() as connection:
        add_refused_rows(connection, key, [(row, fault)], payloads, source=source, seen_ms=seen_ms)


def add_refused_rows(
    connection: DatabaseConnection,
    key: SeriesKey,
    refused: Iterable[tuple[Candle, str]],
    raw: Mapping[Candle, str],
    *,
    source: Source,
    seen_ms: int,
) -> None:
    """Store and count refused rows inside a write transaction.

    Args:
        connection: Connection of the transaction.
        key: The series that the rows were read for.
        refused: The rows, each with its fault in a few words.
        raw: Text that the exchange sent for a row; a row without one is stored as text.
        source: Source of the rows.
        seen_ms: Market time at which the rows arrived, epoch milliseconds.
    """
    rows_by_fault: dict[str, list[Candle]] = {}
    for row, fault in refused:
        rows_by_fault.setdefault(fault, []).append(row)
    for fault, rows in rows_by_fault.items():
        sent = [((raw.get(row) or _format_row(row))[:MOST_CHARACTERS], row) for row in rows]
        _store_payloads(connection, key, fault, sent, source=source, seen_ms=seen_ms)


def _store_payloads(
    connection: DatabaseConnection,
    key: SeriesKey,
    fault: str,
    sent: list[tuple[str, Candle]],
    *,
    source: Source,
    seen_ms: int,
) -> None:
    """Store the rows of one fault, each with its text; a row that is stored already is counted."""
    times = Counter(payload for payload, _ in sent)
    rows_by_payload = dict(reversed(sent))
    known = {
        payload
        for (payload,) in connection.execute(
            f"SELECT payload FROM quarantine WHERE {_SERIES} AND fault = ?", (*key.names, fault)
        )
    }
    new = [payload for payload in times if payload not in known]
    to_store = new[: max(MAX_STORED_ROWS - len(known), 0)]
    connection.executemany(
        "UPDATE quarantine SET times = times + ?, last_seen_ms = ? "
        f"WHERE {_SERIES} AND fault = ? AND payload = ?",
        [
            (times[payload], seen_ms, *key.names, fault, payload)
            for payload in times
            if payload in known
        ],
    )
    connection.executemany(
        "INSERT INTO quarantine (exchange, symbol, timeframe, seen_ms, last_seen_ms, times, "
        "timestamp, source, fault, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *key.names,
                seen_ms,
                seen_ms,
                times[payload],
                _get_time(rows_by_payload[payload]),
                source,
                fault,
                payload,
            )
            for payload in to_store
        ],
    )
    connection.execute(
        "INSERT INTO quarantine_counts (exchange, symbol, timeframe, fault, refused, "
        "first_seen_ms, last_seen_ms) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "refused = refused + ?, last_seen_ms = excluded.last_seen_ms",
        (*key.names, fault, max(len(new), 1), seen_ms, seen_ms, len(new)),
    )


def read_refused_rows(store: Store, key: SeriesKey | None = None) -> list[RefusedRows]:
    """Return the number of refused rows by series and fault; `key` None: of all series."""
    where = "" if key is None else f"WHERE {_SERIES}"
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, timeframe, fault, refused, first_seen_ms, last_seen_ms "
            f"FROM quarantine_counts {where} ORDER BY 1, 2, 3, 4",
            () if key is None else key.names,
        ).fetchall()
    return [RefusedRows(SeriesKey(*row[:3]), *row[3:]) for row in rows]


def read_quarantined_rows(
    store: Store, key: SeriesKey, fault: str, limit: int
) -> list[QuarantinedRow]:
    """Return up to `limit` stored rows of a series and fault, in order of their first arrival."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp, source, fault, payload, times, seen_ms, "
            f"ifnull(last_seen_ms, seen_ms) FROM quarantine WHERE {_SERIES} AND fault = ? "
            "ORDER BY id LIMIT ?",
            (*key.names, fault, limit),
        ).fetchall()
    return [QuarantinedRow(key, *row) for row in rows]


def _get_time(row: Candle) -> int | None:
    return row.timestamp if 0 <= row.timestamp <= LATEST_TIMESTAMP else None


def _format_row(row: Candle) -> str:
    # Imported late, because only a refused row needs it.
    import json

    return json.dumps([repr(value) for value in row])
