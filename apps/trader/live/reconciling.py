"""Compares the account at the exchange with ours: at the start before anything, then repeatedly.

The exchange is right about money. What belongs to us is taken over: executions that no event has
brought, and orders of this installation that the file does not have, because a backup was restored.
What belongs to others stays untouched and stops entries. Coins that are missing stop everything in
this symbol until a person has looked, but for a stop for the coins of the position that are there.
"""

import time
from collections.abc import Set
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.exchange.trading_records import Balance, OwnTrade
from onetape.execution.reconcile import (
    Difference,
    ExchangeOrder,
    ExchangeSnapshot,
    LedgerSnapshot,
    differences,
)
from onetape.store.live_accounts import (
    add_difference,
    end_difference,
    known_order_numbers,
    open_differences,
    read_live_account,
)
from trader.brokers.live import AccountSnapshot, events_of, fill_report
from trader.live.account_notes import AccountNotes
from trader.live.adopting import adopt, pay_fees, tracked_again, write_off
from trader.live.book import LiveBook
from trader.live.fills_of_others import FillsOfOthers, fees_elsewhere, first_bought_ms
from trader.live.position_coins import PositionCoins
from trader.live.reading_pause import ReadingPause
from trader.live.resolving import coins_moved
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Sources of problems with the account.
ACCOUNT: Final = "account"
COINS: Final = "coins"
#: The account could not be read for so long: a problem, wall seconds.
UNREAD_SECONDS: Final = 30.0


class AccountCheck:
    """What the exchange has of one symbol's account."""

    def __init__(self, book: LiveBook) -> None:
        """Begin; nothing has been read yet."""
        self._book = book
        self._notes = AccountNotes(book)
        self._others = FillsOfOthers(book)
        self._coins = PositionCoins(book)
        self._snapshot: AccountSnapshot | None = None
        self._asked = -1e9
        self._is_soon = True
        self._pause = ReadingPause(book.times.read_again)
        self._began = time.monotonic()
        self._read = time.monotonic()
        self._changed = 0.0
        """When orders of ours last changed what is held or free, monotonic."""
        self._missing_since: float | None = None
        """Since when readings miss coins of the position, monotonic; None: they do not."""
        self._missing_again = 0.0
        """When the account is read again because coins are missing, monotonic."""
        self._since_ms: int | None = None

    @property
    def is_checked(self) -> bool:
        """Return whether the account has been compared since the start."""
        return self._snapshot is not None

    @property
    def is_readable(self) -> bool:
        """Return whether what the account holds is known of now, and the last reading went well."""
        return self._fresh is not None and not self._pause.has_failed

    def read_soon(self) -> None:
        """Let the account be read at once; where readings fail, after their pause."""
        self._is_soon = True

    @property
    def orders_of_others(self) -> Set[str]:
        """Return the exchange's ids of executed orders in the symbol that others have sent."""
        return self._others.orders

    def note_correction(self) -> None:
        """Note that coins were taken out of the ledger, so that they belong to the account."""
        self._notes.forget()
        self._coins.note_correction()
        self._missing_since = None

    def note_change(self) -> None:
        """Note that an order of ours has changed what is held or free."""
        self._changed = time.monotonic()
        self._is_soon = True

    def balance(self, currency: str) -> Balance | None:
        """Return what is held of a currency; None where that is not known of now."""
        snapshot = self._fresh
        if snapshot is None:
            return None
        return snapshot.balances.get(currency, Balance(Decimal(0), Decimal(0)))

    def free_base(self) -> Decimal | None:
        """Return what of the base currency could be sold; None where that is not known of now."""
        found = self.balance(self._book.context.market.base)
        return None if found is None else found.free

    def shows_unsold(self, one: LiveOrder, amount: Decimal) -> bool:
        """Return whether the account has the coins of a sell that was not acknowledged.

        Only an account that was read after the sell's deadline shows that.
        """
        snapshot, deadline_ms = self._snapshot, one.state.deadline_ms
        if snapshot is None or deadline_ms is None or snapshot.asked_ms <= deadline_ms:
            self._is_soon = True
            return False
        held = snapshot.balances.get(self._base)
        # The account may have coins of its own: what is free alone does not show what was sold.
        is_moved = coins_moved(self._book, one, snapshot.balances)
        return held is not None and held.free >= amount and not is_moved

    @property
    def _fresh(self) -> AccountSnapshot | None:
        """Return the last reading if no order of ours has changed the account since it began."""
        snapshot = self._snapshot
        return snapshot if snapshot is not None and snapshot.begun > self._changed else None

    def work(self, now_ms: int) -> None:
        """Compare what was read; read again where it is time."""
        book = self._book
        # It ends after what it has read was added.
        is_reading = book.broker.is_asking("refresh", book.context.key.symbol)
        for snapshot in book.broker.snapshots():
            if snapshot.begun < self._began:
                # It was asked for before the file was read: it may be older than what is stored.
                continue
            self._read = time.monotonic()
            self._pause.note_read()
            self._compare(snapshot, now_ms)
        self._report_unread()
        self._is_soon |= book.broker.take_reading_due()
        has_stream = book.broker.stream_opened_ms is not None
        pause = max(
            book.times.poll_with_stream if has_stream else book.times.poll,
            book.times.poll_per_symbol * book.broker.symbols,
        )
        if not is_reading:
            self._pause.note_ended(pause)
        now = time.monotonic()
        is_again = self._missing_since is not None and now >= self._missing_again
        is_due = self._is_soon or is_again or now - self._asked >= pause
        if is_due and self._pause.is_over:
            self._ask(now_ms)

    def _ask(self, now_ms: int) -> None:
        book = self._book
        key = book.context.key
        if book.broker.is_asking("refresh", key.symbol):
            return
        if self._since_ms is None:
            newest = max((trade.executed_ms for trade in book.trades), default=None)
            if not book.position.is_flat:
                # What others have sold since then may be coins of the position.
                newest = first_bought_ms(book)
            unresolved = [one.state.deadline_ms for one in book.orders.values()]
            times = [moment for moment in (newest, *unresolved) if moment is not None]
            account = read_live_account(book.context.store, book.context.session.account)
            opened_ms = now_ms if account is None else account.opened_ms
            # An execution dated ahead must not hide those that come until then.
            self._since_ms = min(opened_ms if not times else min(times), now_ms)
        known = known_order_numbers(book.context.store, key.exchange, key.symbol)
        self._asked, self._is_soon = time.monotonic(), False
        self._pause.note_begun()
        book.broker.refresh(self._since_ms, known)

    def _report_unread(self) -> None:
        """Report that the account cannot be read, or that it can be again."""
        states, fault = self._book.states, self._book.broker.fault
        if fault and time.monotonic() - self._read > UNREAD_SECONDS:
            problem = Problem(
                f"the account cannot be read: {fault.partition('; ')[0]}",
                "no entries meanwhile; stops rest where they are",
                "check the network and the API key, if this lasts",
            )
            states.report("account reading", problem)
        elif not fault:
            states.solve("account reading")

    def _compare(self, snapshot: AccountSnapshot, now_ms: int) -> None:
        """Take what is ours out of a reading, and judge the rest."""
        book = self._book
        self._snapshot = snapshot
        self._take_orders(snapshot, now_ms)
        self._take_fills(snapshot, now_ms)
        ledger = self._ledger(snapshot)
        found = differences(ledger, _exchange_side(snapshot, self._base))
        self._coins.measure(ledger, self.total_base)
        orders = {one.exchange_order_id: one for one in (*snapshot.open_orders, *snapshot.found)}
        strange: list[Difference] = []
        is_missing = False
        for one in found:
            match one.kind:
                case "own order" | "own fills":
                    adopt(book, orders[one.subject], snapshot.fills, now_ms)
                case "foreign order" | "foreign fills":
                    strange.append(one)
                case "missing coins":
                    is_missing = True
                    self._report_missing(one, now_ms)
                case "missing order":
                    self._look_for(one.text)
        if not is_missing:
            self._missing_since = None
        self._judge(strange, now_ms, is_missing=is_missing)
        moving = any(one.state.stage in ("sent", "unknown") for one in book.orders.values())
        if self._fresh is not None and not (is_missing or moving):
            self._notes.look(snapshot.balances)
        resolved = all(one.state.stage not in ("sent", "unknown") for one in book.orders.values())
        if resolved:
            self._since_ms = max(self._since_ms or 0, snapshot.asked_ms)

    @property
    def is_missing(self) -> bool:
        """Return whether coins of the position are missing, so that nothing may be sold."""
        return self._book.states.has_problem(COINS)

    @property
    def bars_exits(self) -> bool:
        """Return whether an exit might sell coins of the account's own in place of missing ones."""
        return self.is_missing or self._coins.is_short

    @property
    def total_base(self) -> Decimal:
        """Return what was there of the base currency at the last reading."""
        snapshot = self._snapshot
        held = None if snapshot is None else snapshot.balances.get(self._base)
        return Decimal(0) if held is None else held.total

    @property
    def _base(self) -> str:
        return self._book.context.market.base

    def sellable_base(self) -> Decimal:
        """Return what an order may sell of the base currency; coins of the account's own never."""
        return self._coins.sellable(self.total_base, is_missing=self.is_missing)

    def _ledger(self, snapshot: AccountSnapshot) -> LedgerSnapshot:
        book = self._book
        key = book.context.key
        known = known_order_numbers(book.context.store, key.exchange, key.symbol)
        self._others.add(snapshot.fills, (*snapshot.open_orders, *snapshot.found), known)
        return LedgerSnapshot(
            tag=book.tag,
            known=known,
            open_orders=frozenset(one.identity for one in book.stops if one.state.stage == "open"),
            trade_ids=frozenset(trade.exchange_trade_id for trade in book.trades),
            position=book.position.own,
            base=self._base,
            baseline=self._coins.before or Decimal(0),
            sold_by_others=self._others.sold(),
        )

    def _take_orders(self, snapshot: AccountSnapshot, now_ms: int) -> None:
        """Store the exchange's number of our orders whose acknowledgement never came."""
        book = self._book
        key = book.context.key
        known = known_order_numbers(book.context.store, key.exchange, key.symbol)
        for found in (*snapshot.open_orders, *snapshot.found):
            if found.exchange_order_id in known or not found.client_order_id.startswith(book.tag):
                continue
            one = tracked_again(book, found.client_order_id)
            if one is not None:
                own = [
                    fill
                    for fill in snapshot.fills
                    if fill.exchange_order_id == found.exchange_order_id
                ]
                events = events_of(found, own)
                book.record(one, events, now_ms, source=book.broker.name)

    def _take_fills(self, snapshot: AccountSnapshot, now_ms: int) -> None:
        """Book executions of known orders that no event has brought."""
        book = self._book
        key = book.context.key
        account = book.context.session.account
        known = known_order_numbers(book.context.store, key.exchange, key.symbol, account=account)
        booked = {trade.exchange_trade_id for trade in book.trades}
        fresh: dict[str, list[OwnTrade]] = {}
        for fill in snapshot.fills:
            if fill.trade_id not in booked and fill.exchange_order_id in known:
                fresh.setdefault(known[fill.exchange_order_id], []).append(fill)
                self._check_stream(fill, snapshot)
        for identity, fills in fresh.items():
            one = tracked_again(book, identity)
            if one is not None:
                events = [fill_report(fill) for fill in fills]
                book.record(one, events, now_ms, source=book.broker.name)

    def _check_stream(self, fill: OwnTrade, snapshot: AccountSnapshot) -> None:
        """Open the account's stream again where it has not carried an execution."""
        book = self._book
        opened_ms = book.broker.stream_opened_ms
        late = book.exchange.clock.wall_seconds(snapshot.asked_ms - fill.executed_ms)
        if opened_ms is not None and fill.executed_ms > opened_ms and late > book.times.event_late:
            print_line("the account's stream has lost an execution: it is opened again")
            book.broker.reconnect_stream("an execution came without an event")

    def _look_for(self, text: str) -> None:
        """Ask what became of stops that are not open any more."""
        for one in self._book.stops:
            if one.identity in text and one.state.stage == "open":
                one.ask_soon()

    def _report_missing(self, found: Difference, now_ms: int) -> None:
        """Halt the symbol once coins are missing in readings some seconds apart."""
        book, now = self._book, time.monotonic()
        self._missing_since = self._missing_since or now
        if now - self._missing_since < book.times.missing:
            self._missing_again = self._missing_since + book.times.missing
            return
        short = book.position.own - self.total_base
        if self._fresh is not None and 0 < short <= fees_elsewhere(book):
            pay_fees(book, short, now_ms)
            self.note_correction()
            return
        self._store(found, now_ms)
        book.states.report(
            COINS,
            Problem(
                f"coins are missing: {found.text}",
                "nothing is bought in this symbol any more, and only a stop sells what is left",
                "look at the account, then run: uv run trader reconcile",
                is_final=True,
            ),
        )

    def _judge(self, strange: list[Difference], now_ms: int, *, is_missing: bool) -> None:
        """Report what belongs to others, and end differences that are over or were judged."""
        book = self._book
        account, context = book.context.session.account, book.context
        for one in strange:
            self._store(one, now_ms)
        left = {(one.kind, one.subject) for one in strange}
        waiting: list[str] = []
        for stored in open_differences(context.store, account):
            if stored.document.get("symbol") != context.key.symbol:
                continue
            is_there = (stored.kind, stored.subject) in left
            is_over = stored.kind == "foreign order" and not is_there
            if is_over or (stored.kind == "missing coins" and not is_missing):
                end_difference(context.store, stored.number, ended_ms=now_ms)
            elif stored.kind == "missing coins" and stored.answer in ("adopt", "forget"):
                write_off(book, stored.answer, self._coins.covered, now_ms)
                self.note_correction()
                end_difference(context.store, stored.number, ended_ms=now_ms)
            elif stored.kind.startswith("foreign") and stored.answer is None:
                waiting.append(str(stored.document.get("text")))
        if not is_missing:
            book.states.solve(COINS)
        if not waiting:
            book.states.solve(ACCOUNT)
            return
        book.states.report(
            ACCOUNT,
            Problem(
                f"somebody else trades this symbol on the account: {waiting[-1]}",
                "no entries; exits and stops go on",
                "uv run trader reconcile shows it, and takes your answer",
            ),
        )

    def _store(self, found: Difference, now_ms: int) -> None:
        book = self._book
        context = book.context
        document = {"text": found.text, "symbol": context.key.symbol}
        add_difference(
            context.store,
            book.fence,
            context.session.account,
            found.kind,
            found.subject,
            document,
            seen_ms=now_ms,
        )


def _exchange_side(snapshot: AccountSnapshot, base: str) -> ExchangeSnapshot:
    held = snapshot.balances.get(base, Balance(Decimal(0), Decimal(0)))
    listed = (
        *((order, True) for order in snapshot.open_orders),
        *((order, order.status == "open") for order in snapshot.found),
    )
    by_number = {order.exchange_order_id: (order, is_open) for order, is_open in listed}
    return ExchangeSnapshot(
        base_total=held.total,
        orders=tuple(
            ExchangeOrder(order.exchange_order_id, order.client_order_id, is_open)
            for order, is_open in by_number.values()
        ),
        fills={fill.trade_id: fill.exchange_order_id for fill in snapshot.fills},
    )
