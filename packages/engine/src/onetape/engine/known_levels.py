"""Stop and target of a strategy (core.strategy_levels) for the positions of a traded range.

Element b of a column is the price that is known at the open of bar b, which the strategy gave for
the candle before. Element 0 has the levels at the end of an earlier range; one more element has the
levels at the end of this range.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import FloatArray, IntArray
from onetape.core.strategy_levels import LevelColumns, LevelRow
from onetape.engine.exit_config import NOISE


class PositionLevels(NamedTuple):
    """Levels of positions while their exits are searched, in columns; arrays have shape (m,)."""

    stop: FloatArray
    """Stop in force before the bars that are still to search; minus infinity: none."""
    target: FloatArray
    """Target in force where no bar from `since` on has another one; infinity: none."""
    since: IntArray
    """First bar whose target, known at its open, is the position's."""

    def take_rows(self, rows: IntArray) -> "PositionLevels":
        """Return the rows with these indices, as copies."""
        return PositionLevels(self.stop[rows], self.target[rows], self.since[rows])

    def put(self, rows: IntArray, new: "PositionLevels") -> None:
        """Replace the rows with these indices, in place."""
        for column, values in zip(self, new, strict=True):
            column[rows] = values


class KnownLevels:
    """The levels of a strategy that are known at each open of a range of n bars."""

    def __init__(
        self,
        columns: LevelColumns,
        signal: NDArray[np.int8],
        start_index: int,
        *,
        before: LevelRow | None,
        carried: LevelRow | None,
        has_waits: bool,
    ) -> None:
        """Prepare.

        Args:
            columns: Levels of all candles, warm-up included.
            signal: Signals of all candles.
            start_index: First candle of the range.
            before: Levels of an entry whose BUY came before the range; None: none.
            carried: Levels of the position that is open at the start of the range; None: none.
            has_waits: Whether an order may wait for a candle with a trade.
        """
        self._modes = columns.stop_mode, columns.target_mode
        self._is_stop_moved = columns.stop_mode == "each_candle"
        self._is_target_moved = columns.target_mode == "each_candle"
        first, position = before or LevelRow(), carried or LevelRow()
        count = len(signal) - start_index
        stop = _make_known(columns.stop, start_index, count, first.stop)
        target = _make_known(columns.target, start_index, count, first.target)
        self._stop = np.where(np.isnan(stop), -math.inf, stop)
        self._target = np.where(np.isnan(target), math.inf, target)
        self._carried = (
            -math.inf if position.stop is None else position.stop,
            math.inf if position.target is None else position.target,
        )
        self._newest_target = _find_newest(~np.isnan(target)) if self._is_target_moved else None
        # The bar at which the newest BUY was known; that of an entry where no order waits.
        buys = np.append(False, signal[start_index:] > 0)
        self._newest_buy = np.maximum(_find_newest(buys), 0)
        self._has_waits = has_waits
        self._since: dict[int, int] = {}
        """By bar of an entry by a limit order, the bar at which its BUY was known."""

    def note_limit_entry(self, entry: int, since: int) -> None:
        """Note that a limit order was filled: the levels are those of the BUY that led to it.

        Args:
            entry: Bar in which the order was filled.
            since: Bar at whose open that BUY was due.
        """
        self._since[entry] = since

    def make_positions(self, entry: IntArray, at: IntArray) -> PositionLevels:
        """Return the levels of positions.

        Args:
            entry: Bar of each entry; negative for the position that was carried in, shape (m,).
            at: First bar of each position that is searched, shape (m,).
        """
        is_carried = entry < 0
        since = np.maximum(entry, 0)
        if self._has_waits:
            since = self._newest_buy[since]
        if self._since:
            bars = entry.tolist()
            since = np.array(
                [self._since.get(bar, own) for bar, own in zip(bars, since.tolist(), strict=True)],
                dtype=np.int64,
            )
        stop, target = self._stop[since], self._target[since]
        if self._is_target_moved:
            target = np.full(len(entry), math.inf)
        if is_carried.any():
            stop[is_carried], target[is_carried] = self._carried
        if self._is_stop_moved:
            # Few: entries that waited for a trade or a limit, and positions searched again.
            for row in np.flatnonzero(since < at).tolist():
                newer = self._stop[since[row] : at[row] + 1]
                stop[row] = max(stop[row], float(newer.max()))
        return PositionLevels(stop, target, since)

    def compute_stops(self, levels: PositionLevels, bars: IntArray) -> FloatArray:
        """Return the stop of each position in bars that follow each other, one row a position.

        Args:
            levels: Levels of the positions, shape (m,).
            bars: The bars, shape (m, w).

        Returns:
            Shape (m, w), or (m, 1) where the stops stay.
        """
        if not self._is_stop_moved:
            return levels.stop[:, None] * (1 + NOISE)
        stops = np.empty((len(bars), bars.shape[1] + 1))
        stops[:, 0] = levels.stop
        stops[:, 1:] = self._stop[bars]
        np.maximum.accumulate(stops, axis=1, out=stops)
        # The positions go on with the stop of their last bar.
        levels.stop[:] = stops[:, -1]
        return stops[:, 1:] * (1 + NOISE)

    def compute_targets(self, levels: PositionLevels, bars: IntArray) -> FloatArray:
        """Return the target of each position in its bars; arguments and shapes as of the stops."""
        if self._newest_target is None:
            return levels.target[:, None] * (1 - NOISE)
        newest = self._newest_target[bars]
        moved = np.where(
            newest >= levels.since[:, None], self._target[newest], levels.target[:, None]
        )
        return moved * (1 - NOISE)

    def find_row(self, entry: int, bar: int) -> LevelRow:
        """Return the levels in force in a bar of a position.

        Args:
            entry: Bar of the entry; negative for the position that was carried in.
            bar: The bar; the number of bars: after the range.
        """
        levels = self.make_positions(np.array([entry]), np.array([bar]))
        target = float(levels.target[0])
        if self._newest_target is not None and self._newest_target[bar] >= levels.since[0]:
            target = float(self._target[self._newest_target[bar]])
        return self._make_row(float(levels.stop[0]), target)

    def find_moves(self, entry: int, last: int) -> IntArray:
        """Return the bars of a position at whose open a new price is known that may move a level.

        Args:
            entry: Bar of the entry; negative for the position that was carried in.
            last: Last bar of the position.
        """
        first = max(entry, 0)
        bars = slice(first, last + 1)
        is_moved = np.zeros(last + 1 - first, dtype=np.bool_)
        if self._is_stop_moved:
            is_moved |= np.isfinite(self._stop[bars])
        if self._is_target_moved:
            is_moved |= np.isfinite(self._target[bars])
        return np.flatnonzero(is_moved) + first

    def find_last_row(self) -> LevelRow:
        """Return the levels of an entry at the first open after the range."""
        count = len(self._stop) - 1
        since = int(self._newest_buy[count])
        stop, target = float(self._stop[since]), float(self._target[since])
        if self._is_stop_moved:
            stop = float(self._stop[since:].max())
        if self._newest_target is not None:
            newest = int(self._newest_target[count])
            target = float(self._target[newest]) if newest >= since else math.inf
        return self._make_row(stop, target)

    def _make_row(self, stop: float, target: float) -> LevelRow:
        return LevelRow(
            stop if math.isfinite(stop) else None,
            target if math.isfinite(target) else None,
            *self._modes,
        )


def _make_known(
    column: FloatArray | None, start_index: int, count: int, first: float | None
) -> FloatArray:
    """Return the prices of a column that are known at each open, NaN for none; shape (n + 1,)."""
    known = np.full(count + 1, np.nan)
    if column is not None:
        known[1:] = column[start_index:]
    known[0] = np.nan if first is None else first
    return known


def _find_newest(mask: NDArray[np.bool_]) -> IntArray:
    """Return the index of the newest true element up to each one; -1: none."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))
