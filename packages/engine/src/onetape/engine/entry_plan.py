"""What signals ask for, bar by bar, before an account has its say: entries, and their exits.

A row is one possible entry, on a bar whose open fills a BUY (due_orders.py). Rows that are expected
to be taken have their exits searched together; what an account that refuses orders needs in
addition is searched when it asks.
"""

from array import array
from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.due_orders import OrderBars
from onetape.engine.entry_search import EntrySearch
from onetape.engine.exit_search import Exits
from onetape.engine.exits import SIGNAL, BarExit

#: The exit of a row that nobody has asked for yet.
_UNKNOWN: Final = -1
#: A following row that has not been searched.
_UNSEARCHED: Final = -2
#: No row.
NONE: Final = -1


def _integers(column: NDArray[np.integer]) -> "array[int]":
    """Return whole numbers as a column that single rows are read from and added to.

    A row of it is read in half the time of NumPy's; the numbers of a list would be objects all over
    the memory.
    """
    return array("q", column.astype(np.int64).tobytes())


def _floats(column: FloatArray) -> "array[float]":
    """Return floats as such a column."""
    return array("d", column.tobytes())


class Plan:
    """Possible entries of one series. The columns count rows; rows may be added at their end."""

    def __init__(
        self, candles: Candles, reached: Candles, orders: OrderBars, rules: AccountConfig
    ) -> None:
        """Find the entries that are expected to be taken, and their exits.

        Args:
            candles: Those that are traded.
            reached: The same, with the highs and lows that levels are compared with.
            orders: Which of them fill what.
            rules: Stops, targets, cool-down, re-entry and price step.
        """
        self._candles = candles
        self._orders = orders
        self._cool_down = rules.cool_down_bars
        self._search = EntrySearch(candles, reached, orders, rules)
        self._numbers, self.found, self._following = self._search.search()
        # `found` is how the position of each row that was searched ahead ends.
        self.entries = orders.buys[self._numbers]
        """Bars of these rows' entries."""
        self.given_up: set[int] = set()
        """Rows whose exit the market refused: only a SELL ends them."""
        self._row_of: dict[int, int] = {}
        """Rows added later, by index into the BUYs."""

    @cached_property
    def bars(self) -> "array[int]":
        """Return the bar of each row's entry."""
        return _integers(self.entries)

    @cached_property
    def prices(self) -> "array[float]":
        """Return the open of that bar."""
        return _floats(self._candles.open[self.entries])

    @cached_property
    def exit_bars(self) -> "array[int]":
        """Return the bar of its exit; the number of candles: none; negative: ask `exit_of`."""
        return _integers(self.found.bar)

    @cached_property
    def exit_kinds(self) -> "array[int]":
        """Return its kind, by its number."""
        return _integers(self.found.kind)

    @cached_property
    def exit_prices(self) -> "array[float]":
        """Return its price, before slippage."""
        return _floats(self.found.price)

    @cached_property
    def ambiguous(self) -> set[int]:
        """Return the rows whose exit bar allows another exit as well."""
        return set(np.flatnonzero(self.found.is_ambiguous).tolist())

    @cached_property
    def _buy_numbers(self) -> "array[int]":
        """Return the index into the BUYs of each row; negative for a position carried in."""
        return _integers(self._numbers)

    @cached_property
    def _buys(self) -> "array[int]":
        return _integers(self._orders.buys)

    @cached_property
    def _run_starts(self) -> "array[int]":
        return _integers(self._orders.run_starts[:-1])

    @cached_property
    def _is_all_searched(self) -> bool:
        return len(self._numbers) == len(self._orders.buys)

    @cached_property
    def _searched_ahead(self) -> "array[int]":
        return _integers(self._numbers)

    @cached_property
    def _after(self) -> IntArray:
        """Return the row that follows each searched one's exit; their count: none."""
        following = self._following
        rows = np.searchsorted(self._numbers, following)
        if not len(rows):
            return rows
        at = np.minimum(rows, len(rows) - 1)
        is_searched = self._numbers[at] == following
        is_none = following >= len(self._orders.buys)
        return np.where(is_searched, rows, np.where(is_none, len(rows), _UNSEARCHED))

    @cached_property
    def _searched_exits(self) -> "array[int]":
        """Return the exit bar of each searched row, as it was searched."""
        return _integers(self.found.bar)

    @cached_property
    def _following_rows(self) -> "array[int]":
        """Return `_after`."""
        return _integers(self._after)

    def route(self, row: int) -> IntArray | None:
        """Return the rows that are taken from one on where no order is refused.

        None where one has not been searched, or the row was added.
        """
        after = self._after
        if row >= len(after):
            return None
        if (after == np.arange(1, len(after) + 1)).all():
            return np.arange(row, len(after))
        following, taken = after.tolist(), list[int]()
        while row < len(following):
            taken.append(row)
            row = following[row]
            if row < 0:
                return None
        return np.array(taken, dtype=np.int64)

    def entry_from(self, bar: int) -> int:
        """Return the row of the first entry of a range without a position, or NONE.

        Args:
            bar: First bar at which a BUY may be due.
        """
        return self._row(self._search.first(bar))

    def entry_after(self, row: int, bar: int) -> int:
        """Return the row of the first entry after a row's exit in this bar, or NONE."""
        searched = self._searched_exits
        if row < len(searched) and searched[row] == bar:
            after = self._following_rows[row]
            if after != _UNSEARCHED:
                return after if after < len(searched) else NONE
        number = self._buy_numbers[row]
        if number < 0:
            return self.entry_from(bar + self._cool_down + 1)
        following = self._search.following(np.array([number]), np.array([bar]))
        return self._row(int(following[0]))

    def buy_after(self, row: int, bar: int = 0) -> int:
        """Return the row of the next BUY after one that led to no entry, or NONE.

        Args:
            row: The row that led to no entry.
            bar: First bar that may fill it.
        """
        following = self._buy_numbers[row] + 1
        return self._row(max(bisect_left(self._buys, bar), following) if bar else following)

    def runs_between(self, row: int, later: int) -> int:
        """Return how many runs of BUYs begin after a row and before the BUY of a later one.

        Args:
            row: A row.
            later: A later row; NONE: to the end.
        """
        number = len(self._orders.buys) if later == NONE else self._buy_numbers[later]
        return self._run_of(number - 1) - self._run_of(self._buy_numbers[row])

    def run_of(self, row: int) -> int:
        """Return the number of the run of BUYs that a row is part of."""
        return self._run_of(self._buy_numbers[row])

    def _run_of(self, number: int) -> int:
        return bisect_right(self._run_starts, number) - 1

    def _row(self, number: int) -> int:
        """Return the row of a BUY, added where it was not searched ahead, or NONE."""
        if number >= len(self._orders.buys):
            return NONE
        if self._is_all_searched:
            return number
        searched = self._searched_ahead
        row = bisect_left(searched, number)
        if row < len(searched) and searched[row] == number:
            return row
        if number not in self._row_of:
            bar = int(self._orders.buys[number])
            self._row_of[number] = self.added(bar, float(self._candles.open[bar]), number)
        return self._row_of[number]

    def added(self, bar: int, price: float, number: int = -1) -> int:
        """Return a new row, of an entry at this bar.

        Args:
            bar: Negative for a position that was carried in.
            price: Of the entry, before slippage.
            number: Index into the BUYs; negative for a position that was carried in.
        """
        self._buy_numbers.append(number)
        self.bars.append(bar)
        self.prices.append(price)
        self.exit_bars.append(_UNKNOWN)
        self.exit_kinds.append(_UNKNOWN)
        self.exit_prices.append(float("nan"))
        return len(self.bars) - 1

    def exit_of(self, row: int, highest: float | None = None) -> int:
        """Return the exit bar of a row, searched now where nobody has asked for it.

        Args:
            row: Its number.
            highest: Of a position that was carried in: the highest price before the first candle.
        """
        if self.exit_bars[row] == _UNKNOWN:
            price = self.prices[row]
            self._set_exit(
                row,
                self._search.exits_of(
                    np.array([self.bars[row]]),
                    np.array([price]),
                    np.array([price if highest is None else highest]),
                ),
            )
        return self.exit_bars[row]

    def exit_after(self, row: int, bar: int, highest: float) -> int:
        """Search the exit of a row after a bar that did not end its position, and return its bar.

        Args:
            row: Its number.
            bar: The bar.
            highest: Highest price from the entry to the end of the bar.
        """
        entry, price = np.array([self.bars[row]]), np.array([self.prices[row]])
        found = self._search.exits_of(entry, price, np.array([highest]), np.array([bar + 1]))
        self._set_exit(row, found)
        return self.exit_bars[row]

    def replace_exit(self, row: int, found: BarExit) -> None:
        """Take another exit of a row, in the bar where the position ends anyhow."""
        self.exit_kinds[row], self.exit_prices[row] = found.kind, found.price
        (self.ambiguous.add if found.is_ambiguous else self.ambiguous.discard)(row)

    def _set_exit(self, row: int, found: Exits) -> None:
        self.exit_bars[row] = int(found.bar[0])
        self.exit_kinds[row] = int(found.kind[0])
        self.exit_prices[row] = float(found.price[0])
        (self.ambiguous.add if found.is_ambiguous[0] else self.ambiguous.discard)(row)

    def exit_by_signal(self, row: int, bar: int) -> int:
        """Make the first SELL after a bar the exit of a row, and return it.

        It is what is left to a position whose exit the market refused.
        """
        found = int(self._search.sells_after(np.array([bar]))[0])
        self.exit_bars[row], self.exit_kinds[row] = found, SIGNAL
        if found < len(self._candles):
            self.exit_prices[row] = float(self._candles.open[found])
        self.ambiguous.discard(row)
        self.given_up.add(row)
        return found
