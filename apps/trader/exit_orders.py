"""The exits of one symbol: stores each decided exit, sends its order, and fills it when it is due.

A decided exit is stored in one transaction with its order, as an exit obligation of the position.
If that order is lost, because the process was killed or the order was cancelled by hand, the next
loop or the next session sends another order. The obligation ends with the fill, with a refusal of
the market, or with the position.

On paper an exit fills at its price (the next open, or the level) only if the market was watched
when that price passed; otherwise it is late, and fills at the first price that is known after that.
A live exit is sent at once.
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
from trader.control_state import format_pause, read_control_state
from trader.executor import Executor
from trader.exit_journal import ExitJournal
from trader.lease import Lease
from trader.new_orders import make_order
from trader.session_context import SessionContext
from trader.stream_recorder import StreamRecorder
from trader.stream_watch import describe_late_price


class ExitOrders:
    """Stores, sends and fills the exits of one symbol; fills and cancels its entry too."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        executor: Executor,
        lease: Lease,
        recorder: StreamRecorder,
        journal: ExitJournal,
    ) -> None:
        """Continue the pending exits of earlier sessions; exits of closed positions are ended.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock dates the exits.
            executor: Executor of the symbol, with the position and the open order.
            lease: Lease that is renewed right before an order is stored or filled.
            recorder: Recorder with the watch of the market and the newest prices.
            journal: Exit journal, in which each exit is stored first.

        Raises:
            SafetyRefusal: another process took the account over.
            StoreError: the file cannot be written.
        """
        self._context = context
        self._exchange = exchange
        self._executor = executor
        self._lease = lease
        self._recorder = recorder
        self._journal = journal
        self._halted: str | None = None
        """Client order id of an order sent before a halt that was printed; None: none was."""
        halt = read_control_state(context.store, context.session.account).halt
        self.halt = None if halt is None else format_pause(halt)
        if executor.is_entry_in_flight:
            # A later fill may belong to a position whose first part is sold.
            return
        end_obligations_of_closed_positions(
            context.store,
            context.session,
            lease.fence,
            entry_order_id=executor.entry_order_id,
            ended_ms=exchange.now_ms(),
        )

    @property
    def halt(self) -> str | None:
        """Return a text with the halt that forbids all orders; None: orders are allowed."""
        return self._executor.halt

    @halt.setter
    def halt(self, text: str | None) -> None:
        self._executor.halt = text

    @property
    def has_position(self) -> bool:
        """Return whether there is a position to close."""
        return self._executor.entry_order_id is not None

    @property
    def is_buying(self) -> bool:
        """Return whether an order to buy is open, sent or not."""
        order = self._executor.open_order
        return order is not None and order.side == "buy"

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over; always False on paper."""
        return self._executor.is_entry_in_flight

    @property
    def is_exit_pending(self) -> bool:
        """Return whether the position has an exit that is decided and not filled."""
        return self.find_obligation() is not None

    @property
    def journal_fault(self) -> str:
        """Return the reason why the journal could not store the last exit; empty if it could."""
        return self._journal.fault

    def find_obligation(self) -> ExitObligation | None:
        """Return the pending exit of the position, read from the database, or None."""
        entry = self._executor.entry_order_id
        if entry is None:
            return None
        return read_open_obligation(self._context.store, self._context.session, entry)

    def make_exit(
        self,
        cause: ExitCause,
        signal_timestamp: int,
        price: Decimal,
        reason: str,
        *,
        decision: str | None = None,
    ) -> tuple[Order, ExitObligation]:
        """Return an order that closes the position, with its obligation; nothing is sent yet.

        The obligation is stored in the journal only. If an exit is pending already, its obligation
        is returned: a second cause changes nothing.

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
        """Store an exit of the position in the journal only, and return the exit.

        Args:
            cause: See `make_exit`.
            signal_timestamp: See `make_exit`.
            price: See `make_exit`.
            reason: See `make_exit`.

        Raises:
            ValueError: there is no position.
        """
        entry, session = self._executor.entry_order_id, self._context.session
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

    def send_at_level(
        self, order: Order, obligation: ExitObligation, candle: Candle, found: BarExit
    ) -> str:
        """Send an exit at a level that passed while the market was watched; return the result.

        While orders are forbidden, the exit is stored as pending instead.

        Args:
            order: The order, of `make_exit`.
            obligation: The exit, of `make_exit`.
            candle: Candle that reached the level.
            found: Price and kind of the exit by the rules.

        Returns:
            A text that can be printed.

        Raises:
            StoreError: order or fill could not be stored.
            SafetyRefusal: another process trades the account.
        """
        self._lease.renew()
        if self.halt is not None:
            return self._store_pending(obligation)
        now_ms = self._exchange.now_ms()
        return self._executor.sell_at_level(order, obligation, candle, found, now_ms)

    def send_late(self, order: Order, obligation: ExitObligation) -> None:
        """Send an exit that fills at the first fresh price, because its own price has passed.

        While orders are forbidden, the exit is stored as pending instead.

        Args:
            order: The order, of `make_exit`.
            obligation: The exit, of `make_exit`.

        Raises:
            StoreError: the order could not be stored.
            SafetyRefusal: another process trades the account.
        """
        self._lease.renew()
        if self.halt is not None:
            self._store_pending(obligation)
            return
        insert_order(self._context.store, order, self._lease.fence, obligation=obligation)
        self._executor.place(order, self._exchange.now_ms())

    def _store_pending(self, obligation: ExitObligation) -> str:
        """Store an exit as pending while orders are forbidden; return a text with the halt."""
        restore_obligation(self._context.store, obligation, self._lease.fence)
        return f"no order, {self.halt}; the exit is pending, and sent after a resume"

    def resend(self) -> str | None:
        """Send a new order for the pending exit, if no exit order is open; return a line, or None.

        Raises:
            StoreError: the order could not be stored.
            SafetyRefusal: another process trades the account.
        """
        order = self._executor.open_order
        is_selling = order is not None and order.side == "sell"
        if self.halt is not None or is_selling or not self._executor.may_send_exit:
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
        self._executor.place(again, self._exchange.now_ms())
        return f"pending exit, sent now: {pending.reason}"

    def fill_entry(self, candle: Candle) -> str | None:
        """Fill the open order to buy at the open of a candle; return a text with the result.

        None: no such order, or orders are forbidden.

        Raises:
            StoreError: the fill could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._executor.open_order
        if order is None or order.side != "buy" or self.halt is not None:
            return None
        # The strategy may have computed for a long time since the last check.
        self._lease.renew()
        return self._executor.fill_open_order(candle, self._exchange.now_ms())

    def send_limit(self, candle: Candle, limit: float) -> str | None:
        """Send the open limit order to buy at the open of a candle; return a text with the result.

        None: no such order, or orders are forbidden.

        Args:
            candle: The candle at whose open the order is sent.
            limit: Price of the order, quote currency.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        if not self.is_buying or self.halt is not None:
            return None
        self._lease.renew()
        return self._executor.send_limit(candle, limit, self._exchange.now_ms())

    def fill_limit(self, candle: Candle, price: float, *, is_inside: bool) -> str | None:
        """Fill the open limit order to buy; return a text with the result.

        None: no such order, or orders are forbidden.

        Args:
            candle: The candle that fills the order.
            price: Open of the candle, or the limit; quote currency.
            is_inside: Whether the order is filled at the limit, and not at an open below it.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        if not self.is_buying or self.halt is not None:
            return None
        self._lease.renew()
        now_ms = self._exchange.now_ms()
        return self._executor.fill_limit(candle, price, now_ms, is_inside=is_inside)

    def cancel_entry(self, reason: str) -> str | None:
        """Cancel the open order to buy, if there is one; return a text with the result.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._executor.open_order
        if order is None or order.side != "buy":
            return None
        self._lease.renew()
        # An order that was sent to an exchange stays as it is.
        done = self._executor.cancel_entry(self._exchange.now_ms(), reason)
        return None if done is None else f"the order to buy is cancelled: {reason}"

    def halt_orders(self, halt: str) -> str | None:
        """Forbid orders of any kind, and cancel the open order; return a text about it, or None.

        An exit whose order is cancelled stays pending. An order that was sent to an exchange is
        reported once, and stays as it is.

        Args:
            halt: Text of the command that forbids orders.

        Raises:
            StoreError: the order could not be cancelled; it stays open, and is not filled.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        self.halt = halt
        order = self._executor.open_order
        if order is None:
            return None
        self._lease.renew()
        subject = f"the order to {order.side}"
        if self._executor.cancel(self._exchange.now_ms(), halt):
            return f"{subject} is cancelled: {halt}"
        if self._halted == order.client_order_id:
            return None
        self._halted = order.client_order_id
        return f"{subject} was sent already and cannot be taken back; it is looked up: {halt}"

    def fill_exit(self, due: Candle | None, rest_price: float | None = None) -> str | None:
        """Fill the open order to sell if its price has come; return a text with the result.

        None: no such order, orders are forbidden, or no fresh price is known yet.

        Args:
            due: The candle whose open fills the order; None: by the rules the order is not due yet.
            rest_price: Price over REST while the stream is down, quote currency; None: the stream
                is up, or that price is not needed.

        Raises:
            StoreError: the fill could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        order = self._executor.open_order
        if order is None or order.side != "sell" or self.halt is not None:
            return None
        # The strategy may have computed for a long time since the last check.
        self._lease.renew()
        now_ms = self._exchange.now_ms()
        if self._executor.is_live:
            # A market order needs no known price, and waits for none.
            newest = read_newest_row(self._context.store, self._context.key)
            return None if newest is None else self._executor.fill_late(newest, now_ms, "")
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
            return None if due is None else self._executor.fill_open_order(due, now_ms)
        return self._fill_late(order, passed, newest, now_ms) if self._is_fresh(newest) else None

    def _fill_late(
        self, order: Order, passed: Candle | None, newest: Candle, now_ms: int
    ) -> str | None:
        """Fill the open order to sell at the newest price instead of its decided price.

        Args:
            order: The order.
            passed: The candle with the decided price; None: it is not known yet.
            newest: Candle whose close is the newest price.
            now_ms: Market time, epoch milliseconds.
        """
        context = self._context
        if order.type == "command":
            return self._executor.fill_late(newest, now_ms, "")
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
        return self._executor.fill_late(newest, now_ms, note)

    def find_passed_candle(self) -> Candle | None:
        """Return the candle with the decided price of the open order; None: no order, or no candle.

        That is the first traded candle after the signal, or the candle that reached the level.
        """
        order = self._executor.open_order
        return None if order is None else self._read_passed_candle(order)

    def _read_passed_candle(self, order: Order) -> Candle | None:
        """Return the candle with the decided price of an order; None: it is not stored yet."""
        store, key, timestamp = self._context.store, self._context.key, order.signal_timestamp
        return read_first_traded_after(
            store, key, timestamp if order.type == "market" else timestamp - 1
        )

    def _is_late(self, order: Order, passed: Candle, newest: Candle) -> bool:
        """Return whether the decided price of a sell order passed before it could be filled."""
        if order.type != "market" or passed.timestamp < newest.timestamp:
            return True
        if order.session != self._context.session.session:
            return True
        watch = self._recorder.watch
        if watch is None or not watch.has_seen_open(passed.timestamp):
            return True
        closed_ms = self._context.timeframe.next(order.signal_timestamp) * 1_000
        age_seconds = self._exchange.clock.wall_seconds(max(0, order.decided_ms - closed_ms))
        return age_seconds > self._context.settings.max_signal_age_seconds

    def _is_fresh(self, newest: Candle) -> bool:
        """Return whether the newest candle's price was traded since the present watch began."""
        watch = self._recorder.watch
        if watch is None or newest.timestamp < watch.first.timestamp:
            return False
        return self._is_traded(newest)

    def _is_traded(self, row: Candle) -> bool:
        """Return whether something was traded in a candle, so that its price is a new one."""
        return not (is_untraded(row) and has_volume(self._context.store, self._context.key))

    def _make_exit_order(
        self, pending: ExitObligation, price: Decimal, decision: str | None
    ) -> Order:
        """Return a new order that carries out a pending exit."""
        return make_order(
            self._context.session,
            self._executor.make_order_id(),
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
