"""Reading the candles of a run from the store; a range with unexplained gaps is refused."""

from collections.abc import Sequence

import numpy as np

from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow
from onetape.backtest.repair_commands import describe_gaps, format_repair_command, read_stored_range
from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import format_day, format_utc
from onetape.core.errors import CandleGapError, DataError
from onetape.core.timeframes import Timeframe
from onetape.store.candles import read_first_candle_after, read_last_closed
from onetape.store.database import Store, open_if_exists
from onetape.store.gaps import find_unexplained, read_accepted
from onetape.store.reading import has_volume, read_closed_between
from onetape.store.simulated_source import read_origin
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import IndexedGap


def open_run_database(config: BacktestConfig) -> Store:
    """Return the open database of a run.

    Raises:
        DataError: the file does not exist; the text has the command that fills it.
        StoreError: the file cannot be used.
    """
    store = open_if_exists(config.database)
    if store is None:
        command = format_repair_command(config.keys[0], config)
        raise DataError(f"{config.database} does not exist; fill it first: {command}")
    return store


def load_window(
    store: Store, key: SeriesKey, config: BacktestConfig, *, lookback: int
) -> CandleWindow:
    """Return the candles of the range, and those before it that strategy and sizing need.

    Args:
        store: The open database.
        key: The series.
        config: Configuration of the run.
        lookback: Number of candles that a signal of the strategy needs.

    Raises:
        DataError: nothing is stored of the series, or nothing of the range.
        CandleGapError: candles are missing in the range for an unknown reason.
    """
    bounds = (config.start, config.end)
    first, last = read_stored_range(store, key, config)
    timeframe = Timeframe.parse(key.timeframe)
    after = timeframe.next(last)
    start = first if bounds[0] is None else bounds[0]
    end = after if bounds[1] is None else bounds[1]
    if end <= first or start >= after:
        requested = " ".join(
            f"{word} {format_day(moment)}"
            for word, moment in zip(("from", "to"), bounds, strict=True)
            if moment is not None
        )
        raise DataError(
            f"nothing is stored of {key} {requested} (stored: {format_utc(first)} to "
            f"{format_utc(after)} UTC); run: {format_repair_command(key, config, *bounds)}"
        )
    inside = read_closed_between(store, key, start, end)
    gaps = find_gaps(inside.timestamp, timeframe, start, end)
    bad = find_unexplained(store, key, gaps)
    if bad and not config.allow_gaps:
        repair = format_repair_command(key, config, start, end, first=bad[0][0])
        raise CandleGapError(describe_gaps(store, key, config, bad, (first, after), repair))
    warm_up = compute_window_size(lookback, config.account.closes_for_size)
    before, gap = _read_warm_up(store, key, timeframe, warm_up, start)
    candles = before.concat(inside)
    missing = sum(timeframe.count_between(*gap) for gap in gaps)
    unknown = sum(timeframe.count_between(*gap) for gap in bad)
    return CandleWindow(
        key=key,
        candles=candles,
        warm_up=len(before),
        required_warm_up=warm_up,
        start=start,
        end=end,
        known_outages=missing - unknown,
        unexplained=unknown,
        left_out=_find_unproven_row(store, key, last, bounds[1]),
        # The series begins with the first stored candle, so before it there is no gap.
        gaps=locate_gaps(candles, [one for one in (*gap, *bad) if one[0] > first]),
        accepted={
            reason: sum(timeframe.count_between(*part) for part in parts)
            for reason, parts in read_accepted(store, key, gaps).items()
        },
        origin=read_origin(store, key),
    )


def _read_warm_up(
    store: Store, key: SeriesKey, timeframe: Timeframe, count: int, start: int
) -> tuple[Candles, list[tuple[int, int]]]:
    """Return the candles before the range, and the unexplained gap before them, if there is one.

    Args:
        store: The open database.
        key: The series.
        timeframe: Timeframe of the series.
        count: Maximum number of candles.
        start: Start of the range, epoch seconds.
    """
    before = read_last_closed(store, key, count, up_to=start - 1)
    if not len(before):
        return before, []
    gaps = find_gaps(before.timestamp, timeframe, int(before.timestamp[0]), start)
    found = find_unexplained(store, key, gaps)[-1:]
    if not found:
        return before, []
    return before[int(np.searchsorted(before.timestamp, found[0][0])) :], found


def locate_gaps(candles: Candles, gaps: Sequence[tuple[int, int]]) -> tuple[IndexedGap, ...]:
    """Return unexplained gaps by the candle after them; a gap in several parts counts once."""
    found: dict[int, IndexedGap] = {}
    for start, end in gaps:
        at = int(np.searchsorted(candles.timestamp, start))
        before = found.get(at)
        found[at] = IndexedGap(start if before is None else before.start, end, at)
    return tuple(gap for gap in found.values() if gap.at < len(candles))


def _find_unproven_row(store: Store, key: SeriesKey, last: int, end: int | None) -> int | None:
    """Return the open of the row after the last closed candle, if it lies in the range; else None.

    Nothing proves that this row is closed, so the run leaves it out.
    """
    row = read_first_candle_after(store, key, last)
    if row is None or (end is not None and row.timestamp >= end):
        return None
    return row.timestamp


def has_stored_volume(store: Store, window: CandleWindow) -> bool:
    """Return whether any stored candle of the series has volume.

    The store is read only if no candle of the window has volume.
    """
    volume = window.candles.volume
    return bool(volume[-1:].any() or volume.any()) or has_volume(store, window.key)
