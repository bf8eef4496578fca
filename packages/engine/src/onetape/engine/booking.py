"""Exact booking of a fill: a `ModelFill` (floats) becomes Decimals for the store.

The paper account books every fill this way; a backtest stays with floats.
"""

from decimal import Context, Decimal
from typing import Literal

from msgspec import Struct

from onetape.core.trading_rules import round_for_booking
from onetape.engine.account_config import AccountConfig
from onetape.engine.fills import ModelFill

#: Number of digits for the exact product of two prices and a fee rate.
_EXACT = Context(prec=80)


class BookedFill(Struct, frozen=True):
    """A fill as it is booked, in exact numbers; its fee is price times amount times rate."""

    price: Decimal
    """Price of the fill, slippage included, quote currency."""
    amount: Decimal
    """Amount bought or sold, base currency."""
    fee: Decimal
    """Fee in the currency `fee_in`."""
    fee_in: Literal["quote", "base"]
    """Currency of the fee: quote or base."""


def make_booked_fill(fill: ModelFill, rules: AccountConfig) -> BookedFill:
    """Return the fill in exact Decimals, for the store.

    The fee is computed from the booked price and amount, so that a sum over the stored table is
    equal to the last digit.
    """
    price = round_for_booking(fill.price, rules.trading_rules.price_step)
    amount = round_for_booking(fill.amount, rules.trading_rules.amount_step)
    value = amount if fill.fee_in == "base" else _EXACT.multiply(price, amount)
    rate = rules.target_fee_rate if fill.is_maker else rules.fee_rate
    fee = _EXACT.multiply(value, Decimal(repr(rate)))
    return BookedFill(price, amount, fee, fill.fee_in)
