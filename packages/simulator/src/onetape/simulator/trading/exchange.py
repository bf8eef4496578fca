"""The exchange: accepts orders and matches them with the market's trades; `books.py` books fills.

The market's trades are a pure function of time, and orders of the account do not change them: the
account is too small to move the market. The rules of matching:

- A taker (market order, triggered stop, limit beyond the best offer) takes the offers after the
  last trade (`TradeFeed.iterate_offers`), level by level. The next order finds the same offers.
- A limit order in the book is filled by each later trade at a better price than its own: at its own
  price, and for at most the trade's amount. Trades at exactly its price fill orders ahead of it.
  Orders of the account share a trade's amount: better price first, then the older order.
- Open orders of a market expire at the moment when it is delisted. During an outage, and while a
  fault halts a market, nothing happens to them.
- A stop is triggered by the first trade at its stop price or beyond, and takes the offers after it.
- Of the two orders of a list (OCO) the first that trades or is triggered ends the other.

Orders are matched only when the account is read or changed: `settle(now_ms)` processes all trades
since the last call, in the order of time over all markets.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Final

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.books import Books
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.filters import check_filters
from onetape.simulator.trading.money import scale_to_decimal
from onetape.simulator.trading.orders import (
    LIMIT_TYPES,
    STOP_TYPES,
    TARGET_TYPES,
    OrderList,
    RequestedOrder,
    SimulatedOrder,
)
from onetape.simulator.trading.rules import RuleBook
from onetape.simulator.trading.taker import FindThinBook, Taker
from onetape.simulator.trading.trade_feed import AFTER_ALL, Cursor, MarketTrade, Side, TradeFeed

#: Function that returns the time since which a fault halts a market, epoch milliseconds, and
#: whether the fault has delisted the market; None: no fault halts it.
FindMarketHalt = Callable[[SpotSymbol], tuple[int, bool] | None]
_NEVER: Final = 1 << 62


class Exchange:
    """One account and its orders. Times (`now_ms`) are market time and never go back."""

    def __init__(
        self,
        feed: TradeFeed,
        symbols: tuple[SpotSymbol, ...],
        *,
        balance: Mapping[str, Decimal],
        now_ms: int,
        fees: Fees | None = None,
        find_market_halt: FindMarketHalt = lambda _: None,
        find_thin_book: FindThinBook = lambda _: None,
        rules: RuleBook | None = None,
    ) -> None:
        """Open an account.

        Args:
            feed: The market's trades.
            symbols: The markets.
            balance: Start balance of the account.
            now_ms: Market time, epoch milliseconds.
            fees: Fee rates; None is 0.1 % in the received coin.
            find_market_halt: Returns the time since which a fault has halted or delisted a market;
                None: no fault has.
            find_thin_book: Returns the few offers that a fault leaves in a market; None: no fault.
            rules: Steps and smallest values; None is each market's own.
        """
        self._find_market_halt = find_market_halt
        self._books = Books(balance, fees or Fees(), now_ms)
        self.ledger = self._books.ledger
        self.account = self._books.account
        self.fees = self._books.fees
        self.orders = self._books.orders
        self.fills = self._books.fills
        self.lists = self._books.lists
        self.get_orders_at = self._books.get_orders_at
        self.get_balances_at = self._books.get_balances_at
        self.get_open_orders = self._books.get_open_orders
        self.symbols = symbols
        self.opened_ms = now_ms
        self._feed = feed
        self.rules = RuleBook() if rules is None else rules
        self._taker = Taker(feed, self.account, find_thin_book, self.rules)
        self._cursors: dict[str, Cursor] = {}
        self._settled_ms = now_ms
        self._by_name = {(symbol.base, symbol.quote): symbol for symbol in symbols}

    def find(
        self, symbol: SpotSymbol, order_id: int | None, client_id: str | None
    ) -> SimulatedOrder | None:
        """Return an order of a market by its number, or else by its client id; None: not found.

        If several orders have the client id, the newest is returned.
        """
        if order_id is not None:
            found = self.orders.get(order_id)
            return found if found is not None and found.symbol == symbol else None
        for order in reversed(self.orders.values()):
            if order.symbol == symbol and order.client_id == client_id:
                return order
        return None

    def find_price(self, base: str, quote: str, now_ms: int) -> Decimal | None:
        """Return the last price of a market, quote currency; None: no such market, or no trade."""
        symbol = self._by_name.get((base, quote))
        last = None if symbol is None else self._feed.find_last_trade(symbol, now_ms)
        if symbol is None or last is None:
            return None
        return scale_to_decimal(last.price, symbol.price_digits)

    def check(self, request: RequestedOrder, now_ms: int) -> MarketTrade:
        """Return the market's last trade if the exchange would accept an order, else refuse it.

        Raises:
            Refusal: with Binance's code and text; nothing has changed.
        """
        last = self.check_filters(request, now_ms)
        self._check_at_market(request, last, now_ms)
        return last

    def check_filters(self, request: RequestedOrder, now_ms: int) -> MarketTrade:
        """Return the market's last trade if an order passes the filters, else refuse it.

        Raises:
            Refusal: with Binance's code and text; nothing has changed.
        """
        self.settle(now_ms)
        symbol = request.symbol
        last = self._feed.find_last_trade(symbol, now_ms)
        if last is None or not self._feed.is_trading(symbol, now_ms):
            raise order_refusals.make_market_closed_refusal()
        same = self._books.open.get(symbol.id, {}).values()
        average = self._feed.compute_average_price(symbol, now_ms)
        open_types = [order.request.type for order in same]
        check_filters(request, average, open_types, self.rules)
        return last

    def _check_at_market(self, request: RequestedOrder, last: MarketTrade, now_ms: int) -> None:
        """Refuse a used client id, a stop or maker price that acts at once, or too little money."""
        self._check_client_id(request)
        trial = SimulatedOrder(request, 0, "", now_ms, request.quantity)
        if request.type in STOP_TYPES and trial.is_stopped_by(last.price):
            raise order_refusals.make_would_trigger_refusal()
        if request.type == "LIMIT_MAKER" and next(
            self._taker.iterate_within_limit(trial, last), None
        ):
            raise order_refusals.make_would_take_refusal()
        if request.type == "MARKET":
            _, spent = self._taker.plan_market_order(request, last)
        else:
            spent = trial.compute_needed_lock()
        if spent > self.account.get_free(trial.spends):
            raise order_refusals.make_insufficient_balance_refusal()

    def _check_client_id(self, request: RequestedOrder) -> None:
        same = self._books.open.get(request.symbol.id, {}).values()
        if request.client_id and any(order.client_id == request.client_id for order in same):
            raise order_refusals.make_duplicate_order_refusal()

    def place(self, request: RequestedOrder, now_ms: int) -> SimulatedOrder:
        """Accept an order, fill at once the part that the market offers, and return the order.

        Args:
            request: The order as it was requested.
            now_ms: Market time, epoch milliseconds.

        Raises:
            Refusal: with Binance's code and text; the refused order is in the ledger only.
        """
        try:
            last = self.check(request, now_ms)
        except Refusal as refusal:
            refused_order = SimulatedOrder(
                request, -1, request.client_id, now_ms, request.quantity, "REJECTED"
            )
            reason = f"{refusal.code} {refusal.message}"
            self.ledger.record_order(refused_order, "REJECTED", now_ms, reason)
            raise
        order = self._books.accept(request, now_ms)
        self._cursors.setdefault(order.symbol.id, (now_ms, AFTER_ALL))
        if request.type == "MARKET":
            order.working_ms = now_ms
            levels, _ = self._taker.plan_market_order(request, last)
            order.quantity = request.quantity or sum(amount for _, amount in levels)
            self._books.report(order, "NEW", now_ms)
            for price, amount in levels:
                self._fill(order, (price, amount), now_ms, maker=False)
            if order.is_open:
                self._books.end(order, "EXPIRED", now_ms)
            return order
        waits = request.type in STOP_TYPES
        order.working_ms = -1 if waits else now_ms
        self._books.relock(order, now_ms, "order placed")
        self._books.report(order, "NEW", now_ms)
        if not waits:
            self._take(order, last, now_ms)
        return order

    def place_list(
        self, requests: tuple[RequestedOrder, RequestedOrder], client_id: str, now_ms: int
    ) -> OrderList:
        """Accept two orders of which one cancels the other (OCO).

        Args:
            requests: The order below the market's price, then the one above it.
            client_id: Client id of the list; empty lets the exchange choose.
            now_ms: Market time, epoch milliseconds.

        Raises:
            Refusal: nothing has changed.
        """
        last = self.check_filters(requests[0], now_ms)
        self.check_filters(requests[1], now_ms)
        for request in requests:
            self._check_client_id(request)
        if client_id and any(
            order_list.is_open and order_list.client_id == client_id
            for order_list in self.lists.values()
        ):
            raise order_refusals.make_duplicate_order_refusal()
        below, above = requests
        target, stop = (above, below) if above.side == "SELL" else (below, above)
        targets = ("LIMIT_MAKER", *TARGET_TYPES)
        if target.type not in targets or stop.type in targets:
            raise order_refusals.make_price_relation_refusal()
        if not (below.stop or below.price) < last.price < (above.stop or above.price):
            raise order_refusals.make_price_relation_refusal()
        trials = [SimulatedOrder(request, 0, "", now_ms, request.quantity) for request in requests]
        if max(trial.compute_needed_lock() for trial in trials) > self.account.get_free(
            trials[0].spends
        ):
            raise order_refusals.make_insufficient_balance_refusal()
        self._cursors.setdefault(below.symbol.id, (now_ms, AFTER_ALL))
        return self._books.accept_list(requests, client_id, now_ms)

    def cancel(self, order: SimulatedOrder, now_ms: int, cancel_id: str = "") -> str:
        """Cancel an open order and the other order of its list.

        Args:
            order: An open order.
            now_ms: Market time, epoch milliseconds.
            cancel_id: Client id of the cancel request; empty lets the exchange choose.

        Returns:
            Client id of the cancel request.

        Raises:
            Refusal: the order is no longer open.
        """
        self.settle(now_ms)
        if not order.is_open:
            raise order_refusals.make_unknown_order_refusal()
        cancel_id = cancel_id or self._books.make_client_id("cancel", order.id)
        sibling = order.sibling
        self._books.end(order, "CANCELED", now_ms, cancel_id)
        if sibling is not None:
            self._books.end(sibling, "CANCELED", now_ms, cancel_id)
        return cancel_id

    def adjust(self, asset: str, change: Decimal, now_ms: int, reason: str) -> None:
        """Change a free balance without an order; a negative amount reduces it.

        Raises:
            Refusal: the balance would be negative.
        """
        self.settle(now_ms)
        if self.account.get_free(asset) + change < 0:
            raise order_refusals.make_insufficient_balance_refusal()
        self._books.adjust(asset, change, now_ms, reason)

    def settle(self, now_ms: int) -> None:
        """Match all open orders against every trade up to and including `now_ms`."""
        if now_ms <= self._settled_ms:
            return
        hits: dict[str, MarketTrade | None] = {}
        # The time until which each market trades, and the time at which it closes permanently.
        open_by_market = self._books.open.items()
        ends = {name: self._find_ends_ms(name) for name, orders in open_by_market if orders}
        while True:
            for name, orders in self._books.open.items():
                if name not in hits and orders:
                    hits[name] = self._find_next_hit(name, min(now_ms, ends[name][0]))
            due = [
                (ends[name][1] if trade is None else trade.time_ms, name, trade)
                for name, trade in hits.items()
            ]
            time_ms, name, trade = min(due, key=lambda item: item[:2], default=(_NEVER, "", None))
            if time_ms > now_ms:
                break
            del hits[name]
            if trade is None:
                self._close_market(name, time_ms)
                continue
            self._cursors[name] = (trade.time_ms, trade.id)
            self._match(name, trade)
        self._settled_ms = now_ms
        for name in self._books.open:
            self._cursors[name] = (now_ms, AFTER_ALL)

    def _find_ends_ms(self, name: str) -> tuple[int, int]:
        """Return the end of trading of a market with open orders, and its permanent close."""
        symbol = next(iter(self._books.open[name].values())).symbol
        closes = _NEVER if symbol.delisted is None else symbol.delisted * 1_000
        halt = self._find_market_halt(symbol)
        if halt is None:
            return closes, closes
        since_ms = max(halt[0], self._settled_ms)
        return since_ms, since_ms if halt[1] else closes

    def _close_market(self, name: str, now_ms: int) -> None:
        """Expire the open orders of a market that is delisted, as the exchange itself does."""
        for order in list(self._books.open[name].values()):
            if order.is_open:
                self._books.end(order, "EXPIRED", now_ms)

    def _find_next_hit(self, name: str, until_ms: int) -> MarketTrade | None:
        """Return the next trade that fills or triggers an open order of a market; None: none."""
        falls: list[int] = []
        rises: list[int] = []
        symbol: SpotSymbol | None = None
        for order in self._books.open[name].values():
            symbol = order.symbol
            if order.is_waiting:
                (falls if order.falls_to_stop else rises).append(order.request.stop)
            elif order.side == "BUY":
                falls.append(order.request.price - 1)
            else:
                rises.append(order.request.price + 1)
        if symbol is None:
            return None
        low = max(falls) if falls else None
        high = min(rises) if rises else None
        return self._feed.find_next_hit(symbol, self._cursors[name], until_ms, low, high)

    def _match(self, name: str, trade: MarketTrade) -> None:
        """Fill the open orders and activate the stops that one trade reaches."""
        orders = list(self._books.open[name].values())
        left = trade.amount
        for order in sorted(orders, key=_compute_priority):
            price = order.request.price
            if (
                not order.is_open
                or order.is_waiting
                or not (trade.price < price if order.side == "BUY" else trade.price > price)
            ):
                continue
            amount = min(left, order.remaining)
            if amount:
                self._fill(order, (price, amount), trade.time_ms, maker=True)
                left -= amount
        for order in orders:
            if order.is_open and order.is_waiting and order.is_stopped_by(trade.price):
                order.working_ms = order.update_ms = trade.time_ms
                self._end_sibling(order, trade.time_ms)
                self._books.relock(order, trade.time_ms, "stop reached")
                self._books.report(order, "TRIGGERED", trade.time_ms)
                self._take(order, trade, trade.time_ms)

    def _fill(
        self, order: SimulatedOrder, level: tuple[int, int], now_ms: int, *, maker: bool
    ) -> None:
        self._end_sibling(order, now_ms)
        prices = partial(self.find_price, now_ms=now_ms)
        self._books.fill(order, level, now_ms, prices, maker=maker)

    def _end_sibling(self, order: SimulatedOrder, now_ms: int) -> None:
        """End the other order of a list as soon as this one trades or is triggered."""
        if (sibling := order.sibling) is not None:
            # The balance locked for both orders passes to the remaining order.
            sibling.lost_to_sibling = True
            self._books.end(sibling, "EXPIRED", now_ms)

    def _take(self, order: SimulatedOrder, trade: MarketTrade, now_ms: int) -> None:
        """Fill an order from the market's offers within its limit; the rest stays or expires."""
        levels = list(self._taker.iterate_within_limit(order, trade))
        kind = order.request.time_in_force
        enough = sum(amount for _, amount in levels) >= order.remaining
        if enough or kind != "FOK":
            for price, amount in levels:
                self._fill(order, (price, amount), now_ms, maker=False)
        stands = order.request.type in LIMIT_TYPES and kind == "GTC"
        if order.is_open and not stands:
            self._books.end(order, "EXPIRED", now_ms)


def _compute_priority(order: SimulatedOrder) -> tuple[int, int]:
    """Return the sort key of orders that share a trade's amount: better price, then older."""
    price: int = order.request.price
    side: Side = order.side
    return (-price if side == "BUY" else price, order.id)
