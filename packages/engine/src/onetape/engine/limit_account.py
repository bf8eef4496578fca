"""Simulation of one account of several symbols, some of which have limit orders (limit_orders.py).

A limit order is sent in the turn of its entry. From then on it takes a slot, and its money is
reserved. It is filled, or ends, in the turn of the exits inside a candle, so that slot and money
are free from the next open on. While entry guards may pause entries, each candle of an open order
is an event, because an exit of another symbol may cancel the order.
"""

from bisect import insort
from collections.abc import Sequence
from typing import Final

from onetape.core.candles import IntArray
from onetape.engine.account_config import AccountConfig
from onetape.engine.entry_plan import NO_CANDIDATE
from onetape.engine.fills import FillValues
from onetape.engine.limit_orders import LimitOrder
from onetape.engine.limit_symbol import LimitSymbolState
from onetape.engine.shared_account import EXIT_INSIDE, SharedAccount
from onetape.engine.symbol_state import SymbolState

#: Kind of event in which limit orders are filled and end: after all entries of the moment.
_LIMIT: Final = EXIT_INSIDE


class LimitAccount(SharedAccount):
    """Cash and slots that symbols share, with limit orders."""

    def __init__(
        self,
        symbols: Sequence[SymbolState],
        rules: Sequence[AccountConfig],
        max_open_trades: int,
        axis: IntArray,
    ) -> None:
        """Prepare; arguments as of `SharedAccount`."""
        super().__init__(symbols, rules, max_open_trades, axis)
        self._sent: dict[int, FillValues] = {}
        """Most expensive fill of the open limit order of each symbol that has one, by symbol."""

    def end(self) -> None:
        """Record the orders that waited, and those that are still open; their money is free."""
        for number in self._sent:
            self.cash = self.exact.release(number)
        super().end()

    def _try_entry(self, number: int, candidate: int, bar: int, axis_index: int) -> int:
        """Try an entry; return the number of the symbol's next event, or NO_CANDIDATE."""
        symbol = self.symbols[number]
        later = None if symbol.guard_log is None else symbol.find_entry_after_pause(candidate)
        if later is not None:
            return self._schedule_entry(number, later)
        if len(self._open) + len(self._sent) >= self.max_open_trades:
            return self._block(number, candidate)
        order = symbol.plan.get_limit(candidate)
        if order is None or not isinstance(symbol, LimitSymbolState):
            return super()._try_entry(number, candidate, bar, axis_index)
        reserved = symbol.send_limit(candidate, order, self.cash, self._find_equity(axis_index))
        if reserved is None:
            return self._schedule_entry(number, symbol.plan.find_buy_after(candidate))
        self.cash = self.exact.reserve(number, reserved, has_price_step=self._has_step(symbol, bar))
        self._sent[number] = reserved
        self._uncount_skipped(number, symbol.plan.find_buy_run(candidate))
        return self._schedule_limit(number, candidate, bar)

    def _has_step(self, symbol: LimitSymbolState, bar: int) -> bool:
        return symbol.months is None or symbol.has_price_step(bar)

    def _schedule_limit(self, number: int, candidate: int, bar: int) -> int:
        """Schedule the next event of an open limit order, in this bar or later.

        Returns:
            The number of the event, or NO_CANDIDATE: the order is open at the end.
        """
        symbol = self.symbols[number]
        if symbol.guard_log is None:
            bar = self._find_last_bar(number, candidate)
        if bar >= self._ends[number]:
            order = symbol.plan.get_limit(candidate)
            if order is not None and isinstance(symbol, LimitSymbolState):
                symbol.note_limit_end(order, bar)
            return NO_CANDIDATE
        axis_indices = self._axis_indices[number]
        axis_index = bar if axis_indices is None else axis_indices.item(bar)
        self._scheduled[number] = (_LIMIT, candidate, bar, axis_index)
        return (axis_index * 3 + _LIMIT) * self._count + number

    def _find_last_bar(self, number: int, candidate: int) -> int:
        """Return the bar in which a limit order is filled, or ends."""
        plan = self.symbols[number].plan
        fill, order = plan.find_limit_fill(candidate), plan.get_limit(candidate)
        if fill is not None:
            return fill.bar
        return self._ends[number] if order is None else order.end

    def _try_exit(self, number: int, candidate: int, bar: int, axis_index: int) -> int:
        """Try an exit, or a fill of a limit order; return the number of the symbol's next event."""
        symbol = self.symbols[number]
        order = symbol.plan.get_limit(candidate) if number in self._sent else None
        if order is None or not isinstance(symbol, LimitSymbolState):
            return super()._try_exit(number, candidate, bar, axis_index)
        if symbol.guard_log is not None and symbol.is_paused(bar):
            return self._end_limit(number, symbol, candidate, order, bar, axis_index)
        if bar < self._find_last_bar(number, candidate):
            return self._schedule_limit(number, candidate, bar + 1)
        return self._fill_limit(number, symbol, candidate, order, bar, axis_index)

    def _fill_limit(
        self,
        number: int,
        symbol: LimitSymbolState,
        candidate: int,
        order: LimitOrder,
        bar: int,
        axis_index: int,
    ) -> int:
        """Fill a limit order in its last bar, or end it; return the symbol's next event."""
        bought = symbol.fill_limit(candidate, order, self._sent[number])
        if bought is None:
            return self._end_limit(number, symbol, candidate, order, bar, axis_index)
        del self._sent[number]
        self.exact.release(number)
        is_maker = bar in symbol.fill_log.inside_entries
        has_step = self._has_step(symbol, bar)
        self.cash = self.exact.book(number, bought, is_maker=is_maker, has_price_step=has_step)
        self._record_cash(axis_index)
        insort(self._open, number)
        return self._schedule_exit(number, candidate)

    def _end_limit(
        self,
        number: int,
        symbol: LimitSymbolState,
        candidate: int,
        order: LimitOrder,
        bar: int,
        axis_index: int,
    ) -> int:
        """End a limit order without a fill; return the symbol's next event."""
        del self._sent[number]
        self.cash = self.exact.release(number)
        symbol.note_limit_end(order, bar)
        if self._blocked:
            self._schedule_blocked_entries(axis_index + 1)
        return self._schedule_entry(number, symbol.plan.find_buy_after_limit(candidate, bar))

    def _record_cash(self, axis_index: int) -> None:
        """Record the cash and all reserved money after a fill at an index of the time axis."""
        self._fill_axis_indices.append(axis_index)
        self._cash_after.append(self.exact.compute_total() if self._sent else self.cash)

    def _find_equity(self, axis_index: int) -> float | None:
        """Return the equity that sizes an order at an open; None: it is the cash, or unused."""
        if self._needs_equity and self._sent:
            return self._compute_equity(axis_index, self.exact.compute_total())
        return super()._find_equity(axis_index)
