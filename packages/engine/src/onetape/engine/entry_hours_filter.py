"""Trading hours in a backtest: remove the BUYs of a series that would enter outside the hours."""

from datetime import datetime, tzinfo
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import IntArray
from onetape.engine.due_orders import OrderBars
from onetape.engine.entry_hours import EntryHours

_DAY_SECONDS: Final = 86_400
#: Weekday of 1970-01-01, a Thursday.
_FIRST_WEEKDAY: Final = 3


class OrdersInHours(NamedTuple):
    """Orders of which the BUYs outside the trading hours have been removed."""

    bars: OrderBars
    """Orders without those BUYs."""
    closed: NDArray[np.bool_] | None
    """Whether each bar opens outside the trading hours, shape (n,); None where every bar has
    trades, so that no order waits."""


def find_rows_in_hours(hours: EntryHours, timestamp: IntArray) -> NDArray[np.bool_]:
    """Return whether entries are made in candles, as `EntryHours.contains`.

    Args:
        hours: Trading hours.
        timestamp: Opens of the candles, ascending, epoch seconds, shape (n,).
    """
    if not len(timestamp):
        return np.zeros(0, dtype=np.bool_)
    local = timestamp + _compute_utc_offsets(hours.zone, timestamp)
    seconds = local % _DAY_SECONDS
    is_open = np.zeros(len(local), dtype=np.bool_)
    for start, end in hours.spans:
        is_open |= (seconds >= start) & (seconds < end)
    is_day = np.array([day in hours.days for day in range(7)])
    return is_open & is_day[(local // _DAY_SECONDS + _FIRST_WEEKDAY) % 7]


def drop_buys_outside(hours: EntryHours, bars: OrderBars, timestamp: IntArray) -> OrdersInHours:
    """Return orders without the BUYs that would enter outside the trading hours.

    A BUY needs a bar that opens in the hours. A BUY that waits for a trade is dropped by the first
    bar that opens outside the hours, so each bar from that at which the BUY was due must open in
    the hours.

    Args:
        hours: Trading hours.
        bars: Orders and the bars that fill them.
        timestamp: Opens of the bars, epoch seconds, shape (n,).
    """
    if bars.traded is None:
        is_open = find_rows_in_hours(hours, timestamp[bars.buys])
        return OrdersInHours(_select_buys(bars, is_open), None)
    closed = ~find_rows_in_hours(hours, timestamp)
    closed_before = np.concatenate(([0], np.cumsum(closed)))
    is_open = closed_before[bars.buys + 1] == closed_before[np.maximum(bars.due, 0)]
    selected, waiting = _select_buys(bars, is_open), bars.waiting_buy_due
    if waiting is not None and closed_before[-1] != closed_before[max(waiting, 0)]:
        selected = replace(selected, waiting_buy_due=None)
    return OrdersInHours(selected, closed)


def _select_buys(bars: OrderBars, mask: NDArray[np.bool_]) -> OrderBars:
    """Return orders with some of the BUYs; the remaining BUYs of a run still form one run."""
    run = np.searchsorted(bars.run_starts[:-1], np.arange(len(bars.buys)), side="right")[mask]
    return replace(
        bars,
        buys=bars.buys[mask],
        due=bars.due[mask],
        run_starts=np.append(np.flatnonzero(np.diff(run, prepend=-1) != 0), len(run)),
        usable_from=int(np.count_nonzero(mask[: bars.usable_from])),
    )


def _compute_utc_offsets(zone: tzinfo, timestamp: IntArray) -> IntArray:
    """Return by how many seconds local time is ahead of UTC, shape (n,).

    Args:
        zone: Time zone. The offset is read once a day, because no zone changes its offset and
            changes it back within a day.
        timestamp: Times, ascending, epoch seconds, shape (n,), at least one.
    """
    at, last = int(timestamp[0]), int(timestamp[-1])
    starts, offsets = [at], [_get_utc_offset(zone, at)]
    while at < last:
        following = min(at + _DAY_SECONDS, last)
        if _get_utc_offset(zone, following) != offsets[-1]:
            following = _find_change(zone, at, following)
            starts.append(following)
            offsets.append(_get_utc_offset(zone, following))
        at = following
    return np.array(offsets)[np.searchsorted(starts, timestamp, side="right") - 1]


def _find_change(zone: tzinfo, before: int, after: int) -> int:
    """Return the first second of another offset between two times that differ in it."""
    old = _get_utc_offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _get_utc_offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _get_utc_offset(zone: tzinfo, timestamp: int) -> int:
    offset = datetime.fromtimestamp(timestamp, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
