"""Price step, amount step and minimums of a market, and rounding of values to whole steps.

Exchanges accept only prices that are multiples of the price step, and amounts that are multiples of
the amount step. Booked money is exact: a value is rounded to a whole number of steps (an int), and
`Decimal(steps) * step` is its Decimal. A backtest stays with floats: `ceil_to_steps`,
`count_floor_steps` and `multiply_step` round them.
"""

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onetape.core.candles import FloatArray

#: Part of a step by which a float may differ from a whole number of steps.
STEP_TOLERANCE = 1e-6
#: Tolerance as a fraction of the number of steps: the noise of a few float operations.
_COUNT_NOISE = 2.0**-50
#: Number of values processed in one go, so that their memory stays in the processor's cache.
_BLOCK = 1 << 14


class MonthStep(Struct, frozen=True):
    """The price step of one calendar month whose candles show a finer step than the stated one."""

    start: int
    """First second of the month, epoch seconds UTC."""
    end: int
    """First second after the month, epoch seconds UTC."""
    price_step: Decimal | None
    """Price step of the month, quote currency. None: the prices show no step."""


class TradingRules(Struct, frozen=True):
    """Price step, amount step and minimums of one market, as the exchange states them."""

    price_step: Decimal | None
    """Price step, quote currency; prices are whole multiples of the step. None: any price."""
    amount_step: Decimal | None
    """Amount step, base currency; amounts are whole multiples of the step. None: any amount."""
    min_amount: Decimal
    """Minimum amount of an order, base currency. Zero: no minimum."""
    min_notional: Decimal
    """Minimum value of an order, quote currency; a smaller order is refused. Zero: no minimum."""
    months: tuple[MonthStep, ...] | None = None
    """Months with a finer price step than `price_step`, oldest first; see `core.price_steps`.

    None: the steps have not been compared with candles.
    """


#: No steps and no minimum: `trading_rules: none`.
NO_TRADING_RULES = TradingRules(None, None, Decimal(0), Decimal(0))


def multiply_step(count: int, step: float) -> float:
    """Return `count` steps as the float nearest to the decimal: 283 of 0.001 are 0.283.

    The product would be 0.28300000000000003; where a step divides one, dividing is exact.
    """
    per_unit = _count_steps_per_unit(step)
    return count / per_unit if per_unit else count * step


def ceil_to_steps(values: "FloatArray", step: "float | FloatArray") -> "FloatArray":
    """Return each value rounded up to a whole number of steps, shape (n,).

    A value above a whole number of steps only by the noise of floats is rounded to that number, as
    in `count_ceil_steps`.

    Args:
        values: Finite or infinite, shape (n,).
        step: Step of all values, or one for each of them; 0 leaves a value as it is.
    """
    import numpy as np  # not for --help, which lists an account's settings

    steps = np.asarray(step, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = values / steps
        nearest = np.rint(counts)
        is_near = np.abs(counts - nearest) <= _compute_slacks(counts)
        whole = np.where(is_near, nearest, np.ceil(counts))
        per_unit = np.rint(1 / steps)
        divides = np.abs(per_unit * steps - 1) < STEP_TOLERANCE
        multiplied = np.where(divides, whole / per_unit, whole * steps)
    return np.where(steps > 0, multiplied, values)


def are_whole(values: "FloatArray", step: float) -> "NDArray[np.bool_]":
    """Return a mask of values that are one or more whole steps, up to float noise, shape (n,)."""
    import numpy as np

    whole = np.ones(len(values), dtype=np.bool_)
    for start in range(0, len(values), _BLOCK):
        counts = values[start : start + _BLOCK] / step
        missed = np.abs(counts - np.rint(counts))
        # A value under half a step is no whole number of them, however near to 0 it is.
        if missed.max() > STEP_TOLERANCE or counts.min() < 0.5:
            whole[start : start + _BLOCK] = (missed <= _compute_slacks(counts)) & (counts >= 0.5)
    return whole


def _compute_slacks(counts: "FloatArray") -> "FloatArray":
    """Return the amount by which each number of steps may differ from a whole number."""
    import numpy as np

    return np.maximum(STEP_TOLERANCE, np.abs(counts) * _COUNT_NOISE)


def _count_steps_per_unit(step: float) -> int:
    """Return the number of steps that add up to 1, or 0 if no whole number of steps does."""
    count = round(1 / step)
    return count if abs(count * step - 1) < STEP_TOLERANCE else 0


def count_floor_steps(count: float) -> int:
    """Return the number of whole steps in a value; a step missed only by noise of floats counts.

    Args:
        count: The value divided by the step.
    """
    nearest = round(count)
    slack = max(STEP_TOLERANCE, abs(count) * _COUNT_NOISE)
    return nearest if abs(count - nearest) <= slack else math.floor(count)


def count_ceil_steps(count: float) -> int:
    """Return the smallest number of whole steps that reach a value, as in `count_floor_steps`."""
    return -count_floor_steps(-count)


def round_to_steps(value: float, step: Decimal) -> int:
    """Return the number of steps nearest to a value; of two equally near the even one."""
    return round(value / float(step))


def round_for_booking(value: float, step: Decimal | None) -> Decimal:
    """Return a value for booking: a whole number of steps, exact.

    Without a step the shortest decimal that reads back as the same float is taken.
    """
    if step is None:
        # NumPy's floats are floats, but not to repr.
        return Decimal(repr(float(value)))
    return round_to_steps(value, step) * step


def format_decimal(value: Decimal) -> str:
    """Return a Decimal as plain digits, without exponent and trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
