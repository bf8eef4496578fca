"""Import candle files: each table is checked like fetched rows, and stored."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from backfiller.formats.plan import Planned, Wanted, timeframe_of
from backfiller.formats.tables import read_table
from onetape.core.candles import Candles, IntArray, SeriesKey, candle_faults
from onetape.core.clock import utc_text
from onetape.core.errors import DataError
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.store.candles import insert_columns
from onetape.store.database import Store
from onetape.store.gaps import UNKNOWN_IMPORT, Gap, gaps_of, set_gaps


class Imported(Struct, frozen=True):
    """What became of one table. Times are epoch seconds, the range is half-open."""

    source: str
    exchange: str
    symbol: str
    timeframe: str
    time_unit: str
    """What its times counted."""
    start: int
    """Open of the first sound candle."""
    end: int
    """One candle past the last."""
    rows: int
    """Rows of the table."""
    inserted: int
    present: int
    """Candles that the tape had already."""
    revised: int
    """Those of them with other values, which are in the revision ledger now."""
    quarantined: int
    repeated: int
    """Rows that repeat another one to the letter."""
    unfinished: int
    """Candles that are not over yet."""
    dropped: int
    """Left out by --drop-last."""
    gaps: int
    """Holes inside the range."""
    missing: int
    """Candles that they lack."""
    seconds: float

    def line(self) -> str:
        """Return the summary in one line."""
        notable = (
            (self.present, "already there"),
            (self.revised, "different from those (see revisions)"),
            (self.quarantined, "refused (see quarantine)"),
            (self.repeated, "repeated"),
            (self.unfinished, "not over yet"),
            (self.dropped, "dropped"),
        )
        parts = [
            f"{self.inserted:,} new",
            *(f"{count:,} {what}" for count, what in notable if count),
            f"{counted(self.gaps, 'gap')} ({counted(self.missing, 'candle')})"
            if self.gaps
            else "no gaps",
            f"{self.seconds:.1f} s",
        ]
        return (
            f"{Path(self.source).name}: {self.exchange} {self.symbol} {self.timeframe}: "
            f"{counted(self.rows, 'row')} from {utc_text(self.start)} to {utc_text(self.end)} UTC, "
            f"{', '.join(parts)}"
        )

    def document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return asdict(self)


class Table(Struct, frozen=True):
    """The candles of a file, oldest first, each time once; some may be unsound."""

    source: str
    key: SeriesKey
    candles: Candles
    sound: IntArray
    """The times of those that are sound, ascending."""
    time_unit: str
    rows: int
    repeated: int
    unfinished: int
    dropped: int
    seconds: float
    """How long reading took."""


def read_planned(planned: Planned, wanted: Wanted, *, now_ms: int) -> Table:
    """Read a table; nothing is written.

    Args:
        planned: The table.
        wanted: What the flags say.
        now_ms: Market time, epoch milliseconds: a candle that is not over by then is left out.

    Raises:
        DataError: the table cannot be read, or has two candles for one time.
        UsageError: its rows contradict the timeframe that was said, or none was and they do not
            tell.
        ConfigurationError: pyarrow is needed and not installed.
    """
    began = time.monotonic()
    source = planned.part.source
    found, unit = read_table(planned.part, planned.symbol, wanted.time_unit)
    candles = _each_once(_sorted(found), source)
    timeframe = timeframe_of(planned, candles.timestamp)
    key = SeriesKey(planned.exchange, planned.symbol, timeframe.name)
    over = int(np.searchsorted(candles.timestamp, timeframe.floor(now_ms // 1_000)))
    # A table that ends with the candle of its own making has lost it already.
    kept = over - 1 if wanted.drop_last and over == len(candles) else over
    faulty = list(candle_faults(candles[:kept], timeframe))
    return Table(
        source=source,
        key=key,
        candles=candles[:kept],
        sound=np.delete(candles.timestamp[:kept], faulty),
        time_unit=unit,
        rows=len(found),
        repeated=len(found) - len(candles),
        unfinished=len(candles) - over,
        dropped=over - kept,
        seconds=time.monotonic() - began,
    )


def store_table(store: Store, table: Table, *, now_ms: int) -> Imported:
    """Store the candles of a table, then write its holes down in the gap ledger.

    Candles go in whole transactions, so an import that was killed is completed by the next one.

    Raises:
        DataError: no candle of the table is sound; the quarantine says why.
        StoreError: the file cannot be written.
    """
    began = time.monotonic()
    report = insert_columns(store, table.key, table.candles, source="import", seen_ms=now_ms)
    if not len(table.sound):
        raise DataError(
            f"{table.source}: none of {counted(table.rows, 'row')} is a sound "
            f"{table.key.timeframe} candle that is over; the table quarantine says why"
        )
    start = int(table.sound[0])
    end = Timeframe.parse(table.key.timeframe).next(int(table.sound[-1]))
    gaps = _note_gaps(store, table.key, start, end, now_ms=now_ms)
    return Imported(
        source=table.source,
        exchange=table.key.exchange,
        symbol=table.key.symbol,
        timeframe=table.key.timeframe,
        time_unit=table.time_unit,
        start=start,
        end=end,
        rows=table.rows,
        inserted=report.inserted,
        present=report.present,
        revised=report.revised,
        quarantined=report.quarantined,
        repeated=table.repeated,
        unfinished=table.unfinished,
        dropped=table.dropped,
        gaps=len(gaps),
        missing=sum(gap.candles for gap in gaps),
        seconds=round(table.seconds + time.monotonic() - began, 3),
    )


def _note_gaps(store: Store, key: SeriesKey, start: int, end: int, *, now_ms: int) -> list[Gap]:
    """Write down the holes of the range that the ledger does not know; return all of them."""
    gaps = gaps_of(store, key, start=start, end=end)
    new = [(gap.start, gap.end) for gap in gaps if gap.last_asked_ms is None]
    set_gaps(store, key, new, state=UNKNOWN_IMPORT, asked_ms=now_ms)
    return gaps


def _sorted(candles: Candles) -> Candles:
    if np.all(candles.timestamp[1:] >= candles.timestamp[:-1]):
        return candles
    return candles.taken(np.argsort(candles.timestamp, kind="stable"))


def _each_once(candles: Candles, source: str) -> Candles:
    """Return sorted candles without those that repeat the one before.

    Raises:
        DataError: two rows of one time differ: which one is right cannot be known.
    """
    same = (candles.timestamp[1:] == candles.timestamp[:-1]) & (candles.timestamp[1:] >= 0)
    if not same.any():
        return candles
    equal = same.copy()
    for column in (candles.open, candles.high, candles.low, candles.close, candles.volume):
        both_nan = np.isnan(column[1:]) & np.isnan(column[:-1])
        equal &= (column[1:] == column[:-1]) | both_nan
    if not np.array_equal(same, equal):
        at = int(candles.timestamp[1:][same & ~equal][0])
        raise DataError(
            f"{source}: two different rows are both of {utc_text(at)} UTC, and which is right "
            "cannot be known; delete one of them"
        )
    return candles.taken(np.flatnonzero(np.append(True, ~same)))
