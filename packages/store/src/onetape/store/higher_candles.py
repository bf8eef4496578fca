"""Read closed candles of a higher timeframe; those that are not stored are built from a lower one.

A trader decides at the moment when a day ends, and no exchange has the candle of that day at once.
So candles that are not stored are built from the stored candles of the traded timeframe. Candles of
another market may also have the traded timeframe; these are read only. Times are epoch seconds UTC.
"""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import Candles, IntArray, SeriesKey
from onetape.core.resample import check_multiple, resample
from onetape.core.timeframes import Timeframe
from onetape.store.candles import insert_columns, read_last_closed_timestamp
from onetape.store.database import Store
from onetape.store.gaps import find_unexplained
from onetape.store.reading import has_volume, read_closed_between


class HigherTimeframeCandles(Struct, frozen=True):
    """Closed candles of a higher timeframe, with their origin."""

    key: SeriesKey
    """Series of the higher timeframe."""
    candles: Candles
    """All candles of the range, stored and built, oldest first."""
    built: Candles
    """The candles that are not stored and were built from a stored lower timeframe."""
    missing: list[tuple[int, int]]
    """Half-open ranges of opens of unknown candles: not stored, not buildable, and not known to be
    absent at the exchange."""
    begins_inside: bool = False
    """Whether the first range of `missing` is the time before the oldest stored candle."""

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Return the unexplained gaps: `missing` without the time before the oldest candle."""
        return self.missing[1:] if self.begins_inside else self.missing

    @property
    def origin_text(self) -> str:
        """Return the candles' origin, such as `180 stored, 3 built from a lower timeframe`."""
        stored = len(self.candles) - len(self.built)
        return f"{stored:,} stored, {len(self.built):,} built from a lower timeframe"


def read_higher_candles(
    store: Store,
    key: SeriesKey,
    higher_timeframe: Timeframe,
    start: int,
    end: int,
    *,
    responses: int | None = None,
) -> HigherTimeframeCandles:
    """Return the candles of a higher timeframe that open at `start` or later and closed by `end`.

    A candle is not built if its window has an unexplained gap of the lower timeframe.

    Args:
        store: The open database; nothing is written.
        key: The series of the lower timeframe.
        higher_timeframe: The higher timeframe, or that of `key`: then no candle is built.
        start: Start of the range, epoch seconds, inclusive.
        end: Close of the last lower-timeframe candle that may be used, epoch seconds.
        responses: Number of the exchange's responses without a candle from which on its gap counts
            as explained; None: only a proven gap does (see `find_unexplained`).

    Raises:
        UsageError: the higher timeframe is no multiple of the lower timeframe.
        StoreError: the file cannot be read.
    """
    timeframe = Timeframe.parse(key.timeframe)
    is_same = timeframe == higher_timeframe
    if not is_same:
        check_multiple(timeframe, higher_timeframe)
    higher_key = replace(key, timeframe=higher_timeframe.name)
    first, stop = higher_timeframe.ceil(start), higher_timeframe.floor(end)
    stored = read_closed_between(store, higher_key, first, stop)
    gaps = find_gaps(stored.timestamp, higher_timeframe, first, stop)
    if not gaps:
        return HigherTimeframeCandles(higher_key, stored, Candles.make_empty(), [])
    if is_same:
        candles, built = stored, Candles.make_empty()
        missing = find_unexplained(store, key, gaps, responses=responses)
    else:
        built, unknown = _build_higher(store, key, higher_timeframe, gaps, end, responses)
        candles = _merge(stored, built)
        left = find_gaps(candles.timestamp, higher_timeframe, first, stop)
        missing = find_unexplained(store, higher_key, left, responses=responses)
        # If the exchange has no lower-timeframe candle either, nothing is missing.
        missing = _intersect_ranges(
            missing,
            [(higher_timeframe.floor(low), higher_timeframe.ceil(high)) for low, high in unknown],
        )
    begins_inside = (
        bool(missing)
        and missing[0][0] == first
        and read_last_closed_timestamp(store, higher_key, first) is None
        and read_last_closed_timestamp(store, key, first) is None
    )
    return HigherTimeframeCandles(higher_key, candles, built, missing, begins_inside)


def store_built_candles(store: Store, found: HigherTimeframeCandles, *, seen_ms: int) -> None:
    """Store the candles that were built, so that later reads return the same values.

    Raises:
        StoreError: the file cannot be written.
    """
    if len(found.built):
        insert_columns(store, found.key, found.built, source="resample", seen_ms=seen_ms)


def _build_higher(
    store: Store,
    key: SeriesKey,
    higher_timeframe: Timeframe,
    gaps: list[tuple[int, int]],
    end: int,
    responses: int | None,
) -> tuple[Candles, list[tuple[int, int]]]:
    """Return candles of the higher timeframe in its gaps, built from the lower timeframe.

    Returns:
        The built candles, and the unexplained gaps of the lower timeframe from the first gap on.
    """
    lower_timeframe = Timeframe.parse(key.timeframe)
    # Read up to `end`: if the last candle of the last window is missing, a candle after the window
    # proves that the window is over.
    base = read_closed_between(store, key, gaps[0][0], end)
    # A few candles without trades may belong to a series that reports volume.
    reports_volume = bool(base.volume.any()) or has_volume(store, key)
    made = resample(base, lower_timeframe, higher_timeframe, has_volume=reports_volume)
    certain = _is_inside(made.timestamp, gaps)
    lower_gaps = find_gaps(base.timestamp, lower_timeframe, gaps[0][0], end)
    unknown = find_unexplained(store, key, lower_gaps, responses=responses)
    for low, high in unknown:
        certain &= ~_is_inside(made.timestamp, [(higher_timeframe.floor(low), high)])
    return made.take(np.flatnonzero(certain)), unknown


def _intersect_ranges(
    ranges: list[tuple[int, int]], others: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the intersection of two lists of half-open ranges.

    Args:
        ranges: Sorted and without overlaps.
        others: Sorted by start and by end; may overlap.
    """
    found: list[tuple[int, int]] = []
    skipped = 0
    for start, end in ranges:
        while skipped < len(others) and others[skipped][1] <= start:
            skipped += 1
        number = skipped
        while number < len(others) and others[number][0] < end:
            low, high = max(others[number][0], start), min(others[number][1], end)
            if found and found[-1][1] >= low:
                low, _ = found.pop()
            found.append((low, high))
            number += 1
    return found


def _is_inside(opens: IntArray, ranges: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return a mask of the times that lie in one of the half-open ranges."""
    inside = np.zeros(len(opens), dtype=np.bool_)
    for start, end in ranges:
        low, high = np.searchsorted(opens, (start, end))
        inside[low:high] = True
    return inside


def _merge(stored: Candles, built: Candles) -> Candles:
    if not len(built):
        return stored
    order = np.argsort(np.concatenate((stored.timestamp, built.timestamp)), kind="stable")
    return stored.concat(built).take(order)
