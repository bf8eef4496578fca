"""Search for the BUYs that are expected to enter and for their exits, if no order is refused.

The search uses signals and prices only, not money. A chain is the BUYs between two SELLs.

With `new_signal` each run of BUYs leads to at most one entry: after an exit the next entry is the
first BUY, once the cooldown is over, of a run that has not led to an entry. With `while_signal` it
is the first BUY once the cooldown is over.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.price_steps import make_price_step_column
from onetape.engine.account_config import AccountConfig
from onetape.engine.due_orders import OrderBars
from onetape.engine.exit_columns import ExitColumns, PositionColumns
from onetape.engine.exit_search import ExitSearch
from onetape.engine.exits import SIGNAL, TIME_STOP

if TYPE_CHECKING:
    from onetape.engine.known_levels import KnownLevels
    from onetape.engine.sell_search import SellSearch

#: The exit of a BUY that has not been searched.
_UNKNOWN: Final = -1
#: Mean number of entries in a chain from which it is faster to search the exits of all BUYs at once
#: than entry after entry.
_DENSE_CHAIN: Final = 4
#: With `while_signal`: BUYs in the longest chain above which all BUYs are searched at once.
_LONG_CHAIN: Final = 1_000
#: Rounds of the search for entries in the middle of a run; the others are searched when needed.
_MAX_ROUNDS: Final = 8


class SearchedBuys(NamedTuple):
    """BUYs whose exits have been searched; arrays have shape (m,)."""

    numbers: IntArray
    """Index of each BUY in `OrderBars.buys`, ascending."""
    exits: ExitColumns
    """Exit of the position of each BUY."""
    following: IntArray
    """Index of the BUY of the next entry after each position; the number of BUYs: none."""


class EntrySearch:
    """Entries and exits of one series, counted by the index of their BUY in `OrderBars.buys`."""

    def __init__(
        self,
        candles: Candles,
        reached: Candles,
        orders: OrderBars,
        rules: AccountConfig,
        levels: "KnownLevels | None" = None,
    ) -> None:
        """Prepare; nothing is searched yet.

        Args:
            candles: Traded candles.
            reached: Traded candles with the highs and lows that are compared with levels.
            orders: Due orders, and the bars that fill them.
            rules: Stops, targets, cooldown, re-entry and price step.
            levels: Levels of the strategy; None: the strategy gives none.
        """
        self._candles = candles
        self._orders = orders
        self._exits = rules.exits
        self._levels = levels
        self.has_levels = levels is not None or rules.exits.has_levels
        """Whether the inside of a bar can end a position."""
        self._cooldown = rules.cooldown_bars
        self._all_first = len(orders.run_starts) == len(orders.buys) + 1
        self._once = rules.reentry == "new_signal"
        factor = rules.exits.min_exit_factor
        self._sells = None if factor is None else _make_sell_search(orders, candles, factor)
        self._search = ExitSearch(
            reached,
            rules.exits,
            float(rules.trading_rules.price_step or 0),
            make_price_step_column(rules.trading_rules, candles.timestamp),
            levels,
        )

    def find_first_buy(self, bar: int) -> int:
        """Return the first BUY that may enter without an exit before it in the range.

        Args:
            bar: First bar at which a BUY may be due.
        """
        number = int(np.searchsorted(self._orders.due, bar))
        return max(number, self._orders.usable_from) if self._once else number

    def find_following_buys(self, numbers: IntArray, exit_bar: IntArray) -> IntArray:
        """Return the BUYs that enter after the exits of others; the number of BUYs: none.

        Args:
            numbers: The BUYs that entered.
            exit_bar: Bars at which the positions ended.
        """
        orders = self._orders
        free = np.searchsorted(orders.due, exit_bar + (self._cooldown + 1))
        if not self._once or self._all_first:
            return free
        starts = orders.run_starts
        return np.maximum(free, starts[np.searchsorted(starts[:-1], numbers, side="right")])

    def find_sells_after(self, bar: IntArray, price: FloatArray) -> IntArray:
        """Return the bars that fill the first SELL that counts; the number of bars: none.

        Args:
            bar: Bars after which the SELL is filled, shape (m,).
            price: Price of each position's entry, before slippage, shape (m,).
        """
        return (
            self._find_any_sells_after(bar)
            if self._sells is None
            else self._sells.find_sells_after(bar, price)
        )

    def is_sell_waiting(self, price: float) -> bool:
        """Return whether a SELL of a position still waits for a trade after the last bar."""
        if self._sells is None:
            return self._orders.is_sell_waiting
        return self._sells.is_sell_waiting(price)

    def _find_any_sells_after(self, bar: IntArray) -> IntArray:
        sells = self._orders.sells
        return sells[np.searchsorted(sells, bar, side="right")]

    def find_exits(
        self, entry: IntArray, price: FloatArray, highest: FloatArray, at: IntArray | None = None
    ) -> ExitColumns:
        """Return the exits of positions that do not follow each other; arrays have shape (m,).

        Args:
            entry: Bar of each entry; negative where it was carried in.
            price: Price of each entry, before slippage.
            highest: Highest price of each position before the first bar to search.
            at: First bar to search; None: the entry's bar.
        """
        end, kind = self._find_ends_without_levels(entry, price)
        first = np.maximum(entry, 0) if at is None else at
        levels = None if self._levels is None else self._levels.make_positions(entry, first)
        positions = PositionColumns(entry, price, highest, first, end, levels)
        found = self._search.run(positions) if self.has_levels else ExitColumns.make_unknown(end)
        return self._complete_exits(found, kind)

    def search(self) -> SearchedBuys:
        """Return the BUYs that are expected to enter, and the exits of their positions."""
        orders, first = self._orders, self._orders.run_starts[:-1]
        if not self.has_levels:
            numbers = first if self._can_only_first_buy_enter() else np.arange(len(orders.buys))
            entry = orders.buys[numbers]
            price = self._candles.open[entry]
            exits = self.find_exits(entry, price, price)
            return SearchedBuys(numbers, exits, self.find_following_buys(numbers, exits.bar))
        known = ExitColumns.make_unknown(np.full(len(orders.buys), _UNKNOWN, dtype=np.int64))
        starting_buys, is_dense = self._choose_starting_buys()
        is_tried = np.zeros(len(orders.buys), dtype=np.bool_)
        numbers = following = np.empty(0, dtype=np.int64)
        for _ in range(_MAX_ROUNDS):
            if not len(starting_buys):
                break
            is_tried[starting_buys] = True
            if is_dense:
                self._write_early_exits(starting_buys, known)
            else:
                self._follow(starting_buys, known)
            numbers = np.flatnonzero(known.bar >= 0)
            following = self.find_following_buys(numbers, known.bar[numbers])
            inside = following[following < len(orders.buys)]
            starting_buys = np.unique(inside[(known.bar[inside] < 0) & ~is_tried[inside]])
        entry = orders.buys[numbers]
        ends = self._find_ends_without_levels(entry, self._candles.open[entry])
        exits = self._complete_exits(known.take_rows(numbers), ends[1])
        return SearchedBuys(numbers, exits, following)

    def search_nothing(self) -> SearchedBuys:
        """Return no BUY: the entries depend on limit orders, and their exits are searched later."""
        nothing = np.empty(0, dtype=np.int64)
        return SearchedBuys(nothing, ExitColumns.make_unknown(nothing), nothing)

    def _find_ends_without_levels(
        self, entry: IntArray, price: FloatArray
    ) -> tuple[IntArray, NDArray[np.int8]]:
        """Return bar and kind of the exit of each position without levels."""
        end = self.find_sells_after(entry, price)
        kind = np.full(len(entry), SIGNAL, dtype=np.int8)
        if self._exits.time_stop_bars is not None:
            timed = self._orders.find_fill_bars(entry + self._exits.time_stop_bars)
            kind[timed < end] = TIME_STOP
            end = np.minimum(end, timed)
        return end, kind

    def _make_positions(self, entry: IntArray) -> PositionColumns:
        price = self._candles.open[entry]
        return PositionColumns(
            entry,
            price,
            price,
            entry,
            self._find_ends_without_levels(entry, price)[0],
            None if self._levels is None else self._levels.make_positions(entry, entry),
        )

    def _complete_exits(self, found: ExitColumns, kinds: NDArray[np.int8]) -> ExitColumns:
        """Return exits with kind and price also where no level ended the position.

        Args:
            found: Exits; their kind is negative where no level ended the position.
            kinds: Kind of exit of each position without levels.
        """
        if not len(self._candles):
            return found
        is_plain = found.kind < 0
        kind = np.where(is_plain, kinds, found.kind)
        opens = self._candles.open[np.minimum(found.bar, len(self._candles) - 1)]
        return ExitColumns(
            found.bar, kind, np.where(is_plain, opens, found.price), found.is_ambiguous
        )

    def _can_only_first_buy_enter(self) -> bool:
        """Return whether SELLs alone end positions, so that only a run's first BUY enters."""
        is_plain = self._exits.time_stop_bars is None and not self._cooldown
        return self._all_first or (is_plain and self._orders.traded is None)

    def _choose_starting_buys(self) -> tuple[IntArray, bool]:
        """Return the BUYs to begin the search with, and whether each is searched alone.

        Otherwise the BUYs returned are the first of each chain, and the search follows the entries
        of the chain.
        """
        orders = self._orders
        first = orders.run_starts[:-1]
        chain_of = np.searchsorted(orders.sells, orders.buys[first], side="right")
        chains = first[np.flatnonzero(np.diff(chain_of, prepend=-1))]
        if self._once or self._all_first:
            is_dense = len(first) > _DENSE_CHAIN * len(chains)
            return (first if is_dense else chains), is_dense
        longest = np.diff(np.append(chains, len(orders.buys))).max(initial=0)
        is_dense = bool(longest > _LONG_CHAIN)
        return (np.arange(len(orders.buys)) if is_dense else chains), is_dense

    def _write_early_exits(self, numbers: IntArray, known: ExitColumns) -> None:
        """Write the exits of BUYs that end soon into `known`, which counts BUYs."""
        found, is_known = self._search.find_early_exits(
            self._make_positions(self._orders.buys[numbers])
        )
        known.put(numbers[is_known], found.take_rows(is_known))

    def _follow(self, starts: IntArray, known: ExitColumns) -> None:
        """Write the exits of BUYs, and of the entries after them in their chains, into `known`."""
        buys, current = self._orders.buys, starts.copy()
        chain_end = self._find_any_sells_after(buys[starts])

        def following(chains: IntArray, ended: ExitColumns) -> PositionColumns:
            rows = current[chains]
            known.put(rows, ended)
            new = self.find_following_buys(rows, ended.bar)
            is_next = new < len(buys)
            new = np.where(is_next, new, 0)
            is_next &= (buys[new] < chain_end[chains]) & (known.bar[new] < 0)
            current[chains] = new
            positions = self._make_positions(buys[new])
            # A chain without another entry has nothing to search.
            positions.end[~is_next] = positions.at[~is_next]
            return positions

        self._search.run(self._make_positions(buys[starts]), following)


def _make_sell_search(orders: OrderBars, candles: Candles, min_factor: float) -> "SellSearch":
    # Imported here, because the import takes time and most runs count every SELL.
    from onetape.engine.sell_search import SellSearch

    return SellSearch(orders, candles.close, min_factor)
