"""The orders of one symbol at a real exchange: the only place that sends them.

An order is stored, then its send with the time that the request carries, then it is sent: once. A
process that is killed or suspended in between leaves an order that either was never sent, or
arrives too late to be accepted. The order's outcome is found by look-ups only (`resolving`). An
exit first cancels the stop that rests (`exiting`); while a position is open and no exit is on its
way, a stop rests (`protecting`). The account is read again and again, and compared (`reconciling`).
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
    Unanswered,
)
from onetape.execution.orders import OrderState
from onetape.execution.protection import round_down
from onetape.store.leases import Fence
from onetape.store.live_accounts import is_order_stored, read_live_account
from onetape.store.orders import insert_order, read_stored_order
from trader.account_funds import AccountFunds
from trader.brokers.live import LiveBroker
from trader.live.book import LiveBook, describe_order_kind
from trader.live.booked_coins import compute_free_money, sum_booked_coins
from trader.live.exiting import ExitSender
from trader.live.key_watch import watch_key
from trader.live.limits import EntryLimits
from trader.live.protecting import Protector
from trader.live.reconciling import AccountCheck
from trader.live.resolving import look_up_if_due, note_absences
from trader.live.times import LiveTimes
from trader.live.tracking import LiveOrder
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
        """Initialise; the arguments are those of `LiveBook`."""
        super().__init__(context, fence, funds, broker, exchange, states, times=times)
        self._account = AccountCheck(self)
        self._exits = ExitSender(self, self._account)
        self._limits = EntryLimits(self)
        self._protector = Protector(self, self._account, self._exits)
        self._turn: tuple[Candle, float] | None = None
        """The candle of the due entry, and the time since it is due, monotonic; None: no entry."""

    def resume(self, now_ms: int, reason: str) -> int:
        """Continue the open orders; orders that were never sent are absent.

        Returns:
            How many orders to buy were never sent.
        """
        entries = 0
        for one in list(self.orders.values()):
            if one.is_unsent and not self.broker.is_asking("submit", one.identity):
                entries += one.order.side == "buy"
                self.record(one, [ProvenAbsent(f"it was never sent: {reason}")], now_ms)
        return entries

    def place(self, order: Order, now_ms: int) -> None:
        """Take an order whose intent is stored: an exit begins at once, an entry once it is due."""
        self.orders[order.client_order_id] = LiveOrder(TrackedOrder(order, OrderState(), 1))
        if order.side == "sell":
            self._exits.advance_exit(now_ms)

    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Send the entry that is due, or go on with the exit; the result is printed later.

        Args:
            row: The candle that the rules fill the order in.
            now_ms: Market time, epoch milliseconds.
        """
        if self._unsent_entry is not None:
            self._turn = row, time.monotonic()
            self._send_entry(now_ms)
        self._exits.advance_exit(now_ms)
        return None

    @property
    def _unsent_entry(self) -> LiveOrder | None:
        one = self.working
        return one if one is not None and one.order.side == "buy" and one.is_unsent else None

    @property
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was due and is not over."""
        return self._turn is not None or super().is_entry_in_flight

    @property
    def balance_is_known(self) -> bool:
        """Return whether the balances of the account and their owners are known."""
        is_read = self._account.held.get_balance(self.context.market.quote) is not None
        return is_read and self._account.is_history_read

    @property
    def is_position_known(self) -> bool:
        """Return whether the position is certain: no earlier order may have opened another."""
        buys = any(one.order.side == "buy" and not one.is_unsent for one in self.orders.values())
        return self.balance_is_known and self._account.has_named_all and not buys

    @property
    def is_at_rest(self) -> bool:
        """Return whether no order is on its way, and an open position has its stop or exit."""
        moving = any(one.state.stage in ("sent", "unknown") for one in self.orders.values())
        # An exit that has cancelled the stop and was not sent leaves the position without either.
        return not moving and not self._protector.is_wanting and not self._exits.is_between

    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Continue the exit: a market order needs no known price."""
        del row, note
        self._exits.advance_exit(now_ms)
        return None

    def sell_at_level(
        self, order: Order, obligation: ExitObligation, row: Candle, found: BarExit, now_ms: int
    ) -> str:
        """Store and begin an exit whose level was reached; return a text with the result."""
        del row, found
        insert_order(self.context.store, order, self.fence, obligation=obligation)
        self.place(order, now_ms)
        return "the exit has begun"

    def describe_new_wait(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return None: the cause that makes an order wait prints its own line."""
        del decided, is_live

    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Drop the order to buy if it was not sent yet; return a text with the result."""
        one = self.working
        if one is None or one.order.side != "buy" or not one.is_unsent:
            return None
        self.record(one, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason)
        return "not sent: the order to buy"

    def cancel(self, now_ms: int, reason: str) -> bool:
        """Drop the entry or exit that was not sent yet: a market order that was is filled.

        Returns:
            Whether there was one.
        """
        one = self.exit or self.working
        if one is None or not one.is_unsent:
            return False
        self.record(one, [ProvenAbsent(f"it was never sent: {reason}")], now_ms, note=reason)
        return True

    def note_ending(self) -> None:
        """Note that the program ends: no further exit is stored, and nothing waits for one."""
        self._exits.note_ending()

    def drop_exit(self, now_ms: int, reason: str) -> None:
        """Drop an exit that is not sent yet: the exit stays pending, and its stop is put back.

        Before the account is compared no stop may be placed, so the exit is not dropped.
        """
        if self._account.are_balances_known:
            self._exits.drop(now_ms, reason)

    @property
    def may_send_exit(self) -> bool:
        """Return whether a pending exit may be sent again now."""
        return self._exits.may_begin

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
        for one in list(self.orders.values()):
            look_up_if_due(self, one)
        # Orders that protect the position do not wait for anything that an entry needs.
        if self._account.are_balances_known:
            self._exits.advance_exit(now_ms)
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
                self._exits.note_stop_taken()
            one = self.orders.get(identity)
            if one is not None:
                self.record(one, events, now_ms, source=self.broker.name)
            elif self._may_be_of_copy(identity):
                # No entry before the account is read.
                self._account.note_change()
            elif self._is_news(identity, events):
                self._account.note_event()

    def _may_be_of_copy(self, identity: str) -> bool:
        """Return whether an order may be the first sign of another copy of the database."""
        is_own = identity.startswith(self.tag) and not self._account.copies.is_seen
        return is_own and not is_order_stored(self.context.store, identity)

    def _is_news(self, identity: str, events: Sequence[OrderEvent]) -> bool:
        """Return whether events of an order that is not open report news."""
        booked = {trade.exchange_trade_id for trade in self._fills}
        if any(isinstance(one, FillReport) and one.trade_id not in booked for one in events):
            return True
        return read_stored_order(self.context.store, identity) is None

    def act_on_events(
        self, one: LiveOrder, events: Sequence[OrderEvent], before: OrderState
    ) -> None:
        """Note the consequences of events, and print those that no trade shows."""
        what = describe_order_kind(one.order)
        if one.identity not in self.orders or one.state.is_done:
            self._account.note_change()
        for event in events:
            match event:
                case Unanswered(reason):
                    one.schedule_look_up()
                    print_line(
                        f"{what}: no clear response ({reason}); it is looked up, and not sent again"
                    )
                case CancelRefused():
                    one.schedule_look_up()
                case StatusReport("rejected") if before.stage == "intended":
                    pass  # the rules, a limit or the account refused it: the line is printed
                case StatusReport("rejected", _, reason) if not before.is_done:
                    print_line(f"{what}: refused by the exchange: {reason}")
                    self._note_refused(one, reason)
                case StatusReport("canceled" | "expired") if not (
                    before.is_done or before.is_cancel_requested
                ):
                    self._note_ended(one)
                case StatusReport():
                    one.is_look_needed = False
                case _:
                    pass

    def _note_ended(self, one: LiveOrder) -> None:
        """Note that an order was ended before it was filled, by the exchange or by others."""
        if one.order.is_protection:
            self._protector.note_cancelled_by_others(one)
            self._exits.note_stop_taken()
        elif one.order.side == "sell" and not one.state.filled:
            self._exits.note_unfilled(one)

    def _note_refused(self, one: LiveOrder, reason: str) -> None:
        self.sizes.note_refused(reason)
        if one.order.is_protection:
            self._protector.note_refused(one, reason)
        elif one.order.side == "sell":
            self._exits.note_refused(one, reason)

    def _send_entry(self, now_ms: int) -> None:
        """Send the order to buy that is due, once the money of the account is known."""
        one, turn = self._unsent_entry, self._turn
        if one is None or turn is None:
            self._turn = None
            return
        obstacle = self.halt or self.states.entry_obstacle
        if obstacle is not None:
            self._turn = None
            self._drop(one, obstacle, now_ms)
            return
        row, since = turn
        balance = self._account.held.get_balance(self.context.market.quote)
        if balance is None:
            self._account.read_soon()
        if balance is None or not self.balance_is_known:
            if time.monotonic() - since < self.times.entry_waits:
                return
            what = "what the account holds" if balance is None else "executions of earlier sessions"
            found = f"{what} could not be read in time"
        else:
            found = self._reserve_entry_amount(one, row, self._compute_free_money(balance), now_ms)
        self._turn = None
        if isinstance(found, Decimal):
            self._account.held.note_before_send(one)
            self.send(one, found, now_ms)
            return
        self._drop(one, found, now_ms)

    def _compute_free_money(self, balance: Balance) -> Decimal:
        """Return the free quote currency that belongs to no other account's position."""
        context = self.context
        account = read_live_account(context.store, context.session.account)
        if account is None:
            return balance.free
        booked = sum_booked_coins(
            context.store, account.exchange, account.exchange_account, context.market.quote
        )
        return compute_free_money(balance, booked)

    def _drop(self, one: LiveOrder, reason: str, now_ms: int) -> None:
        print_line(f"no buy: {reason}")
        self.record(one, [StatusReport("rejected", reason=reason)], now_ms)

    def _reserve_entry_amount(
        self, one: LiveOrder, row: Candle, free: Decimal, now_ms: int
    ) -> Decimal | str:
        """Return the amount to buy, base currency, with its money reserved; or a refusal text."""
        price = max(one.order.ask or row.close, row.close)
        rules, market = make_rules_of_candle(self.context.rules, row), self._make_order_context(row)
        positions = 0

        def size_fill(cash: float, equity: float | None) -> ModelFill | RefusedOrder:
            # In the transaction that reserves the slot, so that two simultaneous entries have an
            # order.
            nonlocal positions
            positions = self._funds.count_other_positions(one.order.symbol)
            return simulate_buy(
                rules, min(cash, float(free)), price, replace(market, equity=equity)
            )

        fill = self._funds.reserve(
            one.identity,
            one.order.symbol,
            self.fence,
            size_fill,
            moment=row.timestamp,
            now_ms=now_ms,
        )
        if isinstance(fill, RefusedOrder):
            return fill.reason
        step = self.context.market.trading_rules.amount_step
        # A float may differ slightly from the whole number of steps that it represents.
        amount = round_down(Decimal(repr(fill.amount)) + (step or Decimal(0)) / 1_000, step)
        return self._limits.limit_entry(amount, price, free, now_ms, positions=positions)
