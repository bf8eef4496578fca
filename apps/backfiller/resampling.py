"""Build candles of a higher timeframe from stored candles, and store the missing ones.

For `backfiller resample`. A window is the range of time of one candle of the higher timeframe.
"""

import time
from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from backfiller.candle_comparison import count_different_candles
from onetape.core.candles import LATEST_TIMESTAMP, Candles, IntArray, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.resample import check_multiple, find_incomplete_windows, resample
from onetape.core.timeframes import Timeframe
from onetape.store.candles import insert_columns
from onetape.store.database import Store
from onetape.store.gaps import (
    ACCEPTED,
    CONFIRMED,
    NO_TRADES,
    UNKNOWN_IMPORT,
    Gap,
    GapState,
    find_unexplained,
    read_gaps,
    set_gaps,
)
from onetape.store.reading import read_closed_between


class ResampleResult(Struct, frozen=True):
    """Result of resampling one series."""

    exchange: str
    symbol: str
    timeframe: str
    """Timeframe of the candles that are read."""
    into: str
    """Timeframe of the candles that are built."""
    start: int
    """Open of the first built candle, epoch seconds; 0: none was built."""
    end: int
    """End of the last built candle, epoch seconds; 0: none was built."""
    built: int
    """Number of candles built, stored or not."""
    inserted: int
    """Number of built candles that were stored; others were stored before, or refused."""
    present: int
    """Number of candles that were stored before, which stay as they are."""
    different: int
    """Number of stored candles that differ from those built from the source."""
    built_over_gaps: int
    """Number of candles built although source candles are missing."""
    left_out: int
    """Number of candles not built: source candles are missing for an unknown reason."""
    gaps: int
    """Number of gaps of the higher timeframe in the range."""
    seconds: float
    """Duration."""

    def format_line(self) -> str:
        """Return the summary in one line."""
        name = f"{self.exchange} {self.symbol} {self.timeframe} into {self.into}"
        if not self.built:
            return f"{name}: nothing to build, {format_count(self.left_out, 'window')} left out"
        notable = (
            (self.present, "already there"),
            (self.different, "of those different from what the lower timeframe makes"),
            (self.built_over_gaps, "built over gaps"),
            (self.left_out, "left out for gaps whose cause is unknown (see: backfiller repair)"),
        )
        parts = [
            f"{self.inserted:,} new",
            *(f"{count:,} {description}" for count, description in notable if count),
            format_count(self.gaps, "gap") if self.gaps else "no gaps",
            f"{self.seconds:.1f} s",
        ]
        return (
            f"{name}: {format_count(self.built, 'candle')} from {format_utc(self.start)} to "
            f"{format_utc(self.end)} UTC, {', '.join(parts)}"
        )

    def make_document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return asdict(self)


def resample_series(
    store: Store, key: SeriesKey, into: Timeframe, *, allow_gaps: bool, now_ms: int
) -> ResampleResult:
    """Store the closed candles of `into` that can be built from a series and that the store lacks.

    A window in which the exchange itself lacks source candles is built from the others, as the
    exchange does. A window with any other gap is left out, and so is the first window if the series
    begins inside it.

    Args:
        store: The open database.
        key: Series of the source candles.
        into: The higher timeframe.
        allow_gaps: Build over gaps whose cause is unknown, too, and the first window if the series
            begins inside it.
        now_ms: Market time, epoch milliseconds, stored with rows that are refused.

    Raises:
        UsageError: the higher timeframe is not a multiple of the source's.
        StoreError: the file cannot be written.
    """
    began = time.monotonic()
    small = Timeframe.parse(key.timeframe)
    check_multiple(small, into)
    higher_key = replace(key, timeframe=into.name)
    candles = read_closed_between(store, key, 0, LATEST_TIMESTAMP)
    built = resample(candles, small, into)
    gaps = read_gaps(store, key)
    certain = np.ones(len(built), dtype=np.bool_)
    if not allow_gaps:
        certain = _mark_certain_windows(
            built.timestamp, _find_doubtful_ranges(store, key, candles, into, gaps), into
        )
    usable = built.take(np.flatnonzero(certain))
    summary = ResampleResult(
        key.exchange, key.symbol, key.timeframe, into.name, start=0, end=0, built=len(usable),
        inserted=0, present=0, different=0, built_over_gaps=0, left_out=len(built) - len(usable),
        gaps=0, seconds=0.0,
    )  # fmt: skip
    if not len(usable):
        return summary
    start, end = int(usable.timestamp[0]), into.next(int(usable.timestamp[-1]))
    stored = read_closed_between(store, higher_key, start, end)
    new = np.isin(usable.timestamp, stored.timestamp, invert=True)
    report = insert_columns(
        store, higher_key, usable.take(np.flatnonzero(new)), source="resample", seen_ms=now_ms
    )
    large_gaps = read_gaps(store, higher_key, start=start, end=end)
    _store_gap_causes(store, higher_key, large_gaps, gaps)
    incomplete = find_incomplete_windows(candles, small, into)
    return replace(
        summary,
        start=start,
        end=end,
        inserted=report.inserted,
        present=len(usable) - report.inserted,
        different=count_different_candles(usable, stored),
        built_over_gaps=int(np.isin(usable.timestamp, incomplete).sum()),
        gaps=len(large_gaps),
        seconds=round(time.monotonic() - began, 3),
    )


def _find_doubtful_ranges(
    store: Store, key: SeriesKey, candles: Candles, into: Timeframe, gaps: list[Gap]
) -> list[tuple[int, int]]:
    """Return the ranges where source candles are missing and the exchange may have some."""
    ranges = [(gap.start, gap.end) for gap in gaps if not gap.is_explained]
    if len(candles):
        first = int(candles.timestamp[0])
        before = (into.floor(first), first)
        # If a market was listed inside the window, the ledger has a gap for the time before.
        if before[0] < first and find_unexplained(store, key, [before]):
            ranges.append(before)
    return ranges


def _mark_certain_windows(
    opens: IntArray, ranges: list[tuple[int, int]], into: Timeframe
) -> NDArray[np.bool_]:
    """Return a mask of the windows that overlap none of the ranges."""
    certain = np.ones(len(opens), dtype=np.bool_)
    for start, end in ranges:
        low, high = np.searchsorted(opens, (into.floor(start), end))
        certain[low:high] = False
    return certain


def _store_gap_causes(store: Store, key: SeriesKey, large_gaps: list[Gap], gaps: list[Gap]) -> None:
    """Store each new gap of the higher timeframe with the cause of the gaps below it.

    Args:
        store: The open database.
        key: Series of the higher timeframe.
        large_gaps: Its gaps.
        gaps: Gaps of the source series, by time.
    """
    known: dict[tuple[GapState, int, str | None], list[tuple[int, int]]] = {}
    for large_gap in large_gaps:
        low = bisect_right(gaps, large_gap.start, key=lambda gap: gap.end)
        high = bisect_left(gaps, large_gap.end, key=lambda gap: gap.start)
        parts = [gap for gap in gaps[low:high] if gap.last_requested_ms is not None]
        states: set[GapState] = {gap.state for gap in gaps[low:high]}
        state = _combine_gap_states(states)
        if large_gap.last_requested_ms is None and parts and state is not None:
            requested_ms = min(gap.last_requested_ms or 0 for gap in parts)
            reason = next((gap.reason for gap in parts if gap.state == state), None)
            known.setdefault((state, requested_ms, reason), []).append(
                (large_gap.start, large_gap.end)
            )
    for (state, requested_ms, reason), ranges in known.items():
        set_gaps(store, key, ranges, state=state, requested_ms=requested_ms, reason=reason)


def _combine_gap_states(states: set[GapState]) -> GapState | None:
    """Return the state of a gap over source gaps with these states; None: unproven."""
    if states <= {CONFIRMED, NO_TRADES, ACCEPTED}:
        # Of several explained states, the one with the weakest proof counts.
        return next((state for state in (ACCEPTED, NO_TRADES, CONFIRMED) if state in states), None)
    return UNKNOWN_IMPORT if UNKNOWN_IMPORT in states else None
