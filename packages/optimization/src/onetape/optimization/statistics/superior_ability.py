"""Superior predictive ability (SPA): whether the best of many trials beats a benchmark."""

from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray
from onetape.optimization.statistics.bootstrap import compute_block_length, draw_stationary_indexes

#: Default number of resamples.
RESAMPLES: Final = 1_000


class SuperiorAbility(Struct, frozen=True):
    """P-values of the hypothesis that no trial is better than the benchmark."""

    lower: float
    """Lowest p-value: trials whose mean is below the benchmark count as equal to it."""
    consistent: float
    """P-value to use: trials that are clearly worse than the benchmark are left out."""
    upper: float
    """White's Reality Check, studentised, the highest p-value: all trials equal the benchmark."""
    benchmark: str
    """Name of the benchmark."""
    trials: int
    """Number of trials that differ from the benchmark."""
    resamples: int
    """Number of resamples."""


def compute_superior_ability(
    returns: FloatArray,
    benchmark: FloatArray,
    benchmark_name: str,
    seed: int,
    resamples: int = RESAMPLES,
) -> SuperiorAbility | None:
    """Test whether the best of some trials has a higher mean return than a benchmark.

    Source: P. R. Hansen, A Test for Superior Predictive Ability, Journal of Business & Economic
    Statistics 23(4), 2005; the stationary bootstrap of Politis and Romano, 1994.

    Args:
        returns: Returns, one row per period and one column per trial.
        benchmark: Returns of the benchmark by period.
        benchmark_name: Name of the benchmark, such as `buy and hold`.
        seed: Random seed of the resamples.
        resamples: Number of resamples.

    Returns:
        None if no trial differs from the benchmark, or there are fewer than 20 periods.
    """
    differences = returns - benchmark[:, None]
    differences = differences[:, differences.std(axis=0) > 1e-15]
    periods, trials = differences.shape
    if periods < 20 or trials == 0:
        return None
    generator, block = np.random.default_rng(seed), compute_block_length(periods)
    indexes = draw_stationary_indexes(periods, resamples, block, generator)
    positions = indexes + periods * np.arange(resamples)[:, None]
    counts = np.bincount(positions.ravel(), minlength=resamples * periods)
    means = differences.mean(axis=0)
    resampled = counts.reshape(resamples, periods) @ differences / periods
    root = np.sqrt(periods)
    deviations = np.sqrt(_compute_long_run_variances(differences, block))
    statistic = max(0.0, float((root * means / deviations).max()))
    rate = -deviations / root * np.sqrt(2.0 * np.log(np.log(periods)))
    centres = (np.maximum(means, 0.0), np.where(means >= rate, means, 0.0), means)
    lower, consistent, upper = (
        float(((root * (resampled - centre) / deviations).max(axis=1) > statistic).mean())
        for centre in centres
    )
    return SuperiorAbility(lower, consistent, upper, benchmark_name, trials, resamples)


def _compute_long_run_variances(differences: FloatArray, block: float) -> FloatArray:
    """Return the variance of sqrt(T) times the mean of each column, under the bootstrap.

    Source: Hansen, 2005, section 3.1: autocovariances weighted by the kernel of the stationary
    bootstrap.
    """
    periods = len(differences)
    centred = differences - differences.mean(axis=0)
    change = 1.0 / block
    found = (centred**2).mean(axis=0)
    # Further lags weigh less than 1e-6.
    lags = min(periods - 1, int(np.ceil(np.log(1e-6) / np.log1p(-change)))) if block > 1 else 0
    for lag in range(1, lags + 1):
        weight = (periods - lag) / periods * (1.0 - change) ** lag
        weight += lag / periods * (1.0 - change) ** (periods - lag)
        found += 2.0 * weight * (centred[lag:] * centred[:-lag]).sum(axis=0) / periods
    return np.maximum(found, 1e-30)
