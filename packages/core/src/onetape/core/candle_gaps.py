"""Find the candles that are missing in a series, from the array of the opens of its candles."""

import numpy as np

from onetape.core.candles import IntArray
from onetape.core.timeframes import FIRST_MONDAY_SECONDS, Timeframe

#: Months from the year 0 to 1970-01; candles of several months are counted from the year 0.
_MONTHS_TO_EPOCH = 1970 * 12
#: Number of opens that are compared in one step.
_BLOCK_ROWS = 16_384


def find_gaps(
    timestamps: IntArray, timeframe: Timeframe, start: int, end: int
) -> list[tuple[int, int]]:
    """Return the candles missing in `[start, end)` as half-open ranges of opens, oldest first.

    Args:
        timestamps: Opens of the existing candles, all in the range, increasing, shape (n,).
        timeframe: Length of a candle.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
    """
    first, last = timeframe.ceil(start), timeframe.ceil(end)
    if not len(timestamps):
        return [(first, last)] if first < last else []
    if _is_complete(timestamps, timeframe, first, last):
        return []
    after = compute_next_opens(timestamps, timeframe)
    expected = np.concatenate(([first], after))
    found = np.concatenate((timestamps, [last]))
    missing = np.flatnonzero(found > expected)
    return list(zip(expected[missing].tolist(), found[missing].tolist(), strict=True))


def _is_complete(timestamps: IntArray, timeframe: Timeframe, first: int, last: int) -> bool:
    """Return True only if no candle is missing; False proves nothing where candles are months.

    This is much faster than the search for gaps, and most long series are complete.
    """
    seconds = 0 if timeframe.is_month else timeframe.seconds
    if timestamps[0] != first or timestamps[-1] + seconds != last:
        return False
    # In blocks that stay in the processor's cache, and need no memory from the system.
    return all(
        (np.diff(timestamps[at : at + _BLOCK_ROWS + 1]) == seconds).all()
        for at in range(0, len(timestamps) - 1, _BLOCK_ROWS)
    )


def compute_next_opens(timestamps: IntArray, timeframe: Timeframe) -> IntArray:
    """Return for each time the open of the next candle, epoch seconds."""
    if timeframe.is_month:
        months = timestamps.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        index = (months + _MONTHS_TO_EPOCH) // timeframe.count * timeframe.count + timeframe.count
        opens = (index - _MONTHS_TO_EPOCH).astype("datetime64[M]").astype("datetime64[s]")
        return opens.astype(np.int64)
    anchor = FIRST_MONDAY_SECONDS if timeframe.unit == "w" else 0
    seconds = timeframe.seconds
    return (timestamps - anchor) // seconds * seconds + (anchor + seconds)
