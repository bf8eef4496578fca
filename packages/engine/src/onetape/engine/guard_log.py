"""Closed trades of an account, and the pauses of entries that they lead to (entry_guards.py).

The order of trades is that of the events of an account: by candle, exits at an open before exits
inside a candle, then by symbol. Each guard is applied once at each exit, to the trades up to that
exit. So the pauses are a function of the closed trades alone: a backtest adds the trades one by
one, and a trader reads them from its stored fills.

Distances are whole candles, computed from opens and the length of a candle, so that a missing
candle counts and several symbols share one count. A month counts as a twelfth of a year, rounded.
"""

import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import IntArray
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.engine.entry_guards import EntryGuard

#: Part of a profit ratio that counts as rounding: a sum that misses a bound by less is equal to it.
NOISE: Final = 1e-9
#: Candles for which closed trades are stored longer than a guard needs them: a symbol of a trader
#: may be so many candles behind another one.
_EXTRA_CANDLES: Final = 100


class ClosedTrade(Struct, frozen=True):
    """A round trip that has ended, as far as entry guards need it."""

    symbol: str
    """Symbol of the trade; empty in a run over one symbol without a name."""
    timestamp: int
    """Open of the candle that filled the exit, epoch seconds."""
    profit_ratio: float
    """Profit divided by what was paid, fees included; 0.05 is 5 %."""
    is_stop: bool
    """Whether a stop loss or trailing stop ended the position."""
    is_inside: bool
    """Whether the exit was filled after the open of its candle; entries at that open come before
    such an exit."""


class EntryPause(Struct, frozen=True):
    """A time in which an entry guard pauses entries."""

    guard: EntryGuard
    """Guard that pauses entries."""
    trade: ClosedTrade
    """The exit with which the pause begins."""
    trades: int
    """Number of closed trades that led to the pause."""
    value: float
    """Sum of the profit ratios of these trades; for drawdown_pause the drawdown of that sum."""
    candle_seconds: int
    """Length of a candle, seconds."""

    @property
    def start(self) -> int:
        """Return the first moment whose open comes after the exit, epoch seconds."""
        return self.trade.timestamp + self.trade.is_inside

    def concerns(self, symbol: str) -> bool:
        """Return whether the entries of a symbol pause."""
        return not self.guard.is_per_symbol or self.trade.symbol == symbol

    def covers(self, timestamp: int) -> bool:
        """Return whether nothing enters at the open of a candle, epoch seconds."""
        passed = count_candles(timestamp - self.trade.timestamp, self.candle_seconds)
        return self.start <= timestamp and passed <= self.guard.stop_duration_candles

    def describe(self) -> str:
        """Return the reason of the pause, for output."""
        guard, exit_time = self.guard, format_utc(self.trade.timestamp)
        counted = {
            "stoploss_guard": format_count(self.trades, "stop"),
            "drawdown_pause": f"a drawdown of {self.value:.2%} in "
            f"{format_count(self.trades, 'trade')}",
            "low_profit_pairs": f"a profit of {self.value:.2%} in "
            f"{format_count(self.trades, 'trade')}",
        }[guard.name]
        return (
            f"{guard.title}: {counted} within "
            f"{format_count(guard.lookback_period_candles, 'candle')}; no entry for "
            f"{format_count(guard.stop_duration_candles, 'candle')} after the exit in the candle "
            f"of {exit_time}"
        )


def count_candles(seconds: int, candle_seconds: int) -> int:
    """Return a difference between the opens of two candles, in candles.

    Args:
        seconds: Difference between the opens.
        candle_seconds: Length of a candle.
    """
    return round(seconds / candle_seconds)


class GuardLog:
    """Closed trades of an account in their order, and the pauses that follow from them."""

    def __init__(
        self,
        guards: Sequence[EntryGuard],
        candle_seconds: int,
        trades: Iterable[ClosedTrade] = (),
    ) -> None:
        """Begin with the trades of an earlier range.

        Args:
            guards: Guards of the account.
            candle_seconds: Length of a candle; 0 where only one is known.
            trades: Closed trades, in their order.
        """
        self._guards = guards
        self._seconds = max(1, candle_seconds)
        self._watches = [_GuardPauses(guard, self._seconds) for guard in guards]
        self._trades: list[ClosedTrade] = []
        self.pauses: list[EntryPause] = []
        """All pauses, by the order of their exits."""
        for trade in trades:
            self.add(trade)

    @property
    def trades(self) -> tuple[ClosedTrade, ...]:
        """Return the trades that a later range needs."""
        return drop_old_trades(self._guards, self._trades, self._seconds)

    def add(self, trade: ClosedTrade) -> None:
        """Add a closed trade, the newest one."""
        self._trades.append(trade)
        for watch in self._watches:
            pause = watch.add(trade)
            if pause is not None:
                self.pauses.append(pause)

    def find_pause(self, symbol: str, timestamp: int) -> EntryPause | None:
        """Return a pause in which a symbol does not enter; None: entries are allowed.

        Args:
            symbol: Symbol of the entry.
            timestamp: Open of the candle that would fill the entry, epoch seconds. Exits at this
                open come first.
        """
        found = (watch.find_pause(symbol, timestamp) for watch in self._watches)
        return next((pause for pause in found if pause is not None), None)

    def get_pauses(self, symbol: str) -> tuple[EntryPause, ...]:
        """Return the pauses of a symbol."""
        return tuple(pause for pause in self.pauses if pause.concerns(symbol))

    def mask_paused(self, symbol: str, timestamp: IntArray) -> NDArray[np.bool_]:
        """Return `find_pause` for many candles, as a mask, shape (n,).

        Args:
            symbol: Symbol of the entries.
            timestamp: Opens of the candles, epoch seconds, shape (n,).
        """
        found = np.zeros(len(timestamp), dtype=np.bool_)
        for watch in self._watches:
            found |= watch.mask_paused(symbol, timestamp)
        return found


class _GuardPauses:
    """Pauses of one entry guard, computed from the trades in its look-back period."""

    def __init__(self, guard: EntryGuard, candle_seconds: int) -> None:
        self._guard = guard
        self._seconds = candle_seconds
        self._windows: dict[str, deque[ClosedTrade]] = {}
        """Trades that count, oldest first, by symbol; of all symbols under an empty name."""
        self._pauses: dict[str, list[EntryPause]] = {}
        self._starts: dict[str, list[int]] = {}
        """Start of each pause, epoch seconds, ascending."""

    def _get_scope(self, symbol: str) -> str:
        return symbol if self._guard.is_per_symbol else ""

    def add(self, trade: ClosedTrade) -> EntryPause | None:
        """Add a closed trade; return the pause that begins with its exit, or None."""
        guard = self._guard
        is_lost = trade.is_stop and trade.profit_ratio < guard.bound - NOISE
        if guard.name == "stoploss_guard" and not is_lost:
            return None
        scope = self._get_scope(trade.symbol)
        window = self._windows.setdefault(scope, deque())
        window.append(trade)
        while (
            count_candles(trade.timestamp - window[0].timestamp, self._seconds)
            >= guard.lookback_period_candles
        ):
            window.popleft()
        value = None if len(window) < guard.trade_limit else _compute_pause_value(guard, window)
        if value is None:
            return None
        pause = EntryPause(guard, trade, len(window), value, self._seconds)
        self._pauses.setdefault(scope, []).append(pause)
        self._starts.setdefault(scope, []).append(pause.start)
        return pause

    def find_pause(self, symbol: str, timestamp: int) -> EntryPause | None:
        """Return the pause of a symbol at an open; the one that began last ends last."""
        scope = self._get_scope(symbol)
        number = bisect_right(self._starts.get(scope, ()), timestamp) - 1
        if number < 0:
            return None
        pause = self._pauses[scope][number]
        return pause if pause.covers(timestamp) else None

    def mask_paused(self, symbol: str, timestamp: IntArray) -> NDArray[np.bool_]:
        pauses = self._pauses.get(self._get_scope(symbol))
        if not pauses:
            return np.zeros(len(timestamp), dtype=np.bool_)
        starts = np.array([pause.start for pause in pauses])
        exits = np.array([pause.trade.timestamp for pause in pauses])
        number = np.searchsorted(starts, timestamp, side="right") - 1
        passed = np.rint((timestamp - exits[number]) / self._seconds)
        return (number >= 0) & (passed <= self._guard.stop_duration_candles)


def _compute_pause_value(guard: EntryGuard, trades: Iterable[ClosedTrade]) -> float | None:
    """Return the sum or drawdown of profit ratios that leads to a pause; None: no pause."""
    ratios = [trade.profit_ratio for trade in trades]
    if guard.name == "drawdown_pause":
        drawdown = _compute_drawdown(ratios)
        return drawdown if drawdown > guard.bound + NOISE else None
    total = math.fsum(ratios)
    is_low = guard.name == "stoploss_guard" or total < guard.bound - NOISE
    return total if is_low else None


def _compute_drawdown(ratios: Iterable[float]) -> float:
    """Return the largest fall of the running sum from its highest value so far, 0 at the start."""
    total = highest = largest = 0.0
    for ratio in ratios:
        total += ratio
        highest = max(highest, total)
        largest = max(largest, highest - total)
    return largest


def drop_old_trades(
    guards: Sequence[EntryGuard], trades: Sequence[ClosedTrade], candle_seconds: int
) -> tuple[ClosedTrade, ...]:
    """Return the trades that may still lead to a pause, or have led to one that goes on.

    Args:
        guards: Guards of the account.
        trades: Closed trades, in their order.
        candle_seconds: Length of a candle.
    """
    if not trades:
        return ()
    needed = count_candles_needed(guards)
    newest = trades[-1].timestamp
    return tuple(
        trade
        for trade in trades
        if count_candles(newest - trade.timestamp, max(1, candle_seconds)) <= needed
    )


def count_candles_needed(guards: Sequence[EntryGuard]) -> int:
    """Return the number of candles before an exit whose closed trades may matter after it."""
    return _EXTRA_CANDLES + max(
        (one.lookback_period_candles + one.stop_duration_candles for one in guards), default=0
    )


def insert_trade(
    guards: Sequence[EntryGuard],
    trades: Sequence[ClosedTrade],
    trade: ClosedTrade,
    symbols: Sequence[str],
    candle_seconds: int,
) -> tuple[ClosedTrade, ...]:
    """Return closed trades with one more in its place, without those that are too old.

    Args:
        guards: Guards of the account.
        trades: Closed trades, in their order.
        trade: The trade to add.
        symbols: Symbols of the account, in the order of their events at one moment.
        candle_seconds: Length of a candle.
    """
    found = list(trades)
    insort(found, trade, key=lambda one: make_sort_key(one, symbols))
    return drop_old_trades(guards, found, candle_seconds)


def make_sort_key(trade: ClosedTrade, symbols: Sequence[str]) -> tuple[int, bool, int, str]:
    """Return the place of a trade in the order of an account's events.

    Args:
        trade: The trade.
        symbols: Symbols of the account, in the order of their events at one moment; trades of
            others come last.
    """
    known = trade.symbol in symbols
    number = symbols.index(trade.symbol) if known else len(symbols)
    return trade.timestamp, trade.is_inside, number, trade.symbol
