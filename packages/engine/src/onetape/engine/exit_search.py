"""Search for the bar that ends each position, for many entries at once: exits.py's rule in arrays.

Each position is searched in blocks of bars that double in width, and each round searches one block
of many positions, so there is no Python loop over bars. Positions of one chain (between two SELLs)
follow each other and are searched in turn; different chains are searched together.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.trading_rules import ceil_to_steps
from onetape.engine.exit_columns import ExitColumns, PositionColumns
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

if TYPE_CHECKING:
    from onetape.engine.known_levels import KnownLevels

#: Widths of blocks as powers of two: of the first, of the first of a lone position, of the widest.
_FIRST_LEVEL: Final = 4
_LONE_LEVEL: Final = 7
_WIDEST_LEVEL: Final = 16
#: Limit of the bars searched for positions that may not be needed, as a multiple of the candles.
_MAX_BARS_PER_CANDLE: Final = 16
#: Number of bars processed in one go, so that their memory stays in the processor's cache.
_BLOCK_BARS: Final = 1 << 16


class ExitSearch:
    """Search for the first bar in which a position reaches its stop or target."""

    def __init__(
        self,
        candles: Candles,
        exits: ExitConfig,
        price_step: float,
        month_steps: FloatArray | None = None,
        levels: "KnownLevels | None" = None,
    ) -> None:
        """Prepare; nothing is searched yet.

        Args:
            candles: Traded candles, shape (n,).
            exits: Stops and targets.
            price_step: Price step of the market; 0: none.
            month_steps: Price step of each candle, shape (n,); None: all have `price_step`.
            levels: Levels of the strategy; None: the strategy gives none.
        """
        self._candles = candles
        self._exits = exits
        self._step = price_step
        self._month_steps = month_steps
        self._levels = levels
        trailing = exits.trailing_stop
        before = exits.trailing_stop_before_offset
        self._trailing = 0.0 if trailing is None else compute_stop_factor(trailing)
        self._trailing_from = exits.trailing_from
        self._trailing_before = 0.0 if before is None else compute_stop_factor(before)
        self._break_even_from, self._break_even_stop = exits.break_even_from, exits.break_even_stop
        self._has_jumps = bool(self._trailing_from) or exits.break_even is not None
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
            group = alive[level[alive] == common][: max(1, _BLOCK_BARS >> common)]
            ended = self._search_next_block(open_, group, 1 << common, found)
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

        The search ends once it would exceed `_MAX_BARS_PER_CANDLE` bars per candle; positions that
        are still open then are not in the mask.
        """
        count, budget = len(positions.entry), _MAX_BARS_PER_CANDLE * len(self._candles)
        found = ExitColumns.make_unknown(positions.end)
        open_ = positions.take_rows(np.arange(count))
        is_known = open_.at >= open_.end
        alive, level = np.flatnonzero(~is_known), _FIRST_LEVEL
        while len(alive) and len(alive) << level <= budget:
            budget -= len(alive) << level
            rows = max(1, _BLOCK_BARS >> level)
            for start in range(0, len(alive), rows):
                group = alive[start : start + rows]
                is_known[self._search_next_block(open_, group, 1 << level, found)] = True
            alive, level = alive[~is_known[alive]], level + 1
        return found, is_known

    def _search_next_block(
        self, open_: PositionColumns, group: IntArray, width: int, found: ExitColumns
    ) -> IntArray:
        """Search the next block of some positions; return the mask of those that ended."""
        entry, price, highest, at, end, levels = open_.take_rows(group)
        bars = at[:, None] + np.arange(width)
        inside = bars < end[:, None]
        np.minimum(bars, len(self._candles) - 1, out=bars)
        low, high = self._candles.low[bars], self._candles.high[bars]
        before, after = self._compute_highest(high, highest)
        fixed, strategy_target = self._compute_fixed_stops(price[:, None]), None
        if self._levels is not None and levels is not None:
            fixed = np.maximum(fixed, self._levels.compute_stops(levels, bars))
            strategy_target = self._levels.compute_targets(levels, bars)
        # The highest stop that the bar allows is the one that has followed the bar's own high.
        stop = self._compute_stops(fixed, price[:, None], after)
        target = self._compute_targets(price[:, None], bars, entry[:, None], strategy_target)
        touched = (low <= stop) | (high >= target)
        touched &= inside
        first = touched.argmax(axis=1)
        rows = np.arange(len(group))
        is_hit = touched[rows, first]
        hits, at_hit = rows[is_hit], first[is_hit]
        ending = group[is_hit]
        cells = (hits, at_hit)
        before, target, fixed = (
            _take_cells(values, cells, low.shape) for values in (before, target, fixed)
        )
        stop = self._compute_stops(fixed, price[hits], before)
        self._fill(found, ending, bars[cells], price[hits], fixed, stop, target)
        open_.at[group] = at + width
        open_.highest[group] = after[:, -1]
        if open_.levels is not None and levels is not None:
            open_.levels.put(group, levels)
        ran_out = ~is_hit & (at + width >= end)
        late = group[ran_out]
        found.bar[late], found.kind[late] = end[ran_out], -1
        found.price[late], found.is_ambiguous[late] = np.nan, False
        return np.concatenate((ending, late))

    def _compute_highest(
        self, high: FloatArray, carried: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the highest price before each bar of the blocks, and with that bar's own high."""
        if not self._exits.has_moving_stop:
            return carried[:, None], carried[:, None]
        highest = np.empty((len(high), high.shape[1] + 1))
        highest[:, 0] = carried
        highest[:, 1:] = high
        np.maximum.accumulate(highest, axis=1, out=highest)
        return highest[:, :-1], highest[:, 1:]

    def _compute_stops(
        self, fixed: FloatArray, price: FloatArray, highest: FloatArray
    ) -> FloatArray:
        """Return the stop of each bar, or one for all bars of a block."""
        return (
            np.maximum(self._compute_trailing_stops(price, highest), fixed)
            if self._exits.has_moving_stop
            else fixed
        )

    def _compute_trailing_stops(self, price: FloatArray, highest: FloatArray) -> FloatArray:
        if not self._has_jumps:
            return highest * self._trailing
        return compute_trailing_stops(self._make_levels(price), highest)

    def _make_levels(self, price: FloatArray) -> Levels:
        """Return the stops that rising prices set, of positions with these entry prices."""
        return Levels(
            0.0,
            STOP_LOSS,
            math.inf,
            self._trailing,
            price * self._trailing_from,  # pyright: ignore[reportArgumentType] - of each position
            self._trailing_before,
            price * self._break_even_from,  # pyright: ignore[reportArgumentType] - of each position
            price * self._break_even_stop,  # pyright: ignore[reportArgumentType] - of each position
        )

    def _compute_lowest_moved_stops(self, price: FloatArray, low: FloatArray) -> FloatArray:
        """Return `Levels.compute_lowest_moved_stop` of each position."""
        if not self._has_jumps:
            return low
        levels = self._make_levels(price)
        for multiple in sorted((self._trailing_from, self._break_even_from)):
            if math.isfinite(multiple):
                jump = price * multiple
                above = compute_trailing_stops(levels, jump, is_above=True)
                is_jumped = low > compute_trailing_stops(levels, jump)
                low = np.where(is_jumped, np.maximum(low, above), low)
        return low

    def _compute_fixed_stops(self, price: FloatArray) -> FloatArray:
        if self._exits.stop_loss is None:
            return np.full(price.shape, -np.inf)
        return price * compute_stop_factor(self._exits.stop_loss)

    def _compute_targets(
        self, price: FloatArray, bars: IntArray, entry: IntArray, strategy_target: FloatArray | None
    ) -> FloatArray:
        """Return the target of each bar, in whole price steps, not above the strategy's target."""
        row = 0
        if len(self._ages):
            row = np.searchsorted(self._ages, bars - entry, side="right")
        target = price * self._factors[row]
        if strategy_target is not None:
            target = np.minimum(target, strategy_target)
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
        fixed: FloatArray,
        stop: FloatArray,
        target: FloatArray,
    ) -> None:
        """Store the exits that `exits.find_exit_in_bar` returns for bars that reach a level.

        Args:
            found: Exits, changed in place.
            ending: Rows of the positions.
            bar: Bar of each position's exit.
            price: Price of each position's entry.
            fixed: Stop of each position without the trailing stop.
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
        is_trailing |= stop > fixed
        inside = np.where(low <= at_open, at_open, self._compute_lowest_moved_stops(price, low))
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


def compute_trailing_stops(
    levels: Levels, highest: FloatArray, *, is_above: bool = False
) -> FloatArray:
    """Return `Levels.compute_trailing_stop` of prices that are the highest so far, shape (m,)."""
    stops = highest * levels.trailing
    if np.any(levels.trailing_from):
        before = np.minimum(highest, levels.trailing_from) * levels.trailing_before
        after = np.maximum(before, stops)
        stops = np.where(_is_higher(highest, levels.trailing_from, is_above), after, before)
    if np.any(levels.break_even_stop):
        is_even = _is_higher(highest, levels.break_even_from, is_above)
        stops = np.where(is_even, np.maximum(stops, levels.break_even_stop), stops)
    return stops


def _is_higher(highest: FloatArray, bound: float, is_above: bool) -> NDArray[np.bool_]:
    return highest >= bound if is_above else highest > bound


def _take_cells(
    values: FloatArray, cells: tuple[IntArray, IntArray], shape: tuple[int, ...]
) -> FloatArray:
    """Return single cells of an array that may have one column for all bars."""
    return np.broadcast_to(values, shape)[cells]
