"""Sharpe ratios as estimates: standard errors, significance, and inflation by many trials.

All ratios are per period (a day, a bar) unless named annual; `annual / sqrt(periods in a
year)` converts. Kurtosis is that of the fourth moment: 3 for a normal distribution.
"""

import math

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray
from onetape.optimization.statistics.normal import (
    MaximumMethod,
    compute_expected_maximum,
    compute_normal_cdf,
    compute_normal_quantile,
)


class ReturnMoments(Struct, frozen=True):
    """Moments of a series of returns."""

    count: int
    """Number of returns."""
    sharpe: float
    """Mean over standard deviation, per period; 0 where the returns do not vary."""
    skew: float = 0.0
    """Third standardised moment; 0 for a normal distribution."""
    kurtosis: float = 3.0
    """Fourth standardised moment; 3 for a normal distribution."""


def compute_return_moments(returns: FloatArray) -> ReturnMoments:
    """Return count, Sharpe ratio, skew and kurtosis of returns; NaN is not allowed."""
    count = len(returns)
    if count < 2:
        return ReturnMoments(count, 0.0)
    deviations = returns - returns.mean()
    variance = float((deviations**2).mean())
    if variance <= 1e-30:
        return ReturnMoments(count, 0.0)
    deviation = math.sqrt(variance)
    sharpe = float(returns.mean()) / (deviation * math.sqrt(count / (count - 1)))
    skew = float((deviations**3).mean()) / deviation**3
    kurtosis = float((deviations**4).mean()) / variance**2
    return ReturnMoments(count, sharpe, skew, kurtosis)


def compute_sharpe_standard_error(sharpe: float, count: int) -> float:
    """Return the standard error of a Sharpe ratio of independent normal returns.

    Source: A. Lo, The Statistics of Sharpe Ratios, Financial Analysts Journal 58(4), 2002,
    equation 9: sqrt((1 + SR^2 / 2) / T). A ratio of 0.5 over 60 periods has an error of 0.137, one
    of 1.5 over 36 periods 0.243.

    Args:
        sharpe: Sharpe ratio per period.
        count: Number of returns.
    """
    return math.sqrt((1.0 + 0.5 * sharpe**2) / count)


def compute_probabilistic_sharpe(moments: ReturnMoments, threshold: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio exceeds a threshold, 0 to 1.

    Source: D. Bailey, M. Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk
    15(2), 2012: Z((SR - SR*) sqrt(T - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)).

    Args:
        moments: Moments of the returns.
        threshold: Sharpe ratio to exceed, per period.
    """
    if moments.count < 2:
        return 0.5
    spread = _compute_moment_factor(moments)
    distance = (moments.sharpe - threshold) * math.sqrt(moments.count - 1)
    return compute_normal_cdf(distance / math.sqrt(spread))


def _compute_moment_factor(moments: ReturnMoments) -> float:
    """Return 1 - skew SR + (kurtosis - 1) / 4 SR^2; positive for moments of real returns."""
    sharpe = moments.sharpe
    factor = 1.0 - moments.skew * sharpe + (moments.kurtosis - 1.0) / 4.0 * sharpe**2
    return max(factor, 1e-12)


def compute_deflated_threshold(
    variance: float, trials: int, method: MaximumMethod = "exact"
) -> float:
    """Return the Sharpe ratio that the best of unskilled trials reaches on average, per period.

    Args:
        variance: Variance of the Sharpe ratios of unskilled trials, per period.
        trials: Number of independent trials.
        method: See `compute_expected_maximum`.
    """
    return math.sqrt(variance) * compute_expected_maximum(trials, method)


def compute_deflated_sharpe(
    moments: ReturnMoments, variance: float, trials: int, method: MaximumMethod = "exact"
) -> float:
    """Return the probability that the best of many trials has skill, 0 to 1.

    Source: D. Bailey, M. Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio
    Management 40(5), 2014: the probabilistic Sharpe ratio against `compute_deflated_threshold`.

    Args:
        moments: Moments of the returns of the best trial.
        variance: See `compute_deflated_threshold`.
        trials: Number of independent trials.
        method: See `compute_expected_maximum`.
    """
    return compute_probabilistic_sharpe(
        moments, compute_deflated_threshold(variance, trials, method)
    )


def compute_minimum_track_record(
    moments: ReturnMoments, threshold: float = 0.0, confidence: float = 0.95
) -> float:
    """Return the number of periods that a Sharpe ratio needs to exceed a threshold.

    Source: D. Bailey, M. Lopez de Prado, The Sharpe Ratio Efficient Frontier, 2012: 1 + (1 - skew
    SR + (kurtosis - 1) / 4 SR^2) (Z / (SR - SR*))^2. Infinite where the ratio is not above.

    Args:
        moments: Moments of the returns; their count is not used.
        threshold: Sharpe ratio to exceed, per period.
        confidence: Confidence level, 0 to 1.
    """
    if moments.sharpe <= threshold:
        return math.inf
    quantile = compute_normal_quantile(confidence)
    return 1.0 + _compute_moment_factor(moments) * (quantile / (moments.sharpe - threshold)) ** 2


def compute_minimum_backtest_years(
    trials: int, annual_sharpe: float = 1.0, method: MaximumMethod = "exact"
) -> float:
    """Return the years of data below which the best unskilled trial reaches a ratio on average.

    Source: D. Bailey, J. Borwein, M. Lopez de Prado, Q. Zhu, Pseudo-Mathematics and Financial
    Charlatanism, Notices of the AMS 61(5), 2014, theorem 1: (E[max] / SR)^2.

    Args:
        trials: Number of independent trials.
        annual_sharpe: Annual Sharpe ratio in-sample, above 0.
        method: See `compute_expected_maximum`.
    """
    return (compute_expected_maximum(trials, method) / annual_sharpe) ** 2


def compute_max_trials(
    years: float, annual_sharpe: float = 1.0, method: MaximumMethod = "exact"
) -> int:
    """Return the most trials without skill whose best stays below a Sharpe ratio on average.

    Five years allow 45 trials at a Sharpe ratio of 1 by the approximation of published tables.

    Args:
        years: Length of the range.
        annual_sharpe: Annual Sharpe ratio, above 0.
        method: See `compute_expected_maximum`.
    """
    low, high = 1, 2
    while compute_minimum_backtest_years(high, annual_sharpe, method) <= years and high < 1 << 40:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if compute_minimum_backtest_years(middle, annual_sharpe, method) <= years:
            low = middle
        else:
            high = middle
    return low


def compute_smallest_detectable_sharpe(
    count: int,
    trials: int = 1,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float:
    """Return the true Sharpe ratio that passes deflation with this power, per period.

    The estimate must exceed the expected maximum of unskilled trials by the quantile of the
    confidence; a true ratio does so with probability `power` where it is higher by the quantile
    of the power. Both errors are Lo's (`compute_sharpe_standard_error`), the second at the true
    ratio.

    Args:
        count: Number of returns.
        trials: Number of independent trials.
        confidence: Confidence of the deflated Sharpe ratio, 0 to 1.
        power: Probability to detect the ratio, 0 to 1.
    """
    base = compute_expected_maximum(trials) * compute_sharpe_standard_error(0.0, count)
    sharpe = base
    for _ in range(50):
        error = compute_sharpe_standard_error(sharpe, count)
        sharpe = (
            base + (compute_normal_quantile(confidence) + compute_normal_quantile(power)) * error
        )
    return sharpe


def compute_sharpe_columns(returns: FloatArray) -> FloatArray:
    """Return the Sharpe ratio per period of each column; 0 where a column does not vary."""
    means: FloatArray = returns.mean(axis=0)
    deviations: FloatArray = returns.std(axis=0, ddof=1)
    varies = deviations > 1e-15
    return np.where(varies, means / np.where(varies, deviations, 1.0), 0.0)
