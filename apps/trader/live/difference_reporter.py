"""Differences between account and database that a person decides: stored, reported and ended.

`trader reconcile` shows the stored differences and stores the answers of a person, which
`report_differences` carries out. Missing coins halt the symbol; orders of others stop entries.
"""

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from onetape.execution.reconcile import AccountDifference
from onetape.store.live_accounts import add_difference, end_difference, read_open_differences
from trader.live.account_history import STOPS_ALONE
from trader.live.book import LiveBook
from trader.live.order_adoption import write_off
from trader.states import Problem

#: Source of the problem that others trade the symbol on the account.
ACCOUNT_PROBLEM: Final = "account"
#: Source of the problem that coins of the position are missing.
COINS_PROBLEM: Final = "coins"
#: Source of the problem that executed orders cannot be looked up, so that their owner is unknown.
OWNERS_PROBLEM: Final = "account names"


class DifferenceReporter:
    """Differences of one symbol's account: orders and fills of others, and missing coins."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; nothing is missing before the first reading."""
        self._book = book
        self._missing_since: float | None = None
        """Time since coins of the position are missing, monotonic seconds; None: all are there."""
        self._missing_again = 0.0
        """Time when the account is read again because coins are missing, monotonic seconds."""
        self._nameless: frozenset[str] = frozenset()

    @property
    def is_reading_due(self) -> bool:
        """Return whether the account must be read again because coins are missing."""
        return self._missing_since is not None and time.monotonic() >= self._missing_again

    @property
    def is_missing(self) -> bool:
        """Return whether coins of the position are missing, so that nothing may be sold."""
        return self._book.states.has_problem(COINS_PROBLEM)

    def clear_missing(self) -> None:
        """Note that no coins are missing: a reading has them, or the position was corrected."""
        self._missing_since = None

    def note_missing(self) -> bool:
        """Note that a reading lacks coins; return whether that has lasted for `missing` seconds."""
        now, limit = time.monotonic(), self._book.times.missing
        self._missing_since = self._missing_since or now
        if now - self._missing_since >= limit:
            return True
        self._missing_again = self._missing_since + limit
        return False

    def report_missing(self, found: AccountDifference, now_ms: int) -> None:
        """Store missing coins as a difference, and halt the symbol until a person decides.

        Args:
            found: The difference.
            now_ms: Market time, epoch milliseconds.
        """
        self.store(found, now_ms)
        self._book.states.report(
            COINS_PROBLEM,
            Problem(
                f"coins are missing: {found.text}",
                "nothing is bought in this symbol any more, and only a stop sells what is left",
                "look at the account, then run: uv run trader reconcile",
                is_final=True,
            ),
        )

    def report_nameless(self, numbers: frozenset[str], *, bars_exits: bool) -> None:
        """Report executed orders that two readings in a row could not look up.

        Args:
            numbers: The exchange's ids of the orders.
            bars_exits: Whether no exit is sent before they are looked up.
        """
        lasting, self._nameless = numbers & self._nameless, numbers
        if not lasting:
            self._book.states.clear_problem(OWNERS_PROBLEM)
            return
        listed = ", ".join(sorted(lasting)[:3]) + (", ..." if len(lasting) > 3 else "")
        self._book.states.report(
            OWNERS_PROBLEM,
            Problem(
                f"executed orders cannot be looked up, and may belong to another program: {listed}",
                f"no entries meanwhile; {STOPS_ALONE if bars_exits else 'exits and stops go on'}",
                "look at the order at the exchange, if this lasts",
            ),
        )

    def report_differences(
        self,
        foreign: Iterable[AccountDifference],
        covered: Decimal,
        now_ms: int,
        *,
        is_missing: bool,
    ) -> bool:
        """Report orders and executions of others, carry out answers, and end what is over.

        Args:
            foreign: Orders and executions of others in a reading, already stored.
            covered: Amount of the position that is in the account, base currency.
            now_ms: Market time, epoch milliseconds.
            is_missing: Whether the reading lacks coins.

        Returns:
            Whether missing coins were taken out of the position.
        """
        book = self._book
        account, context = book.context.session.account, book.context
        left = {(difference.kind, difference.subject) for difference in foreign}
        waiting: list[str] = []
        is_corrected = False
        for stored in read_open_differences(context.store, account):
            if stored.document.get("symbol") != context.key.symbol:
                continue
            is_there = (stored.kind, stored.subject) in left
            is_over = stored.kind == "foreign order" and not is_there
            if is_over or (stored.kind == "missing coins" and not is_missing):
                end_difference(context.store, stored.number, ended_ms=now_ms)
            elif stored.kind == "missing coins" and stored.answer in ("adopt", "forget"):
                write_off(book, stored.answer, covered, now_ms)
                is_corrected = True
                end_difference(context.store, stored.number, ended_ms=now_ms)
            elif stored.kind.startswith("foreign") and stored.answer is None:
                waiting.append(str(stored.document.get("text")))
        if not is_missing:
            book.states.clear_problem(COINS_PROBLEM)
        self._report_others(waiting)
        return is_corrected

    def _report_others(self, waiting: list[str]) -> None:
        """Report orders and executions of others about which no person has decided yet."""
        if not waiting:
            self._book.states.clear_problem(ACCOUNT_PROBLEM)
            return
        self._book.states.report(
            ACCOUNT_PROBLEM,
            Problem(
                f"another program or person trades this symbol on the account: {waiting[-1]}",
                "no entries; exits and stops go on",
                "uv run trader reconcile shows it, and takes your answer",
            ),
        )

    def store(self, found: AccountDifference, now_ms: int, *, client_order_id: str = "") -> None:
        """Store a difference, unless it is stored already.

        Args:
            found: The difference.
            now_ms: Market time, epoch milliseconds.
            client_order_id: Client order id of the order of others; empty: none is known.
        """
        book = self._book
        context = book.context
        document = {"text": found.text, "symbol": context.key.symbol}
        if client_order_id:
            document["client_order_id"] = client_order_id
        add_difference(
            context.store,
            book.fence,
            context.session.account,
            found.kind,
            found.subject,
            document,
            seen_ms=now_ms,
        )
