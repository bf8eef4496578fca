"""SELL signals on candles that were decided on before an open position was known.

An entry at an exchange may be unknown for minutes. A SELL that is decided on meanwhile finds no
position, and so has no order; the position is sold once it is known.
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
    """Sends the exits of one symbol for SELL signals from before its position was known."""

    def __init__(self, context: SessionContext, broker: Executor, orders: ExitOrders) -> None:
        """Begin; no stored decision has been read.

        Args:
            context: Context of the traded symbol.
            broker: Broker with the position.
            orders: Sends the exits.
        """
        self._context = context
        self._broker = broker
        self._orders = orders
        self._looked_at: str | None = None
        """Entry of the position that the stored decisions were searched for."""

    def sell_for_missed_signal(self) -> None:
        """Sell a position that was unknown at a stored SELL, maybe of an earlier session; once.

        On paper a position is known at once.
        """
        context, entry = self._context, self._broker.entry_order_id
        is_known = self._broker.is_live and not self._broker.is_entry_in_flight
        if not is_known or entry == self._looked_at:
            return
        self._looked_at = entry
        if entry is None or self._orders.is_exit_pending:
            return
        timestamp = read_missed_sell(context.store, context.session, entry)
        row = None if timestamp is None else read_candle_at(context.store, context.key, timestamp)
        if timestamp is None or row is None:
            return
        if context.rules.exits.sell_counts(self._broker.compute_entry_price(row.open), row.close):
            self._sell(timestamp, row.close, "SELL that came before the position was known")

    def sell_for_early_signal(self, candle: Candle, closed: int | None) -> None:
        """Sell the position if the rules had a SELL during its entry, and no order followed.

        Args:
            candle: The one at whose open the SELL is due.
            closed: Open of the newest closed candle, epoch seconds; None: no candle has closed.
        """
        order = self._broker.open_order
        is_selling = order is not None and order.side == "sell"
        if self._broker.entry_order_id is None or self._orders.is_exit_pending or is_selling:
            return
        timestamp = candle.timestamp if closed is None else closed
        self._sell(timestamp, candle.open, "SELL that came while the order to buy was on its way")

    def _sell(self, timestamp: int, price: float, reason: str) -> None:
        print_line(f"{reason}: the position is sold now")
        made = self._orders.make("market", timestamp, Decimal(repr(price)), reason)
        self._orders.send_late(*made)
