"""Possible entries of a series of signals, and their exits, before an account takes any of them.

A candidate is one possible entry, on a bar whose open fills a BUY (due_orders.py). The candidates
that are expected to be taken, and their exits, are searched together first (entry_search.py).
Where the account refuses an order, other candidates are added and their exits searched one by one.

With limit orders (limit_orders.py) nothing is searched ahead. The bar of a candidate is first the
one at whose open its order is sent, and from the fill on the bar of the fill (`set_limit_fill`).
"""

from array import array
from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.due_orders import OrderBars
from onetape.engine.entry_search import EntrySearch
from onetape.engine.exit_columns import ExitColumns
from onetape.engine.exits import SIGNAL, BarExit

if TYPE_CHECKING:
    from onetape.engine.known_levels import KnownLevels
    from onetape.engine.limit_orders import LimitFill, LimitOrder, LimitOrders

#: The exit bar of a candidate whose exit has not been searched.
_UNKNOWN: Final = -1
#: Value in place of the next candidate, where that candidate's exit has not been searched.
_UNSEARCHED: Final = -2
#: No candidate.
NO_CANDIDATE: Final = -1


def _make_integer_column(column: NDArray[np.integer]) -> "array[int]":
    """Return whole numbers as a column to which rows can be added.

    Reading one value takes half the time of a NumPy array, and the memory is less than a list's.
    """
    return array("q", column.astype(np.int64).tobytes())


def _make_float_column(column: FloatArray) -> "array[float]":
    """Return floats as a column to which rows can be added."""
    return array("d", column.tobytes())


class BuysOfRuns(NamedTuple):
    """Some of the BUYs of a series; arrays have shape (m,)."""

    bars: IntArray
    """Bar whose open fills each BUY."""
    due: IntArray
    """Bar at which each BUY was due; negative: before the range."""
    runs: IntArray
    """Number of the run of BUYs that each one is part of."""


class EntryPlan:
    """Candidates of one series and their exits; each column has one value per candidate.

    A candidate is identified by its index in the columns; `add_candidate` appends one.
    """

    def __init__(
        self,
        candles: Candles,
        reached: Candles,
        orders: OrderBars,
        rules: AccountConfig,
        levels: "KnownLevels | None" = None,
        limits: "LimitOrders | None" = None,
    ) -> None:
        """Find the entries that are expected to be taken, and their exits.

        Args:
            candles: Traded candles.
            reached: Traded candles with the highs and lows that are compared with levels.
            orders: Due orders, and the bars that fill them.
            rules: Stops, targets, cooldown, re-entry and price step.
            levels: Levels of the strategy; None: the strategy gives none.
            limits: Limit orders of the BUYs; None: all entries are market orders.
        """
        self._candles = candles
        self._orders = orders
        self._cooldown = rules.cooldown_bars
        self._search = EntrySearch(candles, reached, orders, rules, levels)
        self.limits = limits
        """Limit orders of the BUYs; None: all entries are market orders."""
        search = self._search.search if limits is None else self._search.search_nothing
        self._numbers, self.found, self._following = search()
        # `found` has the exit of each candidate of the first search.
        self.entries = orders.buys[self._numbers]
        """Bar of the entry of each candidate that was searched ahead, shape (m,)."""
        self.without_levels: set[int] = set()
        """Candidates whose exit the market refused: only a SELL ends them."""
        self._candidate_of: dict[int, int] = {}
        """Candidates added later, by index into the BUYs."""
        self._limit_of: dict[int, LimitOrder] = {}
        """Limit order of each candidate that has one."""

    @cached_property
    def bars(self) -> "array[int]":
        """Return the bar of each candidate's entry."""
        return _make_integer_column(self.entries)

    @cached_property
    def prices(self) -> "array[float]":
        """Return the open of the bar of each candidate's entry, quote currency."""
        return _make_float_column(self._candles.open[self.entries])

    @cached_property
    def exit_bars(self) -> "array[int]":
        """Return the bar of each candidate's exit; number of candles: none; negative: unknown."""
        return _make_integer_column(self.found.bar)

    @cached_property
    def exit_kinds(self) -> "array[int]":
        """Return the kind of each candidate's exit, as an index into EXIT_KINDS."""
        return _make_integer_column(self.found.kind)

    @cached_property
    def exit_prices(self) -> "array[float]":
        """Return the price of each candidate's exit before slippage, quote currency."""
        return _make_float_column(self.found.price)

    @cached_property
    def ambiguous(self) -> set[int]:
        """Return the candidates whose exit bar allows another exit as well."""
        return set(np.flatnonzero(self.found.is_ambiguous).tolist())

    @cached_property
    def _buy_numbers(self) -> "array[int]":
        """Return the index into the BUYs of each candidate; negative for a position carried in."""
        return _make_integer_column(self._numbers)

    @cached_property
    def _buys(self) -> "array[int]":
        return _make_integer_column(self._orders.buys)

    @cached_property
    def _run_starts(self) -> "array[int]":
        return _make_integer_column(self._orders.run_starts[:-1])

    @cached_property
    def _is_all_searched(self) -> bool:
        return len(self._numbers) == len(self._orders.buys)

    @cached_property
    def _searched_ahead(self) -> "array[int]":
        return _make_integer_column(self._numbers)

    @cached_property
    def _after(self) -> IntArray:
        """Return the next candidate after the exit of each searched one; number of them: none."""
        following = self._following
        candidates = np.searchsorted(self._numbers, following)
        if not len(candidates):
            return candidates
        at = np.minimum(candidates, len(candidates) - 1)
        is_searched = self._numbers[at] == following
        is_none = following >= len(self._orders.buys)
        return np.where(is_searched, candidates, np.where(is_none, len(candidates), _UNSEARCHED))

    @cached_property
    def _searched_exits(self) -> "array[int]":
        """Return the exit bar of each searched candidate, as it was searched."""
        return _make_integer_column(self.found.bar)

    @cached_property
    def _following_candidates(self) -> "array[int]":
        """Return the next candidate after each searched one; see `_after`."""
        return _make_integer_column(self._after)

    def find_route(self, candidate: int) -> IntArray | None:
        """Return the candidates that are taken from this one on if no order is refused.

        None where the exit of one of them has not been searched, or this one was added later.
        """
        after = self._after
        if candidate >= len(after):
            return None
        if (after == np.arange(1, len(after) + 1)).all():
            return np.arange(candidate, len(after))
        following, taken = after.tolist(), list[int]()
        while candidate < len(following):
            taken.append(candidate)
            candidate = following[candidate]
            if candidate < 0:
                return None
        return np.array(taken, dtype=np.int64)

    def find_entry_from(self, bar: int) -> int:
        """Return the candidate of the first entry of a range without a position, or NO_CANDIDATE.

        Args:
            bar: First bar at which a BUY may be due.
        """
        return self._find_or_add_candidate(self._search.find_first_buy(bar))

    def find_entry_after(self, candidate: int, bar: int) -> int:
        """Return the first candidate after the exit of another in this bar, or NO_CANDIDATE."""
        searched = self._searched_exits
        if candidate < len(searched) and searched[candidate] == bar:
            after = self._following_candidates[candidate]
            if after != _UNSEARCHED:
                return after if after < len(searched) else NO_CANDIDATE
        number = self._buy_numbers[candidate]
        if number < 0:
            return self.find_entry_from(bar + self._cooldown + 1)
        following = self._search.find_following_buys(np.array([number]), np.array([bar]))
        return self._find_or_add_candidate(int(following[0]))

    def find_buy_after(self, candidate: int, bar: int = 0) -> int:
        """Return the candidate of the next BUY after one that led to no entry, or NO_CANDIDATE.

        Args:
            candidate: The candidate that led to no entry.
            bar: First bar that may fill the order.
        """
        following = self._buy_numbers[candidate] + 1
        return self._find_or_add_candidate(
            max(bisect_left(self._buys, bar), following) if bar else following
        )

    def get_limit(self, candidate: int) -> "LimitOrder | None":
        """Return the limit order of a candidate; None: it is a market order."""
        return self._limit_of.get(candidate)

    def find_limit_fill(self, candidate: int) -> "LimitFill | None":
        """Return the fill of a candidate's limit order; None: it is not filled."""
        order = self._limit_of[candidate]
        return None if self.limits is None else self.limits.find_fill(order, self.bars[candidate])

    def set_limit_fill(self, candidate: int, fill: "LimitFill") -> None:
        """Make the fill of a candidate's limit order its entry."""
        self.bars[candidate], self.prices[candidate] = fill.bar, fill.price

    def find_buy_after_limit(self, candidate: int, bar: int) -> int:
        """Return the candidate of the first BUY after an unfilled limit order, or NO_CANDIDATE.

        Args:
            candidate: Candidate of the order.
            bar: Bar in which the order ended; a BUY that was due until then was ignored.
        """
        following = int(self._orders.due.searchsorted(bar, side="right"))
        return self._find_or_add_candidate(max(following, self._buy_numbers[candidate] + 1))

    def find_due_bar(self, candidate: int) -> int:
        """Return the bar at which the BUY of a candidate was due; negative: before the range."""
        return int(self._orders.due[self._buy_numbers[candidate]])

    def count_runs_between(self, candidate: int, later: int) -> int:
        """Return the number of BUY runs that begin after a candidate and before a later one.

        Args:
            candidate: A candidate.
            later: A later candidate; NO_CANDIDATE: to the end.
        """
        number = len(self._orders.buys) if later == NO_CANDIDATE else self._buy_numbers[later]
        return self._find_buy_run(number - 1) - self._find_buy_run(self._buy_numbers[candidate])

    def get_buys_between(self, candidate: int, later: int) -> "BuysOfRuns":
        """Return the BUYs after a candidate and before a later one.

        Args:
            candidate: A candidate.
            later: A later candidate; NO_CANDIDATE: to the end.
        """
        orders = self._orders
        end = len(orders.buys) if later == NO_CANDIDATE else self._buy_numbers[later]
        numbers = np.arange(self._buy_numbers[candidate] + 1, end)
        runs = np.searchsorted(orders.run_starts[:-1], numbers, side="right") - 1
        return BuysOfRuns(orders.buys[numbers], orders.due[numbers], runs)

    def find_buy_run(self, candidate: int) -> int:
        """Return the number of the run of BUYs that a candidate is part of."""
        return self._find_buy_run(self._buy_numbers[candidate])

    def _find_buy_run(self, number: int) -> int:
        return bisect_right(self._run_starts, number) - 1

    def _find_or_add_candidate(self, number: int) -> int:
        """Return the candidate of a BUY, added where it was not searched ahead, or NO_CANDIDATE."""
        order = None
        if self.limits is not None:
            number, order = self._find_limit_from(self.limits, number)
        if number >= len(self._orders.buys):
            return NO_CANDIDATE
        if self._is_all_searched:
            return number
        searched = self._searched_ahead
        candidate = bisect_left(searched, number)
        if candidate < len(searched) and searched[candidate] == number:
            return candidate
        if number not in self._candidate_of:
            bar = int(self._orders.buys[number])
            self._candidate_of[number] = self.add_candidate(
                bar, float(self._candles.open[bar]), number
            )
            if order is not None:
                self._limit_of[self._candidate_of[number]] = order
        return self._candidate_of[number]

    def _find_limit_from(
        self, limits: "LimitOrders", number: int
    ) -> "tuple[int, LimitOrder | None]":
        """Return the first BUY from one on that is not a limit order which expired unsent.

        Args:
            limits: Limit orders of the BUYs.
            number: The first BUY, as an index into the BUYs.

        Returns:
            The index of the BUY, or the number of BUYs; and its limit order, or None.
        """
        while number < len(self._orders.buys):
            order = limits.find(number)
            if order is None or order.last >= self._orders.buys[number]:
                return number, order
            number += 1
        return number, None

    def add_candidate(self, bar: int, price: float, number: int = -1) -> int:
        """Return a new candidate, of an entry at this bar.

        Args:
            bar: Negative for a position that was carried in.
            price: Price of the entry, before slippage.
            number: Index into the BUYs; negative for a position that was carried in.
        """
        self._buy_numbers.append(number)
        self.bars.append(bar)
        self.prices.append(price)
        self.exit_bars.append(_UNKNOWN)
        self.exit_kinds.append(_UNKNOWN)
        self.exit_prices.append(float("nan"))
        return len(self.bars) - 1

    def find_exit(self, candidate: int, highest: float | None = None) -> int:
        """Return the exit bar of a candidate, searched at the first call.

        Args:
            candidate: Index of the candidate.
            highest: Highest of a position that was carried in: the highest price before the first
                candle.
        """
        if self.exit_bars[candidate] == _UNKNOWN:
            price = self.prices[candidate]
            self._set_exit(
                candidate,
                self._search.find_exits(
                    np.array([self.bars[candidate]]),
                    np.array([price]),
                    np.array([price if highest is None else highest]),
                ),
            )
        return self.exit_bars[candidate]

    def find_exit_after(self, candidate: int, bar: int, highest: float) -> int:
        """Search the exit of a candidate after a bar that did not end its position; return its bar.

        Args:
            candidate: Index of the candidate.
            bar: The bar.
            highest: Highest price from the entry to the end of the bar.
        """
        entry, price = np.array([self.bars[candidate]]), np.array([self.prices[candidate]])
        found = self._search.find_exits(entry, price, np.array([highest]), np.array([bar + 1]))
        self._set_exit(candidate, found)
        return self.exit_bars[candidate]

    def set_exit_in_bar(self, candidate: int, bar: int, found: BarExit) -> None:
        """Make an exit inside a bar that of a candidate."""
        self.exit_bars[candidate] = bar
        self.replace_exit(candidate, found)

    @property
    def has_levels(self) -> bool:
        """Return whether the inside of a bar can end a position."""
        return self._search.has_levels

    def replace_exit(self, candidate: int, found: BarExit) -> None:
        """Replace the exit of a candidate by another one in the same bar."""
        self.exit_kinds[candidate], self.exit_prices[candidate] = found.kind, found.price
        (self.ambiguous.add if found.is_ambiguous else self.ambiguous.discard)(candidate)

    def _set_exit(self, candidate: int, found: ExitColumns) -> None:
        self.exit_bars[candidate] = int(found.bar[0])
        self.exit_kinds[candidate] = int(found.kind[0])
        self.exit_prices[candidate] = float(found.price[0])
        (self.ambiguous.add if found.is_ambiguous[0] else self.ambiguous.discard)(candidate)

    def is_sell_waiting(self, price: float) -> bool:
        """Return whether a SELL still waits for a trade after the last bar.

        Args:
            price: Price before slippage of the entry that is open then.
        """
        return self._search.is_sell_waiting(price)

    def set_exit_at_next_sell(self, candidate: int, bar: int) -> int:
        """Make the first SELL after a bar the exit of a candidate; return the bar of that exit.

        Used where the market refused the exit order of the position: stops, targets and the time
        stop no longer end this position.
        """
        price = np.array([self.prices[candidate]])
        found = int(self._search.find_sells_after(np.array([bar]), price)[0])
        self.exit_bars[candidate], self.exit_kinds[candidate] = found, SIGNAL
        if found < len(self._candles):
            self.exit_prices[candidate] = float(self._candles.open[found])
        self.ambiguous.discard(candidate)
        self.without_levels.add(candidate)
        return found
