"""The offers of the order book that an order takes when it is filled at once (a taker).

The offers are those after the market's last trade, or the few that a fault `thin_book` leaves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.accounts import SimulatedAccount
from onetape.simulator.trading.money import ZERO, scale_to_decimal
from onetape.simulator.trading.orders import RequestedOrder, SimulatedOrder, compute_booked_value
from onetape.simulator.trading.rules import RuleBook
from onetape.simulator.trading.trade_feed import MarketTrade, Side, TradeFeed

#: An offer: price in ticks, amount in steps.
Level = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ThinBook:
    """Order book under the fault `thin_book`: a few equal offers on each side, with any clock."""

    levels: int
    """Number of offers on a side."""
    amount: Decimal
    """Amount of each offer, in base currency."""
    ticks: int
    """Distance between two offers, in ticks; the first is at the last trade's price."""


#: Function that returns the thin order book of a market; None: its order book is as usual.
FindThinBook = Callable[[SpotSymbol], ThinBook | None]


class Taker:
    """Computes the offers that orders take, within their limits and the account's balance."""

    def __init__(
        self,
        feed: TradeFeed,
        account: SimulatedAccount,
        find_thin_book: FindThinBook,
        rules: RuleBook,
    ) -> None:
        """Initialise; nothing is read yet.

        Args:
            feed: The market's trades and the offers after them.
            account: Balances of the account.
            find_thin_book: Returns the thin order book of a market under a fault.
            rules: Present amount steps of the markets.
        """
        self._feed = feed
        self._account = account
        self._find_thin_book = find_thin_book
        self._rules = rules

    def iterate_offers(self, symbol: SpotSymbol, trade: MarketTrade, side: Side) -> Iterator[Level]:
        """Yield price (ticks) and amount (steps) of each offer after a trade, best first."""
        thin = self._find_thin_book(symbol)
        if thin is None:
            yield from self._feed.iterate_offers(symbol, trade, side)
            return
        amount = max(int(thin.amount.scaleb(symbol.amount_digits)), 1)
        step = thin.ticks if side == "BUY" else -thin.ticks
        for level in range(thin.levels):
            price = trade.price + level * step
            if price < 1:
                return
            yield price, amount

    def plan_market_order(
        self, request: RequestedOrder, last: MarketTrade
    ) -> tuple[list[Level], Decimal]:
        """Return the offers that a market order takes, and the amount that it spends.

        Args:
            request: A market order by amount or by value.
            last: The market's last trade.

        Returns:
            Offers (ticks, steps) and the amount, quote currency for a buy, base for a sell.

        Raises:
            Refusal: the order is too small for one step.
        """
        symbol, side = request.symbol, request.side
        levels: list[Level] = []
        value = ZERO
        left = request.quantity
        for price, offered in self.iterate_offers(symbol, last, side):
            amount = min(offered, left)
            if request.quote_quantity:
                step_value = scale_to_decimal(price, symbol.price_digits + symbol.amount_digits)
                amount = min(offered, int((request.quote_quantity - value) // step_value))
                amount -= amount % self._rules.get_rules(symbol).steps
            if not amount:
                break
            levels.append((price, amount))
            value += compute_booked_value(symbol, price, amount)
            left -= amount
        if not levels:
            raise order_refusals.make_filter_refusal("LOT_SIZE")
        if side == "BUY":
            return levels, value
        sold = request.quantity or sum(amount for _, amount in levels)
        return levels, scale_to_decimal(sold, symbol.amount_digits)

    def iterate_within_limit(self, order: SimulatedOrder, trade: MarketTrade) -> Iterator[Level]:
        """Yield the offers (ticks, steps) that an order takes, as far as the account can pay.

        Args:
            order: An open order; a limit price of 0 means any price.
            trade: The market's last trade, after which the offers are taken.
        """
        limit, symbol, left = order.request.price, order.symbol, order.remaining
        funds = self._account.get_free(order.spends) + order.locked
        for price, offered in self.iterate_offers(symbol, trade, order.side):
            beyond = price > limit if order.side == "BUY" else price < limit
            if not left or (limit and beyond):
                return
            amount = min(offered, left)
            if order.side == "BUY":
                step_value = scale_to_decimal(price, symbol.price_digits + symbol.amount_digits)
                amount = min(amount, int(funds // step_value))
                funds -= compute_booked_value(symbol, price, amount)
            if not amount:
                return
            left -= amount
            yield price, amount
