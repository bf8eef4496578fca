"""Matching of a taker with the offers that the market's last trade left."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.accounts import SimulatedAccount
from onetape.simulator.trading.money import ZERO, scale_to_decimal
from onetape.simulator.trading.orders import RequestedOrder, SimulatedOrder, compute_booked_value
from onetape.simulator.trading.rules import RuleBook
from onetape.simulator.trading.trade_feed import Side, Tick, TradeFeed

Level = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Liquidity:
    """A thin book: few offers on each side, in a running and in a stepped market alike."""

    levels: int
    """Number of offers on a side."""
    amount: Decimal
    """Amount of each offer, in base currency."""
    ticks: int
    """Distance between two offers, in price steps; the first is at the last trade's price."""


#: The thin book of a market; None where its book is as usual.
LiquidityOf = Callable[[SpotSymbol], Liquidity | None]


class Taker:
    """Plans the offers that orders take, within their limits and the account's balance."""

    def __init__(
        self, feed: TradeFeed, account: SimulatedAccount, liquidity: LiquidityOf, rules: RuleBook
    ) -> None:
        """Read offers from the feed, unless `liquidity` thins them out."""
        self._feed = feed
        self._account = account
        self._liquidity = liquidity
        self._rules = rules

    def iterate_offers(self, symbol: SpotSymbol, tick: Tick, side: Side) -> Iterator[Level]:
        """Yield price (ticks) and amount (steps) of each offer after a trade, best first."""
        thin = self._liquidity(symbol)
        if thin is None:
            yield from self._feed.iterate_offers(symbol, tick, side)
            return
        amount = max(int(thin.amount.scaleb(symbol.amount_digits)), 1)
        step = thin.ticks if side == "BUY" else -thin.ticks
        for level in range(thin.levels):
            price = tick.price + level * step
            if price < 1:
                return
            yield price, amount

    def plan_market_order(self, request: RequestedOrder, last: Tick) -> tuple[list[Level], Decimal]:
        """Return the offers that a market order takes (price, steps), and the amount it spends."""
        symbol, side = request.symbol, request.side
        levels: list[Level] = []
        value = ZERO
        wanted = request.quantity
        for price, offered in self.iterate_offers(symbol, last, side):
            amount = min(offered, wanted)
            if request.quote_quantity:
                step_value = scale_to_decimal(price, symbol.price_digits + symbol.amount_digits)
                amount = min(offered, int((request.quote_quantity - value) // step_value))
                amount -= amount % self._rules.get_rules(symbol).steps
            if not amount:
                break
            levels.append((price, amount))
            value += compute_booked_value(symbol, price, amount)
            wanted -= amount
        if not levels:
            raise order_refusals.make_filter_refusal("LOT_SIZE")
        if side == "BUY":
            return levels, value
        sold = request.quantity or sum(amount for _, amount in levels)
        return levels, scale_to_decimal(sold, symbol.amount_digits)

    def iterate_within_limit(self, order: SimulatedOrder, tick: Tick) -> Iterator[Level]:
        """Yield the offers that an order takes after a trade, as far as the account can pay."""
        limit, symbol, left = order.request.price, order.symbol, order.remaining
        funds = self._account.get_free(order.spends) + order.locked
        for price, offered in self.iterate_offers(symbol, tick, order.side):
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
