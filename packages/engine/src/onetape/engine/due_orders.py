"""Orders at each open, and orders that wait for a candle in which something was traded.

An order is due at the open after its signal. In a candle without a trade (onetape.core.untraded)
nothing fills: an order that is due there waits for the open of the next traded candle. While it
waits,

    a BUY of an account without a position is dropped by a SELL, and renewed by a further BUY
    a SELL or time stop of a position stays due after any signal

Stops and targets are not reached in such a candle, and its price moves no trailing stop. A candle
that opens outside the trading hours drops a BUY (entry_hours_filter.py), and so does one at whose
open entries pause (guard_log.py).
"""

from itertools import zip_longest
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles, IntArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.exits import SIGNAL, TIME_STOP

NO_BARS: Final[IntArray] = np.empty(0, dtype=np.int64)


class OrderBars(Struct, frozen=True):
    """Bars whose open fills an order; an order due on a bar without a trade fills later."""

    buys: IntArray
    """Bars whose open fills a BUY of an account without a position, ascending."""
    due: IntArray
    """Bar at which the newest BUY that each of `buys` fills was due; not later than `buys`."""
    run_starts: IntArray
    """Index into `buys` of the first one of each run of BUYs, and the number of buys at the end."""
    usable_from: int
    """Index into `buys` of the first one whose run has not led to an entry before the range."""
    sells: IntArray
    """Bars whose open fills a SELL of a position; the number of bars at the end."""
    sell_signals: IntArray = NO_BARS
    """Bars at which each SELL was due, ascending; negative: before the range."""
    sell_fills: IntArray = NO_BARS
    """Bar whose open fills each of `sell_signals`; the number of bars: none."""
    traded: IntArray | None = None
    """Bars with a trade, and the number of bars at the end; None: all bars have one."""
    waiting_buy_due: int | None = None
    """Bar at which a BUY was due that still waits after the last bar, if the account has no
    position; None: no BUY waits."""
    is_sell_waiting: bool = False
    """Whether a SELL still waits after the last bar, for a position."""

    def find_fill_bars(self, due: IntArray) -> IntArray:
        """Return the bars whose open fills orders that are due at these bars.

        Args:
            due: Bars; negative for an order that waits since before the first bar.
        """
        if self.traded is None:
            return np.maximum(due, 0)
        count = int(self.traded[-1])
        return self.traded[np.searchsorted(self.traded, np.clip(due, 0, count))]


def compute_due_orders(
    signal: NDArray[np.int8], start_index: int, pending: int
) -> NDArray[np.int8]:
    """Return the order due at the open of each traded candle: the signal of the candle before."""
    orders = np.empty(len(signal) - start_index, dtype=np.int8)
    orders[:1] = pending
    orders[1:] = signal[start_index:-1]
    return orders


def find_order_bars(
    orders: NDArray[np.int8],
    untraded: NDArray[np.bool_] | None,
    *,
    waiting: int = 0,
    is_used: bool = False,
) -> OrderBars:
    """Return the bars that fill orders.

    Args:
        orders: Order due at each open: 1 BUY, -1 SELL, 0 none; shape (n,).
        untraded: Bars without a trade, shape (n,); None: every bar has trades.
        waiting: Order that waits from before the first bar: 1 BUY, -1 SELL, 0 none.
        is_used: Whether a run of BUYs that began before the first bar has led to an entry.
    """
    # NumPy finds the few true values of a mask twenty times faster than non-zero small integers.
    events = np.flatnonzero(orders != 0)
    sides = orders[events]
    buys, sells = events[sides > 0], events[sides < 0]
    if untraded is None:
        starts = np.flatnonzero(np.diff(buys, prepend=-2) != 1)
        bounds = np.append(starts, len(buys))
        continues_run = is_used and len(buys) > 0 and buys[0] == 0
        # The number of bars is appended, so that a search after the last SELL finds it.
        return OrderBars(
            buys,
            buys,
            bounds,
            int(bounds[1]) if continues_run else 0,
            np.append(sells, len(orders)),
            sell_signals=sells,
            sell_fills=sells,
        )
    if waiting:
        buys, sells = (
            np.insert(bars, 0, -1) if waiting == side else bars
            for bars, side in ((buys, 1), (sells, -1))
        )
    traded = np.append(np.flatnonzero(~untraded), len(orders))
    return _find_moved_order_bars(buys, sells, traded, is_used=is_used)


def _find_moved_order_bars(
    buys: IntArray, sells: IntArray, traded: IntArray, *, is_used: bool
) -> OrderBars:
    """Return the bars that fill orders which are due at `buys` and `sells`."""
    count = int(traded[-1])
    fills = traded[np.searchsorted(traded, buys)]
    run = np.cumsum(np.diff(buys, prepend=-9) != 1)
    is_newest = np.diff(fills, append=count + 1) != 0
    before = np.searchsorted(sells, fills, side="right") - 1
    last_sell = np.where(before >= 0, sells[before], -9) if len(sells) else np.full(len(fills), -9)
    is_due = is_newest & (buys > last_sell)
    waiting_buys = buys[is_due & (fills == count)]
    is_due &= fills < count
    due_run = run[is_due]
    first_run = int(run[0]) if is_used and len(buys) and buys[0] == 0 else -1
    sold = traded[np.searchsorted(traded, sells)]
    return OrderBars(
        buys=fills[is_due],
        due=buys[is_due],
        run_starts=np.append(np.flatnonzero(np.diff(due_run, prepend=-1) != 0), len(due_run)),
        usable_from=int(np.searchsorted(due_run, first_run, side="right")),
        sells=np.unique(np.append(sold, count)),
        sell_signals=sells,
        sell_fills=sold,
        traded=traded,
        waiting_buy_due=int(waiting_buys[-1]) if len(waiting_buys) else None,
        is_sell_waiting=bool((sold == count).any()),
    )


def mask_untraded_prices(candles: Candles, untraded: NDArray[np.bool_] | None) -> Candles:
    """Return candles whose high and low reach no level on bars without a trade."""
    if untraded is None:
        return candles
    return replace(
        candles,
        high=np.where(untraded, -np.inf, candles.high),
        low=np.where(untraded, np.inf, candles.low),
    )


class DueOrders(Struct, frozen=True):
    """Orders that are due on each bar, with the bars that may fill them."""

    orders: NDArray[np.int8]
    """Order due at each open: 1 BUY, -1 SELL, 0 none; shape (n,)."""
    untraded: NDArray[np.bool_] | None
    """Bars without a trade, shape (n,); None: every bar has trades."""
    bars: OrderBars
    """Bars that fill the due orders."""
    reached: Candles
    """Candles whose highs and lows are compared with stops and targets: those of bars without a
    trade reach no level."""
    waiting: int
    """Order that waits from before the first bar: 1 BUY, -1 SELL, 0 none."""
    is_used: bool
    """Whether the run of BUYs before the first bar has led to an entry."""
    free: int
    """First bar at which a BUY may be due: the rest of a cooldown from before the range."""
    rules: AccountConfig
    """Settings of the account."""
    closed: NDArray[np.bool_] | None = None
    """Whether each bar drops a BUY that waits, because it opens outside the trading hours or while
    entries pause, shape (n,); None: none does, or no order waits."""

    def is_run_used(self, bar: int, entry: int | None) -> bool:
        """Return whether the run of BUYs that is due at a bar has led to an entry.

        Args:
            bar: Bar at which a BUY of the run is due; negative: before the range.
            entry: Bar of the last entry; negative: before the range; None: no entry yet.
        """
        if entry is None or entry < 0:
            return self.is_used and bool((self.orders[: bar + 1] > 0).all())
        return bool((self.orders[entry : bar + 1] > 0).all())

    def count_waiting_buys(self, entry: int | None, free: int) -> int:
        """Return 1 if a BUY still waits after the last bar, otherwise 0.

        The account has no position then.

        Args:
            entry: Bar of the last entry, as for `is_run_used`.
            free: First bar at which a BUY may be due.
        """
        due = self.bars.waiting_buy_due
        if due is None or 0 <= due < free:
            return 0
        if self.closed is not None and self.closed[max(due, 0) :].any():
            return 0
        is_used = due >= 0 and self.is_run_used(due, entry)
        return 0 if is_used and self.rules.reentry == "new_signal" else 1

    def count_waits(self, entries: list[int], exits: list[int], kinds: list[int]) -> dict[int, int]:
        """Return the number of candles that each late order waited, by the bar that filled it.

        Args:
            entries: Bars of the entries; a first one that is negative was carried in.
            exits: Bars of the exits, of which the k-th ends the k-th entry.
            kinds: Kinds of the exits, as indices into EXIT_KINDS.
        """
        if self.untraded is None:
            return {}
        waits: dict[int, int] = {}
        free = self.free
        for bar, exit_bar, kind in zip_longest(entries, exits, kinds):
            if bar > 0:
                waits[bar] = self.count_entry_wait(bar, free)
            if kind == SIGNAL:
                waits[exit_bar] = self.count_exit_wait(exit_bar)
            elif kind == TIME_STOP:
                waits[exit_bar] = exit_bar - bar - (self.rules.exits.time_stop_bars or 0)
            if exit_bar is not None:
                free = exit_bar + 1 + self.rules.cooldown_bars
        return {bar: candles for bar, candles in waits.items() if candles}

    def count_entry_wait(self, bar: int, free: int) -> int:
        """Return the number of candles that the BUY filled in a bar has waited.

        Args:
            bar: Bar that filled the entry.
            free: First bar at which a BUY could be due.
        """
        first = self._find_wait_start(bar, self.closed)
        sells = np.flatnonzero(self.orders[first : bar + 1] < 0)
        if self.waiting > 0 and first == 0 and not len(sells):
            return bar + 1
        first = max(free, first + int(sells[-1]) + 1 if len(sells) else first)
        return bar - (first + int(np.argmax(self.orders[first : bar + 1] > 0)))

    def count_exit_wait(self, bar: int) -> int:
        """Return the number of candles that the SELL filled in a bar has waited."""
        first = self._find_wait_start(bar)
        if self.waiting < 0 and first == 0:
            return bar + 1
        return bar - (first + int(np.argmax(self.orders[first : bar + 1] < 0)))

    def _find_wait_start(self, bar: int, closed: NDArray[np.bool_] | None = None) -> int:
        """Return the first of the bars without a trade right before a bar, or the bar.

        Args:
            bar: The bar.
            closed: Bars at which no order waits, because they drop it, shape (n,); None: none.
        """
        while self.untraded is not None and bar > 0 and self.untraded[bar - 1]:
            if closed is not None and closed[bar - 1]:
                break
            bar -= 1
        return bar
