"""Maximum amount of one order, if the market limits the size of orders.

A sale of more than that takes several orders, one after the other.
"""

from decimal import ROUND_CEILING, Decimal
from typing import Final

from msgspec import Struct

from onetape.core.trading_rules import TradingRules
from onetape.execution.protection import round_down

#: Distance of a stop's lowest sell price below its level, as a fraction of the level, if the stop
#: is too large for a market order and becomes a limit order.
LARGE_STOP_OFFSET: Final = Decimal("0.05")


class LargestOrder(Struct, frozen=True):
    """The largest orders that a market accepts. None: no limit is known."""

    amount: Decimal | None = None
    """Largest amount of any order, base currency."""
    market_amount: Decimal | None = None
    """Largest amount of an order that fills at the market, base currency; a stop without a limit
    price is one."""
    cost: Decimal | None = None
    """Largest value of an order with a limit price, quote currency."""

    def compute_market_amount(self, rules: TradingRules) -> Decimal | None:
        """Return the largest amount of a market order, base currency, in whole steps, or None."""
        return _compute_smallest_amount((self.amount, self.market_amount), rules)

    def compute_limit_amount(self, price: Decimal, rules: TradingRules) -> Decimal | None:
        """Return the largest amount of an order with a limit price; None: no limit is known.

        Args:
            price: Limit price, quote currency.
            rules: Trading rules of the market.

        Returns:
            Base currency, in whole steps.
        """
        by_cost = None if self.cost is None or price <= 0 else self.cost / price
        return _compute_smallest_amount((self.amount, by_cost), rules)


def compute_next_part(amount: Decimal, largest: Decimal | None, rules: TradingRules) -> Decimal:
    """Return the amount of the next order, for a sale that takes several orders.

    The parts are about equal, so that the last one is not too small to be sold.

    Args:
        amount: Amount that is still to be sold, base currency, in whole steps.
        largest: Largest amount of one order; None: no limit is known.
        rules: Trading rules of the market.
    """
    if largest is None or largest <= 0 or amount <= largest:
        return amount
    parts = (amount / largest).to_integral_value(rounding=ROUND_CEILING)
    return round_down(amount / parts, rules.amount_step)


def _compute_smallest_amount(
    amounts: tuple[Decimal | None, ...], rules: TradingRules
) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return round_down(min(known), rules.amount_step) if known else None
