"""Handles orders that a reading of the account has and the database does not, by their owner.

Own orders (their id begins with the tag of the database) are taken over. Orders of others, of
another copy of the database, and of the time before the account was opened are stored as
differences, which a person decides.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import structs

from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.execution.reconcile import AccountDifference, DifferenceKind
from onetape.store.live_accounts import read_last_difference
from trader.live.book import LiveBook
from trader.live.difference_reporter import DifferenceReporter
from trader.live.older_orders import OlderOrders
from trader.live.order_adoption import adopt
from trader.live.other_copies import OtherCopies

#: Kind of the difference for an own order that is treated as an order of others.
_FOREIGN_KINDS: Final[dict[DifferenceKind, DifferenceKind]] = {
    "own order": "foreign order",
    "own fills": "foreign fills",
}


class FoundOrders:
    """The orders of one symbol that readings of the account have and the database does not."""

    def __init__(
        self,
        book: LiveBook,
        differences: DifferenceReporter,
        older: OlderOrders,
        copies: OtherCopies,
    ) -> None:
        """Initialise; nothing is read yet.

        Args:
            book: The orders and fills of the symbol.
            differences: Stores orders and executions of others as differences.
            older: Stores orders that are older than the account.
            copies: Stores orders of other copies of the database.
        """
        self._book = book
        self._differences = differences
        self._older = older
        self._copies = copies

    def handle_orders(
        self,
        found: Iterable[AccountDifference],
        orders: Iterable[OrderSnapshot],
        fills: tuple[OwnTrade, ...],
        now_ms: int,
        *,
        is_history_read: bool,
    ) -> list[AccountDifference]:
        """Take over own orders, the oldest first; store and return the orders of others.

        Args:
            found: Differences of a reading; those that concern no order are left out.
            orders: All orders of the reading.
            fills: All executions of the reading.
            now_ms: Market time, epoch milliseconds.
            is_history_read: Whether the executions from before the session are known: own orders
                of that time have to be taken over before newer ones.

        Returns:
            Differences about orders and executions of others.
        """
        by_number = {order.exchange_order_id: order for order in orders}
        found = [difference for difference in found if difference.subject in by_number]
        pairs = sorted(
            ((difference, by_number[difference.subject]) for difference in found), key=_make_age_key
        )
        older = [order for difference, order in pairs if difference.kind == "older order"]
        copied = [order for difference, order in pairs if difference.kind == "other copy"]
        foreign: list[AccountDifference] = []
        for difference, order in pairs:
            if difference.kind in ("own order", "own fills") and is_history_read:
                if self._is_left_alone(order):
                    foreign.append(
                        structs.replace(difference, kind=_FOREIGN_KINDS[difference.kind])
                    )
                elif self._has_no_position(order):
                    text = f"{difference.text}, and no position is known that it could sell"
                    foreign.append(structs.replace(difference, kind="foreign order", text=text))
                else:
                    adopt(self._book, order, fills, now_ms)
        for difference, order in pairs:
            if difference.kind in ("foreign order", "foreign fills") and not self._is_past(
                order, fills
            ):
                foreign.append(difference)
        for difference in foreign:
            name = by_number[difference.subject].client_order_id
            self._differences.store(difference, now_ms, client_order_id=name)
        self._older.note_orders(older, now_ms)
        self._copies.note_orders(copied, now_ms)
        return foreign

    def _has_no_position(self, order: OrderSnapshot) -> bool:
        """Return whether an order rests that sells, and the database has no position to sell.

        An order that is taken over without a position is cancelled, and this order may be the stop
        of a position that is not found yet.
        """
        return order.side == "sell" and order.status == "open" and self._book.position.is_flat

    def _is_left_alone(self, order: OrderSnapshot) -> bool:
        """Return whether a person has decided that an order with an own id stays untouched."""
        context, number = self._book.context, order.exchange_order_id
        kinds = ("foreign order", "foreign fills")
        account = context.session.account
        found = (read_last_difference(context.store, account, kind, number) for kind in kinds)
        return any(difference is not None and difference.answer == "keep" for difference in found)

    def _is_past(self, order: OrderSnapshot, fills: Iterable[OwnTrade]) -> bool:
        """Return whether an order of others was executed before the account existed."""
        moments = (
            fill.executed_ms for fill in fills if fill.exchange_order_id == order.exchange_order_id
        )
        last_ms = max(moments, default=None)
        return order.status != "open" and last_ms is not None and self._older.is_past(last_ms)


def _make_age_key(pair: tuple[AccountDifference, OrderSnapshot]) -> tuple[int, int, str]:
    """Return the sort key of an order by age; at one time, the lower numeric id comes first."""
    order = pair[1]
    return order.created_ms, len(order.exchange_order_id), order.exchange_order_id
