"""Amounts of money as Decimals of eight decimals, the smallest unit in which Binance books."""

from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Final

ZERO: Final = Decimal(0)
#: Smallest unit of every asset.
UNIT: Final = Decimal("0.00000001")


def round_down_to_unit(value: Decimal) -> Decimal:
    """Return a value of zero or more, rounded down to a whole unit."""
    return value.quantize(UNIT, rounding=ROUND_DOWN)


def round_up_to_unit(value: Decimal) -> Decimal:
    """Return a value of zero or more, rounded up to a whole unit."""
    return value.quantize(UNIT, rounding=ROUND_UP)


def scale_to_decimal(value: int, digits: int) -> Decimal:
    """Return `value * 10**-digits` exactly."""
    return Decimal(value).scaleb(-digits)


def format_money(value: Decimal) -> str:
    """Return an amount as Binance writes it: eight decimals."""
    return f"{value:.8f}"
