"""How many decimals prices have: found in their values, whose floats carry noise."""

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from onetape.core.candles import FloatArray

#: A value may miss a decimal of so many digits by this part of itself: what float arithmetic adds.
_NOISE: Final = 1e-12
#: A value with more significant digits than these is not a decimal: its digits are noise.
_MOST_SIGNIFICANT: Final = 11
#: Values that are looked at first: they find most of the decimals, at little cost.
_SAMPLE: Final = 1_000


def decimals_of(values: "FloatArray") -> int | None:
    """Return the least number of decimals that writes all values down, or None.

    0.30000000000000004 has one decimal: what float arithmetic adds does not count. None stands for
    values with more than eleven significant digits, such as prices that were computed.

    Args:
        values: Finite, above 0; shape (n,).
    """
    if not len(values):
        return 0
    most = max(0, _MOST_SIGNIFICANT - 1 - math.floor(math.log10(float(values.max()))))
    decimals = _first(values[:_SAMPLE], 0, most)
    return None if decimals is None else _first(values, decimals, most)


def _first(values: "FloatArray", decimals: int, most: int) -> int | None:
    for number in range(decimals, most + 1):
        scale = 10.0**number
        scaled = values * scale
        if (np.abs(scaled - np.rint(scaled)) <= scaled * _NOISE).all():
            return number
    return None
