"""Writes exits into the exit journal only, while the database cannot be written.

`exit_watch` calls it with each candle and each signal; `journal_entries` copies the exits into the
database later.
"""

from collections.abc import Callable
from decimal import Decimal

from onetape.core.candles import Candle, find_candle_fault
from onetape.core.clock import format_utc
from onetape.core.trading import ExitCause
from onetape.engine import Exit
from onetape.exchange.rest import RestExchange
from trader.executor import Executor
from trader.exit_orders import ExitOrders
from trader.session_context import SessionContext
from trader.stepping import RuleStepper


class JournalExits:
    """Stores an exit of the open position in the journal, once for each position."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        executor: Executor,
        orders: ExitOrders,
        rules: Callable[[], RuleStepper],
    ) -> None:
        """Begin; no exit is stored yet.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock measures whether a candle has begun.
            executor: Executor of the symbol, with the position.
            orders: Writes exits to the journal.
            rules: Returns the rules with their state when the file could last be written.
        """
        self._context = context
        self._exchange = exchange
        self._executor = executor
        self._orders = orders
        self._rules = rules
        self._saved: str | None = None
        """Entry order of the position whose exit is in the journal; None: no exit is."""
        self._unsaved: str | None = None
        """Entry order of the position whose exit the journal could not store, or None."""

    @property
    def has_position(self) -> bool:
        """Return whether a position is open."""
        return self._executor.entry_order_id is not None

    def save_level_exit(self, candle: Candle) -> str | None:
        """Store the stop or target that a candle has reached, once for each position.

        Args:
            candle: A candle of the stream, closed or forming.

        Returns:
            A text to print; None: no position, no level reached, or the exit is stored already.
        """
        entry, now_s = self._executor.entry_order_id, self._exchange.now_ms() // 1_000
        is_usable = (
            find_candle_fault(candle, self._context.timeframe) is None and candle.timestamp <= now_s
        )
        if entry is None or entry == self._saved or not is_usable:
            return None
        if self._rules().state.order is not None:
            return None
        found = self._rules().find_exit(candle, is_unwatched=False)
        if found is None or found.kind == "signal":
            return None
        reason = describe_exit_reason(self._context, found, candle)
        return self._save(entry, found.kind, candle.timestamp, found.price, reason)

    def save_sell(self, candle: Candle, strategy_text: str) -> str | None:
        """Store the SELL of the strategy, once for each position.

        Args:
            candle: The closed candle that the strategy decided on.
            strategy_text: Text of the strategy about the candle; may be empty.

        Returns:
            A text to print; None: no position, its exit is decided, or the SELL does not count.
        """
        entry = self._executor.entry_order_id
        rules = self._rules()
        if entry is None or entry == self._saved or rules.state.order is not None:
            return None
        held, exits = rules.state.position, rules.rules.exits
        if held is not None and not exits.sell_counts(held.entry_price, candle.close):
            return None
        reason = f"SELL on the candle of {format_utc(candle.timestamp)}"
        reason = f"{reason}: {strategy_text}" if strategy_text else reason
        return self._save(entry, "market", candle.timestamp, candle.close, reason)

    def _save(
        self, entry: str, cause: ExitCause, timestamp: int, price: float, reason: str
    ) -> str | None:
        """Write an exit to the journal; return the text to print, or None if it was printed."""
        self._orders.save_in_journal(cause, timestamp, Decimal(repr(price)), reason)
        fault = self._orders.journal_fault
        if fault:
            # The next candle, or the next frame, leads to another attempt.
            is_new, self._unsaved = self._unsaved != entry, entry
            return f"{reason}: not stored for a restart, {fault}" if is_new else None
        self._saved = entry
        return f"{reason}: stored in the journal until the database can be written"


def describe_exit_reason(context: SessionContext, exit_: Exit, candle: Candle) -> str:
    """Return the reason of an exit by the rules, as a text: its kind, its price and the candle.

    Args:
        context: Context of the traded symbol.
        exit_: The exit.
        candle: The candle that reached its price.
    """
    price = context.digits.format_price(exit_.price)
    name = exit_.kind.replace("_", " ")
    is_level = exit_.kind in ("stop_loss", "trailing_stop", "target")
    # Beyond its level a candle opens at the price of the exit.
    gap = " (the open, beyond its level)" if is_level and exit_.price == candle.open else ""
    return f"{name} at {price}{gap} in the candle of {format_utc(candle.timestamp)}"
