"""Sorts the orders of a reading that the file lacks, by their owner, and acts on them."""

from collections.abc import Iterable
from typing import Final

from msgspec import structs

from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.execution.reconcile import AccountDifference, DifferenceKind
from onetape.store.live_accounts import read_last_difference
from trader.live.adopting import adopt
from trader.live.book import LiveBook
from trader.live.judging import Judge
from trader.live.older_orders import OlderOrders
from trader.live.other_copies import OtherCopies

_FOREIGN: Final[dict[DifferenceKind, DifferenceKind]] = {
    "own order": "foreign order",
    "own fills": "foreign fills",
}


class FoundOrders:
    """The orders of one symbol that readings of the account have and the file does not."""

    def __init__(
        self, book: LiveBook, judge: Judge, older: OlderOrders, copies: OtherCopies
    ) -> None:
        """Initialise; nothing is read yet.

        Args:
            book: The orders and trades of the symbol.
            judge: Takes orders and executions of others.
            older: Takes orders that are older than the account.
            copies: Takes orders of other copies of the database.
        """
        self._book = book
        self._judge = judge
        self._older = older
        self._copies = copies

    def sort_out(
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
            found: Differences of a reading; those of other kinds are left out.
            orders: All of the reading.
            fills: All of the reading.
            now_ms: Market time.
            is_history_read: Whether older orders are known, which have to be taken over first.
        """
        by_number = {one.exchange_order_id: one for one in orders}
        found = [one for one in found if one.subject in by_number]
        pairs = sorted(((one, by_number[one.subject]) for one in found), key=_make_age_key)
        older = [order for one, order in pairs if one.kind == "older order"]
        copied = [order for one, order in pairs if one.kind == "other copy"]
        strange: list[AccountDifference] = []
        for one, order in pairs:
            if one.kind in ("own order", "own fills") and is_history_read:
                if self._is_left_alone(order):
                    strange.append(structs.replace(one, kind=_FOREIGN[one.kind]))
                elif self._has_no_position(order):
                    text = f"{one.text}, and no position is known that it could sell"
                    strange.append(structs.replace(one, kind="foreign order", text=text))
                else:
                    adopt(self._book, order, fills, now_ms)
        for one, order in pairs:
            if one.kind in ("foreign order", "foreign fills") and not self._is_past(order, fills):
                strange.append(one)
        for one in strange:
            name = by_number[one.subject].client_order_id
            self._judge.store(one, now_ms, client_order_id=name)
        self._older.take(older, now_ms)
        self._copies.take(copied, now_ms)
        return strange

    def _has_no_position(self, order: OrderSnapshot) -> bool:
        """Return whether a resting order would sell coins of which the file has no position.

        An order that is taken over is cancelled, and this one may be the stop of a position that is
        not found yet.
        """
        return order.side == "sell" and order.status == "open" and self._book.position.is_flat

    def _is_left_alone(self, order: OrderSnapshot) -> bool:
        """Return whether a person has decided that an order with an own id stays untouched."""
        context, number = self._book.context, order.exchange_order_id
        kinds = ("foreign order", "foreign fills")
        account = context.session.account
        found = (read_last_difference(context.store, account, kind, number) for kind in kinds)
        return any(one is not None and one.answer == "keep" for one in found)

    def _is_past(self, order: OrderSnapshot, fills: Iterable[OwnTrade]) -> bool:
        """Return whether an order of others was executed before the account existed."""
        moments = (
            fill.executed_ms for fill in fills if fill.exchange_order_id == order.exchange_order_id
        )
        last_ms = max(moments, default=None)
        return order.status != "open" and last_ms is not None and self._older.is_past(last_ms)


def _make_age_key(pair: tuple[AccountDifference, OrderSnapshot]) -> tuple[int, int, str]:
    """Return the sort key of an order by age; ids of one moment count up."""
    order = pair[1]
    return order.created_ms, len(order.exchange_order_id), order.exchange_order_id
