"""Search for the bar that ends each position, for many entries at once: exits.py's rule in arrays.

Each position is searched in blocks of bars that double in width, and each round searches one block
of many positions, so there is no Python loop over bars. Positions of one chain (between two SELLs)
follow each other and are searched in turn; different chains are searched together.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.trading_rules import ceil_to_steps
from onetape.engine.exit_config import ExitConfig
from onetape.engine.exits import (
    EQUAL_UP_TO,
    STOP_LOSS,
    TARGET,
    TRAILING_STOP,
    Levels,
    compute_stop_factor,
    compute_target_factor,
)

#: Widths of blocks as powers of two: of the first, of the first of a lone position, of the widest.
_FIRST_LEVEL: Final = 4
_LONE_LEVEL: Final = 7
_WIDEST_LEVEL: Final = 16
#: Limit of the bars searched for positions that may not be needed, as a multiple of the candles.
_GUESSED: Final = 16
#: Number of bars processed in one go, so that their memory stays in the processor's cache.
_CELLS: Final = 1 << 16


class PositionColumns(NamedTuple):
    """Positions whose exits are searched, in columns; arrays have shape (m,)."""

    entry: IntArray
    """Bar whose open filled the entry; before the first bar (negative) where it was carried in."""
    price: FloatArray
    """Price of each entry before slippage, quote currency."""
    highest: FloatArray
    """Highest of each position's entry price and of the highs before `at`, quote currency."""
    at: IntArray
    """First bar of each position to search."""
    end: IntArray
    """Bar at whose open each position ends if no level ends it before (a SELL, a time stop)."""

    def take_rows(self, rows: IntArray) -> "PositionColumns":
        """Return the rows with these indices, as copies."""
        return PositionColumns(
            self.entry[rows], self.price[rows], self.highest[rows], self.at[rows], self.end[rows]
        )

    def put(self, rows: IntArray, new: "PositionColumns") -> None:
        """Replace the rows with these indices, in place."""
        for column, values in zip(self, new, strict=True):
            column[rows] = values


class ExitColumns(NamedTuple):
    """Exits of positions, in columns; arrays have shape (m,)."""

    bar: IntArray
    """Bar of each exit; the position's `end` where no level ended the position."""
    kind: NDArray[np.int8]
    """Kind of each exit, as an index into EXIT_KINDS; -1: no level ended the position."""
    price: FloatArray
    """Price of each exit before slippage; NaN: no level ended the position."""
    is_ambiguous: NDArray[np.bool_]
    """Whether the prices of the exit's bar allow another exit as well."""

    def take_rows(self, rows: IntArray | NDArray[np.bool_]) -> "ExitColumns":
        """Return the rows with these indices, as copies."""
        return ExitColumns(
            self.bar[rows], self.kind[rows], self.price[rows], self.is_ambiguous[rows]
        )

    def put(self, rows: IntArray | NDArray[np.bool_], new: "ExitColumns") -> None:
        """Replace the rows with these indices, in place."""
        for column, values in zip(self, new, strict=True):
            column[rows] = values

    @classmethod
    def make_unknown(cls, bar: IntArray) -> "ExitColumns":
        """Return exits at these bars with unknown kind (-1) and price (NaN)."""
        count = len(bar)
        return cls(
            bar.copy(),
            np.full(count, -1, dtype=np.int8),
            np.full(count, np.nan),
            np.zeros(count, dtype=np.bool_),
        )


class ExitSearch:
    """Search for the first bar in which a position reaches its stop or target."""

    def __init__(
        self,
        candles: Candles,
        exits: ExitConfig,
        price_step: float,
        month_steps: FloatArray | None = None,
    ) -> None:
        """Prepare; nothing is searched yet.

        Args:
            candles: Traded candles, shape (n,).
            exits: Stops and targets.
            price_step: Price step of the market; 0: none.
            month_steps: Price step of each candle, shape (n,); None: all have `price_step`.
        """
        self._candles = candles
        self._exits = exits
        self._step = price_step
        self._month_steps = month_steps
        trailing = exits.trailing_stop
        before = exits.trailing_stop_before_offset
        self._trailing = 0.0 if trailing is None else compute_stop_factor(trailing)
        self._trailing_from = exits.trailing_from
        self._trailing_before = 0.0 if before is None else compute_stop_factor(before)
        starts = [age for age, _ in exits.target_rows]
        self._ages = np.array(starts, dtype=np.int64)
        # The first element holds for bars before the table's first row.
        ages = [-1, *starts]
        self._factors = np.array(
            [compute_target_factor(exits.compute_target_ratio(age)) for age in ages]
        )

    def run(
        self,
        positions: PositionColumns,
        following: Callable[[IntArray, ExitColumns], PositionColumns] | None = None,
    ) -> ExitColumns:
        """Return the exit of each position.

        Args:
            positions: The first position of each chain.
            following: Called with the chains whose positions ended, and their exits; returns the
                next position of each chain, with `entry` equal to `end` at the end of the chain.
                None: each chain has one position.
        """
        count = len(positions.entry)
        first = _LONE_LEVEL if count == 1 else _FIRST_LEVEL
        found = ExitColumns.make_unknown(positions.end)
        open_ = positions.take_rows(np.arange(count))
        level = np.full(count, first, dtype=np.int64)
        alive = np.flatnonzero(open_.at < open_.end)
        while len(alive):
            common = int(np.bincount(level[alive]).argmax())
            group = alive[level[alive] == common][: max(1, _CELLS >> common)]
            ended = self._look(open_, group, 1 << common, found)
            if following is not None and len(ended):
                open_.put(ended, following(ended, found.take_rows(ended)))
                level[ended] = first
            going = np.setdiff1d(group, ended, assume_unique=True)
            level[going] = min(common + 1, _WIDEST_LEVEL)
            done = ended if following is None else ended[open_.at[ended] >= open_.end[ended]]
            alive = np.setdiff1d(alive, done, assume_unique=True) if len(done) else alive
        return found

    def find_early_exits(self, positions: PositionColumns) -> tuple[ExitColumns, NDArray[np.bool_]]:
        """Return the exits of positions that end soon, and a mask of these positions.

        The search ends once it would exceed `_GUESSED` bars per candle; positions that are still
        open then are not in the mask.
        """
        count, left = len(positions.entry), _GUESSED * len(self._candles)
        found = ExitColumns.make_unknown(positions.end)
        open_ = positions.take_rows(np.arange(count))
        is_known = open_.at >= open_.end
        alive, level = np.flatnonzero(~is_known), _FIRST_LEVEL
        while len(alive) and len(alive) << level <= left:
            left -= len(alive) << level
            rows = max(1, _CELLS >> level)
            for start in range(0, len(alive), rows):
                group = alive[start : start + rows]
                is_known[self._look(open_, group, 1 << level, found)] = True
            alive, level = alive[~is_known[alive]], level + 1
        return found, is_known

    def _look(
        self, open_: PositionColumns, group: IntArray, width: int, found: ExitColumns
    ) -> IntArray:
        """Search the next block of some positions; return the mask of those that ended."""
        entry, price, highest, at, end = open_.take_rows(group)
        bars = at[:, None] + np.arange(width)
        inside = bars < end[:, None]
        np.minimum(bars, len(self._candles) - 1, out=bars)
        low, high = self._candles.low[bars], self._candles.high[bars]
        before, after = self._compute_highest(high, highest)
        # The highest stop that the bar allows is the one that has followed the bar's own high.
        stop = self._compute_stops(price[:, None], after)
        target = self._compute_targets(price[:, None], bars, entry[:, None])
        touched = (low <= stop) | (high >= target)
        touched &= inside
        first = touched.argmax(axis=1)
        rows = np.arange(len(group))
        is_hit = touched[rows, first]
        hits, at_hit = rows[is_hit], first[is_hit]
        ending = group[is_hit]
        cells = (hits, at_hit)
        before, target = (_take_cells(values, cells, low.shape) for values in (before, target))
        stop = self._compute_stops(price[hits], before)
        self._fill(found, ending, bars[cells], price[hits], stop, target)
        open_.at[group] = at + width
        open_.highest[group] = after[:, -1]
        ran_out = ~is_hit & (at + width >= end)
        late = group[ran_out]
        found.bar[late], found.kind[late] = end[ran_out], -1
        found.price[late], found.is_ambiguous[late] = np.nan, False
        return np.concatenate((ending, late))

    def _compute_highest(
        self, high: FloatArray, carried: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the highest price before each bar of the blocks, and with that bar's own high."""
        if not self._trailing:
            return carried[:, None], carried[:, None]
        highest = np.empty((len(high), high.shape[1] + 1))
        highest[:, 0] = carried
        highest[:, 1:] = high
        np.maximum.accumulate(highest, axis=1, out=highest)
        return highest[:, :-1], highest[:, 1:]

    def _compute_stops(self, price: FloatArray, highest: FloatArray) -> FloatArray:
        """Return the stop of each bar, or one for all bars of a block."""
        fixed = self._compute_fixed_stops(price)
        return (
            np.maximum(self._compute_trailing_stops(price, highest), fixed)
            if self._trailing
            else fixed
        )

    def _compute_trailing_stops(self, price: FloatArray, highest: FloatArray) -> FloatArray:
        if not self._trailing_from:
            return highest * self._trailing
        levels = Levels(
            0.0,
            STOP_LOSS,
            math.inf,
            self._trailing,
            price * self._trailing_from,  # pyright: ignore[reportArgumentType] - of each position
            self._trailing_before,
        )
        return compute_trailing_stops(levels, highest)

    def _compute_least_moved_stops(self, price: FloatArray, low: FloatArray) -> FloatArray:
        """Return `Levels.compute_least_moved_stop` of each position."""
        if not self._trailing_from:
            return low
        begins = price * self._trailing_from
        is_jumped = low > begins * self._trailing_before
        return np.where(is_jumped, np.maximum(low, begins * self._trailing), low)

    def _compute_fixed_stops(self, price: FloatArray) -> FloatArray:
        if self._exits.stop_loss is None:
            return np.full(price.shape, -np.inf)
        return price * compute_stop_factor(self._exits.stop_loss)

    def _compute_targets(self, price: FloatArray, bars: IntArray, entry: IntArray) -> FloatArray:
        """Return the target of each bar, of whole price steps."""
        row = 0
        if len(self._ages):
            row = np.searchsorted(self._ages, bars - entry, side="right")
        target = price * self._factors[row]
        if not self._step:
            return target
        step = self._step if self._month_steps is None else self._month_steps[bars]
        return ceil_to_steps(target, step)

    def _fill(
        self,
        found: ExitColumns,
        ending: IntArray,
        bar: IntArray,
        price: FloatArray,
        stop: FloatArray,
        target: FloatArray,
    ) -> None:
        """Store the exits that `exits.find_exit_in_bar` returns for bars that reach a level.

        Args:
            found: Exits, changed in place.
            ending: Rows of the positions.
            bar: Bar of each position's exit.
            price: Price of each position's entry.
            stop: Stop known before the bar opened.
            target: Target of the bar.
        """
        candles = self._candles
        open_, high, low = candles.open[bar], candles.high[bar], candles.low[bar]
        at_open = np.maximum(stop, self._compute_trailing_stops(price, open_))
        reached = self._compute_trailing_stops(price, np.minimum(high, target))
        highest_stop = np.maximum(at_open, reached)
        by_stop = (open_ <= stop) | ((low <= highest_stop) & (open_ < target))
        is_trailing = (np.maximum(at_open, low) > stop) & (open_ > stop)
        is_trailing |= stop > self._compute_fixed_stops(price)
        inside = np.where(low <= at_open, at_open, self._compute_least_moved_stops(price, low))
        stopped = np.where(open_ <= stop, open_, inside)
        level = np.where(by_stop, stopped, np.maximum(open_, target))
        found.bar[ending] = bar
        found.kind[ending] = np.where(
            by_stop, np.where(is_trailing, TRAILING_STOP, STOP_LOSS), TARGET
        )
        found.price[ending] = level
        found.is_ambiguous[ending] = (
            by_stop & (open_ > stop) & ((high >= target) | (highest_stop > at_open * EQUAL_UP_TO))
        )


def compute_trailing_stops(levels: Levels, highest: FloatArray) -> FloatArray:
    """Return `Levels.compute_trailing_stop` of prices that are the highest so far, shape (m,)."""
    if not np.any(levels.trailing_from):
        return highest * levels.trailing
    before = np.minimum(highest, levels.trailing_from) * levels.trailing_before
    after = np.maximum(before, highest * levels.trailing)
    return np.where(highest > levels.trailing_from, after, before)


def _take_cells(
    values: FloatArray, cells: tuple[IntArray, IntArray], shape: tuple[int, ...]
) -> FloatArray:
    """Return single cells of an array that may have one column for all bars."""
    return np.broadcast_to(values, shape)[cells]
