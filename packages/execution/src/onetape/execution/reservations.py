"""Money that open orders reserve, so that no money is counted twice.

An order whose state is unknown keeps its reservation until the order is found or proven absent.
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from onetape.core.trading import Side
from onetape.execution.orders import Stage


class PendingOrder(Struct, frozen=True):
    """An order of the account, by the ledger."""

    base: str
    """Base currency of the order's market."""
    quote: str
    side: Side
    stage: Stage
    amount: Decimal
    """Ordered amount, base currency."""
    filled: Decimal
    """Filled amount, base currency."""
    price: Decimal
    """Price used for the size of a buy, slippage and fee included, quote currency."""


def sum_reserved_amounts(orders: Iterable[PendingOrder]) -> dict[str, Decimal]:
    """Return the amounts that pending orders may still take, by currency."""
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
        reserved: Reserved amounts of this currency, by `sum_reserved_amounts`. An order that the
            exchange holds already counts twice until it is filled: better no entry than one that is
            not paid.
    """
    return max(free - reserved, Decimal(0))
