"""Orders of this installation that are older than their account in this file.

An account is opened with its first session, and the coins that it has then are stored as its own.
If one of our orders is older, a backup from before that session was restored: coins of a position
count as the account's own, and the stop belongs to no position. Until a person has answered, such
orders are neither taken over nor cancelled, and there are no entries.
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
        """Begin with the stored answers of a person."""
        self._book = book
        self._account = read_live_account(book.context.store, book.context.session.account)
        self._stored = self._read()

    @property
    def opened_ms(self) -> int | None:
        """Return the time at which the account was opened in this file, epoch ms of the exchange.

        None if the time is unknown, or the older orders are taken over.
        """
        return None if self._account is None or self._is_adopted else self._account.opened_ms

    @property
    def first_ms(self) -> int | None:
        """Return the first time at which orders of the account may exist, epoch ms; None: unknown.

        Orders of this installation are not older than the first account of its file, at whatever
        exchange: their tag is stored with it.
        """
        account = self._account
        if account is None or (self._stored is not None and self._stored.answer == "keep"):
            return None if account is None else account.opened_ms
        return read_first_opened_ms(self._book.context.store)

    @property
    def is_to_take_over(self) -> bool:
        """Return whether a person has decided to take older orders over, and it is not done yet."""
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

    def judge(self) -> bool:
        """Report differences without an answer; return whether a person just answered adopt."""
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

    def take(self, orders: Iterable[OrderSnapshot], now_ms: int) -> None:
        """Store and report that a reading has older orders.

        Args:
            orders: All of the reading. Orders that another account of the file has are left out.
            now_ms: Market time.
        """
        book, account = self._book, self._account
        context = book.context
        found = [one for one in orders if not is_order_stored(context.store, one.client_order_id)]
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
        self.judge()

    def end_take_over(self, now_ms: int) -> None:
        """Remove the coins of older orders from the account's own coins, once.

        The orders are stored first: if the program ends in between, they are found in the file.

        Args:
            now_ms: Market time.
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
