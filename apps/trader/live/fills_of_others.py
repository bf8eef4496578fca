"""Coins of a position that others have sold, or that have paid fees, while it was open.

"Others" are programs and persons that trade the same symbol on the same account.
"""

from collections.abc import Iterable, Set
from decimal import Decimal

from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.store.accounts import read_account_series
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import read_open_differences
from trader.live.book import LiveBook
from trader.live.booked_coins import CORRECTION_PREFIX


class FillsOfOthers:
    """Executions of one symbol's account that are not the trader's."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise with the stored orders of others; readings add the executions."""
        self._book = book
        self._fills: dict[str, OwnTrade] = {}
        self._numbers: set[str] = set()
        self._orders: set[str] = set()
        stored = read_open_differences(book.context.store, book.context.session.account)
        for difference in stored:
            # An order without a client order id is looked up again.
            if difference.kind == "foreign fills" and difference.document.get("client_order_id"):
                self._numbers.add(difference.subject)
                self._orders.add(difference.subject)

    @property
    def orders(self) -> Set[str]:
        """Return the exchange's ids of executed orders that have a client order id of others."""
        return self._orders

    def add(
        self, fills: Iterable[OwnTrade], orders: Iterable[OrderSnapshot], known: Iterable[str]
    ) -> None:
        """Remember the executions of others in a reading of the account.

        Args:
            fills: All executions of the reading.
            orders: All orders of the reading.
            known: The exchange's ids of the trader's own orders.
        """
        tag = self._book.tag
        own = {order.exchange_order_id for order in orders if order.client_order_id.startswith(tag)}
        own |= set(known)
        names = {order.exchange_order_id: order.client_order_id for order in orders}
        self._numbers |= names.keys() - own
        for fill in fills:
            if fill.exchange_order_id in self._numbers and fill.exchange_order_id not in own:
                self._fills[fill.trade_id] = fill
                if names.get(fill.exchange_order_id):
                    self._orders.add(fill.exchange_order_id)

    def sum_sold(self) -> Decimal:
        """Return the amount that others have sold less what they bought, base currency, at least 0.

        Three kinds of executions do not count: those from before the position was opened, those
        from before the last correction, and those of an order about which a person has decided.
        """
        book = self._book
        if book.position.is_flat or not self._fills:
            return Decimal(0)
        first_ms = find_first_counted_ms(book)
        stored = read_open_differences(book.context.store, book.context.session.account)
        answered = {
            difference.subject
            for difference in stored
            if difference.kind == "foreign fills" and difference.answer is not None
        }
        total, base = Decimal(0), book.context.market.base
        for fill in self._fills.values():
            if fill.executed_ms >= first_ms and fill.exchange_order_id not in answered:
                fee = fill.fee if fill.fee_currency == base else Decimal(0)
                total += fee + (fill.amount if fill.side == "sell" else -fill.amount)
        return max(total, Decimal(0))


def sum_fees_elsewhere(book: LiveBook) -> Decimal:
    """Return the fees of the account's other symbols that were paid in the position's coin.

    An exchange may take the fees of all symbols in its own coin, such as BNB, from the account's
    balance of that coin.

    Args:
        book: The orders and fills of the symbol.

    Returns:
        Base currency, since the position was opened or corrected last.
    """
    context, first_ms = book.context, find_first_counted_ms(book)
    total = Decimal(0)
    for account_series in read_account_series(context.store, context.session.account):
        if account_series.symbol == context.key.symbol:
            continue
        fills = read_fills(
            context.store,
            account_series.name,
            account_series.symbol,
            exchange=context.key.exchange,
            mode=context.session.mode,
        )
        total += sum(
            fill.fee
            for fill in fills
            if fill.fee_currency == context.market.base and fill.executed_ms >= first_ms
        )
    return total


def find_first_counted_ms(book: LiveBook) -> int:
    """Return the time since which others may have taken coins of the position, epoch milliseconds.

    This is the first buy of the position, or the moment after its last correction.
    """
    corrected = (
        fill.executed_ms
        for fill in book.fills
        if fill.exchange_trade_id.startswith(CORRECTION_PREFIX)
    )
    return max(find_first_bought_ms(book), max(corrected, default=0) + 1)


def find_first_bought_ms(book: LiveBook) -> int:
    """Return the time of the open position's first buy, epoch milliseconds; 0 while flat."""
    entry = book.position.entry_order_id
    return min(
        (fill.executed_ms for fill in book.fills if fill.client_order_id == entry), default=0
    )
