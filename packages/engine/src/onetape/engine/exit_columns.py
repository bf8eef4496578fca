"""Positions whose exits are searched, and the exits that were found, in columns."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import FloatArray, IntArray

if TYPE_CHECKING:
    from onetape.engine.known_levels import PositionLevels


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
    levels: "PositionLevels | None" = None
    """Levels of the strategy; None: the strategy gives none."""

    def take_rows(self, rows: IntArray) -> "PositionColumns":
        """Return the rows with these indices, as copies."""
        return PositionColumns(
            self.entry[rows],
            self.price[rows],
            self.highest[rows],
            self.at[rows],
            self.end[rows],
            None if self.levels is None else self.levels.take_rows(rows),
        )

    def put(self, rows: IntArray, new: "PositionColumns") -> None:
        """Replace the rows with these indices, in place."""
        self.entry[rows], self.price[rows], self.highest[rows] = new.entry, new.price, new.highest
        self.at[rows], self.end[rows] = new.at, new.end
        if self.levels is not None and new.levels is not None:
            self.levels.put(rows, new.levels)


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
