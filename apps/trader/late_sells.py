"""Sells for SELL signals that came before the position was known.

The fill of an entry at an exchange may be unknown for minutes. A SELL that is decided on meanwhile
finds no position, and so has no order; the position is sold once it is known.
"""

from decimal import Decimal

from onetape.cli.output import print_line
from onetape.core.candles import Candle
from onetape.store.candles import read_candle_at
from onetape.store.ledger import read_missed_sell
from trader.executor import Executor
from trader.exit_orders import ExitOrders
from trader.session_context import SessionContext


class LateSells:
    """Sells the position of one symbol for a SELL from before that position was known."""

    def __init__(self, context: SessionContext, executor: Executor, orders: ExitOrders) -> None:
        """Initialise; no stored decision has been read.

        Args:
            context: Context of the traded symbol.
            executor: Executor of the symbol, with the position.
            orders: Sends the exits.
        """
        self._context = context
        self._executor = executor
        self._orders = orders
        self._searched_for: str | None = None
        """Entry order of the position for which the stored decisions were searched, or None."""

    def sell_for_missed_signal(self) -> None:
        """Sell the position if a stored SELL, maybe of an earlier session, found no position.

        Checked once for each position. Does nothing on paper, where a position is known at once.
        """
        context, entry = self._context, self._executor.entry_order_id
        is_known = self._executor.is_live and not self._executor.is_entry_in_flight
        if not is_known or entry == self._searched_for:
            return
        self._searched_for = entry
        if entry is None or self._orders.is_exit_pending:
            return
        timestamp = read_missed_sell(context.store, context.session, entry)
        row = None if timestamp is None else read_candle_at(context.store, context.key, timestamp)
        if timestamp is None or row is None:
            return
        if context.rules.exits.sell_counts(self._executor.compute_entry_price(row.open), row.close):
            self._sell(timestamp, row.close, "SELL that came before the position was known")

    def sell_for_early_signal(self, candle: Candle, closed: int | None) -> None:
        """Sell the position if a SELL came while its entry was in flight, and no order followed.

        Args:
            candle: Candle at whose open the SELL is due.
            closed: Open of the newest closed candle, epoch seconds; None: no candle has closed.
        """
        order = self._executor.open_order
        is_selling = order is not None and order.side == "sell"
        if self._executor.entry_order_id is None or self._orders.is_exit_pending or is_selling:
            return
        timestamp = candle.timestamp if closed is None else closed
        self._sell(timestamp, candle.open, "SELL that came while the order to buy was on its way")

    def _sell(self, timestamp: int, price: float, reason: str) -> None:
        print_line(f"{reason}: the position is sold now")
        order, obligation = self._orders.make_exit(
            "market", timestamp, Decimal(repr(price)), reason
        )
        self._orders.send_late(order, obligation)
