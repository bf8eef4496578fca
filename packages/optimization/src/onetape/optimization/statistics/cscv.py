"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV)."""

import itertools
import math
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray

#: Number of blocks of time; 16 blocks give 12,870 splits.
BLOCKS: Final = 16
#: Number of halves whose ratios are in memory at a time.
_HALVES_AT_A_TIME: Final = 256


class Overfitting(Struct, frozen=True):
    """Result of the cross-validation."""

    probability: float
    """Share of splits in which the best of one half is in the lower half of the other (PBO)."""
    probability_of_loss: float
    """Share of splits in which the best of one half loses money in the other."""
    trials: int
    """Number of trials compared."""
    splits: int
    """Number of splits."""


def compute_overfitting(returns: FloatArray, blocks: int = BLOCKS) -> Overfitting | None:
    """Return the probability that the best trial of one half of time is poor in the other half.

    The range is cut into blocks; each way to choose half of them is a split. The best trial of the
    chosen half, by Sharpe ratio, has a rank in the other half. With equal trials the probability is
    about 0.5; losing trials that differ by their costs alone score close to 0, so read it together
    with the probability of loss.

    Source: D. Bailey, J. Borwein, M. Lopez de Prado, Q. Zhu, The Probability of Backtest
    Overfitting, Journal of Computational Finance 20(4), 2017.

    Args:
        returns: Returns, one row per period and one column per trial.
        blocks: Even number of blocks.

    Returns:
        None for fewer than 2 trials, or fewer than 2 periods per block.
    """
    periods, trials = returns.shape
    if trials < 2 or periods < 2 * blocks:
        return None
    edges = [periods * number // blocks for number in range(blocks + 1)]
    lengths = np.diff(edges).astype(np.float64)
    sums = np.add.reduceat(returns, edges[:-1], axis=0)
    squares = np.add.reduceat(returns**2, edges[:-1], axis=0)
    # Equal columns are computed once, because a matrix product may round them differently.
    _, unique, column_of_trial = np.unique(
        np.concatenate((sums, squares)), axis=1, return_index=True, return_inverse=True
    )
    sums, squares, column_of_trial = sums[:, unique], squares[:, unique], column_of_trial.ravel()
    chosen = _make_half_masks(blocks)
    below = lost = 0
    for start in range(0, len(chosen), _HALVES_AT_A_TIME):
        inside = chosen[start : start + _HALVES_AT_A_TIME]
        first = _compute_sharpe_ratios(inside, lengths, sums, squares)[:, column_of_trial]
        second = _compute_sharpe_ratios(1.0 - inside, lengths, sums, squares)[:, column_of_trial]
        for choice, other in ((first, second), (second, first)):
            values = other[np.arange(len(inside)), choice.argmax(axis=1)]
            # Ties get their mean rank, so that equal trials are in the middle.
            lower = (other < values[:, None]).sum(axis=1)
            equal = (other == values[:, None]).sum(axis=1)
            ranks = lower + (equal + 1) / 2.0
            below += int((ranks / (trials + 1) <= 0.5).sum())
            lost += int((values < 0.0).sum())
    splits = 2 * len(chosen)
    return Overfitting(below / splits, lost / splits, trials, splits)


def _make_half_masks(blocks: int) -> FloatArray:
    """Return each way to cut the blocks into halves: a row with 1 for the half of the first block.

    Either half may be the one that chooses, so a row stands for two splits.
    """
    masks = np.zeros((math.comb(blocks, blocks // 2) // 2, blocks))
    masks[:, 0] = 1.0
    others = itertools.combinations(range(1, blocks), blocks // 2 - 1)
    for row, chosen in enumerate(others):
        masks[row, chosen] = 1.0
    return masks


def _compute_sharpe_ratios(
    masks: FloatArray, lengths: FloatArray, sums: FloatArray, squares: FloatArray
) -> FloatArray:
    """Return the Sharpe ratio of each trial (column) over the blocks of each split (row)."""
    counts = (masks @ lengths)[:, None]
    means = masks @ sums
    means /= counts
    variances = masks @ squares
    variances /= counts
    variances -= means**2
    np.maximum(variances, 1e-30, out=variances)
    np.sqrt(variances, out=variances)
    means /= variances
    return means
