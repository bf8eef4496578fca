"""Fills and refused orders of one symbol during a simulation, stored as columns of numbers.

`SimulationResult` makes its fills and trades from them when they are read.
"""

from array import array
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.exits import EXIT_KINDS, TARGET, ExitKind
from onetape.engine.fills import FillModel, FillValues, ModelFill
from onetape.engine.intrabar import IntrabarExit
from onetape.engine.refused_orders import RefusedOrder

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelRow


class OpenPosition(Struct, frozen=True):
    """A position that is carried from one range to the next."""

    fill: ModelFill
    """Fill that bought the position."""
    timestamp: int
    """Candle of the buy, epoch seconds."""
    bars: int
    """Number of candles from the buy's candle to the end of the range, both included."""
    highest: float
    """Highest of the buy's price before slippage and of the highs since."""
    has_levels: bool
    """Whether stops, targets and the time stop count: not after an exit that was refused."""
    levels: "LevelRow | None" = None
    """Levels of the strategy that are in force for the position; None: none."""


class FillColumns(NamedTuple):
    """Fills in columns, in time order; buys and sells alternate."""

    bars: IntArray
    """Bar of each fill, shape (m,)."""
    values: FloatArray
    """Values of each fill in the order of `fills.FillValues`, shape (m, 6)."""
    prices: FloatArray
    """Price of each fill before slippage, shape (m,)."""
    kinds: NDArray[np.int8]
    """Kind of each sell, as an index into EXIT_KINDS, shape (number of sells,)."""


#: Number of fills that are stored as Python objects before they become columns.
_CHUNK: Final = 4_096
_NO_FILLS: Final = FillColumns(
    np.empty(0, dtype=np.int64), np.empty((0, 6)), np.empty(0), np.empty(0, dtype=np.int8)
)


class FillLog:
    """Fills and refused orders of one symbol; buys and sells alternate."""

    def __init__(self, model: FillModel, carried: OpenPosition | None = None) -> None:
        """Begin an empty log, or with a position that an earlier range opened."""
        self.model = model
        self.carried = carried
        self.base = 0.0
        self._columns = _NO_FILLS
        # Newest fills, added one by one, and finished columns of earlier fills: as Python tuples
        # they would take five times the memory.
        self._bars: list[int] = []
        self._values: list[FillValues] = []
        self._prices: list[float] = []
        self._kinds: list[int] = []
        self._chunks: list[FillColumns] = []
        self._added = 0
        self.refused: list[tuple[int, RefusedOrder]] = []
        self.limited = 0
        """Number of entries that `max_volume_share` made smaller."""
        self.ambiguous = 0
        """Number of ambiguous bars, taken at the worst exit that their prices allow."""
        self.decided = 0
        """Bars that allow several exits, or none, decided by intrabar candles."""
        self.missing_intrabar = 0
        """Number of ambiguous bars for which an intrabar candle was missing."""
        self.waited: dict[int, int] = {}
        """Number of candles that an order waited for a trade, by the bar that filled it."""
        self.waiting = 0
        """Order that still waits for a trade at the end: 1 BUY, -1 SELL, 0 none."""
        self.intrabar_exits: dict[int, IntrabarExit] = {}
        """Result of the intrabar candles, by bar; only bars inside which a level may be reached."""
        self.limit_waits: dict[int, int] = {}
        """Number of candles between the open at which a limit order was due and the candle that
        filled it, by that candle's bar; only entries by limit orders."""
        self.inside_entries: dict[int, float] = {}
        """Bars of the entries that were filled at their limit inside the bar, each with the highest
        price of the position, quote currency, that is known at the bar's close."""
        self.unfilled_limits = array("q")
        """For each limit order that was not filled: bar at which it was due, and bar in which it
        ended."""
        self.open_limit: int | None = None
        """Bar at which the limit order was due that is open at the end of the range; None: none."""

    def store_columns(self, columns: FillColumns) -> None:
        """Store all fills so far at once; the log must be empty."""
        self._columns = columns

    def add_buy(self, bar: int, values: FillValues, price: float) -> None:
        """Add a buy, with its price before slippage, quote currency."""
        self._bars.append(bar)
        self._values.append(values)
        self._prices.append(price)
        self.base += values[5]

    def add_sell(self, bar: int, values: FillValues, price: float, kind: int) -> None:
        """Add a sell, with its price before slippage and its kind (an index into EXIT_KINDS)."""
        self._bars.append(bar)
        self._values.append(values)
        self._prices.append(price)
        self._kinds.append(kind)
        self.base += values[5]
        if len(self._bars) >= _CHUNK:
            self._move_to_columns()

    @property
    def has_limits(self) -> bool:
        """Return whether there was a limit order to buy, filled or not."""
        return bool(self.limit_waits or self.unfilled_limits) or self.open_limit is not None

    @property
    def added(self) -> int:
        """Return the number of fills that were added one by one, and not in columns."""
        return self._added + len(self._bars)

    def get_fill_columns(self) -> FillColumns:
        """Return all fills in columns."""
        if self._bars:
            self._move_to_columns()
        if self._chunks:
            parts = zip(self._columns, *self._chunks, strict=True)
            self._columns = FillColumns(*(np.concatenate(part) for part in parts))
            self._chunks = []
        return self._columns

    def _move_to_columns(self) -> None:
        """Move the fills that were added one by one into columns."""
        values = np.fromiter(chain.from_iterable(self._values), np.float64)
        self._chunks.append(
            FillColumns(
                np.array(self._bars, np.int64),
                values.reshape(-1, 6),
                np.array(self._prices, np.float64),
                np.array(self._kinds, np.int8),
            )
        )
        self._added += len(self._bars)
        self._bars, self._values, self._prices, self._kinds = [], [], [], []

    @property
    def indices(self) -> list[int]:
        """Return the bar of each fill; a buy and a sell in turn."""
        return self.get_fill_columns().bars.tolist()

    @property
    def exit_kinds(self) -> list[int]:
        """Return the kind of each sell, as an index into EXIT_KINDS."""
        return self.get_fill_columns().kinds.tolist()

    @property
    def kinds(self) -> tuple[ExitKind, ...]:
        """Return the exit kind of each sell."""
        return tuple([EXIT_KINDS[kind] for kind in self.exit_kinds])

    def get_entry_bars(self) -> list[int]:
        """Return the bar of each buy; a carried position's lies before the first candle."""
        return self.get_entry_column().tolist()

    def get_exit_bars(self) -> list[int]:
        """Return the bar of each sell."""
        return self.get_exit_column().tolist()

    def get_index_column(self) -> IntArray:
        """Return `indices` as an array."""
        return self.get_fill_columns().bars

    def get_entry_column(self) -> IntArray:
        """Return `get_entry_bars` as an array."""
        column = self.get_index_column()
        return column[0::2] if self.carried is None else np.append(-self.carried.bars, column[1::2])

    def get_exit_column(self) -> IntArray:
        """Return `get_exit_bars` as an array."""
        return self.get_index_column()[1 if self.carried is None else 0 :: 2]

    def find_signal_bars(self, bars: IntArray) -> IntArray:
        """Return the candles whose signals led to the orders that were filled in these bars."""
        if not self.waited and not self.limit_waits:
            return bars - 1
        waits = {**self.waited, **self.limit_waits}
        return bars - 1 - np.array([waits.get(bar, 0) for bar in bars.tolist()], np.int64)

    @property
    def last_entry(self) -> int | None:
        """Return the bar of the last buy as in `get_entry_bars`; None: there is no buy."""
        column = self.get_entry_column()
        return int(column[-1]) if len(column) else None

    def get_price_column(self) -> FloatArray:
        """Return the price of each fill before slippage, shape (m,)."""
        return self.get_fill_columns().prices

    def get_fill_values(self) -> FloatArray:
        """Return the fills' values as `fills.FillValues` orders them, shape (m, 6)."""
        return self.get_fill_columns().values

    def make_last_buy(self) -> ModelFill:
        """Return the newest fill, which must be a buy; no object is made for the others."""
        columns = self.get_fill_columns()
        row = cast("FillValues", columns.values[-1].tolist())
        is_maker = int(columns.bars[-1]) in self.inside_entries
        return self.model.make_buy_fill(row, float(columns.prices[-1]), is_maker=is_maker)

    def make_fills(self) -> tuple[ModelFill, ...]:
        """Return the fills in time order; a carried position's buy is not one of them."""
        made: list[ModelFill] = []
        columns = self.get_fill_columns()
        sells = iter(columns.kinds.tolist())
        is_buy = self.carried is None
        rows = cast("list[FillValues]", columns.values.tolist())
        bars: list[int] = columns.bars.tolist()
        for bar, values, price in zip(bars, rows, columns.prices.tolist(), strict=True):
            if is_buy:
                is_maker = bar in self.inside_entries
                made.append(self.model.make_buy_fill(values, price, is_maker=is_maker))
            else:
                made.append(self.model.make_sell_fill(values, price, next(sells) == TARGET))
            is_buy = not is_buy
        return tuple(made)
