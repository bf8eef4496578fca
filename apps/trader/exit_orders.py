"""Orders that close the position, and the obligations that outlive them.

A decided exit is an obligation of the position: it is stored in one transaction with its order. If
that order is lost, because the process was killed or the order was cancelled by hand, the next loop
or the next session sends another order. The obligation ends with the fill, with a refusal of the
market, or with the position.
"""

from decimal import Decimal
from uuid import uuid4

from onetape.core.candles import Candle
from onetape.core.trading import ExitCause, ExitObligation, Order
from onetape.core.untraded import is_untraded
from onetape.engine import BarExit
from onetape.exchange.rest import RestExchange
from onetape.store.obligations import (
    end_obligations_of_closed_positions,
    read_open_obligation,
    restore_obligation,
)
from onetape.store.orders import insert_order
from onetape.store.reading import has_volume, read_first_traded_after, read_newest_row
from trader.control_state import pause_text, read_control_state
from trader.executor import Executor
from trader.exit_journal import ExitJournal
from trader.lateness import describe_late_price
from trader.lease import Lease
from trader.new_orders import make_order
from trader.session_context import SessionContext
from trader.stream_recorder import StreamRecorder


class ExitOrders:
    """Sends the exits of one account and fills its open order."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        broker: Executor,
        lease: Lease,
        recorder: StreamRecorder,
        journal: ExitJournal,
    ) -> None:
        """Go on with the exits of earlier sessions; those of closed positions end.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock dates the exits.
            broker: Holds the position and the open order.
            lease: Proven right before an order is stored or filled.
            recorder: Recorder with the time since which the market is watched.
            journal: Keeps each exit in case the file cannot.

        Raises:
            SafetyRefusal: another process took the account over.
            StoreError: the file cannot be written.
        """
        self._context = context
        self._exchange = exchange
        self._broker = broker
        self._lease = lease
        self._recorder = recorder
        self._journal = journal
        self._halted: str | None = None
        """Client order id of an order that was sent before a halt, once that is printed."""
        halt = read_control_state(context.store, context.session.account).halt
        self.halt = None if halt is None else pause_text(halt)
        if broker.is_entry_in_flight:
            # A later fill may belong to a position whose first part is sold.
            return
        end_obligations_of_closed_positions(
            context.store,
            context.session,
            lease.fence,
            entry_order_id=broker.entry_order_id,
            ended_ms=exchange.now_ms(),
        )

    @property
    def halt(self) -> str | None:
        """Return a text with the command that forbids all orders; None: no command does."""
        return self._broker.halt

    @halt.setter
    def halt(self, text: str | None) -> None:
        self._broker.halt = text

    @property
    def has_position(self) -> bool:
        """Return whether there is a position to close."""
        return self._broker.entry_order_id is not None

    @property
    def is_buying(self) -> bool:
        """Return whether an order to buy is open, sent or not."""
        order = self._broker.open_order
        return order is not None and order.side == "buy"

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over; always False on paper."""
        return self._broker.is_entry_in_flight

    @property
    def is_exit_pending(self) -> bool:
        """Return whether the position has an exit that is decided and not filled."""
        return self.find_obligation() is not None

    @property
    def journal_fault(self) -> str:
        """Return the reason why the journal could not store the last exit; empty if it could."""
        return self._journal.fault

    def find_obligation(self) -> ExitObligation | None:
        """Return the open obligation of the position, or None."""
        entry = self._broker.entry_order_id
        if entry is None:
            return None
        return read_open_obligation(self._context.store, self._context.session, entry)

    def make(
        self,
        cause: ExitCause,
        signal_timestamp: int,
        price: Decimal,
        reason: str,
        *,
        decision: str | None = None,
    ) -> tuple[Order, ExitObligation]:
        """Return an obligation of the position and its order; nothing is sent yet.

        The obligation is in the journal, and not in the database yet. If an exit is pending
        already, that one is returned: a second cause changes nothing.

        Args:
            cause: Cause of the exit.
            signal_timestamp: The candle that gave the signal or reached the level, epoch seconds.
            price: The level, or the close that the signal was computed from, quote currency.
            reason: Reason as a text.
            decision: Id of the strategy's decision; None for a stop, target or time stop.

        Raises:
            ValueError: there is no position.
        """
        obligation = self.find_obligation()
        if obligation is None:
            obligation = self.save_in_journal(cause, signal_timestamp, price, reason)
        return self._make_exit_order(obligation, price, decision), obligation

    def save_in_journal(
        self, cause: ExitCause, signal_timestamp: int, price: Decimal, reason: str
    ) -> ExitObligation:
        """Write an exit of the position to the journal alone, and return the exit.

        Args:
            cause: See `make`.
            signal_timestamp: See `make`.
            price: See `make`.
            reason: See `make`.

        Raises:
            ValueError: there is no position.
        """
        entry, session = self._broker.entry_order_id, self._context.session
        if entry is None:
            raise ValueError("an exit needs a position")
        obligation = ExitObligation(
            obligation=uuid4().hex,
            account=session.account,
            mode=session.mode,
            exchange=session.exchange,
            symbol=session.symbol,
            entry_order_id=entry,
            cause=cause,
            signal_timestamp=signal_timestamp,
            level=None if cause in ("market", "command") else price,
            created_ms=self._exchange.now_ms(),
            reason=reason,
        )
        self._journal.add(obligation)
        return obligation

    def send_at(
        self, order: Order, obligation: ExitObligation, candle: Candle, found: BarExit
    ) -> str:
        """Sell at the price that a watched candle reached; return a text with the result.

        While orders are forbidden the exit is pending.

        Raises:
            StoreError: order or trade could not be stored.
            SafetyRefusal: another process trades the account.
        """
        self._lease.renew()
        if self.halt is not None:
            return self._store_pending(obligation)
        now_ms = self._exchange.now_ms()
        return self._broker.sell_at_level(order, obligation, candle, found, now_ms)

    def send_late(self, order: Order, obligation: ExitObligation) -> None:
        """Send an exit whose price has passed already, to be filled at the first fresh price.

        While orders are forbidden the exit is pending.

        Raises:
            StoreError: the order could not be stored.
            SafetyRefusal: another process trades the account.
        """
        self._lease.renew()
        if self.halt is not None:
            self._store_pending(obligation)
            return
        insert_order(self._context.store, order, self._lease.fence, obligation=obligation)
        self._broker.place(order, self._exchange.now_ms())

    def _store_pending(self, obligation: ExitObligation) -> str:
        """Store an exit while orders are forbidden; return a text with the command it waits for."""
        restore_obligation(self._context.store, obligation, self._lease.fence)
        return f"no order, {self.halt}; the exit is pending, and sent after a resume"

    def resend(self) -> str | None:
        """Send the pending exit of the position if no order is open; return a line, or None.

        Raises:
            StoreError: the order could not be stored.
            SafetyRefusal: another process trades the account.
        """
        order = self._broker.open_order
        is_selling = order is not None and order.side == "sell"
        if self.halt is not None or is_selling or not self._broker.may_send_exit:
            return None
        pending = self.find_obligation()
        if pending is None:
            return None
        price = pending.level
        if price is None:
            row = read_newest_row(self._context.store, self._context.key)
            price = Decimal(repr(row.close)) if row is not None else Decimal(0)
        again = self._make_exit_order(pending, price, None)
        self._lease.renew()
        insert_order(self._context.store, again, self._lease.fence)
        self._broker.place(again, self._exchange.now_ms())
        return f"pending exit, sent now: {pending.reason}"

    def fill_entry(self, candle: Candle) -> str | None:
        """Fill the open order to buy at the open of a candle; return a text with the result.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._broker.open_order
        if order is None or order.side != "buy" or self.halt is not None:
            return None
        # The strategy may have computed for a long time since the last check.
        self._lease.renew()
        return self._broker.fill_open_order(candle, self._exchange.now_ms())

    def cancel_entry(self, reason: str) -> str | None:
        """Cancel the open order to buy, if there is one; return a text with the result.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._broker.open_order
        if order is None or order.side != "buy":
            return None
        self._lease.renew()
        # An order that was sent to an exchange stays as it is.
        done = self._broker.cancel_entry(self._exchange.now_ms(), reason)
        return None if done is None else f"the order to buy is cancelled: {reason}"

    def halt_orders(self, halt: str) -> str | None:
        """Forbid orders of any kind and cancel the open order; return a text with the result.

        An exit whose order is cancelled stays pending. An order that was sent to an exchange is
        reported once, and stays as it is.

        Args:
            halt: Description of the command that forbids orders.

        Raises:
            StoreError: the order could not be cancelled; it stays open, and is not filled.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        self.halt = halt
        order = self._broker.open_order
        if order is None:
            return None
        self._lease.renew()
        what = f"the order to {order.side}"
        if self._broker.cancel(self._exchange.now_ms(), halt):
            return f"{what} is cancelled: {halt}"
        if self._halted == order.client_order_id:
            return None
        self._halted = order.client_order_id
        return f"{what} was sent already and cannot be taken back; it is looked up: {halt}"

    def fill_exit(self, due: Candle | None, rest_price: float | None = None) -> str | None:
        """Fill the open order to sell if its price has come; return a text with the result.

        Args:
            due: The candle whose open fills the order; None: by the rules the order is not due yet.
            rest_price: The price over REST while the stream is down, quote currency, or None.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._broker.open_order
        if order is None or order.side != "sell" or self.halt is not None:
            return None
        # The strategy may have computed for a long time since the last check.
        self._lease.renew()
        now_ms = self._exchange.now_ms()
        if self._broker.is_live:
            # A market order needs no known price, and waits for none.
            newest = read_newest_row(self._context.store, self._context.key)
            return None if newest is None else self._broker.fill_late(newest, now_ms, "")
        passed = self._read_passed_candle(order)
        if rest_price is not None:
            opened = self._context.timeframe.floor(now_ms // 1_000)
            row = Candle(opened, rest_price, rest_price, rest_price, rest_price, 0.0)
            return self._fill_late(order, passed, row, now_ms)
        held_back = self._recorder.held_price_row
        if self._recorder.watch is None and held_back is not None and self._is_traded(held_back):
            # The stream has a price, although REST does not respond for the candles before.
            return self._fill_late(order, passed, held_back, now_ms)
        if passed is None and order.type != "command":
            return None
        newest = read_newest_row(self._context.store, self._context.key)
        if newest is None:
            return None
        if passed is not None and not self._is_late(order, passed, newest):
            return None if due is None else self._broker.fill_open_order(due, now_ms)
        return self._fill_late(order, passed, newest, now_ms) if self._is_fresh(newest) else None

    def _fill_late(
        self, order: Order, passed: Candle | None, newest: Candle, now_ms: int
    ) -> str | None:
        """Fill the open order to sell at the newest price instead of its decided price.

        Args:
            order: The order.
            passed: The candle whose price the order was decided for; None: it is not known yet.
            newest: Candle whose close is the newest price.
            now_ms: Market time, epoch milliseconds.
        """
        context = self._context
        if order.type == "command":
            return self._broker.fill_late(newest, now_ms, "")
        is_at_open = passed is not None and order.type == "market"
        expected = passed.open if passed and is_at_open else float(order.intended_price)
        if passed is not None:
            timestamp = passed.timestamp
        elif order.type == "market":
            timestamp = context.timeframe.next(order.signal_timestamp)
        else:
            # A level is passed in the candle that led to the order.
            timestamp = order.signal_timestamp
        note = describe_late_price(
            newest.close, expected, timestamp, now_ms, context.digits, context.market.quote
        )
        return self._broker.fill_late(newest, now_ms, note)

    def find_passed_candle(self) -> Candle | None:
        """Return the candle whose price the open order was decided for, or None."""
        order = self._broker.open_order
        return None if order is None else self._read_passed_candle(order)

    def _read_passed_candle(self, order: Order) -> Candle | None:
        """Return the candle whose price the order was decided for; None before that candle."""
        store, key, timestamp = self._context.store, self._context.key, order.signal_timestamp
        return read_first_traded_after(
            store, key, timestamp if order.type == "market" else timestamp - 1
        )

    def _is_late(self, order: Order, passed: Candle, newest: Candle) -> bool:
        """Return whether the price of an open sell order has passed already."""
        if order.type != "market" or passed.timestamp < newest.timestamp:
            return True
        if order.session != self._context.session.session:
            return True
        watch = self._recorder.watch
        if watch is None or passed.timestamp <= watch.first.timestamp:
            return True
        closed_ms = self._context.timeframe.next(order.signal_timestamp) * 1_000
        age_seconds = self._exchange.clock.wall_seconds(max(0, order.decided_ms - closed_ms))
        return age_seconds > self._context.settings.max_signal_age_seconds

    def _is_fresh(self, newest: Candle) -> bool:
        """Return whether the newest candle's price was traded, during the present watch."""
        watch = self._recorder.watch
        if watch is None or newest.timestamp < watch.first.timestamp:
            return False
        return self._is_traded(newest)

    def _is_traded(self, row: Candle) -> bool:
        """Return whether the price of a candle was traded in the candle."""
        return not (is_untraded(row) and has_volume(self._context.store, self._context.key))

    def _make_exit_order(
        self, pending: ExitObligation, price: Decimal, decision: str | None
    ) -> Order:
        return make_order(
            self._context.session,
            self._broker.make_order_id(),
            "sell",
            pending.cause,
            price,
            pending.reason,
            signal_timestamp=pending.signal_timestamp,
            decided_ms=self._exchange.now_ms(),
            ticker=self._recorder.tickers.ticker,
            decision=decision,
            entry_order_id=pending.entry_order_id,
            obligation=pending.obligation,
        )
