"""Volume: on-balance volume, money flow index, volume-weighted average prices."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.core.timeframes import Timeframe
from onetape.strategies.indicator_cache import cacheable
from onetape.strategies.indicators.averages import NOISE, check_window, compute_weighted_sums
from onetape.strategies.indicators.columns import as_columns, divide_columns, typical_price

_DAY_SECONDS = 86_400
#: The longest day of a time zone: the one in which the clock is set back by an hour.
_LONGEST_DAY_SECONDS = 25 * 3_600


@cacheable
def obv(close: FloatArray, volume: FloatArray, window: int) -> FloatArray:
    """Return the on-balance volume of the last `window` bars.

    The sum over these bars of the volume, positive where the close rose, negative where it fell, 0
    where it stayed. The usual line adds up from the first candle on, which no window of candles can
    repeat; this one is its change over `window` bars: obv[i] - obv[i - window]. Source: Joseph E.
    Granville, New Key to Stock Market Profits, 1963. Lookback: window + 1 candles.

    Raises:
        ValueError: window is under 1, or the columns differ in length.
    """
    check_window(window)
    close, volume = as_columns(close=close, volume=volume)
    return _sum_changes(np.sign(np.diff(close)) * volume[1:], window)[: len(close)]


@cacheable
def mfi(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, period: int
) -> FloatArray:
    """Return the money flow index, 0 to 100: 100 u / (u + d).

    u and d are the sums over `period` bars of typical price times volume where the typical price
    rose and where it fell by more than rounding can make; NaN where both are 0. Source: Gene Quong
    and Avrum Soudack, Volume-Weighted RSI: Money Flow, 1989. TA-Lib gives 0 where u + d is under 1.
    Lookback: period + 1 candles.

    Raises:
        ValueError: period is under 1, or the columns differ in length.
    """
    check_window(period, "period")
    high, low, close, volume = as_columns(high=high, low=low, close=close, volume=volume)
    price = typical_price(high, low, close)
    change, flow, noise = np.diff(price), price[1:] * volume[1:], price[1:] * NOISE
    up = _sum_changes(np.where(change > noise, flow, flow * 0.0), period)
    down = _sum_changes(np.where(change < -noise, flow, flow * 0.0), period)
    return divide_columns(up, up + down)[: len(close)] * 100.0


def _sum_changes(changes: FloatArray, window: int) -> FloatArray:
    """Return sums of the last `window` changes, of which bar 0 has none."""
    sums = np.concatenate(([np.nan], compute_weighted_sums(changes, window, 1.0)))
    sums[:window] = np.nan
    return sums


@cacheable
def rolling_vwap(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, window: int
) -> FloatArray:
    """Return the mean of the typical price over `window` bars, weighted by volume.

    The typical price is (high + low + close) / 3. NaN where nothing was traded. Lookback: window
    candles.

    Raises:
        ValueError: window is under 1, or the columns differ in length.
    """
    check_window(window)
    high, low, close, volume = as_columns(high=high, low=low, close=close, volume=volume)
    money = compute_weighted_sums(typical_price(high, low, close) * volume, window, 1.0)
    average = divide_columns(money, compute_weighted_sums(volume, window, 1.0))
    average[: window - 1] = np.nan
    return average


def session_vwap(
    timestamp: IntArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    zone: str = "UTC",
) -> FloatArray:
    """Return the mean of the typical price since the session began, weighted by volume.

    A session is a day of the time zone, from midnight to midnight. The typical price is
    (high + low + close) / 3. NaN where nothing was traded yet, and in a session whose beginning is
    not among the candles. Lookback: `session_vwap_lookback`.

    Args:
        timestamp: Opens of the candles, epoch seconds, or the index of their DataFrame.
        high: Highest prices.
        low: Lowest prices.
        close: Closes.
        volume: Volumes.
        zone: Time zone of the sessions, such as UTC or America/New_York.

    Raises:
        ValueError: the zone is unknown, or the columns differ in length.
    """
    high, low, close, volume = as_columns(high=high, low=low, close=close, volume=volume)
    opens = _convert_to_epoch_seconds(timestamp)
    if opens.shape != close.shape:
        raise ValueError(f"timestamp must have {len(close):,} values, found {len(opens):,}")
    if len(opens) == 0:
        return np.empty(0)
    sessions, is_whole = _compute_sessions(opens, _load_time_zone(zone))
    price = typical_price(high, low, close)
    counts = np.bincount(sessions)
    average = divide_columns(
        _sum_by_session(price * volume, counts), _sum_by_session(volume, counts)
    )
    if not is_whole:
        average[sessions == 0] = np.nan
    return average


def session_vwap_lookback(timeframe: str) -> int:
    """Return the number of candles of a timeframe in the longest session, of 25 hours.

    Raises:
        UsageError: the timeframe is invalid.
    """
    return -(-_LONGEST_DAY_SECONDS // Timeframe.parse(timeframe).seconds) + 1


def _convert_to_epoch_seconds(timestamp: Any) -> IntArray:
    as_unit = getattr(timestamp, "as_unit", None)
    return np.asarray(timestamp if as_unit is None else as_unit("s").asi8, dtype=np.int64)


def _load_time_zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # Only sessions of another time zone need the module.

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"unknown time zone {name!r}; use such as America/New_York") from error


def _compute_sessions(opens: IntArray, zone: tzinfo) -> tuple[IntArray, bool]:
    """Return the session of each candle, counted from 0, and whether the first one is whole."""
    first, last = (
        date(1970, 1, 1) + timedelta(days=int(t) // _DAY_SECONDS) for t in opens[[0, -1]]
    )
    days = [first + timedelta(days=more) for more in range(-1, (last - first).days + 3)]
    midnights = [datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() for day in days]
    starts = np.asarray(midnights, dtype=np.int64)
    sessions = np.searchsorted(starts, opens, side="right") - 1
    is_whole = bool(opens[0] == starts[sessions[0]])
    # Days without a candle are no session: the table of `_sum_by_session` stays small.
    return np.cumsum(np.diff(sessions, prepend=sessions[:1]) != 0).astype(np.int64), is_whole


def _sum_by_session(values: FloatArray, counts: IntArray) -> FloatArray:
    """Return running sums from the first value of each session, added in the order of time.

    Args:
        values: Values of all sessions, one session after the other.
        counts: Number of values of each session.
    """
    is_taken = np.arange(int(counts.max())) < counts[:, np.newaxis]
    table = np.zeros(is_taken.shape)
    table[is_taken] = values
    return np.cumsum(table, axis=1, out=table)[is_taken]
