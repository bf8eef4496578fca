"""Random timing: a test of positions against the same positions shifted in time."""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import FloatArray

#: Minimum shift as a fraction of the range, so that a shifted position shares none of the price
#: moves that the unshifted one was chosen for.
_MIN_SHIFT: Final = 0.01


class TimedPositions(Struct, frozen=True):
    """Positions of one trial over the bars of a range."""

    weights: FloatArray
    """Fraction of equity that is invested over each bar, shape (n,)."""
    costs: FloatArray
    """Fraction of equity that is paid as costs at each bar, shape (n,)."""


class RandomTiming(Struct, frozen=True):
    """Result of the comparison with shifted positions."""

    p_value: float
    """Share of shifts whose best trial is at least as good as the best of the real positions."""
    sharpe: float
    """Sharpe ratio of the best real positions, per bar."""
    median_shifted: float
    """Median over the shifts of the best trial's Sharpe ratio, per bar."""
    trials: int
    """Number of trials."""
    shifts: int
    """Number of shifts."""


def compute_random_timing(
    market: FloatArray, trials: Iterable[TimedPositions]
) -> RandomTiming | None:
    """Compare the best of some trials with the best of the same trials at every circular shift.

    A shift moves the positions and costs of all trials by the same number of bars; the last bars
    become the first. Number of trades, holding times and costs stay, only the timing changes. The
    null hypothesis is that the timing has no value. Comparing the best with the best corrects for
    the number of trials and for their correlation.

    Source: J. Romano, M. Wolf, Stepwise Multiple Testing as Formalized Data Snooping, Econometrica
    73(4), 2005, for the maximum over trials; D. Aronson, Evidence-Based Technical Analysis, 2006,
    for permuted positions.

    Args:
        market: Return of the market over each bar.
        trials: Positions of each trial, as long as `market`.

    Returns:
        None without a trial, or for fewer than 100 bars.
    """
    count, number = len(market), 0
    best = np.full(count, -np.inf)
    shifted = _Shifted(market)
    for trial in trials:
        number += 1
        np.maximum(best, shifted.compute_sharpes(trial), out=best)
    shortest = max(1, math.ceil(count * _MIN_SHIFT))
    others = best[shortest : count - shortest + 1]
    if number == 0 or count < 100:
        return None
    reached = int((others >= best[0]).sum())
    return RandomTiming(
        (1 + reached) / (1 + len(others)),
        float(best[0]),
        float(np.sort(others)[len(others) // 2]),
        number,
        len(others),
    )


class _Shifted:
    """Computes Sharpe ratios of positions at every shift, by Fourier transforms."""

    def __init__(self, market: FloatArray) -> None:
        """Transform the market's returns once for all trials."""
        self._count = len(market)
        self._market = np.fft.rfft(market)
        self._squares = np.fft.rfft(market**2)

    def compute_sharpes(self, trial: TimedPositions) -> FloatArray:
        """Return the Sharpe ratio of the positions shifted by 0, 1, 2 ... bars.

        The return of a bar is `weight * market - cost`, so that its mean and its mean square are
        sums over products of the market with shifted columns: circular correlations.
        """
        weights, costs, count = trial.weights, trial.costs, self._count
        total = self._correlate(weights, self._market) - float(costs.sum())
        square = (
            self._correlate(weights**2, self._squares)
            - 2.0 * self._correlate(weights * costs, self._market)
            + float((costs**2).sum())
        )
        mean = total / count
        variance = np.maximum(square / count - mean**2, 0.0)
        return np.divide(mean, np.sqrt(variance), out=np.zeros(count), where=variance > 1e-18)

    def _correlate(self, column: FloatArray, market: NDArray[np.complex128]) -> FloatArray:
        product = np.conj(np.fft.rfft(column)) * market
        return np.fft.irfft(product, self._count)
