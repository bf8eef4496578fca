"""How many decimals a price, an amount or a sum of money is written with, and its text.

Prices have the decimals of the market's price step; without a step, those of the candles, whose
floats have rounding noise. Money has two decimals in currencies with about the value of a dollar
and eight in coins, and more if the account is so small that its profit would not be visible.
"""

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from onetape.core.candles import FloatArray

#: Relative error by which a float may differ from the decimal number that it stands for.
_NOISE: Final = 1e-12
#: Maximum significant digits of a decimal: in a longer value the digits are noise.
_MAX_SIGNIFICANT: Final = 11
#: Significant digits of the largest price, where prices were computed and have no last decimal.
_SHOWN_SIGNIFICANT: Final = 8
#: Fewest significant digits of the largest price, where it is 1 or more.
_MIN_SIGNIFICANT: Final = 5
#: Fewest significant digits of the start cash.
_MONEY_SIGNIFICANT: Final = 5
#: Maximum number of decimals that are written.
_MAX_DECIMALS: Final = 20
#: Decimals of an amount whose market has no known step.
_AMOUNT_DECIMALS: Final = 6
#: Significant digits of the amount that all cash buys, and of an amount too small for its decimals.
_ALL_IN_SIGNIFICANT: Final = 10
_AMOUNT_SIGNIFICANT: Final = 4
_COIN_DECIMALS: Final = 8
_CASH_DECIMALS: Final = 2
#: Codes of coins that are pegged to a national currency contain one of these.
_CASH_PARTS: Final = ("USD", "EUR")
#: Other national currencies, and coins that are pegged to them.
_CASH_CODES: Final = (
    "AED ARS AUD BGN BHD BRL CAD CHF CLP CNH CNY COP CZK DKK EGP GBP GEL HKD HUF IDR ILS INR JPY "
    "KES KRW KZT MAD MXN MYR NGN NOK NZD PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TRY TWD UAH "
    "VND ZAR DAI UST USTC BIDR IDRT BVND BRZ GYEN XSGD"
)
_CASH: Final = frozenset(_CASH_CODES.split())
#: Number of values processed in one go, so that their memory stays in the processor's cache.
_BLOCK: Final = 1 << 14


def count_decimals(values: "FloatArray") -> int | None:
    """Return the smallest number of decimals with which all values can be written exactly.

    0.30000000000000004 has one decimal: digits that float arithmetic adds do not count.

    Returns:
        None if a value needs more than eleven significant digits, as computed prices do.

    Args:
        values: Shape (n,); values that are not finite and above 0 do not count.
    """
    if not len(values) or not 0 < values.min() <= values.max() < math.inf:
        values = values[(values > 0) & (values < math.inf)]
    if not len(values):
        return 0
    max_decimals = max(0, _MAX_SIGNIFICANT - 1 - math.floor(math.log10(float(values.max()))))
    return _find_decimals(values, 0, max_decimals)


def _find_decimals(values: "FloatArray", decimals: int, max_decimals: int) -> int | None:
    """Return the first number from `decimals` to `max_decimals` that is enough for all values."""
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        while not _are_decimals_enough(block, decimals):
            decimals += 1
            if decimals > max_decimals:
                return None
    return decimals


def _are_decimals_enough(values: "FloatArray", decimals: int) -> bool:
    scaled = values * 10.0**decimals
    missed = np.abs(scaled - np.rint(scaled))
    return bool((missed <= scaled * _NOISE).all())


def count_step_decimals(step: Decimal) -> int:
    """Return the decimals that multiples of a step need: 2 for 0.01 and for 0.25, 0 for 5."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def choose_price_decimals(*columns: "FloatArray") -> int:
    """Return the decimals for writing prices of a market without a known step.

    The decimals are those of the prices. If the largest price is 1 or more, at least five of its
    digits are written: a stop at 97.85 is computed from prices such as 96.5 and 103. If the prices
    themselves were computed, eight significant digits are written.

    Args:
        columns: Prices, each array of shape (n,); values that are not finite and above 0 do not
            count.
    """
    found = [count_decimals(column) for column in columns]
    known = [decimals for decimals in found if decimals is not None]
    largest = max((float(column.max()) for column in columns if len(column)), default=0.0)
    if len(known) == len(found):
        min_decimals = _choose_decimals(largest, _MIN_SIGNIFICANT) if 1 <= largest < math.inf else 0
        return max(*known, min_decimals)
    return _choose_decimals(largest, _SHOWN_SIGNIFICANT)


def choose_money_decimals(currency: str, start_cash: float) -> int:
    """Return the decimals of amounts of money.

    Args:
        currency: CCXT's code; USDT has two decimals, BTC eight.
        start_cash: Start balance of the account: at least five of its digits are written.
    """
    code = currency.upper()
    is_cash = code in _CASH or any(part in code for part in _CASH_PARTS)
    usual = _CASH_DECIMALS if is_cash else _COIN_DECIMALS
    return max(usual, _choose_decimals(start_cash, _MONEY_SIGNIFICANT)) if start_cash > 0 else usual


def choose_amount_decimals(largest_price: float, start_cash: float) -> int:
    """Return the decimals of amounts in a market without an amount step: ten significant digits.

    Args:
        largest_price: Quote currency.
        start_cash: Start balance of the account, quote currency.
    """
    if not (0 < largest_price < math.inf and 0 < start_cash < math.inf):
        return _AMOUNT_DECIMALS
    return min(_choose_decimals(start_cash / largest_price, _ALL_IN_SIGNIFICANT), _COIN_DECIMALS)


def _choose_decimals(value: float, significant: int) -> int:
    return min(max(0, significant - 1 - math.floor(math.log10(value))), _MAX_DECIMALS)


class Digits(Struct, frozen=True):
    """Number of decimals of one market on one account, with methods that format its values."""

    price: int
    """Decimals of prices."""
    money: int = _CASH_DECIMALS
    """Decimals of amounts of quote currency."""
    amount: int = _AMOUNT_DECIMALS
    """Decimals of amounts of base currency."""

    def format_price(self, value: float | Decimal) -> str:
        """Return a price: `61,240.10`, `0.00000812`."""
        return f"{value:,.{self.price}f}"

    def format_money(self, value: float | Decimal, *, signed: bool = False) -> str:
        """Return an amount of quote currency: `10,000.00`, `+0.00012000`."""
        return format_fixed(float(value), self.money, signed=signed)

    def format_amount(self, value: float | Decimal) -> str:
        """Return an amount of base currency: `0.250000`; very small amounts get more decimals."""
        text = format_fixed(float(value), self.amount)
        if not value or text.strip("0.,"):
            return text
        return format_fixed(float(value), _choose_decimals(abs(float(value)), _AMOUNT_SIGNIFICANT))


def format_fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number with `decimals` decimals; a number that rounds to zero has no sign."""
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    return text if text.strip("+-0.,") else text.lstrip("-+")


def format_number(value: float, digits: int = 8, *, commas: bool = False) -> str:
    """Return a number with a maximum of significant digits, without exponent: `0.00000031`."""
    if not math.isfinite(value):
        return f"{value}"
    number = Decimal(f"{value:.{digits - 1}e}")
    text = format(number, ",f" if commas else "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_exact(value: float) -> str:
    """Return the shortest decimal that reads back as the same float: as repr, without exponent."""
    text = repr(float(value))
    return format(Decimal(text), "f") if "e" in text else text
