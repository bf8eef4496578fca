"""Store the tables of candle files, and their gaps; `ImportResult` is the summary of a table.

Rows are checked like fetched ones: unsound rows go to the quarantine, and values that differ from
stored ones to the revision ledger.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from backfiller.candle_comparison import count_different_candles
from backfiller.table_check import CheckedTable, compute_tolerated_rows
from onetape.core.candles import IntArray, find_candle_faults
from onetape.core.clock import format_utc
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.store.candles import InsertReport, insert_columns
from onetape.store.database import Store
from onetape.store.gaps import NO_TRADES, UNKNOWN_IMPORT, Gap, read_gaps, set_gaps
from onetape.store.reading import read_closed_between


class ImportResult(Struct, frozen=True):
    """Result of the import of one table."""

    source: str
    """Printable path of the file, or `ARCHIVE:MEMBER`."""
    exchange: str
    symbol: str
    timeframe: str
    is_exchange_guessed: bool
    """Whether the exchange is a guess from the style of the file's name."""
    time_unit: str
    """Unit of the file's times: s, ms, us, ns or iso; `ms and us` if both occur."""
    start: int
    """Open of the first valid candle, epoch seconds."""
    end: int
    """End of the imported range, after the last candle, epoch seconds."""
    rows: int
    """Number of rows of the table."""
    inserted: int
    """Number of candles that were not stored before."""
    present: int
    """Number of the file's candles that were stored before the import."""
    different: int
    """Number of stored candles whose values differ from the file's."""
    revised: int
    """Number of different values that are new in the revision ledger."""
    quarantined: int
    """Number of refused rows."""
    repeated: int
    """Number of rows that repeat another row exactly."""
    empty: int
    """Number of rows without prices."""
    unfinished: int
    """Number of candles that have not closed."""
    dropped: int
    """Number of candles left out by --drop-last."""
    gaps: int
    """Number of gaps inside the imported range."""
    missing: int
    """Number of candles missing in the gaps of the imported range."""
    is_untraded: bool
    """Whether all gaps are times without trades, because the exchange itself made the file."""
    notes: tuple[str, ...]
    """Notes on the table, as sentences without its name."""
    seconds: float
    """Duration of reading and storing."""

    def format_line(self) -> str:
        """Return the summary in one line."""
        notable = (
            (self.present, "already there"),
            (self.different, "different from those (see revisions)"),
            (self.quarantined, "refused (see quarantine)"),
            (self.repeated, "repeated"),
            (self.empty, "without prices"),
            (self.unfinished, "not over yet"),
            (self.dropped, "dropped"),
        )
        gap_text = f"{format_count(self.gaps, 'gap')} ({format_count(self.missing, 'candle')})"
        if self.is_untraded:
            gap_text = f"{gap_text} without trades"
        parts = [
            f"{self.inserted:,} new",
            *(f"{count:,} {description}" for count, description in notable if count),
            gap_text if self.gaps else "no gaps",
            f"{self.seconds:.1f} s",
        ]
        return (
            f"{Path(self.source).name}: {self.exchange} {self.symbol} {self.timeframe}: "
            f"{format_count(self.rows, 'row')} from {format_utc(self.start)} to "
            f"{format_utc(self.end)} UTC, "
            f"{', '.join(parts)}"
        )

    def make_document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return asdict(self)

    def find_contradiction(self) -> DataError | None:
        """Return an error if too many stored candles have other values than the file, or None."""
        if self.different <= compute_tolerated_rows(self.present):
            return None
        return DataError(
            f"{self.source}: {self.different:,} "
            f"of {format_count(self.present, 'candle')} that were stored already "
            "have other values in this file: one of both is of another market, exchange or kind; "
            "the stored values stay, those of the file are in: backfiller revisions"
        )


def store_table(store: Store, table: CheckedTable, *, now_ms: int) -> ImportResult:
    """Store the candles of a table, then store its gaps in the ledger.

    If an import is killed, the next import of the same file completes it.

    Args:
        store: The open database.
        table: The table; its rows are read, and not closed.
        now_ms: Market time, epoch milliseconds, for the ledgers.

    Raises:
        StoreError: the file cannot be written.
    """
    began = time.monotonic()
    spool = table.contents.spool
    report = insert_columns(store, table.key, spool.unreadable, source="import", seen_ms=now_ms)
    different, gap_count, untraded, missing = 0, 0, 0, 0
    gaps_from = table.first
    for window in spool.iterate_windows():
        candles = window[: int(np.searchsorted(window.timestamp, table.end))]
        done = insert_columns(store, table.key, candles, source="import", seen_ms=now_ms)
        report = report.merge_with(done)
        if done.present:
            start, end = int(candles.timestamp[0]), int(candles.timestamp[-1]) + 1
            stored = read_closed_between(store, table.key, start, end, cached=False)
            different += count_different_candles(candles, stored)
        faulty = list(find_candle_faults(candles, Timeframe.parse(table.key.timeframe)))
        sound = np.delete(candles.timestamp, faulty)
        if not len(sound) or sound[-1] <= gaps_from:
            continue
        gaps = read_gaps(store, table.key, start=gaps_from, end=int(sound[-1]))
        untraded += _store_gaps(store, table, gaps, candles.timestamp[faulty], now_ms=now_ms)
        gap_count += len(gaps)
        missing += sum(gap.candles for gap in gaps)
        gaps_from = int(sound[-1])
    return _make_summary(
        table, report, different=different, gap_count=gap_count, missing=missing,
        is_untraded=gap_count > 0 and untraded == gap_count,
        seconds=round(table.seconds + time.monotonic() - began, 3),
    )  # fmt: skip


def _make_summary(
    table: CheckedTable,
    report: InsertReport,
    *,
    different: int,
    gap_count: int,
    missing: int,
    is_untraded: bool,
    seconds: float,
) -> ImportResult:
    contents = table.contents
    return ImportResult(
        source=table.source,
        exchange=table.key.exchange,
        symbol=table.key.symbol,
        timeframe=table.key.timeframe,
        is_exchange_guessed=table.is_exchange_guessed,
        time_unit=contents.time_unit,
        start=table.first,
        end=Timeframe.parse(table.key.timeframe).next(table.last),
        rows=contents.row_count,
        inserted=report.inserted,
        present=report.present,
        different=different,
        revised=report.revised,
        quarantined=report.quarantined
        + max(contents.spool.unreadable_rows - len(contents.spool.unreadable), 0),
        repeated=table.repeated,
        empty=contents.priceless_rows,
        unfinished=table.unfinished,
        dropped=table.dropped,
        gaps=gap_count,
        missing=missing,
        is_untraded=is_untraded,
        notes=tuple(contents.notes.lines),
        seconds=seconds,
    )


def _store_gaps(
    store: Store, table: CheckedTable, gaps: Sequence[Gap], refused: IntArray, *, now_ms: int
) -> int:
    """Store the cause of gaps whose cause is unknown; return the number of gaps without trades.

    In Kraken's own archive, a candle is missing because nothing was traded, unless its row was
    refused. Of any other file, the cause stays unknown, and the gap is stored as such.

    Args:
        store: The open database.
        table: The table.
        gaps: Gaps of one window of the table.
        refused: Times of the refused rows in that window, epoch seconds.
        now_ms: Market time, epoch milliseconds.
    """
    is_whole = not table.contents.spool.unreadable_rows and not table.contents.priceless_rows
    without_trades: list[tuple[int, int]] = []
    unknown: list[tuple[int, int]] = []
    for gap in gaps:
        had_row = bool(((refused >= gap.start) & (refused < gap.end)).any())
        if table.is_kraken_archive and is_whole and not had_row:
            without_trades.append((gap.start, gap.end))
        elif gap.last_requested_ms is None:
            unknown.append((gap.start, gap.end))
    explained = {(gap.start, gap.end) for gap in gaps if gap.is_explained}
    new = [span for span in without_trades if span not in explained]
    set_gaps(store, table.key, new, state=NO_TRADES, requested_ms=now_ms)
    set_gaps(store, table.key, unknown, state=UNKNOWN_IMPORT, requested_ms=now_ms)
    return len(without_trades)
