"""Carries out the orders of one symbol at a real exchange: the counterpart of the paper executor.

`drive` is called four times a second and after each event. An order is stored, then its send with
the time that the request carries, then it is sent: once. So a process that is killed or suspended
in between leaves an order that was never sent, or that arrives too late to be accepted. The outcome
of an order without a clear response is found by look-ups only (`resolving.py`). An exit first
cancels the stop that rests (`exiting.py`); while a position is open and no exit is on its way, a
stop rests (`protecting.py`). The account is read regularly and compared with the database
(`reconciling.py`). An entry is sent once its candle has opened, the balances are known and its
limits allow it (`limits.py`).
"""

import time
from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from onetape.cli.output import print_line
from onetape.core.candles import Candle
from onetape.core.trading import ExitObligation, Order
from onetape.engine import BarExit, ModelFill, RefusedOrder, make_rules_of_candle, simulate_buy
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading_records import Balance
from onetape.execution.events import (
    CancelRefused,
    FillReport,
    OrderEvent,
    ProvenAbsent,
    StatusReport,
    UnclearResponse,
)
from onetape.execution.orders import OrderState
from onetape.execution.protection import round_down
from onetape.store.leases import Fence
from onetape.store.live_accounts import is_order_stored, read_live_account
from onetape.store.orders import insert_order, read_stored_order
from trader.account_funds import AccountFunds
from trader.brokers.live import LiveBroker
from trader.live.book import LiveBook
from trader.live.booked_coins import compute_free_money, sum_booked_coins
from trader.live.entry_levels import read_entry_levels
from trader.live.exiting import ExitSender
from trader.live.key_watch import watch_key
from trader.live.limits import EntryLimits
from trader.live.protecting import Protector
from trader.live.reconciling import AccountCheck
from trader.live.resolving import look_up_if_due, note_absences
from trader.live.times import LiveTimes
from trader.live.tracking import LiveOrder, describe_order_kind
from trader.order_booking import TrackedOrder
from trader.session_context import SessionContext
from trader.states import TraderStates


class LiveExecutor(LiveBook):
    """One symbol of a live account: one entry or exit is open at a time, and a stop with it."""

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
        """Initialise; nothing is read or sent. The arguments are those of `LiveBook`."""
        super().__init__(context, fence, funds, broker, exchange, states, times=times)
        self._account = AccountCheck(self)
        self._exit_sender = ExitSender(self, self._account)
        self._limits = EntryLimits(self)
        self._protector = Protector(self, self._account, self._exit_sender)
        self._due_entry: tuple[Candle, float] | None = None
        """Candle in which the entry is due, and monotonic time since then; None: none is due."""

    def resume(self, now_ms: int, reason: str) -> int:
        """Continue the open orders of an earlier session; drop those that were never sent.

        Args:
            now_ms: Market time, epoch milliseconds.
            reason: Reason that is stored with dropped orders.

        Returns:
            Number of entries that were dropped.
        """
        entries = 0
        for live_order in list(self.orders.values()):
            if live_order.is_unsent and not self.broker.is_request_running(
                "submit", live_order.identity
            ):
                entries += live_order.order.side == "buy"
                self.record(live_order, [ProvenAbsent(f"it was never sent: {reason}")], now_ms)
        return entries

    def place(self, order: Order, now_ms: int) -> None:
        """Track an order whose intent is stored; an exit begins, an entry waits until it is due."""
        self.orders[order.client_order_id] = LiveOrder(TrackedOrder(order, OrderState(), 1))
        if order.side == "sell":
            self._exit_sender.advance_exit(now_ms)

    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Send the entry, which is due now, or go on with the exit; the result is printed later.

        Args:
            row: The candle in which the order is filled by the rules of a backtest.
            now_ms: Market time, epoch milliseconds.

        Returns:
            None: there is no text yet.
        """
        if self._unsent_entry is not None:
            self._due_entry = row, time.monotonic()
            self._send_entry(now_ms)
        self._exit_sender.advance_exit(now_ms)
        return None

    @property
    def _unsent_entry(self) -> LiveOrder | None:
        live_order = self.entry_or_exit
        return (
            live_order
            if live_order is not None and live_order.order.side == "buy" and live_order.is_unsent
            else None
        )

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was due and is not over."""
        return self._due_entry is not None or super().is_entry_in_flight

    @property
    def balance_is_known(self) -> bool:
        """Return whether the present balances, and the executions before the session, are known."""
        is_read = self._account.held.get_balance(self.context.market.quote) is not None
        return is_read and self._account.is_history_read

    @property
    def is_position_known(self) -> bool:
        """Return whether the position is certain: no order may have bought coins unnoticed."""
        buys = any(
            live_order.order.side == "buy" and not live_order.is_unsent
            for live_order in self.orders.values()
        )
        return self.balance_is_known and self._account.has_named_all and not buys

    @property
    def is_at_rest(self) -> bool:
        """Return whether no order is on its way, and an open position has its stop or exit."""
        is_order_on_its_way = any(
            live_order.state.stage in ("sent", "unknown") for live_order in self.orders.values()
        )
        # An exit that has cancelled the stop and was not sent leaves the position without either.
        is_protected = not (self._protector.is_stop_missing or self._exit_sender.is_exit_due)
        return is_protected and not is_order_on_its_way

    @property
    def is_unprotected(self) -> bool:
        """Return whether a position has no stop at the exchange, also while a pause lasts."""
        return self._protector.is_unprotected

    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Continue the exit although its candle has passed: a market order needs no known price."""
        del row, note
        self._exit_sender.advance_exit(now_ms)
        return None

    def sell_at_level(
        self, order: Order, obligation: ExitObligation, row: Candle, found: BarExit, now_ms: int
    ) -> str:
        """Store and begin an exit whose level was reached; return a text for the printed line.

        The candle and the price by the rules are not used, because the exchange decides the price.
        """
        del row, found
        insert_order(self.context.store, order, self.fence, obligation=obligation)
        self.place(order, now_ms)
        return "the exit has begun"

    def describe_new_wait(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return None: the cause that makes an order wait prints its own line."""
        del decided, is_live

    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Drop the entry if it was not sent yet; return a text for the printed line, or None."""
        live_order = self.entry_or_exit
        if live_order is None or live_order.order.side != "buy" or not live_order.is_unsent:
            return None
        self.record(live_order, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason)
        return "not sent: the order to buy"

    def cancel(self, now_ms: int, reason: str) -> bool:
        """Drop the entry or exit that was not sent yet. An order that was sent cannot be dropped.

        Args:
            now_ms: Market time, epoch milliseconds.
            reason: Reason as a text, which is stored.

        Returns:
            Whether an order was dropped.
        """
        live_order = self.exit or self.entry_or_exit
        if live_order is None or not live_order.is_unsent:
            return False
        self.record(live_order, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason)
        return True

    def note_ending(self) -> None:
        """Note that the program ends: no further exit is made, and no entry is sent."""
        self._due_entry = None
        self._exit_sender.note_ending()
        self._protector.note_ending()

    def drop_exit(self, now_ms: int, reason: str) -> None:
        """Drop an exit that is not sent yet; it stays pending, and the stop is placed again.

        Before balances are known no stop may be placed, so the exit is not dropped.
        """
        if self._account.are_balances_known:
            self._exit_sender.drop(now_ms, reason)

    @property
    def may_send_exit(self) -> bool:
        """Return whether a pending exit may be sent again now."""
        return self._exit_sender.may_begin

    def drive(self, now_ms: int) -> None:
        """Store reported events, look up unknown orders, and take the steps that are due.

        Raises:
            StoreError: the file cannot be written; no order is sent that is not stored.
            SafetyRefusal: another process trades the account, or changed an order.
        """
        self._take_reports(now_ms)
        note_absences(self, now_ms, self._account.orders_of_others)
        self._account.compare_readings(now_ms)
        watch_key(self)
        for live_order in list(self.orders.values()):
            look_up_if_due(self, live_order)
        # Orders that protect the position do not wait for anything that an entry needs.
        if self._account.are_balances_known:
            self._exit_sender.advance_exit(now_ms)
            self._protector.maintain_stop(now_ms)
        else:
            self._protector.note_unread(now_ms)
        self._limits.watch_losses(now_ms)
        self._send_entry(now_ms)

    def _take_reports(self, now_ms: int) -> None:
        by_order: dict[str, list[OrderEvent]] = {}
        for report in self.broker.take_events():
            by_order.setdefault(report.client_order_id, []).append(report.event)
        for identity, events in by_order.items():
            if any(isinstance(event, CancelRefused) for event in events):
                self._exit_sender.note_stop_lost()
            live_order = self.orders.get(identity)
            if live_order is not None:
                self.record(live_order, events, now_ms, source=self.broker.name)
            elif self._may_be_of_copy(identity):
                # No entry before the account is read.
                self._account.note_change()
            elif self._is_unbooked(identity, events):
                self._account.note_event()

    def _may_be_of_copy(self, identity: str) -> bool:
        """Return whether an unknown order has an id of this database: a copy may have sent it."""
        is_own = identity.startswith(self.tag) and not self._account.copies.is_seen
        return is_own and not is_order_stored(self.context.store, identity)

    def _is_unbooked(self, identity: str, events: Sequence[OrderEvent]) -> bool:
        """Return whether an order that is not tracked has a fill, or itself, that is not stored."""
        booked = {fill.exchange_trade_id for fill in self._fills}
        if any(isinstance(event, FillReport) and event.trade_id not in booked for event in events):
            return True
        return read_stored_order(self.context.store, identity) is None

    def act_on_events(
        self, live_order: LiveOrder, events: Sequence[OrderEvent], before: OrderState
    ) -> None:
        """React to events that were stored: schedule look-ups and pauses, and print refusals.

        Args:
            live_order: Order after these events.
            events: Events, oldest first.
            before: Order before the events.
        """
        kind = describe_order_kind(live_order.order)
        if live_order.identity not in self.orders or live_order.state.is_done:
            self._account.note_change()
        for event in events:
            match event:
                case UnclearResponse(reason):
                    live_order.schedule_look_up()
                    print_line(
                        f"{kind}: no clear response ({reason}); it is looked up, and not sent again"
                    )
                case CancelRefused():
                    live_order.schedule_look_up()
                case StatusReport("rejected") if before.stage == "intended":
                    pass  # the rules, a limit or the account refused it: the line is printed
                case StatusReport("rejected", _, reason) if not before.is_done:
                    print_line(f"{kind}: refused by the exchange: {reason}")
                    self._note_refused(live_order, reason)
                case StatusReport("canceled" | "expired") if not (
                    before.is_done or before.is_cancel_requested
                ):
                    self._note_ended(live_order)
                case StatusReport():
                    live_order.is_look_up_needed = False
                case _:
                    pass

    def _note_ended(self, live_order: LiveOrder) -> None:
        """React to an order that the exchange or others have ended before it was filled."""
        if live_order.order.is_protection:
            self._protector.note_cancelled_by_others(live_order)
            self._exit_sender.note_stop_lost()
        elif live_order.order.side == "sell" and not live_order.state.filled:
            self._exit_sender.note_unfilled(live_order)

    def _note_refused(self, live_order: LiveOrder, reason: str) -> None:
        self.sizes.note_refused(reason)
        if live_order.order.is_protection:
            self._protector.note_refused(live_order, reason)
        elif live_order.order.side == "sell":
            self._exit_sender.note_refused(live_order, reason)

    def _send_entry(self, now_ms: int) -> None:
        """Send the order to buy that is due, once the money of the account is known."""
        live_order, turn = self._unsent_entry, self._due_entry
        if live_order is None or turn is None:
            self._due_entry = None
            return
        obstacle = self.halt or self.states.entry_obstacle
        if obstacle is not None:
            self._due_entry = None
            self._drop(live_order, obstacle, now_ms)
            return
        row, since = turn
        balance = self._account.held.get_balance(self.context.market.quote)
        if balance is None:
            self._account.read_soon()
        if balance is None or not self.balance_is_known:
            if time.monotonic() - since < self.times.entry_waits:
                return
            unread = (
                "what the account holds" if balance is None else "executions of earlier sessions"
            )
            found = f"{unread} could not be read in time"
        else:
            found = self._reserve_entry_amount(
                live_order, row, self._compute_free_money(balance), now_ms
            )
        self._due_entry = None
        if isinstance(found, Decimal):
            self._account.held.note_before_send(live_order)
            self.send(live_order, found, now_ms)
            return
        self._drop(live_order, found, now_ms)

    def _compute_free_money(self, balance: Balance) -> Decimal:
        """Return the free quote currency that is not booked as a position of any account."""
        context = self.context
        account = read_live_account(context.store, context.session.account)
        if account is None:
            return balance.free
        booked = sum_booked_coins(
            context.store, account.exchange, account.exchange_account, context.market.quote
        )
        return compute_free_money(balance, booked)

    def _drop(self, live_order: LiveOrder, reason: str, now_ms: int) -> None:
        print_line(f"no buy: {reason}")
        self.record(live_order, [StatusReport("rejected", reason=reason)], now_ms)

    def _reserve_entry_amount(
        self, live_order: LiveOrder, row: Candle, free: Decimal, now_ms: int
    ) -> Decimal | str:
        """Return the amount to buy, base currency, with its money reserved; or a refusal text."""
        price = max(live_order.order.ask or row.close, row.close)
        rules, market = make_rules_of_candle(self.context.rules, row), self._make_order_context(row)
        positions, limited = 0, ""

        def size_fill(cash: float, equity: float | None) -> ModelFill | RefusedOrder:
            # In the transaction that reserves the slot, so that two simultaneous entries have an
            # order.
            nonlocal positions, limited
            positions = self._funds.count_other_positions(live_order.order.symbol)
            most, context = min(cash, float(free)), replace(market, equity=equity)
            found = simulate_buy(rules, most, price, context)
            limited = self._describe_volume_limit(rules, found, most, price, context)
            return found

        fill = self._funds.reserve(
            live_order.identity,
            live_order.order.symbol,
            self.fence,
            size_fill,
            moment=row.timestamp,
            now_ms=now_ms,
        )
        if isinstance(fill, RefusedOrder):
            return fill.reason
        if limited:
            print_line(f"entry {limited}")
        step = self.context.market.trading_rules.amount_step
        # A float may differ slightly from the whole number of steps that it represents.
        amount = round_down(Decimal(repr(fill.amount)) + (step or Decimal(0)) / 1_000, step)
        own = read_entry_levels(self, live_order.identity, row.timestamp)
        return self._limits.limit_entry(amount, price, free, now_ms, positions=positions, own=own)
