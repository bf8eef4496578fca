"""Search for the SELL that ends a position, if a SELL must have a profit (`exit_profit_offset`)."""

from typing import Final

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.due_orders import OrderBars

#: In place of the close of a SELL from before the range, which has been found to count already.
_KNOWN_TO_COUNT: Final = np.inf


class SellSearch:
    """Finds the first SELL after a bar that counts: its candle closed above a minimum price."""

    def __init__(self, orders: OrderBars, close: FloatArray, min_factor: float) -> None:
        """Prepare the search.

        Args:
            orders: Orders, with the bars that fill SELLs.
            close: Closes of the traded candles, shape (n,).
            min_factor: Close above which a SELL counts, as a multiple of the entry's price.
        """
        self._fills, self._min_factor, self._count = orders.sell_fills, min_factor, len(close)
        signals = orders.sell_signals
        # One element more than there are SELLs, so that a search works without any SELL.
        closes = np.full(len(signals) + 1, _KNOWN_TO_COUNT)
        inside = np.flatnonzero(signals > 0)
        closes[inside] = close[signals[inside] - 1]
        # The highest close of 1, 2, 4 ... SELLs in a row: the search skips as many at a time.
        self._highest = [closes]
        while 1 << len(self._highest) <= len(closes):
            width = 1 << (len(self._highest) - 1)
            before = self._highest[-1]
            self._highest.append(np.maximum(before[:-width], before[width:]))

    def find_sells_after(self, bar: IntArray, price: FloatArray) -> IntArray:
        """Return the bars that fill the first SELL that counts; the number of bars: none.

        Args:
            bar: Bars after which the SELL is filled, shape (m,).
            price: Price of each position's entry, before slippage, shape (m,).
        """
        at = np.searchsorted(self._fills, bar, side="right")
        bound = price * self._min_factor
        for level in range(len(self._highest) - 1, -1, -1):
            highest = self._highest[level]
            is_inside = at < len(highest)
            is_under = is_inside & (highest[np.where(is_inside, at, 0)] <= bound)
            at = np.where(is_under, at + (1 << level), at)
        return np.append(self._fills, self._count)[at]

    def is_sell_waiting(self, price: float) -> bool:
        """Return whether a SELL that counts still waits for a trade after the last bar."""
        waiting = np.flatnonzero(self._fills == self._count)
        return bool((self._highest[0][waiting] > price * self._min_factor).any())
