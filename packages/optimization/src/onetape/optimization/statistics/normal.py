"""The standard normal distribution, and the expected maximum of many draws from it."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from onetape.core.candles import FloatArray

#: Method that computes the expected maximum.
MaximumMethod = Literal["exact", "approximation"]

_NORMAL: Final = NormalDist()
_EULER_MASCHERONI: Final = 0.5772156649015329
#: Bounds and points of the numerical integral; beyond 12 standard deviations is less than 1e-32.
_BOUND: Final = 12.0
_POINTS: Final = 4_801


def compute_normal_cdf(value: float) -> float:
    """Return the probability that a standard normal variable is at most a value."""
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def compute_normal_quantile(probability: float) -> float:
    """Return the value that a standard normal variable does not exceed with this probability."""
    return _NORMAL.inv_cdf(probability)


@lru_cache
def compute_expected_maximum(count: int, method: MaximumMethod = "exact") -> float:
    """Return the expected maximum of independent standard normal variables.

    Args:
        count: Number of variables, at least 1.
        method: `exact` integrates 1 - F(x)^N above 0 and F(x)^N below 0, where F is the normal
            distribution function. `approximation` is the formula of published tables, (1 - g)
            Z(1 - 1/N) + g Z(1 - 1/(N e)) with the Euler-Mascheroni constant g: 1.57 for 10
            variables, where 1.538 is exact.

    Source: D. Bailey, M. Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio
    Management 40(5), 2014, equation 3, for the approximation.
    """
    if count < 2:
        return 0.0
    if method == "approximation":
        first = compute_normal_quantile(1.0 - 1.0 / count)
        second = compute_normal_quantile(1.0 - 1.0 / (count * math.e))
        return (1.0 - _EULER_MASCHERONI) * first + _EULER_MASCHERONI * second
    # F(x)^N by the logarithm of 1 - tail, which keeps its digits where F is close to 1.
    powers = np.exp(count * np.log1p(-_compute_upper_tails()))
    half = _POINTS // 2
    return _integrate_by_simpson(1.0 - powers[half:]) - _integrate_by_simpson(powers[: half + 1])


@lru_cache(maxsize=1)
def _compute_upper_tails() -> FloatArray:
    """Return the probability above each point of the integral, in the order of the points."""
    half = _POINTS // 2
    points = np.arange(-half, half + 1) * (_BOUND / half)
    tails = [0.5 * math.erfc(point / math.sqrt(2.0)) for point in points.tolist()]
    return np.minimum(np.array(tails), 1.0 - 1e-16)


def _integrate_by_simpson(values: FloatArray) -> float:
    """Integrate half of the range by Simpson's rule; the number of values is odd."""
    step = _BOUND / (_POINTS // 2)
    inner = 4.0 * float(values[1:-1:2].sum()) + 2.0 * float(values[2:-1:2].sum())
    return step / 3.0 * (float(values[0]) + inner + float(values[-1]))
