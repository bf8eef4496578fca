"""Compares the account at the exchange with the database: at the start, then regularly.

The exchange's record of money takes precedence. Executions of own orders that no event has
reported, and own orders that the database lacks because a backup was restored, are taken over.
Orders and executions of others are not touched, and stop entries. Missing coins stop all orders of
the symbol until a person has decided, except a stop for the coins of the position that are left.
`AccountCheck` coordinates this; the steps are in the modules that it imports.
"""

import time
from collections.abc import Generator, Iterable, Set
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.execution.reconcile import (
    AccountDifference,
    LedgerSnapshot,
    find_differences,
    find_unknown_orders,
)
from onetape.store.live_accounts import read_exchange_order_ids
from trader.brokers.live_records import AccountHistory, AccountSnapshot
from trader.live.account_faults import report_faults
from trader.live.account_history import HistoryReading
from trader.live.account_notes import AccountNotes
from trader.live.book import LiveBook
from trader.live.difference_reporter import DifferenceReporter
from trader.live.exchange_snapshot import make_exchange_order, make_exchange_snapshot
from trader.live.fills_of_others import FillsOfOthers, sum_fees_elsewhere
from trader.live.found_orders import FoundOrders
from trader.live.held_balances import HeldBalances
from trader.live.older_orders import OlderOrders
from trader.live.order_adoption import write_off_fees
from trader.live.other_copies import OtherCopies
from trader.live.own_orders import book_missed_fills, reconnect_lossy_stream, take_over_orders
from trader.live.position_coins import PositionCoins
from trader.live.reading_schedule import ReadingSchedule
from trader.live.tracking import LiveOrder

_ZERO: Final = Decimal(0)


class AccountCheck:
    """Compares one symbol's account at the exchange with the database."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; the first reading is due at once.

        Args:
            book: The orders and fills of the symbol.
        """
        self._book = book
        self._notes = AccountNotes(book)
        self._others = FillsOfOthers(book)
        self._coins = PositionCoins(book)
        self._differences = DifferenceReporter(book)
        self._older = OlderOrders(book)
        self._history = HistoryReading(book, self._older)
        self._schedule = ReadingSchedule(book)
        self.held = HeldBalances(book)
        """Balances of the account."""
        self.copies = OtherCopies(book)
        """Other copies of the database that trade the symbol on the account."""
        self._found = FoundOrders(book, self._differences, self._older, self.copies)
        self._faults = book.broker.comparison_faults
        self._snapshot: AccountSnapshot | None = None
        """The last compared reading; None: no comparison since the start."""
        self._began = time.monotonic()
        self._read = time.monotonic()
        """Time of the last reading, monotonic seconds; the start if there was none."""
        self._since_ms: int | None = None
        """Exchange time from which a reading requests executions, epoch milliseconds."""

    @property
    def is_checked(self) -> bool:
        """Return whether the account has been compared since the start."""
        return self._snapshot is not None

    @property
    def are_balances_known(self) -> bool:
        """Return whether the balances were read since the start, compared or not."""
        return self.held.reading is not None

    @property
    def is_readable(self) -> bool:
        """Return whether the present balances are known, and the last reading did not fail."""
        return self.held.is_fresh and not self._schedule.has_failed

    @property
    def is_history_read(self) -> bool:
        """Return whether executions from before the session are known."""
        return self._history.is_read

    @property
    def has_named_all(self) -> bool:
        """Return whether the last reading has looked up every executed order."""
        return self._snapshot is not None and not self._snapshot.nameless

    def read_soon(self) -> None:
        """Request a reading of the account at once; after failed readings, after their pause."""
        self._schedule.read_soon()

    def note_event(self) -> None:
        """Note an event of the account, after which the account is read soon."""
        self._schedule.note_event()

    @property
    def orders_of_others(self) -> Set[str]:
        """Return the exchange's ids of executed orders in the symbol that others have sent."""
        return self._others.orders

    def note_correction(self) -> None:
        """Note that a correction has removed coins from the position."""
        self._notes.restart()
        self._coins.note_correction()
        self._differences.clear_missing()

    def note_change(self) -> None:
        """Note that an own order has changed held or free balances."""
        self.held.note_change()
        self._schedule.read_soon()

    def has_unsold_coins(self, live_order: LiveOrder, amount: Decimal) -> bool:
        """Return whether the account still has the coins of a sell that was not acknowledged.

        Only a reading after the sell's deadline can show that; until then it is requested.

        Args:
            live_order: The sell.
            amount: Amount of the sell, base currency.
        """
        if not self.held.is_after(live_order.state.deadline_ms):
            self._schedule.note_event()
            return False
        return self.held.has_unsold_coins(live_order, amount)

    def compare_readings(self, now_ms: int) -> None:
        """Compare the readings that have arrived; begin the next reading if it is due.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be read or written.
            SafetyRefusal: another process trades the account.
        """
        book = self._book
        # A reading ends after its result was added.
        is_reading = book.broker.is_request_running("refresh", book.context.key.symbol)
        for snapshot in book.broker.take_snapshots():
            if snapshot.begun < self._began:
                # The reading was requested before the file was read: it may be older than the file.
                continue
            self._read = time.monotonic()
            self._schedule.note_read()
            self.held.reading = snapshot
            if self._faults.is_over:
                with self._noting_faults():
                    self._compare(snapshot, now_ms)
            else:
                self._note_unchecked()
        self._take_balances()
        is_protecting = self.are_balances_known and not self.is_checked
        report_faults(self._book, self._read, is_protecting=is_protecting)
        if self.is_checked and not self.is_history_read:
            # Stops and exits need the present account first.
            history = self._history.read_history(
                self._collect_attributed_order_ids(),
                now_ms,
                bars_exits=self.is_sale_of_others_possible,
            )
            if history is not None:
                with self._noting_faults():
                    self._take_history(history, now_ms)
        if book.broker.take_reading_due():
            self._schedule.note_event()
        if not is_reading:
            self._schedule.note_ended()
            if self._schedule.is_due(is_again=self._differences.is_reading_due):
                self._request_reading(now_ms)

    @contextmanager
    def _noting_faults(self) -> Generator[None]:
        """Note an error that the block raises, and raise it: all is built again after an error.

        The next executor places stops before it compares again.
        """
        try:
            yield
        except Exception as error:
            self._faults.note_raised(error, self._book.times.compare_again)
            raise

    def _take_balances(self) -> None:
        """Use the balances of a reading that failed, if no reading was complete for seconds."""
        found, last = self._book.broker.last_balances, self.held.reading
        is_early = time.monotonic() - self._began < self._book.times.unprotected
        if self.is_checked or is_early or not self._schedule.has_failed:
            return
        if found is None or found.begun < self._began:
            return
        if last is None or found.begun > last.begun:
            self.held.reading = found
            self._note_unchecked()

    def _note_unchecked(self) -> None:
        """Compute which coins stops and exits may sell from a reading that is not compared yet."""
        if self.is_checked:
            return
        self._coins.measure(self._make_ledger_snapshot((), ()), self.held.total_base)
        for stop in self._book.stops:
            # Only a look-up shows the outcome of the stop.
            stop.is_look_up_needed = stop.is_look_up_needed or stop.state.stage == "open"

    def _request_reading(self, now_ms: int) -> None:
        # The first reading goes back a minute; older executions come with the history.
        self._since_ms = self._since_ms or now_ms
        self._schedule.note_begun()
        self._book.broker.refresh(self._since_ms, self._collect_attributed_order_ids())

    def _read_known_order_ids(self) -> dict[str, str]:
        """Return the exchange's ids of all own orders, each with its client order id."""
        context = self._book.context
        return read_exchange_order_ids(context.store, context.key.exchange, context.key.symbol)

    def _collect_attributed_order_ids(self) -> frozenset[str]:
        """Return the exchange's ids of orders with a known owner."""
        return frozenset(self._read_known_order_ids().keys() | self._others.orders)

    def _compare(self, snapshot: AccountSnapshot, now_ms: int) -> None:
        """Take over own orders and executions of a reading, and handle the differences."""
        book = self._book
        self._snapshot = snapshot
        is_stopped, is_adopted = (
            self.copies.apply_answers(snapshot.requested_ms, now_ms),
            self._older.update_problem(),
        )
        if is_stopped or is_adopted:
            # Orders that others with this file have sent until now are taken over.
            self._history = HistoryReading(book, self._older)
        orders = (*snapshot.open_orders, *snapshot.found)
        take_over_orders(book, orders, snapshot.fills, now_ms)
        missed = book_missed_fills(book, snapshot.fills, now_ms)
        reconnect_lossy_stream(book, missed, snapshot.requested_ms)
        ledger = self._make_ledger_snapshot(snapshot.fills, orders)
        found = find_differences(ledger, make_exchange_snapshot(snapshot, self._base))
        self._coins.measure(ledger, self.held.total_base)
        is_missing = False
        for difference in found:
            match difference.kind:
                case "missing coins":
                    is_missing = True
                    self._note_missing(difference, now_ms)
                case "missing order":
                    self._look_up_missing_stop(difference.subject)
                case _:
                    pass
        if not is_missing:
            self._differences.clear_missing()
        foreign = self._found.handle_orders(
            found, orders, snapshot.fills, now_ms, is_history_read=self.is_history_read
        )
        if self._differences.report_differences(
            foreign, self._coins.covered, now_ms, is_missing=is_missing
        ):
            self.note_correction()
        is_unsettled = any(
            live_order.state.stage in ("sent", "unknown")
            or live_order.state.filled > live_order.state.booked
            for live_order in book.orders.values()
        )
        if not self.is_history_read:
            return
        self._history.is_compared = True
        self._faults.note_compared()
        self._differences.report_nameless(
            snapshot.nameless, bars_exits=self.is_sale_of_others_possible
        )
        if self.held.is_fresh and not (is_missing or is_unsettled):
            self._notes.compare_balances(snapshot.balances)
        self._note_complete(snapshot, is_complete=not (is_missing or is_unsettled))
        if not is_unsettled:
            self._since_ms = max(self._since_ms or 0, snapshot.requested_ms)

    def _note_complete(self, snapshot: AccountSnapshot, *, is_complete: bool) -> None:
        """Store the balance of the account if no coins of the position are missing."""
        is_known = self.has_named_all and self.held.is_fresh and not self.copies.is_seen
        if is_complete and is_known and not self._coins.is_short:
            self._coins.note_complete(self.held.total_base, snapshot.requested_ms)
        else:
            self._coins.note_incomplete()

    def _take_history(self, history: AccountHistory, now_ms: int) -> None:
        """Take over own executions from before the session, and store differences about others."""
        snapshot = self._snapshot
        # A stop of a position that is taken over may rest: no second stop may be placed.
        listed = () if snapshot is None else (*snapshot.open_orders, *snapshot.found)
        orders = tuple(
            {order.exchange_order_id: order for order in (*history.found, *listed)}.values()
        )
        late = () if snapshot is None else snapshot.fills
        fills = tuple({fill.trade_id: fill for fill in (*history.fills, *late)}.values())
        take_over_orders(self._book, orders, fills, now_ms)
        book_missed_fills(self._book, fills, now_ms)
        found = find_unknown_orders(
            self._make_ledger_snapshot(fills, orders),
            [make_exchange_order(order, is_open=order.status == "open") for order in orders],
            {fill.trade_id: fill.exchange_order_id for fill in fills},
        )
        self._found.handle_orders(found, orders, fills, now_ms, is_history_read=True)
        if self._older.is_to_take_over:
            self._older.end_take_over(now_ms)
            self.note_correction()
        # An entry waits for the reading that judges these executions.
        self.note_change()

    @property
    def is_missing(self) -> bool:
        """Return whether coins of the position are missing, so that nothing may be sold."""
        return self._differences.is_missing

    @property
    def bars_exits(self) -> bool:
        """Return whether no exit may be sent: it might sell coins that belong to no position."""
        is_short = self.is_missing or self._coins.is_short
        return is_short or self.is_sale_of_others_possible or self.copies.is_seen

    @property
    def is_sale_of_others_possible(self) -> bool:
        """Return whether unread executions of others may have sold coins of the position.

        They have not if the account has the coins of its baseline and of all its positions.
        """
        total = self.held.total_now
        is_read = total is None or (self._history.is_compared and self.has_named_all)
        return not is_read and self._coins.may_hide_sales(total or _ZERO)

    @property
    def maybe_sold(self) -> Decimal:
        """Return the coins of the position that others may have sold, base currency.

        Coins that are reported as missing do not count.
        """
        if self.is_sale_of_others_possible:
            return self._coins.compute_shortfall(self.held.total_now or _ZERO)
        return _ZERO if self.is_missing else self._coins.sold

    @property
    def _base(self) -> str:
        return self._book.context.market.base

    def compute_sellable_base(self) -> Decimal:
        """Return the base currency that an order may sell, without coins of the baseline."""
        total = self.held.total_base
        amount = self._coins.compute_sellable(total, is_missing=self.is_missing)
        return self.copies.compute_unlocked_amount(amount, total - (self._coins.baseline or _ZERO))

    def _make_ledger_snapshot(
        self, fills: Iterable[OwnTrade], orders: Iterable[OrderSnapshot]
    ) -> LedgerSnapshot:
        """Return the database's record; executions of others in a reading are remembered before."""
        book, known = self._book, self._read_known_order_ids()
        self._others.add(fills, orders, known)
        return LedgerSnapshot(
            tag=book.tag,
            client_order_ids=known,
            open_orders=frozenset(
                stop.identity for stop in book.stops if stop.state.stage == "open"
            ),
            trade_ids=frozenset(fill.exchange_trade_id for fill in book.fills),
            position=book.position.open_amount,
            base=self._base,
            baseline=self._coins.baseline or _ZERO,
            sold_by_others=self._others.sum_sold(),
            began_ms=self.copies.began_ms,
            opened_ms=self._older.opened_ms,
        )

    def _look_up_missing_stop(self, client_order_id: str) -> None:
        """Look up a stop that the exchange does not list as open any more."""
        for stop in self._book.stops:
            if stop.identity == client_order_id and stop.state.stage == "open":
                stop.schedule_look_up()

    def _note_missing(self, found: AccountDifference, now_ms: int) -> None:
        """Halt the symbol once coins are missing in readings some seconds apart."""
        book = self._book
        if not self._differences.note_missing():
            return
        short = book.position.open_amount - self.held.total_base
        if self.held.is_fresh and 0 < short <= sum_fees_elsewhere(book):
            write_off_fees(book, short, now_ms)
            self.note_correction()
            return
        self._differences.report_missing(found, now_ms)
