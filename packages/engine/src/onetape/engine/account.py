"""Cash and coins while a plan is carried out: plain numbers, one round of the loop for a trade."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.price_steps import price_step_at
from onetape.engine.detail import Detail, Told, exit_told
from onetape.engine.exits import EXIT_KINDS, SIGNAL, TARGET, TIME_STOP, ExitKind, levels_of
from onetape.engine.fills import (
    NO_MARKET,
    Fill,
    FillModel,
    Market,
    Numbers,
    Refused,
)
from onetape.engine.measures import candle_seconds
from onetape.engine.month_models import MonthModels
from onetape.engine.plan import NONE, Plan
from onetape.engine.rules import Rules
from onetape.engine.volatility import volatility_before


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


class Lane:
    """One symbol: its candles, what its signals ask for, and its book."""

    def __init__(
        self,
        candles: Candles,
        plan: Plan,
        book: Book,
        rules: Rules,
        all_candles: Candles,
        detail: Detail | None,
    ) -> None:
        """Prepare; nothing is traded yet.

        Args:
            candles: Those that are traded.
            plan: Their entries and exits.
            book: Takes the fills.
            rules: Money, fees and market.
            all_candles: These, and those before them.
            detail: Finer candles, asked about exits inside a bar.
        """
        self.candles = candles
        self.plan = plan
        self.book = book
        self.model = FillModel.of(rules)
        self._months = MonthModels(rules) if rules.steps.months else None
        self._all = all_candles
        self._skipped = len(all_candles) - len(candles)
        self.detail = detail
        self._exits = rules.exits
        self._steps = rules.steps
        self._volatility = self._volatility_of(rules)
        self._needs_volume = bool(rules.volume_impact)
        self.needs_market = self._needs_volume or self._volatility is not None

    def _volatility_of(self, rules: Rules) -> Callable[[int], float | None] | None:
        if rules.sizing != "volatility_target":
            return None
        # Of all candles: the range alone may be a single one.
        seconds = candle_seconds(self._all.timestamp)
        return lambda bar: volatility_before(
            self._all.close, self._skipped + bar, rules.volatility_bars, seconds
        )

    def _model_of(self, bar: int) -> FillModel:
        """Return the fill model with the price step of a bar's month."""
        if self._months is None:
            return self.model
        return self._months.at(int(self.candles.timestamp[bar]))

    def market(self, bar: int, equity: float | None = None) -> Market:
        """Return what an order in this bar meets."""
        return Market(
            self._volume_before(bar), equity, self._volatility(bar) if self._volatility else None
        )

    def _volume_before(self, bar: int) -> float:
        """Return the volume of the candle before a bar, which is known when an order is sent."""
        number = self._skipped + bar - 1
        return float(self._all.volume[number]) if number >= 0 else 0.0

    def buy(self, row: int, cash: float, equity: float | None = None) -> float | None:
        """Enter; return the change of cash, or None where the order was refused."""
        plan, book = self.plan, self.book
        bar, price = plan.bars[row], plan.prices[row]
        plain = equity is None and not self.needs_market
        market = NO_MARKET if plain else self.market(bar, equity)
        numbers = self._model_of(bar).buy_numbers(cash, price, market)
        if isinstance(numbers, Refused):
            book.refused.append((bar, numbers))
            return None
        book.indices.append(bar)
        book.numbers.append(numbers)
        book.prices.append(price)
        book.base += numbers[5]
        return numbers[4]

    def sell(self, row: int, bar: int) -> float | None:
        """Leave; return the change of cash, or None where the order was refused."""
        plan, book = self.plan, self.book
        kind, price = plan.exit_kinds[row], plan.exit_prices[row]
        if self.detail is None:
            book.ambiguous += row in plan.ambiguous
        volume = self._volume_before(bar) if self._needs_volume else 0.0
        numbers = self._model_of(bar).sell_numbers(book.base, price, volume, kind == TARGET)
        if isinstance(numbers, Refused):
            book.refused.append((bar, numbers))
            return None
        book.indices.append(bar)
        book.numbers.append(numbers)
        book.prices.append(price)
        book.exit_kinds.append(kind)
        book.base += numbers[5]
        return numbers[4]

    def exit_of(self, row: int) -> int:
        """Return the bar of the exit of a position that is held; finer candles may move it.

        Args:
            row: Its row.
        """
        bar = self.plan.exit_of(row)
        if self.detail is None or row in self.plan.given_up:
            return bar
        while bar < len(self.candles) and not self.is_exit_at_open(row, bar):
            if bar in self.book.told:
                break
            told = self._ask(self.detail, row, bar)
            if not told.goes_on:
                if told.found is not None:
                    self.plan.replace_exit(row, told.found)
                break
            bar = self.plan.exit_after(row, bar, self._highest(row, bar + 1))
        return bar

    def is_exit_at_open(self, row: int, bar: int) -> bool:
        """Return whether a row's exit fills at the open of its bar, whatever came later in it."""
        plan = self.plan
        if plan.exit_kinds[row] in {SIGNAL, TIME_STOP}:
            return True
        is_inside = row in plan.ambiguous or bar in self.book.told or bar == plan.bars[row]
        return not is_inside and plan.exit_prices[row] == self.candles.open[bar]

    def _highest(self, row: int, end: int) -> float:
        """Return the highest price of a position before a bar."""
        entry, carried = self.plan.bars[row], self.book.carried
        highest = carried.highest if entry < 0 and carried is not None else self.plan.prices[row]
        highs = self.candles.high[max(entry, 0) : end]
        return max(highest, float(highs.max())) if len(highs) else highest

    def _ask(self, detail: Detail, row: int, bar: int) -> Told:
        """Return what finer candles say of a bar inside which a level may end a position."""
        plan, book, candles = self.plan, self.book, self.candles
        moment, age = int(candles.timestamp[bar]), bar - plan.bars[row]
        step = price_step_at(self._steps, moment)
        levels = levels_of(self._exits, plan.prices[row], self._highest(row, bar), age, step)
        low, high = float(candles.low[bar]), float(candles.high[bar])
        levels = levels.raised_to(float(candles.open[bar]))
        told = exit_told(detail, moment, levels, low, high)
        book.told[bar] = told
        if row in plan.ambiguous:
            is_decided = told.silence is None
            book.decided += is_decided
            book.ambiguous += not is_decided
            book.wanting += told.silence == "missing"
        return told


def trade_alone(lane: Lane, cash: float, row: int, *, is_held: bool) -> tuple[float, int, bool]:
    """Carry out one symbol's plan with an account of its own.

    Args:
        lane: The symbol.
        cash: Quote currency at the start.
        row: First entry to try, or NONE; where `is_held`, the position that is held.
        is_held: Whether the range begins with a position.

    Returns:
        The cash at the end, the row of the position that is open then, or NONE, and whether the
        last order was a buy that was refused.
    """
    plan, count = lane.plan, len(lane.candles)
    bars, exit_bars = plan.bars, plan.exit_bars
    while row != NONE:
        if not is_held:
            change = lane.buy(row, cash)
            if change is None:
                row = plan.retry_after(bars[row])
                if row == NONE:
                    return cash, NONE, True
                continue
            cash += change
        is_held = False
        bar = exit_bars[row]
        if bar < 0 or lane.detail is not None:
            bar = lane.exit_of(row)
        while bar < count:
            change = lane.sell(row, bar)
            if change is not None:
                cash += change
                break
            bar = plan.exit_by_signal(row, bar)
        else:
            return cash, row, False
        row = plan.entry_after(bar)
    return cash, NONE, False


def equity_of(
    candles: Candles, book: Book, cash: float, base: float
) -> tuple[FloatArray, FloatArray]:
    """Return cash and value of the coins at each close, shape (n,).

    Args:
        candles: Those that are traded.
        book: Its fills.
        cash: Before the first candle, quote currency.
        base: Before the first candle, base currency.
    """
    lengths = np.diff(np.concatenate(([0], book.index_column(), [len(candles)])))
    # A running sum adds in the order in which the account did: the same to the last bit.
    columns = book.columns()
    money = np.cumsum(np.concatenate(([cash], columns[:, 4])))
    coins = np.cumsum(np.concatenate(([base], columns[:, 5])))
    worth = np.repeat(coins, lengths)
    worth *= candles.close
    return np.repeat(money, lengths), worth


def orders_of(signal: NDArray[np.int8], start_index: int, pending: int) -> NDArray[np.int8]:
    """Return what is to be done at the open of each traded candle: the signal of the one before."""
    orders = np.empty(len(signal) - start_index, dtype=np.int8)
    orders[:1] = pending
    orders[1:] = signal[start_index:-1]
    return orders
