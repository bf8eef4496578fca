"""What one symbol's orders came to: its fills as plain numbers."""

from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.detail import Told
from onetape.engine.exits import EXIT_KINDS, TARGET, ExitKind
from onetape.engine.fills import Fill, FillModel, Numbers
from onetape.engine.refusals import Refused


class OpenPosition(Struct, frozen=True):
    """A position that a range hands to the next one."""

    fill: Fill
    """The buy."""
    timestamp: int
    """Candle of the buy, epoch seconds."""
    bars: int
    """Candles from it to the end of the range, its own included."""
    highest: float
    """Highest of the buy's price before slippage and of the highs since."""
    has_levels: bool
    """Whether stops, targets and the time stop count: not after an exit that was refused."""


class _Kept(NamedTuple):
    """A book in columns, shape (m,) or (m, 6); kinds for the sells alone."""

    indices: IntArray
    columns: FloatArray
    prices: FloatArray
    kinds: NDArray[np.int8]


class Book:
    """What one symbol's orders came to."""

    def __init__(self, model: FillModel, carried: OpenPosition | None = None) -> None:
        """Begin an empty book, or with a position that an earlier range opened."""
        self._model = model
        self.carried = carried
        self.base = 0.0
        self.numbers: list[Numbers] = []
        """Of each fill; empty where `keep` gave columns instead."""
        self._kept: _Kept | None = None
        self._index_column = np.empty(0, dtype=np.int64)
        self.refused: list[tuple[int, Refused]] = []
        self.ambiguous = 0
        """Bars taken at the worst exit that their prices allow, because nothing decided."""
        self.decided = 0
        """Bars that allow several exits, or none, of which finer candles decided for one."""
        self.wanting = 0
        """Of the ambiguous ones, those where finer candles were asked and one was missing."""
        self.waited: dict[int, int] = {}
        """Candles that an order waited for a trade, by the bar that filled it."""
        self.waiting = 0
        """Order that still waits for a trade at the end: 1 BUY, -1 SELL, 0 none."""
        self.told: dict[int, Told] = {}
        """By bar what finer candles said, of each one inside which a level may end a position."""

    @cached_property
    def indices(self) -> list[int]:
        """Return the bar of each fill; a buy and a sell in turn."""
        return [] if self._kept is None else self._kept.indices.tolist()

    @cached_property
    def prices(self) -> list[float]:
        """Return the price of each fill before slippage."""
        return [] if self._kept is None else self._kept.prices.tolist()

    @cached_property
    def exit_kinds(self) -> list[int]:
        """Return what each sell came by, as EXIT_KINDS counts."""
        return [] if self._kept is None else self._kept.kinds.tolist()

    @property
    def kinds(self) -> tuple[ExitKind, ...]:
        """Return how each sell came about."""
        return tuple(EXIT_KINDS[kind] for kind in self.exit_kinds)

    def entry_bars(self) -> list[int]:
        """Return the bar of each buy; a carried position's lies before the first candle."""
        if self.carried is None:
            return self.indices[0::2]
        return [-self.carried.bars, *self.indices[1::2]]

    def exit_bars(self) -> list[int]:
        """Return the bar of each sell."""
        return self.indices[1::2] if self.carried is None else self.indices[0::2]

    def keep(
        self, indices: IntArray, columns: FloatArray, prices: FloatArray, kinds: NDArray[np.int8]
    ) -> None:
        """Take all fills at once, as columns; the book must be empty."""
        self._kept = _Kept(indices, columns, prices, kinds)

    def index_column(self) -> IntArray:
        """Return `indices` as an array."""
        if self._kept is not None:
            return self._kept.indices
        if len(self._index_column) != len(self.indices):
            self._index_column = np.array(self.indices, dtype=np.int64)
        return self._index_column

    def entry_column(self) -> IntArray:
        """Return `entry_bars` as an array."""
        column = self.index_column()
        return column[0::2] if self.carried is None else np.append(-self.carried.bars, column[1::2])

    def exit_column(self) -> IntArray:
        """Return `exit_bars` as an array."""
        return self.index_column()[1 if self.carried is None else 0 :: 2]

    def signal_bars(self, bars: IntArray) -> IntArray:
        """Return the candles whose signals led to the orders that were filled in these bars."""
        if not self.waited:
            return bars - 1
        return bars - 1 - np.array([self.waited.get(bar, 0) for bar in bars.tolist()], np.int64)

    @property
    def last_entry(self) -> int | None:
        """Return the bar of the last buy, or None; as `entry_bars`."""
        column = self.entry_column()
        return int(column[-1]) if len(column) else None

    def price_column(self) -> FloatArray:
        """Return `prices` as an array."""
        return np.array(self.prices, dtype=np.float64) if self._kept is None else self._kept.prices

    def columns(self) -> FloatArray:
        """Return the fills' numbers as `fills.Numbers` orders them, shape (m, 6)."""
        if self._kept is not None:
            return self._kept.columns
        return np.array(self.numbers, dtype=np.float64).reshape(-1, 6)

    def last_buy(self) -> Fill:
        """Return the newest fill, which must be a buy; the others are not made."""
        row = self.numbers[-1] if self._kept is None else self._kept.columns[-1].tolist()
        return self._model.bought(cast("Numbers", row), self.prices[-1])

    def fills(self) -> tuple[Fill, ...]:
        """Return the fills in time order; a carried position's buy is not one of them."""
        made: list[Fill] = []
        sells = iter(self.exit_kinds)
        is_buy = self.carried is None
        rows = cast("list[Numbers]", self.columns().tolist())
        for numbers, price in zip(rows, self.prices, strict=True):
            if is_buy:
                made.append(self._model.bought(numbers, price))
            else:
                made.append(self._model.sold(numbers, price, next(sells) == TARGET))
            is_buy = not is_buy
        return tuple(made)
