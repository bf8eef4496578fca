"""The live orders of one symbol: stored, sent once, and tracked until they are over."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

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
from trader.live.tracking import LiveOrder
from trader.new_orders import make_order
from trader.order_booking import TrackedOrder
from trader.session_context import SessionContext
from trader.states import TraderStates

#: Type of an order that removes missing coins from a position, on a person's command.
CORRECTION: Final = "correction"
#: Kind and price of a stop.
Level = tuple[str, Decimal]
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
        """Add the account's trades up, and take the orders that are not over.

        Args:
            context: Context of the traded symbol.
            fence: The lease of the account; nothing is sent or booked once it is lost.
            funds: The money of the account.
            broker: Sends requests; it outlives this object where everything is built again.
            exchange: Exchange whose clock dates requests.
            states: Take problems; entries stop while there is one.
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
        """Limits for the size of an order."""
        self.orders: dict[str, LiveOrder] = {
            one.order.client_order_id: LiveOrder(one) for one in self._unfinished
        }
        self._unfinished = []
        for one in self.orders.values():
            one.schedule_look_up()
        self.unread_entry: LiveOrder | None = None
        """A filled entry whose executions have been unknown for seconds; or None."""
        self.level_source: Callable[[], Level | None] = lambda: None
        self.level_exit: LevelExit = _sell_nothing

    @property
    def open_order(self) -> Order | None:
        """Return the entry or the exit that is not over, or None; a resting stop is neither."""
        one = self.exit or self.working
        return None if one is None else one.order

    @property
    def exit(self) -> LiveOrder | None:
        """Return the exit that is not over, or None."""
        found = (one for one in self.orders.values() if one.order.side == "sell")
        return next((one for one in found if not one.order.is_protection), None)

    @property
    def working(self) -> LiveOrder | None:
        """Return the entry or the exit that is not over, the oldest first, or None."""
        return next((one for one in self.orders.values() if not one.order.is_protection), None)

    @property
    def stops(self) -> list[LiveOrder]:
        """Return the stops that are not over."""
        return [one for one in self.orders.values() if one.order.is_protection]

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
        one = self.working
        return one is not None and one.order.side == "buy" and not one.is_unsent

    @property
    def is_live(self) -> bool:
        """Return whether orders are sent to an exchange."""
        return True

    def set_level_source(self, source: Callable[[], Level | None]) -> None:
        """Set the function that returns kind and price of the position's stop by the rules."""
        self.level_source = source

    def set_level_exit(self, leave: LevelExit) -> None:
        """Set the function that sells the position at a passed level (kind, price, reason)."""
        self.level_exit = leave

    def make_order_id(self) -> str:
        """Return a client order id that was never used, beginning with the installation's tag."""
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
            amount: Base currency; None: it is not known.
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
        one = LiveOrder(TrackedOrder(order, OrderState(amount), 1))
        self.orders[order.client_order_id] = one
        return one

    def compute_entry_price(self, opened: float) -> float:
        """Return the average price that the position was bought at, quote currency, without fees.

        Args:
            opened: Returned where there is no position.
        """
        entry = self.entry_order_id
        bought = [trade for trade in self._fills if trade.client_order_id == entry]
        amount = sum((trade.amount for trade in bought), Decimal(0))
        if not amount:
            return opened
        value = sum((trade.amount * trade.price for trade in bought), Decimal(0))
        return float(value / amount)

    def record(
        self,
        one: LiveOrder,
        events: Sequence[OrderEvent],
        now_ms: int,
        *,
        source: str = "trader",
        note: str = "",
        sent_ms: int | None = None,
    ) -> None:
        """Store and print events of an order, and drop the order from memory once it is over."""
        was_flat, before, known = (
            self.position.is_flat,
            one.state,
            {trade.exchange_trade_id for trade in self._fills},
        )
        after = self._store_events(
            one.tracked,
            events,
            now_ms,
            source=source,
            note=note,
            sent_ms=sent_ms,
            is_still_pending=True,
        )
        for trade in self._fills:
            if trade.exchange_trade_id not in known:
                print_line(f"{describe_order_kind(one.order)}: {self._fill_words(trade)}")
        if self.position.dust > 0 and not was_flat:
            base = self.context.market.base
            print_line(
                f"the position is closed; left as dust: {self.position.dust:f} {base}, less than "
                "the market lets one sell"
            )
        if after is None:
            self.orders.pop(one.identity, None)
        else:
            one.tracked = after
        is_over = after is None
        is_closed = not was_flat or (is_over and one.order.side == "buy")
        has_ended_exit = is_over and one.order.obligation is not None
        if is_closed and not has_ended_exit and self._is_sold(self.position):
            # A stop or a correction has closed the position, whose exit may still be pending.
            self._end_obligations(now_ms)
        self.act_on_events(one, events, before)

    def _is_sold(self, position: Position) -> bool:
        """Return whether no coins are left to sell, and no sent entry may fill more."""
        entries = (one for one in self.orders.values() if one.order.side == "buy")
        return position.is_flat and all(one.is_unsent for one in entries)

    def _end_obligations(self, now_ms: int) -> None:
        """End the pending exits of a position that is closed."""
        context = self.context
        end_obligations_of_closed_positions(
            context.store, context.session, self.fence, entry_order_id=None, ended_ms=now_ms
        )

    def act_on_events(
        self, one: LiveOrder, events: Sequence[OrderEvent], before: OrderState
    ) -> None:
        """Act on events that were stored.

        Args:
            one: Order after these events.
            events: Events, oldest first.
            before: Order before the events.
        """

    def send(
        self, one: LiveOrder, amount: Decimal, now_ms: int, *, replaces: LiveOrder | None = None
    ) -> None:
        """Store the send of an order, then send it: once.

        The request carries the time from before it was stored. If this process is suspended in
        between, the request arrives too late to be accepted.

        Args:
            one: The order, whose intent is stored.
            amount: Amount, base currency.
            now_ms: Market time, epoch milliseconds.
            replaces: The resting stop that the request also cancels; None: no stop is cancelled.

        Raises:
            StoreError: the send could not be stored; nothing was sent.
            SafetyRefusal: another process trades the account; nothing was sent.
        """
        timestamp_ms = self.exchange.now_ms()
        one.set_order(ordered_amount=amount)
        if replaces is not None:
            self.record(replaces, [CancelRequested("another stop takes its place")], now_ms)
            replaces.cancelled = time.monotonic()
        deadline_ms = timestamp_ms + self.broker.window_ms
        event = Submitted(deadline_ms, one.total_before, one.read_ms)
        self.record(one, [event], now_ms, sent_ms=timestamp_ms)
        one.sent = time.monotonic()
        limit = self.compute_limit_price(one.order.stop_price, amount)
        if replaces is None:
            self.broker.submit(one.order, timestamp_ms, limit_price=limit)
        else:
            self.broker.replace_stop(one.order, timestamp_ms, replaces.identity, limit_price=limit)

    @property
    def stop_limit(self) -> Decimal:
        """Return the distance of a stop's limit below its level, as a ratio; 0: no limit.

        A stop that is too large for a market order always has a limit (`limit_of`).
        """
        return self.sizes.compute_stop_offset(None)

    def compute_limit_price(
        self, stop_price: Decimal | None, amount: Decimal | None
    ) -> Decimal | None:
        """Return the lowest price of a stop; None: it becomes a market order, or is no stop.

        Args:
            stop_price: Level of the stop, quote currency; None: the order is no stop.
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

    def request_cancel(self, one: LiveOrder, reason: str, now_ms: int) -> None:
        """Request the cancellation of an open order; again where that had no effect for a while."""
        requested, again = one.cancelled, self.times.cancel_again
        if any(self.broker.is_asking(what, one.identity) for what in ("cancel", "replace")):
            return
        if requested is not None and time.monotonic() - requested < again:
            return
        is_again = one.state.is_cancel_requested
        if not is_again:
            self.record(one, [CancelRequested(reason)], now_ms)
        one.cancelled = time.monotonic()
        self.broker.cancel(
            one.identity,
            exchange_order_id=one.state.exchange_order_id,
            is_stop=one.order.is_protection,
            is_again=is_again,
        )


def _sell_nothing(kind: str, level: Decimal, reason: str) -> None:
    """Sell nothing: placeholder until the rules are running."""
    del kind, level, reason


def describe_order_kind(order: Order) -> str:
    """Return the kind of an order, for a printed line."""
    if order.is_protection:
        return f"stop at {order.stop_price:f}"
    if order.type == CORRECTION:
        return "written off, nothing was sent"
    return "entry" if order.side == "buy" else "exit"
