"""Steps and rounding: the one module that turns prices and amounts into what a market accepts.

Inside the engine a price or an amount is a whole number of steps (an int). A Decimal appears when a
value is booked or sent: `Decimal(steps) * step`, which is exact.
"""

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from onetape.core.candles import FloatArray

#: A float that should be a whole number of steps may miss it by this part of one step.
STEP_TOLERANCE = 1e-6


class MarketSteps(Struct, frozen=True):
    """What one market accepts, as the exchange states it."""

    price_step: Decimal | None
    """Quote currency; prices are whole multiples of it. None: any price."""
    amount_step: Decimal | None
    """Base currency; amounts are whole multiples of it. None: any amount."""
    min_amount: Decimal
    """Base currency; a smaller order is refused. Zero: no minimum."""
    min_notional: Decimal
    """Quote currency; an order worth less is refused. Zero: no minimum."""


#: No steps and no minimum: `market: ideal`.
IDEAL_MARKET = MarketSteps(None, None, Decimal(0), Decimal(0))


def multiple(count: int, step: float) -> float:
    """Return `count` steps as the float nearest to the decimal: 283 of 0.001 are 0.283.

    The product would be 0.28300000000000003; where a step divides one, dividing is exact.
    """
    per_unit = _per_unit(step)
    return count / per_unit if per_unit else count * step


def multiples(counts: "FloatArray", step: float) -> "FloatArray":
    """Return what `multiple` returns, for an array of whole numbers."""
    per_unit = _per_unit(step)
    return counts / per_unit if per_unit else counts * step


def _per_unit(step: float) -> int:
    """Return how many steps make one, or 0 where no whole number of them does."""
    count = round(1 / step)
    return count if abs(count * step - 1) < STEP_TOLERANCE else 0


def floor_count(count: float) -> int:
    """Return how many whole steps fit into a value; one that misses a step by noise gets it.

    Args:
        count: The value divided by the step.
    """
    nearest = round(count)
    return nearest if abs(count - nearest) <= STEP_TOLERANCE else math.floor(count)


def ceil_count(count: float) -> int:
    """Return how many whole steps reach a value, counted as in `floor_count`."""
    return -floor_count(-count)


def nearest_steps(value: float, step: Decimal) -> int:
    """Return the number of steps nearest to a value (both in the unit of `step`)."""
    return round(value / float(step))


def booked(value: float, step: Decimal | None) -> Decimal:
    """Return a value as it is booked: a whole number of steps, exact.

    Without a step the shortest decimal that reads back as the same float is taken.
    """
    if step is None:
        # NumPy's floats are floats, but not to repr.
        return Decimal(repr(float(value)))
    return nearest_steps(value, step) * step


def decimal_text(value: Decimal) -> str:
    """Return a Decimal as plain digits, without exponent and trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
