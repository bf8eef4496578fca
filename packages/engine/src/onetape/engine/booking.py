"""A fill as it is written down: exact."""

from decimal import Context, Decimal
from typing import Literal

from msgspec import Struct

from onetape.core.steps import booked
from onetape.engine.fills import Fill, Numbers
from onetape.engine.rules import Rules

#: Digits enough for the exact product of two prices and a fee rate.
_EXACT = Context(prec=80)


class BookedFill(Struct, frozen=True):
    """The same fill as it is written down; exact, and price times amount times rate is the fee."""

    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_in: Literal["quote", "base"]


def booked_fill(fill: Fill, rules: Rules) -> BookedFill:
    """Return the fill in exact Decimals, for the store.

    The fee is computed from the booked price and amount, so that whoever adds up the table by hand
    gets the same to the last digit.
    """
    price = booked(fill.price, rules.steps.price_step)
    amount = booked(fill.amount, rules.steps.amount_step)
    value = amount if fill.fee_in == "base" else _EXACT.multiply(price, amount)
    rate = rules.target_fee_rate if fill.is_maker else rules.fee_rate
    fee = _EXACT.multiply(value, Decimal(repr(rate)))
    return BookedFill(price, amount, fee, fill.fee_in)


class ExactChange(Struct, frozen=True):
    """Changes of cash without rounding error, from a fill's numbers as floats.

    With price and amount step, price times amount is a whole number of `unit`; without, the change
    is the exact value of the float.
    """

    price_step: float
    """0: no step."""
    amount_step: float
    """0: no step."""
    per_unit_bought: Decimal
    """Change of cash for one unit, fee included where it is paid in quote currency."""
    per_unit_sold: Decimal
    """Change of cash for one unit of a market order."""
    per_unit_target: Decimal
    """Change of cash for one unit of a limit order."""

    @classmethod
    def of(cls, rules: Rules) -> "ExactChange":
        """Return the changes under these rules."""
        steps = rules.steps
        unit = (steps.price_step or 0) * (steps.amount_step or Decimal(0))
        fee, target_fee = (Decimal(repr(rate)) for rate in (rules.fee_rate, rules.target_fee_rate))
        bought = 1 if rules.fee_coin == "received" else 1 + fee
        return cls(
            float(steps.price_step or 0),
            float(steps.amount_step or 0),
            _EXACT.multiply(unit, -bought),
            _EXACT.multiply(unit, 1 - fee),
            _EXACT.multiply(unit, 1 - target_fee),
        )

    def change(self, numbers: Numbers, *, is_maker: bool) -> Decimal:
        """Return the change of cash of one fill, quote currency; negative for a buy."""
        if not (self.price_step and self.amount_step):
            return Decimal(float(numbers[4]))
        units = round(numbers[0] / self.price_step) * round(numbers[1] / self.amount_step)
        if numbers[4] < 0:
            return _EXACT.multiply(self.per_unit_bought, units)
        return _EXACT.multiply(self.per_unit_target if is_maker else self.per_unit_sold, units)
