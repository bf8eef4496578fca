"""A fill as it is written down: exact."""

from decimal import Context, Decimal
from typing import Literal

from msgspec import Struct

from onetape.core.steps import MarketSteps, booked
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

    With price and amount step, price times amount is a whole number of units; without, the change
    is the exact value of the float.
    """

    price_unit: float
    """Whole numbers of it make the price step of every month; 0: no step."""
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
        price_unit = _price_unit(steps)
        unit = price_unit * (steps.amount_step or Decimal(0))
        fee, target_fee = (Decimal(repr(rate)) for rate in (rules.fee_rate, rules.target_fee_rate))
        bought = 1 if rules.fee_coin == "received" else 1 + fee
        return cls(
            float(price_unit),
            float(steps.amount_step or 0),
            _EXACT.multiply(unit, -bought),
            _EXACT.multiply(unit, 1 - fee),
            _EXACT.multiply(unit, 1 - target_fee),
        )

    def change(self, numbers: Numbers, *, is_maker: bool, has_price_step: bool = True) -> Decimal:
        """Return the change of cash of one fill, quote currency; negative for a buy.

        Args:
            numbers: The fill.
            is_maker: Whether it is a limit order.
            has_price_step: False in a month whose prices have no step.
        """
        if not (has_price_step and self.price_unit and self.amount_step):
            return Decimal(float(numbers[4]))
        units = round(numbers[0] / self.price_unit) * round(numbers[1] / self.amount_step)
        if numbers[4] < 0:
            return _EXACT.multiply(self.per_unit_bought, units)
        return _EXACT.multiply(self.per_unit_target if is_maker else self.per_unit_sold, units)


def _price_unit(steps: MarketSteps) -> Decimal:
    """Return what the price steps of all months are whole numbers of; 0: no step."""
    if not steps.price_step:
        return Decimal(0)
    finer = [month.price_step for month in steps.months or () if month.price_step]
    if not finer:
        return steps.price_step
    digits = [step.normalize().as_tuple().exponent for step in (steps.price_step, *finer)]
    return Decimal(1).scaleb(min(int(each) for each in digits))
