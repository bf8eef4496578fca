"""Coins of a symbol that others than its trader have taken while a position was open."""

from collections.abc import Iterable, Set
from decimal import Decimal

from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.store.accounts import read_account_series
from onetape.store.ledger import read_fills
from onetape.store.live_accounts import read_open_differences
from trader.live.book import LiveBook
from trader.live.booked_coins import CORRECTED


class FillsOfOthers:
    """Executions of one symbol's account that are not the trader's."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise with the stored orders of others; readings have their executions."""
        self._book = book
        self._fills: dict[str, OwnTrade] = {}
        self._numbers: set[str] = set()
        self._orders: set[str] = set()
        stored = read_open_differences(book.context.store, book.context.session.account)
        for one in stored:
            # An order that carries no name is looked up again.
            if one.kind == "foreign fills" and one.document.get("client_order_id"):
                self._numbers.add(one.subject)
                self._orders.add(one.subject)

    @property
    def orders(self) -> Set[str]:
        """Return the exchange's ids of executed orders that carry a client order id of others."""
        return self._orders

    def add(
        self, fills: Iterable[OwnTrade], orders: Iterable[OrderSnapshot], known: Iterable[str]
    ) -> None:
        """Take the executions of a reading.

        Args:
            fills: All of the reading.
            orders: All of the reading.
            known: The exchange's ids of the trader's own orders.
        """
        tag = self._book.tag
        own = {one.exchange_order_id for one in orders if one.client_order_id.startswith(tag)}
        own |= set(known)
        names = {one.exchange_order_id: one.client_order_id for one in orders}
        self._numbers |= names.keys() - own
        for fill in fills:
            if fill.exchange_order_id in self._numbers and fill.exchange_order_id not in own:
                self._fills[fill.trade_id] = fill
                if names.get(fill.exchange_order_id):
                    self._orders.add(fill.exchange_order_id)

    def sum_sold(self) -> Decimal:
        """Return the sales of others less their buys, base currency; at least 0.

        Executions do not count if they are from before the position was opened, from before a
        person had missing coins written off, or of an order that a person has judged.
        """
        book = self._book
        if book.position.is_flat or not self._fills:
            return Decimal(0)
        first_ms = find_first_counted_ms(book)
        stored = read_open_differences(book.context.store, book.context.session.account)
        answered = {
            one.subject for one in stored if one.kind == "foreign fills" and one.answer is not None
        }
        total, base = Decimal(0), book.context.market.base
        for fill in self._fills.values():
            if fill.executed_ms >= first_ms and fill.exchange_order_id not in answered:
                fee = fill.fee if fill.fee_currency == base else Decimal(0)
                total += fee + (fill.amount if fill.side == "sell" else -fill.amount)
        return max(total, Decimal(0))


def sum_fees_elsewhere(book: LiveBook) -> Decimal:
    """Return the fees of the account's other symbols that were paid in the position's coin.

    Base currency, since the position was opened or corrected: an exchange takes fees in its own
    coin from the account's balance of that coin.
    """
    context, first_ms = book.context, find_first_counted_ms(book)
    total = Decimal(0)
    for one in read_account_series(context.store, context.session.account):
        if one.symbol == context.key.symbol:
            continue
        fills = read_fills(
            context.store,
            one.name,
            one.symbol,
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
    """Return from when on others may have taken coins of the position, epoch milliseconds."""
    corrected = (
        one.executed_ms for one in book.fills if one.exchange_trade_id.startswith(CORRECTED)
    )
    return max(find_first_bought_ms(book), max(corrected, default=0) + 1)


def find_first_bought_ms(book: LiveBook) -> int:
    """Return the time of the open position's first buy, epoch milliseconds; 0 while flat."""
    entry = book.position.entry_order_id
    return min((one.executed_ms for one in book.fills if one.client_order_id == entry), default=0)
