"""Build candles of a higher timeframe from a lower timeframe, as Binance does.

A window is the time of one candle of the higher timeframe. A source candle without a trade only
repeats the last price (see untraded.py), so its prices are not used in a window in which something
was traded. A window without any source candle gives no candle.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.errors import UsageError
from onetape.core.timeframes import FIRST_MONDAY_SECONDS, Timeframe
from onetape.core.untraded import find_untraded_rows

#: Maximum number of decimals of volumes.
_MAX_DIGITS: Final = 8
#: Every whole number up to here is a double.
_WHOLE_LIMIT: Final = 2.0**53
_MONTHS_BEFORE_EPOCH: Final = 1970 * 12
_SECONDS_PER_DAY: Final = 86_400


def resample(
    candles: Candles,
    from_timeframe: Timeframe,
    to_timeframe: Timeframe,
    *,
    has_volume: bool | None = None,
) -> Candles:
    """Return the candles of a higher timeframe, built from these candles.

    Open, high, low and close come from the source candles that were traded; a window without such
    candles is flat at the close of its last source candle, which is the last price. A source candle
    with volume 0 whose price moved was traded. If the source never reports volume, every source
    candle counts as traded, also a flat one (see `find_untraded_rows`). Volumes are added as
    decimals, so a sum is the double nearest to the exchange's decimal. Weeks open on Monday and
    months on the first, UTC. The last window is left out unless its last source candle exists. A
    window with missing source candles is built from those that exist, as the exchange does after an
    outage: `find_incomplete_windows` lists them.

    Args:
        candles: Source candles, oldest first, shape (n,).
        from_timeframe: Timeframe of the source candles.
        to_timeframe: The higher timeframe, a multiple of `from_timeframe`.
        has_volume: Whether the source reports volume; None: whether one of these candles has any.
            Pass a value if these candles are a small part of their series.

    Returns:
        At most one candle for each window with source candles.

    Raises:
        UsageError: the higher timeframe is no multiple of the lower one.
    """
    check_multiple(from_timeframe, to_timeframe)
    if not len(candles):
        return candles
    windows = compute_opens(to_timeframe, candles.timestamp)
    starts = np.flatnonzero(np.diff(windows, prepend=windows[0] - 1))
    ends = np.append(starts[1:], len(candles))
    is_untraded = find_untraded_rows(candles, has_volume=has_volume)
    open_, high, low, close = _compute_prices(candles, is_untraded, starts, ends)
    built = Candles(
        windows[starts], open_, high, low, close, _sum_groups(candles.volume, starts, ends)
    )
    last = int(candles.timestamp[-1])
    is_last_complete = from_timeframe.next(last) >= to_timeframe.next(last)
    return built if is_last_complete else built[:-1]


def find_incomplete_windows(
    candles: Candles, from_timeframe: Timeframe, to_timeframe: Timeframe
) -> IntArray:
    """Return the opens of the windows that `resample` builds although source candles are missing.

    Raises:
        UsageError: the higher timeframe is no multiple of the lower one.
    """
    built = resample(candles, from_timeframe, to_timeframe).timestamp
    if not len(built):
        return built
    last_end = to_timeframe.next(int(built[-1]))
    edges = np.searchsorted(candles.timestamp, np.append(built, last_end))
    return built[np.diff(edges) < _count_source_candles(built, from_timeframe, to_timeframe)]


def check_multiple(from_timeframe: Timeframe, to_timeframe: Timeframe) -> None:
    """Refuse a higher timeframe that is no multiple of the lower one.

    Raises:
        UsageError: the higher timeframe is no multiple of the lower one.
    """
    if not _is_multiple(from_timeframe, to_timeframe):
        raise UsageError(
            f"{to_timeframe.name} candles are not made of whole {from_timeframe.name} candles; "
            "build from a lower timeframe, such as 1m, or build a higher one"
        )


def compute_opens(timeframe: Timeframe, timestamps: IntArray) -> IntArray:
    """Return the open of the candle that contains each moment; `Timeframe.floor` for arrays.

    Args:
        timeframe: The candles' length.
        timestamps: Epoch seconds, shape (n,).
    """
    if timeframe.is_month:
        months = timestamps.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        first = (months + _MONTHS_BEFORE_EPOCH) // timeframe.count * timeframe.count
        return _compute_month_starts(first - _MONTHS_BEFORE_EPOCH)
    anchor = _compute_anchor(timeframe)
    return (timestamps - anchor) // timeframe.seconds * timeframe.seconds + anchor


def _compute_prices(
    candles: Candles, is_untraded: NDArray[np.bool_], starts: IntArray, ends: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return open, high, low and close of the windows of rows `[starts, ends)`, each (k,)."""
    traded = np.flatnonzero(~is_untraded)
    first = np.searchsorted(traded, starts)
    last = np.searchsorted(traded, ends) - 1
    has_no_trade = last < first
    flat = candles.close[ends - 1]
    if not len(traded):
        return flat, flat.copy(), flat.copy(), flat.copy()
    opener = traded[np.minimum(first, len(traded) - 1)]
    closer = traded[np.maximum(last, 0)]
    high = np.maximum.reduceat(np.where(is_untraded, -np.inf, candles.high), starts)
    low = np.minimum.reduceat(np.where(is_untraded, np.inf, candles.low), starts)
    return (
        np.where(has_no_trade, flat, candles.open[opener]),
        np.where(has_no_trade, flat, high),
        np.where(has_no_trade, flat, low),
        np.where(has_no_trade, flat, candles.close[closer]),
    )


def _sum_groups(volume: FloatArray, starts: IntArray, ends: IntArray) -> FloatArray:
    """Return the sums of the groups: exact where volumes are decimals of at most 8 digits.

    Whole numbers add up exactly in any order; other values are added one after the other from left
    to right, so that every machine gets the same sum.
    """
    for digits in range(_MAX_DIGITS + 1):
        scale = 10.0**digits
        steps = np.rint(volume * scale)
        # Dividing a whole number by a power of ten gives the double nearest to that decimal.
        if np.array_equal(steps / scale, volume):
            sums = np.add.reduceat(steps, starts)
            if sums.max() < _WHOLE_LIMIT:
                return sums / scale
            break
    group = np.repeat(np.arange(len(starts)), ends - starts)
    return np.bincount(group, weights=volume).astype(np.float64)


def _count_source_candles(
    opens: IntArray, from_timeframe: Timeframe, to_timeframe: Timeframe
) -> IntArray:
    """Return the maximum number of source candles of each window, shape (n,)."""
    if not to_timeframe.is_month:
        return np.full(len(opens), to_timeframe.seconds // from_timeframe.seconds)
    if from_timeframe.is_month:
        return np.full(len(opens), to_timeframe.count // from_timeframe.count)
    months = opens.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return (_compute_month_starts(months + to_timeframe.count) - opens) // from_timeframe.seconds


def _is_multiple(small: Timeframe, large: Timeframe) -> bool:
    if large.is_month:
        if small.is_month:
            return large.count > small.count and large.count % small.count == 0
        return small.unit != "w" and _SECONDS_PER_DAY % small.seconds == 0
    if small.is_month or large.seconds <= small.seconds or large.seconds % small.seconds:
        return False
    return (_compute_anchor(large) - _compute_anchor(small)) % small.seconds == 0


def _compute_anchor(timeframe: Timeframe) -> int:
    return FIRST_MONDAY_SECONDS if timeframe.unit == "w" else 0


def _compute_month_starts(months: IntArray) -> IntArray:
    """Return the first seconds of months counted from January 1970."""
    return months.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
