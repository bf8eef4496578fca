"""What signals ask for, bar by bar, before an account has its say: entries, and their exits.

A row is one possible entry. Rows that are expected to be taken have their exits searched together;
what an account that refuses orders needs beside them is searched when it asks. Bars are those whose
open fills an order: the signal came on the bar before.
"""

from bisect import bisect_left
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.price_steps import price_step_column
from onetape.engine.exits import SIGNAL, TIME_STOP, BarExit
from onetape.engine.rules import Rules
from onetape.engine.search import Exits, LevelSearch, Positions

#: The exit of a row that nobody has asked for yet.
_UNKNOWN: Final = -1
#: Edges in a lane, on average, from which taking them in turn is slower than looking at all.
_MANY: Final = 4
#: No row.
NONE: Final = -1


class Plan:
    """Possible entries of one series. The lists count rows; rows may be added at their end."""

    def __init__(
        self, candles: Candles, orders: NDArray[np.int8], rules: Rules, *, is_rise: bool = True
    ) -> None:
        """Find the entries, and the exits of those that are expected to be taken.

        Args:
            candles: Those that are traded.
            orders: For each of them what is to be done at its open: 1 BUY, -1 SELL, 0 nothing.
            rules: Stops, targets, cool-down and price step.
            is_rise: Whether a BUY at the first open is the first of its run.
        """
        self._candles = candles
        self._exits = rules.exits
        self._cool_down = rules.cool_down_bars
        month_steps = price_step_column(rules.steps, candles.timestamp)
        self._search = LevelSearch(
            candles, rules.exits, float(rules.steps.price_step or 0), month_steps
        )
        # Of a truth NumPy finds the few faster than of small numbers, twenty times.
        events = np.flatnonzero(orders != 0)
        sides = orders[events]
        self._buys = events[sides > 0]
        # The end of the range stands behind the last SELL.
        self._sells = np.append(events[sides < 0], len(candles))
        self.edges = self._buys[np.diff(self._buys, prepend=-2 if is_rise else -1) != 1]
        """Bars of the entries: the first of each run of BUYs."""
        self.found = self._searched()
        """How each edge's position ends; the bar is negative where nobody has asked yet."""
        self.given_up: set[int] = set()
        """Rows whose exit the market refused: only a SELL ends them."""

    @cached_property
    def bars(self) -> list[int]:
        """Return the bar of each row's entry."""
        return self.edges.tolist()

    @cached_property
    def prices(self) -> list[float]:
        """Return the open of that bar."""
        return self._candles.open[self.edges].tolist()

    @cached_property
    def exit_bars(self) -> list[int]:
        """Return the bar of its exit; the number of candles: none; negative: ask `exit_of`."""
        return self.found.bar.tolist()

    @cached_property
    def exit_kinds(self) -> list[int]:
        """Return its kind, by its number."""
        return self.found.kind.tolist()

    @cached_property
    def exit_prices(self) -> list[float]:
        """Return its price, before slippage."""
        return self.found.price.tolist()

    @cached_property
    def ambiguous(self) -> set[int]:
        """Return the rows whose exit bar allows another exit as well."""
        return set(np.flatnonzero(self.found.is_ambiguous).tolist())

    @cached_property
    def _edge_list(self) -> list[int]:
        return self.edges.tolist()

    def route(self, row: int) -> IntArray | None:
        """Return the rows that are taken from one on where no order is refused.

        None where an exit has not been searched yet, or the row was added.
        """
        if row >= len(self.edges):
            return None
        after = np.searchsorted(self.edges, self.found.bar + (self._cool_down + 1))
        if (after == np.arange(1, len(after) + 1)).all():
            rows = np.arange(row, len(after))
        else:
            following, taken = after.tolist(), list[int]()
            while row < len(following):
                taken.append(row)
                # An exit that is not known leads nowhere.
                row = max(following[row], row + 1)
            rows = np.array(taken, dtype=np.int64)
        return rows if (self.found.bar[rows] >= 0).all() else None

    def entry_after(self, bar: int) -> int:
        """Return the row of the first entry after an exit in this bar, or NONE."""
        return self.entry_from(bar + self._cool_down + 1)

    def entry_from(self, bar: int) -> int:
        """Return the row of the first entry at this bar or later, or NONE."""
        row = bisect_left(self._edge_list, bar)
        return row if row < len(self._edge_list) else NONE

    def retry_after(self, bar: int) -> int:
        """Return the row of the first BUY after a refused one, a run's first or not, or NONE."""
        number = int(np.searchsorted(self._buys, bar, side="right"))
        if number >= len(self._buys):
            return NONE
        again = int(self._buys[number])
        row = bisect_left(self._edge_list, again)
        if row < len(self._edge_list) and self._edge_list[row] == again:
            return row
        return self.added(again, float(self._candles.open[again]))

    def added(self, bar: int, price: float) -> int:
        """Return a new row, of an entry at this bar."""
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
                self._exits_of(
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
        found = self._exits_of(entry, price, np.array([highest]), np.array([bar + 1]))
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
        found = int(self._sells[np.searchsorted(self._sells, bar, side="right")])
        self.exit_bars[row], self.exit_kinds[row] = found, SIGNAL
        if found < len(self._candles):
            self.exit_prices[row] = float(self._candles.open[found])
        self.ambiguous.discard(row)
        self.given_up.add(row)
        return found

    def _ends(self, entry: IntArray) -> tuple[IntArray, NDArray[np.int8]]:
        """Return where positions end without levels, and by what."""
        end = self._sells[np.searchsorted(self._sells, entry, side="right")]
        kind = np.full(len(entry), SIGNAL, dtype=np.int8)
        if self._exits.time_stop_bars is not None:
            timed = entry + self._exits.time_stop_bars
            kind[timed < end] = TIME_STOP
            end = np.minimum(end, timed)
        return end, kind

    def _positions(self, entry: IntArray) -> Positions:
        price = self._candles.open[entry]
        return Positions(entry, price, price, entry, self._ends(entry)[0])

    def _exits_of(
        self, entry: IntArray, price: FloatArray, highest: FloatArray, at: IntArray | None = None
    ) -> Exits:
        """Return how positions end that are searched on their own.

        Args:
            entry: Bar of each entry; negative where it was carried in.
            price: Price of each entry, before slippage.
            highest: Highest price of each position before the first bar to look at.
            at: First bar to look at; None: the entry's.
        """
        end, _ = self._ends(entry)
        first = np.maximum(entry, 0) if at is None else at
        positions = Positions(entry, price, highest, first, end)
        found = self._search.run(positions) if self._exits.has_levels else Exits.unknown(end)
        return self._completed(found, entry)

    def _completed(self, found: Exits, entry: IntArray) -> Exits:
        """Return exits with kind and price also where no level ended the position."""
        if not len(self._candles):
            return found
        is_plain = found.kind < 0
        kind = np.where(is_plain, self._ends(entry)[1], found.kind)
        opens = self._candles.open[np.minimum(found.bar, len(self._candles) - 1)]
        return Exits(found.bar, kind, np.where(is_plain, opens, found.price), found.is_ambiguous)

    def _searched(self) -> Exits:
        """Return the exits of all edges; unknown where an edge is not expected to be taken."""
        edges = self.edges
        if not self._exits.has_levels:
            price = self._candles.open[edges]
            return self._exits_of(edges, price, price)
        lane_of = np.searchsorted(self._sells, edges, side="right")
        first = np.flatnonzero(np.diff(lane_of, prepend=-1))
        known = Exits.unknown(np.full(len(edges), _UNKNOWN, dtype=np.int64))
        if len(edges) > _MANY * len(first):
            found, is_known = self._search.guess(self._positions(edges))
            known.put(is_known, self._completed(found, edges).taken(is_known))
            return known
        current = first.copy()

        def following(lanes: IntArray, ended: Exits) -> Positions:
            rows = current[lanes]
            known.put(rows, ended)
            new = np.searchsorted(edges, ended.bar + self._cool_down, side="right")
            is_next = new < len(edges)
            new[~is_next] = 0
            is_next &= lane_of[new] == lane_of[rows]
            current[lanes] = new
            positions = self._positions(edges[new])
            # A lane without another entry has nothing to look at.
            positions.end[~is_next] = positions.at[~is_next]
            return positions

        self._search.run(self._positions(edges[first]), following)
        is_known = known.bar >= 0
        known.put(is_known, self._completed(known, edges).taken(is_known))
        return known
