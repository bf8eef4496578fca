"""Amounts that open orders of an account may still spend, so that no entry counts them as free.

An order whose state is unknown keeps its reservation until the order is found or proven absent.
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from onetape.core.trading import Side
from onetape.execution.orders import Stage


class PendingOrder(Struct, frozen=True):
    """A stored order of the account, as far as a reservation needs it."""

    base: str
    """Base currency of the order's market."""
    quote: str
    """Quote currency of the order's market."""
    side: Side
    stage: Stage
    """Stage of the order; an order that is `done` reserves nothing."""
    amount: Decimal
    """Ordered amount, base currency."""
    filled: Decimal
    """Filled amount, base currency."""
    price: Decimal
    """Price used for the size of a buy, slippage and fee included, quote currency."""


def sum_reserved_amounts(orders: Iterable[PendingOrder]) -> dict[str, Decimal]:
    """Return the amounts that orders may still spend, by currency: quote for buys, base for sells.

    Args:
        orders: Orders of one account.
    """
    reserved: dict[str, Decimal] = {}
    for order in orders:
        left = order.amount - order.filled
        if order.stage == "done" or left <= 0:
            continue
        currency = order.quote if order.side == "buy" else order.base
        amount = left * order.price if order.side == "buy" else left
        reserved[currency] = reserved.get(currency, Decimal(0)) + amount
    return reserved


def subtract_reserved(free: Decimal, reserved: Decimal) -> Decimal:
    """Return the spendable amount of a currency.

    Args:
        free: Balance at the exchange that no order there holds.
        reserved: Reserved amount of this currency, from `sum_reserved_amounts`. The amount of an
            order that the exchange has locked already is subtracted twice until the order is
            filled, so the result may be too low, never too high.
    """
    return max(free - reserved, Decimal(0))
