"""Search the whole database for gaps and invalid rows, without changes and in one transaction.

The tables refuse most invalid rows, but plain SQL can switch these checks off, and a disk can
damage the file. Times are epoch seconds, ranges are half-open.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, get_args

from msgspec import Struct

from onetape.core.candles import (
    LATEST_TIMESTAMP,
    PRICE_LIMIT,
    VOLUME_LIMIT,
    Candle,
    SeriesKey,
    find_candle_fault,
)
from onetape.core.clock import format_utc
from onetape.core.errors import UsageError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.gaps import read_gaps
from onetape.store.quarantine import Source

FindingKind = Literal[
    "gap",
    "off-grid time",
    "high/low",
    "bad price",
    "bad volume",
    "forming row left behind",
    "unknown timeframe",
    "every row refused",
    "quick_check",
]
_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"
# SQL condition for rows that may be unsound; `find_candle_fault` finds the fault of each. Open and
# close need no limits, because they lie between low and high.
_SUSPECT: Final = (
    f"(timestamp BETWEEN 0 AND {LATEST_TIMESTAMP} AND (timestamp - ?) % ? = 0 "
    "AND low > 0 AND low <= open AND low <= close AND high >= open AND high >= close "
    f"AND high < {PRICE_LIMIT:e} AND volume >= 0 AND volume < {VOLUME_LIMIT:e}) IS NOT TRUE"
)
_RULE_BROKEN: Final = "CHECK constraint failed in "
#: Number of lines after which quick_check stops; damaged pages are listed before unsound rows.
_MOST_LINES: Final = 10_000


class Finding(Struct, frozen=True):
    """One fault of the database; neighbouring rows with the same fault are one finding."""

    kind: FindingKind
    key: SeriesKey | None
    """Series of the finding; None: the whole file."""
    start: int
    """Open of the first affected candle, epoch seconds; 0 for the whole file."""
    end: int
    """Close of the last affected candle, epoch seconds; 0 for the whole file."""
    candles: int
    """Number of affected candles."""
    text: str
    """Description of the finding in one line."""
    explained: bool = False
    """Whether the cause is known, such as a gap in the exchange's own data."""


def verify(store: Store, keys: Iterable[SeriesKey] | None = None) -> list[Finding]:
    """Return the faults of the file and its series, sorted by series and time.

    Args:
        store: The open database.
        keys: The series to check; None: all series. The file as a whole is always checked.

    Raises:
        StoreError: the file is too damaged to be read.
    """
    with store.read() as connection:
        lines = [row[0] for row in connection.execute(f"PRAGMA quick_check({_MOST_LINES})")]
        damage = [line for line in lines if line != "ok" and not line.startswith(_RULE_BROKEN)]
        if damage:
            # Rows of a damaged file prove nothing, so they are not checked.
            return [_make_file_finding(line) for line in damage]
        chosen = _list_series(connection) if keys is None else list(keys)
        found = [finding for key in chosen for finding in _verify_series(store, connection, key)]
        refused = list(_find_only_refused(connection, None if keys is None else chosen))
        return [*found, *refused, *_find_broken_rules(connection, Counter(lines))]


def _list_series(connection: DatabaseConnection) -> list[SeriesKey]:
    """Return every series; each query jumps to the next series along the index."""
    keys: list[SeriesKey] = []
    last = ("", "", "")
    while rows := connection.execute(
        "SELECT exchange, symbol, timeframe FROM ohlcv_data "
        "WHERE (exchange, symbol, timeframe) > (?, ?, ?) ORDER BY 1, 2, 3 LIMIT 1",
        last,
    ).fetchall():
        last = rows[0]
        keys.append(SeriesKey(*last))
    return keys


def _verify_series(
    store: Store, connection: DatabaseConnection, key: SeriesKey
) -> Iterator[Finding]:
    """Yield the findings of one series."""
    try:
        timeframe = Timeframe.parse(key.timeframe)
    except UsageError as error:
        yield _make_unreadable_finding(connection, key, str(error))
        return
    suspects, forming, others, first, last = connection.execute(
        f"SELECT count(*) FILTER (WHERE {_SUSPECT}), count(*) FILTER (WHERE closed = 0), "
        "count(*) FILTER (WHERE closed IS NOT 0), min(timestamp) FILTER (WHERE closed IS NOT 0), "
        f"max(timestamp) FILTER (WHERE closed IS NOT 0) FROM ohlcv_data WHERE {_SERIES}",
        (*_get_grid(timeframe), *key.names),
    ).fetchall()[0]
    # Sound candles have different opens; if there are as many as the range holds, none is missing.
    if suspects or (others and others <= timeframe.count_between(first, last)):
        yield from _find_gaps(store, key)
    if suspects:
        yield from _find_bad_rows(connection, key, timeframe)
    if forming:
        yield from _find_left_behind(connection, key, timeframe)


def _find_only_refused(
    connection: DatabaseConnection, keys: Sequence[SeriesKey] | None
) -> Iterator[Finding]:
    """Yield a finding for each series that has refused rows and no closed candle."""
    rows = connection.execute(
        "SELECT exchange, symbol, timeframe, fault, max(refused), sum(refused) "
        "FROM quarantine_counts q WHERE NOT EXISTS (SELECT 1 FROM ohlcv_data o "
        "WHERE o.exchange = q.exchange AND o.symbol = q.symbol AND o.timeframe = q.timeframe "
        "AND closed IS NOT 0) GROUP BY exchange, symbol, timeframe ORDER BY 1, 2, 3"
    ).fetchall()
    for *names, fault, most, refused in rows:
        key = SeriesKey(*names)
        if keys is None or key in keys:
            text = (
                f"{key}: no candle is stored, {format_count(refused, 'row')} refused; "
                f"the commonest fault: {fault} ({most:,}); see: uv run backfiller quarantine"
            )
            yield Finding("every row refused", key, 0, 0, refused, text)


def _get_grid(timeframe: Timeframe) -> tuple[int, int]:
    """Return an open, and the seconds between two opens, to bind in `_SUSPECT`."""
    if timeframe.is_month:
        # Months differ in length: these values make every row suspect, so each is checked.
        return -1, 2**62
    return timeframe.floor(0), timeframe.seconds


def _find_gaps(store: Store, key: SeriesKey) -> Iterator[Finding]:
    """Yield a finding for each gap of a series."""
    for gap in read_gaps(store, key):
        text = f"{format_count(gap.candles, 'candle')} missing, {gap.state}"
        explained = gap.is_explained
        yield _make_finding("gap", key, gap.start, gap.end, gap.candles, text, explained=explained)


def _make_unreadable_finding(connection: DatabaseConnection, key: SeriesKey, text: str) -> Finding:
    """Return the finding of a series whose timeframe is invalid; `text` states the fault."""
    first, last, rows = connection.execute(
        f"SELECT min(timestamp), max(timestamp), count(*) FROM ohlcv_data WHERE {_SERIES}",
        key.names,
    ).fetchall()[0]
    return _make_finding("unknown timeframe", key, first or 0, (last or 0) + 1, rows, text)


def _find_bad_rows(
    connection: DatabaseConnection, key: SeriesKey, timeframe: Timeframe
) -> Iterator[Finding]:
    """Yield findings for rows with an invalid time, price or volume."""
    rows = connection.execute(
        "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data "
        f"WHERE {_SERIES} AND {_SUSPECT} ORDER BY timestamp",
        (*key.names, *_get_grid(timeframe)),
    )
    faulty: list[tuple[int, FindingKind, str]] = []
    for row in map(Candle._make, rows):
        fault = find_candle_fault(row, timeframe)
        if fault is not None:
            faulty.append((row.timestamp, _choose_kind(row, fault), fault))
    return _merge_runs(key, timeframe, faulty)


def _choose_kind(row: Candle, fault: str) -> FindingKind:
    if fault.startswith("time"):
        return "off-grid time"
    if fault.startswith("high"):
        return "high/low"
    return "bad volume" if all(0 < price < PRICE_LIMIT for price in row[1:5]) else "bad price"


def _find_left_behind(
    connection: DatabaseConnection, key: SeriesKey, timeframe: Timeframe
) -> Iterator[Finding]:
    """Yield findings for unclosed candles before the newest closed one."""
    rows = connection.execute(
        f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND closed = 0 AND timestamp < "
        f"(SELECT max(timestamp) FROM ohlcv_data WHERE {_SERIES} AND closed = 1) "
        "ORDER BY timestamp",
        (*key.names, *key.names),
    )
    text = "never closed, and later candles are"
    return _merge_runs(key, timeframe, [(row[0], "forming row left behind", text) for row in rows])


def _merge_runs(
    key: SeriesKey, timeframe: Timeframe, rows: Sequence[tuple[int, FindingKind, str]]
) -> Iterator[Finding]:
    """Yield one finding for each run of neighbouring rows with the same fault.

    Args:
        key: The series.
        timeframe: Its timeframe.
        rows: Time, kind and text of each faulty row, by time.
    """
    begun = 0
    for number, (timestamp, kind, text) in enumerate(rows):
        # A candle with an invalid open time is taken to last one second.
        end = timestamp + 1 if kind == "off-grid time" else timeframe.next(timestamp)
        if number + 1 < len(rows) and rows[number + 1] == (end, kind, text):
            continue
        candles = number + 1 - begun
        line = f"{format_count(candles, 'candle')}: {text}"
        yield _make_finding(kind, key, rows[begun][0], end, candles, line)
        begun = number + 1


def _find_broken_rules(connection: DatabaseConnection, lines: Counter[str]) -> Iterator[Finding]:
    """Yield a finding for each rule of the schema that rows break, from lines of quick_check.

    Rows of `ohlcv_data` count only if no series finding can name them.
    """
    candles = f"{_RULE_BROKEN}ohlcv_data"
    for line, count in lines.items():
        rows = count
        if line == "ok":
            continue
        if line == candles:
            rows = connection.execute(
                "SELECT count(*) FROM ohlcv_data WHERE closed NOT IN (0, 1) "
                "OR source NOT IN (SELECT value FROM json_each(?)) "
                "OR '' IN (exchange, symbol, timeframe)",
                (json.dumps(get_args(Source)),),
            ).get
        if rows:
            yield _make_file_finding(f"{line}: {format_count(rows, 'row')}")


def _make_file_finding(text: str) -> Finding:
    """Return a finding of the whole file."""
    return Finding("quick_check", None, 0, 0, 0, text)


def _make_finding(
    kind: FindingKind,
    key: SeriesKey,
    start: int,
    end: int,
    candles: int,
    text: str,
    *,
    explained: bool = False,
) -> Finding:
    moment = format_utc(start) if 0 <= start <= LATEST_TIMESTAMP else f"at {start} s"
    return Finding(kind, key, start, end, candles, f"{key} {moment}: {text}", explained)
