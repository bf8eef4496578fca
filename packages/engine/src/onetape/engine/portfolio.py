"""Several symbols on one account: one purse, a limit of open trades, and a stated order of events.

At one moment, exits at the open come before entries, entries come in the order of the symbols, and
exits inside the candle come last: their money is not there at its open.
"""

import heapq
from collections.abc import Sequence
from decimal import Context, Decimal
from functools import cached_property
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.price_steps import with_month_steps
from onetape.core.steps import MarketSteps
from onetape.engine.account import Lane
from onetape.engine.booking import ExactChange
from onetape.engine.detail import Detail
from onetape.engine.equity import equity_of
from onetape.engine.exits import TARGET
from onetape.engine.plan import NONE
from onetape.engine.result import Result
from onetape.engine.rules import Rules
from onetape.engine.simulate import lane_of, no_state
from onetape.engine.trades import Trade

#: The tie rule, for every result that rests on it.
TIE_RULE: Final = (
    "at one moment exits come before entries, entries in the order of the symbols; the money of an "
    "exit inside a candle is there from the next open on"
)
_EXIT_AT_OPEN, _ENTRY, _EXIT_INSIDE = range(3)
#: Part of the cash that an order without an amount step may leave by rounding alone.
_NOISE: Final = Decimal("1e-12")
#: Digits enough for any sum of cash and changes of it.
_EXACT: Final = Context(prec=80)
_ZERO: Final = Decimal(0)
#: When, which kind of event, which symbol, which row of its plan, which bar.
_Event = tuple[int, int, int, int, int]


class Series(Struct, frozen=True):
    """One symbol of a run over several."""

    symbol: str
    candles: Candles
    """Closed, oldest first, warm-up included."""
    signal: NDArray[np.int8]
    """1 BUY, -1 SELL, 0 HOLD, shape (n,)."""
    start_index: int
    """First candle that is traded."""
    steps: MarketSteps
    """Of its market."""
    detail: Detail | None = None
    """Finer candles, asked about exits inside a bar."""
    has_volume: bool | None = None
    """Whether any candle of the whole stored series has volume; None: whether one of these has."""


class Portfolio(Struct, frozen=True, dict=True):
    """What a run over several symbols did; arrays have shape (m,), one entry per moment."""

    rules: Rules
    """What the run assumed; the steps are those of the first symbol."""
    max_open_trades: int | None
    """Positions at a time; None: as many as symbols."""
    parts: tuple[Result, ...]
    """Each symbol's own trades, in the order given; their equity is that of the whole account."""
    timestamp: IntArray
    """Opens of all symbols' candles, epoch seconds."""
    equity: FloatArray
    """Cash and all positions at the last known closes, quote currency."""
    cash: float
    """Quote currency left at the end."""
    skipped_entries: int
    """Runs of BUYs that found all slots full and ended without an entry."""

    @property
    def start_cash(self) -> float:
        """Return the cash at the start."""
        return self.rules.cash

    @property
    def final_equity(self) -> float:
        """Return cash and positions at the last closes, quote currency."""
        return float(self.equity[-1]) if len(self.equity) else self.rules.cash

    @property
    def is_open_at_end(self) -> bool:
        """Return whether the range ended before the last position did."""
        return any(part.is_open_at_end for part in self.parts)

    @property
    def exposure(self) -> float:
        """Return the part of the moments at whose close any position was open, 0 to 1."""
        if not len(self.timestamp):
            return 0.0
        held = np.zeros(len(self.timestamp), dtype=np.int64)
        for part in self.parts:
            for bars, change in (
                (part.book.entry_bars(), 1),
                (part.book.exit_bars(), -1),
            ):
                moments = part.candles.timestamp[np.asarray(bars, dtype=np.int64)]
                np.add.at(held, np.searchsorted(self.timestamp, moments), change)
        return float((np.cumsum(held) > 0).mean())

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Return all round trips by time of entry, at one moment in the order of the symbols."""
        return tuple(
            sorted(
                (trade for part in self.parts for trade in part.trades),
                key=lambda trade: trade.entry_timestamp,
            )
        )


def simulate_together(
    series: Sequence[Series], rules: Rules, max_open_trades: int | None = None
) -> Portfolio:
    """Trade several symbols of one quote currency and timeframe on one account.

    Each symbol follows the rules of `simulate`. A BUY that finds all slots full has not entered:
    once a slot is free the next BUY of its run may, at the moment of an exit at the open already.
    The account's worth, which sizings ask for, counts positions at their last close.

    Args:
        series: At least one; their order decides between entries at one moment.
        rules: Money, fees, stops and targets; each symbol brings its own steps.
        max_open_trades: Positions at a time; None: as many as symbols.
    """
    empty = no_state(rules)
    own_rules = [replace(rules, steps=with_month_steps(one.steps, one.candles)) for one in series]
    lanes = [
        lane_of(one.candles, one.signal, own, one.start_index, empty, one.detail, one.has_volume)
        for one, own in zip(series, own_rules, strict=True)
    ]
    purse = _Purse(lanes, own_rules, max_open_trades or len(lanes))
    purse.trade()
    timestamp = _union([lane.candles.timestamp for lane in lanes])
    equity = purse.equity(timestamp)
    parts = tuple(
        Result(
            rules=own,
            candles=lane.candles,
            start_index=one.start_index,
            start_cash=rules.cash,
            equity=equity[np.searchsorted(timestamp, lane.candles.timestamp)],
            cash=purse.cash,
            base=lane.book.base,
            book=lane.book,
            state=empty,
            untraded=lane.due.untraded,
            symbol=one.symbol,
        )
        for one, own, lane in zip(series, own_rules, lanes, strict=True)
    )
    return Portfolio(
        rules=own_rules[0],
        max_open_trades=max_open_trades,
        parts=parts,
        timestamp=timestamp,
        equity=equity,
        cash=purse.cash,
        skipped_entries=purse.skipped,
    )


class _Purse:
    """The cash that all symbols share.

    What one symbol's order leaves is all that the next one has, and may be a millionth of the
    account: a float's error, which is nothing beside the whole, would be seen in that order. So the
    cash is exact. One symbol alone never spends a remainder; its cash is the sum of `simulate`.
    """

    def __init__(self, lanes: list[Lane], rules: list[Rules], places: int) -> None:
        self._lanes = lanes
        self._exact = [ExactChange.of(own) for own in rules]
        self._places = places
        self._noise = [_ZERO if own.steps.amount_step else _NOISE for own in rules]
        self._open: set[int] = set()
        self._cool_down = rules[0].cool_down_bars
        self._blocked: dict[int, int] = {}
        """By symbol the row that found all slots full, until one is free."""
        self._skipped_run = [NONE] * len(lanes)
        """By symbol the run of BUYs that was counted as skipped last."""
        self._events: list[_Event] = []
        self._moments: list[int] = []
        self._exact_cash = Decimal(repr(float(rules[0].cash)))
        self.cash = float(rules[0].cash)
        self._cash_after = [self.cash]
        """At the start and after each fill."""
        self.skipped = 0

    def trade(self) -> None:
        """Carry out all plans, event by event."""
        for number, lane in enumerate(self._lanes):
            self._await_entry(number, lane.plan.entry_from(0))
        while self._events:
            moment, kind, number, row, bar = heapq.heappop(self._events)
            if kind == _ENTRY:
                self._enter(moment, number, row, bar)
            else:
                self._leave(moment, kind, number, row, bar)
        for number, row in self._blocked.items():
            self.skipped += self._lanes[number].plan.runs_between(row, NONE)
        for number, lane in enumerate(self._lanes):
            exits = lane.book.exit_bars()
            free = exits[-1] + 1 + self._cool_down if exits else 0
            lane.note_waits(free, is_held=number in self._open)

    def equity(self, timestamp: IntArray) -> FloatArray:
        """Return cash and positions at the close of the candles that open at these moments."""
        done = np.searchsorted(np.asarray(self._moments, dtype=np.int64), timestamp, side="right")
        worth = np.array(self._cash_after)[done]
        for lane in self._lanes:
            own = equity_of(lane.candles, lane.book, 0.0, 0.0)[1]
            last = np.searchsorted(lane.candles.timestamp, timestamp, side="right") - 1
            if len(own):
                worth += np.where(last >= 0, own[last], 0.0)
        return worth

    def _enter(self, moment: int, number: int, row: int, bar: int) -> None:
        lane = self._lanes[number]
        if len(self._open) >= self._places:
            self._blocked[number] = row
            self._count_skipped(number, lane.plan.run_of(row))
            return
        change = lane.buy(row, self.cash, self._worth(moment) if self._open else None)
        if change is None:
            self._await_entry(number, lane.plan.buy_after(row))
            return
        self._note(moment, number, change)
        self._open.add(number)
        if self._skipped_run[number] == lane.plan.run_of(row):
            # It was late, and not skipped.
            self._skipped_run[number] = NONE
            self.skipped -= 1
        self._await_exit(number, row, lane.exit_of(row))

    def _count_skipped(self, number: int, run: int) -> None:
        if self._skipped_run[number] != run:
            self._skipped_run[number] = run
            self.skipped += 1

    def _try_blocked(self, moment: int) -> None:
        """Await the next BUYs of symbols that found all slots full, now that one is free.

        Args:
            moment: From which on an open may fill them.
        """
        for number, row in self._blocked.items():
            lane = self._lanes[number]
            bar = int(np.searchsorted(lane.candles.timestamp, moment))
            later = lane.plan.buy_after(row, bar)
            missed = lane.plan.runs_between(row, later)
            if missed:
                self.skipped += missed
                self._skipped_run[number] = lane.plan.run_of(row) + missed
            self._await_entry(number, later)
        self._blocked.clear()

    def _leave(self, moment: int, kind: int, number: int, row: int, bar: int) -> None:
        lane = self._lanes[number]
        change = lane.sell(row, bar)
        if change is None:
            self._await_exit(number, row, lane.plan.exit_by_signal(row, bar))
            return
        self._note(moment, number, change)
        self._open.discard(number)
        self._await_entry(number, lane.plan.entry_after(row, bar))
        self._try_blocked(moment if kind == _EXIT_AT_OPEN else moment + 1)

    def _note(self, moment: int, number: int, change: float) -> None:
        if len(self._lanes) == 1:
            self.cash += change
        else:
            self._exact_cash = self._exact_cash_after(number)
            self.cash = float(self._exact_cash)
        self._moments.append(moment)
        self._cash_after.append(self.cash)

    def _exact_cash_after(self, number: int) -> Decimal:
        """Return the cash after the newest fill of a symbol, never less than zero."""
        exact, book = self._exact[number], self._lanes[number].book
        is_maker = bool(book.exit_kinds) and book.exit_kinds[-1] == TARGET
        change = exact.change(
            book.numbers[-1],
            is_maker=is_maker,
            has_price_step=self._lanes[number].has_price_step(book.indices[-1]),
        )
        cash = _EXACT.add(self._exact_cash, change)
        if change > 0:
            return cash
        return cash if cash > self._exact_cash * self._noise[number] else _ZERO

    def _await_entry(self, number: int, row: int) -> None:
        if row != NONE:
            lane = self._lanes[number]
            bar = lane.plan.bars[row]
            moment = int(lane.candles.timestamp[bar])
            heapq.heappush(self._events, (moment, _ENTRY, number, row, bar))

    def _await_exit(self, number: int, row: int, bar: int) -> None:
        lane = self._lanes[number]
        if bar >= len(lane.candles):
            return
        kind = _EXIT_AT_OPEN if lane.is_exit_at_open(row, bar) else _EXIT_INSIDE
        heapq.heappush(self._events, (int(lane.candles.timestamp[bar]), kind, number, row, bar))

    def _worth(self, moment: int) -> float:
        """Return cash and open positions at the closes known at a moment."""
        worth = self.cash
        for number in sorted(self._open):
            lane = self._lanes[number]
            last = int(np.searchsorted(lane.candles.timestamp, moment)) - 1
            price = lane.candles.close[last] if last >= 0 else lane.candles.open[0]
            worth += lane.book.base * float(price)
        return worth


def _union(columns: Sequence[IntArray]) -> IntArray:
    return columns[0] if len(columns) == 1 else np.unique(np.concatenate(columns))
