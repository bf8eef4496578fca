"""The live orders of one symbol: stored, sent once, and tracked until they are over.

`LiveBook` is the base class of `LiveExecutor`. It stores each send before the request starts,
stores the events of each order, and has what the other modules of this folder share: orders, fills,
money, broker, time limits and problems. It makes no decisions.
"""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from onetape.cli.output import print_line
from onetape.core.trading import Order, Side
from onetape.exchange.rest import MarketInfo, RestExchange
from onetape.execution.events import CancelRequested, OrderEvent, Submitted
from onetape.execution.orders import OrderState
from onetape.execution.positions import Position
from onetape.execution.protection import round_down
from onetape.store.leases import Fence
from onetape.store.obligations import end_obligations_of_closed_positions
from onetape.store.orders import insert_order
from trader.account_funds import AccountFunds
from trader.brokers.live import LiveBroker
from trader.executor import Executor
from trader.live.order_ids import make_order_id
from trader.live.order_sizes import OrderSizes
from trader.live.times import LiveTimes
from trader.live.tracking import LiveOrder, describe_order_kind
from trader.new_orders import make_order
from trader.order_booking import TrackedOrder
from trader.session_context import SessionContext
from trader.states import TraderStates

#: Kind and price of a stop.
StopLevel = tuple[str, Decimal]
#: Function that sells the position at a passed level: kind and price of the stop, and reason.
LevelExit = Callable[[str, Decimal, str], None]


class LiveBook(Executor):
    """The open orders of one symbol: at most one entry, one exit and a stop."""

    def __init__(
        self,
        context: SessionContext,
        fence: Fence,
        funds: AccountFunds,
        broker: LiveBroker,
        exchange: RestExchange,
        states: TraderStates,
        *,
        times: LiveTimes,
    ) -> None:
        """Compute the position from the stored fills, and track the orders that are not over.

        Args:
            context: Context of the traded symbol.
            fence: The lease of the account; nothing is sent or booked once it is lost.
            funds: The money of the account.
            broker: Sends requests; it outlives this object where everything is built again.
            exchange: Exchange whose clock dates requests.
            states: State of the trader; a problem that is reported there stops entries.
            times: Time limits.
        """
        super().__init__(context, fence, funds, where=f"on {context.key.exchange}")
        self.context = context
        self.fence = fence
        self.funds = funds
        self.broker = broker
        self.exchange = exchange
        self.states = states
        self.tag = context.tag
        self.times = times
        self.sizes = OrderSizes(context)
        """Limits of the market for the size of an order."""
        self.orders: dict[str, LiveOrder] = {
            tracked.order.client_order_id: LiveOrder(tracked) for tracked in self._unfinished
        }
        """Orders that are not over, by client order id, oldest first."""
        self._unfinished = []
        for live_order in self.orders.values():
            live_order.schedule_look_up()
        self.unread_entry: LiveOrder | None = None
        """A filled entry whose executions have been unknown for seconds; None: there is none."""
        self.level_source: Callable[[], StopLevel | None] = lambda: None
        """Returns kind and price of the position's stop; the session sets it."""
        self.knows_position: Callable[[], bool] = lambda: True
        """Returns whether the rules know the position, whose stop is None if there is none."""
        self.level_exit: LevelExit = _sell_nothing
        """Makes the exit of the position at a passed level; the session sets it."""

    @property
    def open_order(self) -> Order | None:
        """Return the entry or the exit that is not over, or None; a resting stop is neither."""
        live_order = self.exit or self.entry_or_exit
        return None if live_order is None else live_order.order

    @property
    def exit(self) -> LiveOrder | None:
        """Return the order that sells the position and is not over, no stop; None: no order."""
        found = (
            live_order for live_order in self.orders.values() if live_order.order.side == "sell"
        )
        return next(
            (live_order for live_order in found if not live_order.order.is_protection), None
        )

    @property
    def entry_or_exit(self) -> LiveOrder | None:
        """Return the entry or the exit that is not over, the oldest first, or None."""
        return next(
            (
                live_order
                for live_order in self.orders.values()
                if not live_order.order.is_protection
            ),
            None,
        )

    @property
    def stops(self) -> list[LiveOrder]:
        """Return the stops that are not over."""
        return [live_order for live_order in self.orders.values() if live_order.order.is_protection]

    @property
    def protected_entry(self) -> str | None:
        """Return the client order id of the entry whose coins a stop protects, or None.

        The entry is that of the position, or a filled entry whose executions are unknown.
        """
        unread = self.unread_entry
        return self.entry_order_id or (None if unread is None else unread.identity)

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over."""
        live_order = self.entry_or_exit
        return (
            live_order is not None and live_order.order.side == "buy" and not live_order.is_unsent
        )

    @property
    def is_live(self) -> bool:
        """Return whether orders are sent to an exchange."""
        return True

    def set_level_source(
        self,
        source: Callable[[], StopLevel | None],
        knows_position: Callable[[], bool] | None = None,
    ) -> None:
        """Set the function that returns kind and price of the position's stop; None: no stop."""
        self.level_source = source
        self.knows_position = knows_position or (lambda: True)

    def set_level_exit(self, leave: LevelExit) -> None:
        """Set the function that makes the exit at a passed level (kind, price, reason)."""
        self.level_exit = leave

    def make_order_id(self) -> str:
        """Return a client order id that was never used, beginning with the tag of the database."""
        return make_order_id(self.tag)

    def add_order_without_decision(
        self,
        side: Side,
        type_: str,
        reason: str,
        now_ms: int,
        *,
        amount: Decimal | None,
        stop_price: Decimal | None = None,
        client_order_id: str | None = None,
    ) -> LiveOrder:
        """Store and track an order that no decision has led to; nothing is sent.

        Args:
            side: Buy or sell.
            type_: Such as `stop_loss`.
            reason: Reason as a text.
            now_ms: Market time, epoch milliseconds.
            amount: Amount, base currency; None: it is not known.
            stop_price: Stop price of a protecting stop order, quote currency; None: another order.
            client_order_id: Client order id of an order that the exchange has; None: a new one.
        """
        order = make_order(
            self.context.session,
            client_order_id or self.make_order_id(),
            side,
            type_,
            stop_price or Decimal(0),
            reason,
            signal_timestamp=self.context.timeframe.floor(now_ms // 1_000),
            decided_ms=now_ms,
            entry_order_id=None if side == "buy" else self.protected_entry,
            amount=amount,
            stop_price=stop_price,
        )
        insert_order(self.context.store, order, self.fence)
        live_order = LiveOrder(TrackedOrder(order, OrderState(amount), 1))
        self.orders[order.client_order_id] = live_order
        return live_order

    def compute_entry_price(self, opened: float) -> float:
        """Return the average price that the position was bought at, quote currency, without fees.

        Args:
            opened: Price that is returned if no position is open.
        """
        entry = self.entry_order_id
        bought = [fill for fill in self._fills if fill.client_order_id == entry]
        amount = sum((fill.amount for fill in bought), Decimal(0))
        if not amount:
            return opened
        value = sum((fill.amount * fill.price for fill in bought), Decimal(0))
        return float(value / amount)

    def record(
        self,
        live_order: LiveOrder,
        events: Sequence[OrderEvent],
        now_ms: int,
        *,
        source: str = "trader",
        note: str = "",
        sent_ms: int | None = None,
    ) -> None:
        """Store events of an order, print new fills, and stop tracking the order once it is over.

        Pending exits end if the events close the position.

        Args:
            live_order: The order; its state is updated.
            events: Events in the order of their arrival.
            now_ms: Market time, epoch milliseconds.
            source: Origin of the events that is stored with them: `trader`, or the broker's name.
            note: Text that is added to the stored reason of the order; empty: none.
            sent_ms: Exchange time that the request carries, for the event of a send.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account.
        """
        was_flat, before, known = (
            self.position.is_flat,
            live_order.state,
            {fill.exchange_trade_id for fill in self._fills},
        )
        after = self._store_events(
            live_order.tracked,
            events,
            now_ms,
            source=source,
            note=note,
            sent_ms=sent_ms,
            is_still_pending=True,
        )
        for fill in self._fills:
            if fill.exchange_trade_id not in known:
                print_line(f"{describe_order_kind(live_order.order)}: {self._format_fill(fill)}")
        if self.position.dust > 0 and not was_flat:
            base = self.context.market.base
            print_line(
                f"the position is closed; left as dust: {self.position.dust:f} {base}, less than "
                "the market lets one sell"
            )
        if after is None:
            self.orders.pop(live_order.identity, None)
        else:
            live_order.tracked = after
        is_over = after is None
        is_closed = not was_flat or (is_over and live_order.order.side == "buy")
        has_ended_exit = is_over and live_order.order.obligation is not None
        if is_closed and not has_ended_exit and self._is_sold(self.position):
            # A stop or a correction has closed the position, whose exit may still be pending.
            self._end_obligations(now_ms)
        self.act_on_events(live_order, events, before)

    def _is_sold(self, position: Position) -> bool:
        """Return whether no coins are left to sell, and no sent entry may fill more."""
        entries = (
            live_order for live_order in self.orders.values() if live_order.order.side == "buy"
        )
        return position.is_flat and all(live_order.is_unsent for live_order in entries)

    def _end_obligations(self, now_ms: int) -> None:
        """End the pending exits of a position that is closed."""
        context = self.context
        end_obligations_of_closed_positions(
            context.store, context.session, self.fence, entry_order_id=None, ended_ms=now_ms
        )

    def act_on_events(
        self, live_order: LiveOrder, events: Sequence[OrderEvent], before: OrderState
    ) -> None:
        """Act on events that were stored; the base class does nothing.

        Args:
            live_order: Order after these events.
            events: Events, oldest first.
            before: Order before the events.
        """

    def send(
        self,
        live_order: LiveOrder,
        amount: Decimal,
        now_ms: int,
        *,
        replaces: LiveOrder | None = None,
    ) -> None:
        """Store the send of an order, then send it: once.

        The request carries the time from before it was stored. If this process is suspended in
        between, the request arrives too late to be accepted.

        Args:
            live_order: The order, whose intent is stored.
            amount: Amount, base currency.
            now_ms: Market time, epoch milliseconds.
            replaces: The resting stop that the request also cancels; None: no stop is cancelled.

        Raises:
            StoreError: the send could not be stored; nothing was sent.
            SafetyRefusal: another process trades the account; nothing was sent.
        """
        timestamp_ms = self.exchange.now_ms()
        live_order.set_order(ordered_amount=amount)
        if replaces is not None:
            self.record(replaces, [CancelRequested("another stop takes its place")], now_ms)
            replaces.cancelled = time.monotonic()
        deadline_ms = timestamp_ms + self.broker.window_ms
        event = Submitted(deadline_ms, live_order.total_before, live_order.read_ms)
        self.record(live_order, [event], now_ms, sent_ms=timestamp_ms)
        live_order.sent = time.monotonic()
        limit = self.compute_limit_price(live_order.order.stop_price, amount)
        if replaces is None:
            self.broker.submit(live_order.order, timestamp_ms, limit_price=limit)
        else:
            self.broker.replace_stop(
                live_order.order, timestamp_ms, replaces.identity, limit_price=limit
            )

    @property
    def stop_limit(self) -> Decimal:
        """Return the distance of a stop's limit below its level, as a ratio; 0: no limit.

        A stop that is too large for a market order always has a limit (`compute_limit_price`).
        """
        return self.sizes.compute_stop_offset(None)

    def compute_limit_price(
        self, stop_price: Decimal | None, amount: Decimal | None
    ) -> Decimal | None:
        """Return the lowest price of a stop; None: it becomes a market order, or is no stop.

        Args:
            stop_price: StopLevel of the stop, quote currency; None: the order is no stop.
            amount: Amount of the stop, base currency.
        """
        offset = self.sizes.compute_stop_offset(amount)
        if stop_price is None or not offset:
            return None
        return round_down(stop_price * (1 - offset), self.context.market.trading_rules.price_step)

    @property
    def is_market_due(self) -> bool:
        """Return whether the market should be read again: the limits of its orders may change."""
        return self.sizes.is_reading_due

    def note_market(self, market: MarketInfo | None) -> None:
        """Take the present market from the exchange; None: the market is not listed."""
        self.sizes.note_market(market)

    def request_cancel(self, live_order: LiveOrder, reason: str, now_ms: int) -> None:
        """Request the cancellation of an open order, unless such a request is under way.

        A request that had no effect is repeated after `times.cancel_again` seconds.

        Args:
            live_order: An order that was sent.
            reason: Reason as a text, which is stored.
            now_ms: Market time, epoch milliseconds.
        """
        requested, again = live_order.cancelled, self.times.cancel_again
        kinds = ("cancel", "replace")
        if any(self.broker.is_request_running(kind, live_order.identity) for kind in kinds):
            return
        if requested is not None and time.monotonic() - requested < again:
            return
        is_again = live_order.state.is_cancel_requested
        if not is_again:
            self.record(live_order, [CancelRequested(reason)], now_ms)
        live_order.cancelled = time.monotonic()
        self.broker.cancel(
            live_order.identity,
            exchange_order_id=live_order.state.exchange_order_id,
            is_stop=live_order.order.is_protection,
            is_again=is_again,
        )


def _sell_nothing(kind: str, level: Decimal, reason: str) -> None:
    """Sell nothing: placeholder until the rules are running."""
    del kind, level, reason
