"""One account of several symbols, event by event: exits and entries in their stated order."""

import heapq
from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.account import SymbolState
from onetape.engine.exact_cash import ExactCash
from onetape.engine.exits import TARGET
from onetape.engine.plan import NONE
from onetape.engine.rules import Rules
from onetape.engine.time_axis import is_whole

#: What happens at one moment, in this order.
EXIT_AT_OPEN, ENTRY, EXIT_INSIDE = range(3)
#: Sizings that ask what the account is worth.
_OF_EQUITY: Final = ("equity_share", "risk_per_trade", "volatility_target")
#: When, which kind of event, which symbol, which row of its plan, which bar.
_Event = tuple[int, int, int, int, int]


class SharedAccount:
    """The cash and the slots that symbols share, and what they do to each other's orders."""

    def __init__(
        self,
        symbols: Sequence[SymbolState],
        rules: Sequence[Rules],
        max_open_trades: int,
        axis: IntArray,
    ) -> None:
        """Prepare; nothing is traded yet.

        Args:
            symbols: In the order that decides between entries at one moment.
            rules: Of each symbol.
            max_open_trades: Positions at a time.
            axis: Opens of all symbols' candles, epoch seconds.
        """
        self.symbols = symbols
        self.max_open_trades = max_open_trades
        self.axis = axis
        self.exact = ExactCash(rules)
        self.cash = float(rules[0].cash)
        self.skipped = 0
        """Runs of BUYs that found all slots full and ended without an entry."""
        self._cool_down = rules[0].cool_down_bars
        self._asks_equity = rules[0].sizing in _OF_EQUITY
        self._is_whole = [is_whole(one.candles.timestamp, axis) for one in symbols]
        self._open: set[int] = set()
        self._blocked: dict[int, int] = {}
        """By symbol the row that found all slots full, until one is free."""
        self._skipped_run = [NONE] * len(symbols)
        """By symbol the run of BUYs that was counted as skipped last."""
        self._events: list[_Event] = []
        self._moments = array("q")
        """Of each fill: the open of its candle."""
        self._cash_after = array("d", [self.cash])
        """At the start and after each fill."""

    def begin(self) -> None:
        """Await each symbol's first entry."""
        for number, symbol in enumerate(self.symbols):
            self._await_entry(number, symbol.plan.entry_from(0))

    def go_on(
        self, moments: IntArray, cash: FloatArray, rows: Sequence[int], *, is_open: Sequence[bool]
    ) -> None:
        """Take over an account whose first fills have been carried out; `exact` knows its cash.

        Args:
            moments: Of those fills, in order, shape (m,).
            cash: At the start and after each of them, shape (m + 1,).
            rows: Of each symbol: the row of its position, or of its next entry, or NONE.
            is_open: Whether each symbol has a position.
        """
        self._moments.frombytes(moments.tobytes())
        self._cash_after = array("d", cash.tobytes())
        self.cash = self._cash_after[-1]
        for number, row in enumerate(rows):
            if is_open[number]:
                self._open.add(number)
                self._await_exit(number, row, self.symbols[number].exit_of(row))
            else:
                self._await_entry(number, row)

    def trade(self) -> None:
        """Carry out all that is awaited, event by event."""
        events = self._events
        while events:
            moment, kind, number, row, bar = heapq.heappop(events)
            if kind == ENTRY:
                self._enter(moment, number, row, bar)
            else:
                self._leave(moment, kind, number, row, bar)
        for number, row in self._blocked.items():
            self.skipped += self.symbols[number].plan.runs_between(row, NONE)

    def end(self) -> None:
        """Note which orders waited, and which still wait."""
        for symbol in self.symbols:
            exits = symbol.book.exit_column()
            free = int(exits[-1]) + 1 + self._cool_down if len(exits) else 0
            symbol.note_waits(free, is_held=len(symbol.book.index_column()) % 2 == 1)

    def cash_on_axis(self) -> FloatArray:
        """Return the cash at the close of the candles of each moment of the axis."""
        # The fills of a moment are done by the close of its candles.
        places = np.searchsorted(self.axis, np.array(self._moments))
        lengths = np.diff(places, prepend=0, append=len(self.axis))
        return np.repeat(np.array(self._cash_after), lengths)

    def _enter(self, moment: int, number: int, row: int, bar: int) -> None:
        symbol = self.symbols[number]
        if len(self._open) >= self.max_open_trades:
            self._blocked[number] = row
            self._count_skipped(number, symbol.plan.run_of(row))
            return
        equity = None
        if self._asks_equity and self._open:
            equity = self._equity(moment, bar if self._is_whole[number] else -1)
        bought = symbol.buy(row, self.cash, equity)
        if bought is None:
            self._await_entry(number, symbol.plan.buy_after(row))
            return
        self.cash = self.exact.book(number, bought, has_price_step=symbol.has_price_step(bar))
        self._note(moment)
        self._open.add(number)
        if self._skipped_run[number] != NONE:
            self._uncount_skipped(number, symbol.plan.run_of(row))
        self._await_exit(number, row, symbol.exit_of(row))

    def _count_skipped(self, number: int, run: int) -> None:
        if self._skipped_run[number] != run:
            self._skipped_run[number] = run
            self.skipped += 1

    def _uncount_skipped(self, number: int, run: int) -> None:
        """Take back a run that was late, and not skipped."""
        if self._skipped_run[number] == run:
            self._skipped_run[number] = NONE
            self.skipped -= 1

    def _leave(self, moment: int, kind: int, number: int, row: int, bar: int) -> None:
        symbol = self.symbols[number]
        sold = symbol.sell(row, bar)
        if sold is None:
            self._await_exit(number, row, symbol.plan.exit_by_signal(row, bar))
            return
        self.cash = self.exact.book(
            number,
            sold,
            is_maker=symbol.plan.exit_kinds[row] == TARGET,
            has_price_step=symbol.has_price_step(bar),
        )
        self._note(moment)
        self._open.discard(number)
        self._await_entry(number, symbol.plan.entry_after(row, bar))
        if self._blocked:
            self._try_blocked(moment if kind == EXIT_AT_OPEN else moment + 1)

    def _try_blocked(self, moment: int) -> None:
        """Await the next BUYs of symbols that found all slots full, now that one is free.

        Args:
            moment: From which on an open may fill them.
        """
        place = -1
        for number, row in self._blocked.items():
            symbol = self.symbols[number]
            if self._is_whole[number]:
                place = int(self.axis.searchsorted(moment)) if place < 0 else place
                bar = place
            else:
                bar = int(symbol.candles.timestamp.searchsorted(moment))
            later = symbol.plan.buy_after(row, bar)
            missed = symbol.plan.runs_between(row, later)
            if missed:
                self.skipped += missed
                self._skipped_run[number] = symbol.plan.run_of(row) + missed
            self._await_entry(number, later)
        self._blocked.clear()

    def _note(self, moment: int) -> None:
        self._moments.append(moment)
        self._cash_after.append(self.cash)

    def _await_entry(self, number: int, row: int) -> None:
        if row != NONE:
            symbol = self.symbols[number]
            bar = symbol.plan.bars[row]
            moment = symbol.candles.timestamp.item(bar)
            heapq.heappush(self._events, (moment, ENTRY, number, row, bar))

    def _await_exit(self, number: int, row: int, bar: int) -> None:
        symbol = self.symbols[number]
        if bar < len(symbol.candles):
            kind = EXIT_AT_OPEN if symbol.is_exit_at_open(row, bar) else EXIT_INSIDE
            moment = symbol.candles.timestamp.item(bar)
            heapq.heappush(self._events, (moment, kind, number, row, bar))

    def _equity(self, moment: int, place: int) -> float:
        """Return cash and open positions at the closes known at a moment.

        Args:
            moment: Epoch seconds.
            place: The moment's place on the axis, or -1.
        """
        equity = self.cash
        for number in sorted(self._open):
            symbol = self.symbols[number]
            candles = symbol.candles
            if place >= 0 and self._is_whole[number]:
                last = place - 1
            else:
                last = int(candles.timestamp.searchsorted(moment)) - 1
            price = candles.close.item(last) if last >= 0 else candles.open.item(0)
            equity += symbol.book.base * price
        return equity
