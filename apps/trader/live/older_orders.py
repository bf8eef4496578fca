"""Orders with an id of this database that are older than their account in the database.

An account is opened at its first session, and the coins that it has then are stored as its
baseline, which is never sold. If the exchange has an older order of this database, a backup from
before that session was restored: coins of a position were stored as part of the baseline, and the
stop belongs to no position. Until a person has decided, such orders are neither taken over nor
cancelled, and there are no entries.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.core.clock import format_utc
from onetape.exchange.trading_records import OrderSnapshot
from onetape.store.live_accounts import (
    StoredDifference,
    add_difference,
    correct_baseline,
    is_order_stored,
    read_first_opened_ms,
    read_last_difference,
    read_live_account,
)
from trader.live.book import LiveBook
from trader.live.fills_of_others import find_first_bought_ms
from trader.states import Problem

#: Kind of the difference, and source of the problem.
OLDER_ORDER: Final = "older order"


class OlderOrders:
    """Orders of one symbol that are older than the account in the database."""

    def __init__(self, book: LiveBook) -> None:
        """Read the account and the stored difference with a person's answer."""
        self._book = book
        self._account = read_live_account(book.context.store, book.context.session.account)
        self._stored = self._read()

    @property
    def opened_ms(self) -> int | None:
        """Return the exchange time at which the account was opened, epoch milliseconds.

        None if the time is unknown, or if older orders count as own orders.
        """
        return None if self._account is None or self._is_adopted else self._account.opened_ms

    @property
    def first_ms(self) -> int | None:
        """Return the first time at which own orders may exist, epoch milliseconds; None: unknown.

        That is the opening of the first live account of the database, at whatever exchange, because
        the tag of own orders is drawn then. If a person keeps older orders, it is the opening of
        this account.
        """
        account = self._account
        if account is None or (self._stored is not None and self._stored.answer == "keep"):
            return None if account is None else account.opened_ms
        return read_first_opened_ms(self._book.context.store)

    @property
    def is_to_take_over(self) -> bool:
        """Return whether a person has decided to take over older orders, which is not done yet."""
        stored = self._stored
        return stored is not None and self._is_adopted and stored.ended_ms is None

    @property
    def _is_adopted(self) -> bool:
        return self._stored is not None and self._stored.answer == "adopt"

    def is_past(self, executed_ms: int) -> bool:
        """Return whether an execution of others is older than the account and its position.

        Args:
            executed_ms: Exchange time, epoch milliseconds.
        """
        account = self._account
        if account is None:
            return False
        bought_ms = find_first_bought_ms(self._book)
        return executed_ms < min(account.opened_ms, bought_ms or account.opened_ms)

    def update_problem(self) -> bool:
        """Read the difference again, and report it until a person has decided.

        Returns:
            Whether a person has answered `adopt` since the last call.
        """
        was_adopted, self._stored = self._is_adopted, self._read()
        stored = self._stored
        if stored is None or stored.answer is not None:
            self._book.states.clear_problem(OLDER_ORDER)
        else:
            problem = Problem(
                str(stored.document.get("text")),
                "no entries; orders of that time are neither taken over nor cancelled",
                "uv run trader reconcile shows it, and takes your answer",
            )
            self._book.states.report(OLDER_ORDER, problem)
        return self._is_adopted and not was_adopted

    def note_orders(self, orders: Iterable[OrderSnapshot], now_ms: int) -> None:
        """Store and report that a reading has older orders; only the first time.

        Args:
            orders: Older orders of the reading. Orders that another account of the database has are
                left out.
            now_ms: Market time, epoch milliseconds.
        """
        book, account = self._book, self._account
        context = book.context
        found = [
            order for order in orders if not is_order_stored(context.store, order.client_order_id)
        ]
        if not found or account is None or self._stored is not None:
            return
        order, symbol = found[-1], context.key.symbol
        text = (
            f"order {order.client_order_id} ({order.side}) has an id of this database and is not "
            f"in it; the exchange took it on {format_utc(order.created_ms // 1_000)} UTC, before "
            f"account {account.account} was opened in this file: an older backup was restored"
        )
        add_difference(
            context.store, book.fence, account.account, OLDER_ORDER, symbol,
            {"text": text, "symbol": symbol}, seen_ms=now_ms,
        )  # fmt: skip
        self.update_problem()

    def end_take_over(self, now_ms: int) -> None:
        """Reduce the baseline by the coins that older orders have bought; end the difference.

        The orders are stored before: if the program ends in between, the next start goes on.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account.
        """
        stored, account, context = self._stored, self._account, self._book.context
        if stored is None or account is None:
            return
        base, bought = context.market.base, Decimal(0)
        for fill in self._book.fills:
            if fill.executed_ms <= account.opened_ms:
                bought += fill.amount if fill.side == "buy" else -fill.amount
                bought -= fill.fee if fill.fee_currency == base else Decimal(0)
        correct_baseline(
            context.store, self._book.fence, stored, base, max(bought, Decimal(0)), ended_ms=now_ms
        )
        self._stored = self._read()
        if bought > 0:
            print_line(
                f"older orders are taken over; {bought.normalize():f} {base} were bought by them"
            )
            return
        print_line(
            f"no position was found in the older orders: all {base} count as the account's own "
            "coins, and no stop is placed for them",
            level="WARNING",
        )

    def _read(self) -> StoredDifference | None:
        context = self._book.context
        account, symbol = context.session.account, context.key.symbol
        return read_last_difference(context.store, account, OLDER_ORDER, symbol)
