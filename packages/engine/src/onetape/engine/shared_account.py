"""Simulation of one account of several symbols, event by event, in the order of portfolio.py."""

import heapq
from array import array
from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.entry_plan import NO_CANDIDATE
from onetape.engine.exact_cash import ExactCash
from onetape.engine.exits import TARGET
from onetape.engine.symbol_state import SymbolState
from onetape.engine.time_axis import find_axis_indices, is_whole

#: Kinds of events, in the order in which those of one moment are carried out.
EXIT_AT_OPEN, ENTRY, EXIT_INSIDE = range(3)
#: Sizings that depend on the equity of the account.
_EQUITY_SIZINGS: Final = ("equity_share", "risk_per_trade", "volatility_target")


class SharedAccount:
    """Cash and slots that symbols share, so that one symbol's orders affect another's.

    At most one event of each symbol is scheduled: its next entry or exit. Events are ordered by a
    number made of the index on the time axis, the kind and the symbol.
    """

    def __init__(
        self,
        symbols: Sequence[SymbolState],
        rules: Sequence[AccountConfig],
        max_open_trades: int,
        axis: IntArray,
    ) -> None:
        """Prepare; nothing is traded yet.

        Args:
            symbols: Symbols in the order that decides between entries at one moment.
            rules: Rules of each symbol.
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
        self._count = len(symbols)
        self._cooldown = rules[0].cooldown_bars
        self._needs_equity = rules[0].sizing in _EQUITY_SIZINGS
        times = [symbol.candles.timestamp for symbol in symbols]
        self._axis_indices = [
            None if is_whole(opens, axis) else find_axis_indices(axis, opens) for opens in times
        ]
        """Positions of each symbol's candles on the time axis; None: the whole axis."""
        self._ends = [len(opens) for opens in times]
        self._closes = [symbol.candles.close for symbol in symbols]
        self._open: list[int] = []
        """Symbols with a position, ascending."""
        self._blocked: dict[int, int] = {}
        """Candidate of each symbol that waits because all slots are full, by symbol."""
        self._skipped_run = [NO_CANDIDATE] * len(symbols)
        """Last run of BUYs that was counted as skipped, by symbol."""
        self._events: list[int] = []
        """A heap of the numbers that order events."""
        self._scheduled = [(ENTRY, NO_CANDIDATE, 0, 0)] * len(symbols)
        """Next event of each symbol: kind, candidate, bar, index on the time axis."""
        self._fill_axis_indices = array("q")
        """Index on the common time axis of each fill's candle."""
        self._cash_after = array("d", [self.cash])
        """Cash at the start and after each fill, quote currency."""

    def begin(self) -> None:
        """Schedule each symbol's first entry."""
        candidates = [symbol.plan.find_entry_from(0) for symbol in self.symbols]
        self._queue_events(
            self._schedule_entry(number, candidate) for number, candidate in enumerate(candidates)
        )

    def continue_from(
        self,
        axis_indices: IntArray,
        cash: FloatArray,
        candidates: Sequence[int],
        *,
        is_open: Sequence[bool],
    ) -> None:
        """Continue an account whose first fills have been carried out; `exact` holds its cash.

        Args:
            axis_indices: Index on the axis of the candle of each of these fills, in order, (m,).
            cash: Cash at the start and after each of these fills, shape (m + 1,).
            candidates: By symbol the candidate of its position or of its next entry, or
                NO_CANDIDATE.
            is_open: Whether each symbol has a position.
        """
        self._fill_axis_indices = array("q", axis_indices.tobytes())
        self._cash_after = array("d", cash.tobytes())
        self.cash = self._cash_after[-1]
        self._open = [number for number in range(self._count) if is_open[number]]
        self._queue_events(
            self._schedule_exit(number, candidate)
            if is_open[number]
            else self._schedule_entry(number, candidate)
            for number, candidate in enumerate(candidates)
        )

    def _queue_events(self, events: Iterable[int]) -> None:
        for event in events:
            if event != NO_CANDIDATE:
                heapq.heappush(self._events, event)

    def trade(self) -> None:
        """Carry out all scheduled events, and those that they lead to, in order."""
        events, awaited, count = self._events, self._scheduled, self._count
        while events:
            number = events[0] % count
            kind, candidate, bar, axis_index = awaited[number]
            if kind == ENTRY:
                following = self._try_entry(number, candidate, bar, axis_index)
            else:
                following = self._try_exit(number, candidate, bar, axis_index)
            # An event that was added now never precedes the event that was carried out.
            if following == NO_CANDIDATE:
                heapq.heappop(events)
            else:
                heapq.heapreplace(events, following)
        for number, candidate in self._blocked.items():
            self.skipped += len(self.symbols[number].find_missed_runs(candidate, NO_CANDIDATE))

    def end(self) -> None:
        """Record the orders that waited, and those that still wait."""
        for symbol in self.symbols:
            exits = symbol.fill_log.get_exit_column()
            free = int(exits[-1]) + 1 + self._cooldown if len(exits) else 0
            is_held = len(symbol.fill_log.get_index_column()) % 2 == 1
            symbol.record_waiting_orders(
                free, symbol.fill_log.make_last_buy().before_slippage if is_held else None
            )

    def compute_cash_on_axis(self) -> FloatArray:
        """Return the cash at the close of the candles of each moment of the axis."""
        # The fills of a moment are done by the close of its candles.
        lengths = np.diff(np.array(self._fill_axis_indices), prepend=0, append=len(self.axis))
        return np.repeat(np.array(self._cash_after), lengths)

    def _schedule_entry(self, number: int, candidate: int) -> int:
        """Schedule an entry; return the number of the event, or NO_CANDIDATE."""
        if candidate == NO_CANDIDATE:
            return NO_CANDIDATE
        axis_indices = self._axis_indices[number]
        bar = self.symbols[number].plan.bars[candidate]
        axis_index = bar if axis_indices is None else axis_indices.item(bar)
        self._scheduled[number] = (ENTRY, candidate, bar, axis_index)
        return (axis_index * 3 + ENTRY) * self._count + number

    def _schedule_exit(self, number: int, candidate: int) -> int:
        """Schedule the exit of a position; return the number of the event, or NO_CANDIDATE."""
        symbol = self.symbols[number]
        bar = symbol.plan.exit_bars[candidate]
        if bar < 0 or symbol.intrabar is not None:
            bar = symbol.find_exit(candidate)
        if bar >= self._ends[number]:
            return NO_CANDIDATE
        kind = EXIT_AT_OPEN if symbol.is_exit_at_open(candidate, bar) else EXIT_INSIDE
        column = self._axis_indices[number]
        axis_index = bar if column is None else column.item(bar)
        self._scheduled[number] = (kind, candidate, bar, axis_index)
        return (axis_index * 3 + kind) * self._count + number

    def _try_entry(self, number: int, candidate: int, bar: int, axis_index: int) -> int:
        """Try an entry; return the number of the symbol's next event, or NO_CANDIDATE."""
        symbol, open_ = self.symbols[number], self._open
        later = None if symbol.guard_log is None else symbol.find_entry_after_pause(candidate)
        if later is not None:
            return self._schedule_entry(number, later)
        if len(open_) >= self.max_open_trades:
            return self._block(number, candidate)
        bought = symbol.buy(candidate, self.cash, self._find_equity(axis_index))
        if bought is None:
            return self._schedule_entry(number, symbol.plan.find_buy_after(candidate))
        has_step = symbol.months is None or symbol.has_price_step(bar)
        self.cash = self.exact.book(number, bought, has_price_step=has_step)
        self._record_cash(axis_index)
        insort(open_, number)
        if self._skipped_run[number] != NO_CANDIDATE:
            self._uncount_skipped(number, symbol.plan.find_buy_run(candidate))
        return self._schedule_exit(number, candidate)

    def _record_cash(self, axis_index: int) -> None:
        """Record the cash after a fill at an index of the time axis."""
        self._fill_axis_indices.append(axis_index)
        self._cash_after.append(self.cash)

    def _block(self, number: int, candidate: int) -> int:
        """Let a symbol wait, because all slots are full; return NO_CANDIDATE."""
        self._blocked[number] = candidate
        self._count_skipped(number, self.symbols[number].plan.find_buy_run(candidate))
        return NO_CANDIDATE

    def _count_skipped(self, number: int, run: int) -> None:
        if self._skipped_run[number] != run:
            self._skipped_run[number] = run
            self.skipped += 1

    def _uncount_skipped(self, number: int, run: int) -> None:
        """Remove a run from the count of skipped ones, because it entered late."""
        if self._skipped_run[number] == run:
            self._skipped_run[number] = NO_CANDIDATE
            self.skipped -= 1

    def _try_exit(self, number: int, candidate: int, bar: int, axis_index: int) -> int:
        """Try an exit; return the number of the symbol's next event, or NO_CANDIDATE."""
        symbol = self.symbols[number]
        sold = symbol.sell(candidate, bar)
        if sold is None:
            symbol.plan.set_exit_at_next_sell(candidate, bar)
            return self._schedule_exit(number, candidate)
        is_maker = symbol.plan.exit_kinds[candidate] == TARGET
        has_step = symbol.months is None or symbol.has_price_step(bar)
        self.cash = self.exact.book(number, sold, is_maker=is_maker, has_price_step=has_step)
        self._record_cash(axis_index)
        self._open.remove(number)
        if self._blocked:
            is_at_open = self._scheduled[number][0] == EXIT_AT_OPEN
            self._schedule_blocked_entries(axis_index if is_at_open else axis_index + 1)
        return self._schedule_entry(number, symbol.plan.find_entry_after(candidate, bar))

    def _schedule_blocked_entries(self, axis_index: int) -> None:
        """Schedule the next BUYs of symbols that found all slots full, once one is free.

        Args:
            axis_index: Index on the axis of the first open that may fill them.
        """
        for number, candidate in self._blocked.items():
            symbol, column = self.symbols[number], self._axis_indices[number]
            later = symbol.plan.find_buy_after(
                candidate, axis_index if column is None else int(column.searchsorted(axis_index))
            )
            missed = symbol.find_missed_runs(candidate, later)
            if missed:
                self.skipped += len(missed)
                self._skipped_run[number] = missed[-1]
            event = self._schedule_entry(number, later)
            if event != NO_CANDIDATE:
                heapq.heappush(self._events, event)
        self._blocked.clear()

    def _find_equity(self, axis_index: int) -> float | None:
        """Return the equity that sizes an order at an open; None: it is the cash, or unused."""
        is_needed = self._needs_equity and self._open
        return self._compute_equity(axis_index, self.cash) if is_needed else None

    def _compute_equity(self, axis_index: int, cash: float) -> float:
        """Return cash and open positions at the closes known at the opens of a moment.

        Args:
            axis_index: Index of the moment on the axis.
            cash: Cash of the account, quote currency.
        """
        equity = cash
        for number in self._open:
            column = self._axis_indices[number]
            bar = (axis_index if column is None else int(column.searchsorted(axis_index))) - 1
            symbol = self.symbols[number]
            price = self._closes[number].item(bar) if bar >= 0 else symbol.candles.open.item(0)
            equity += symbol.fill_log.base * price
        return equity
