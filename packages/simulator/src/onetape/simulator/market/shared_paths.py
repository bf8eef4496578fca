"""A market as a weighted sum of random paths: its price, variance and number of trades.

Markets share paths (`SpotSymbol.weights`), so that their prices move together. A minute with more
variance has more trades.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from onetape.simulator.market.outages import make_outages
from onetape.simulator.market.price_path import MINUTES, MINUTES_PER_YEAR, PricePath, make_paths
from onetape.simulator.market.prng import FloatArray, IntArray, make_key
from onetape.simulator.market.symbols import SpotSymbol

#: Keys, first minute and last minute (exclusive) of some paths.
ReadPaths = Callable[[Sequence[int], int, int], list[PricePath]]
#: Pairs of trades in the calmest minute (two halves are the four special trades), and pairs on
#: top in a minute of mean variance: in a lively market, and in one with minutes without a trade.
LIVELY_PAIRS: Final = (4, 8.0)
THIN_PAIRS: Final = (2, 2.0)
#: Number of minutes after an outage in which the delayed trades come.
CATCH_UP_MINUTES: Final = 256


def make_path_key(seed: int, name: str) -> int:
    """Return the key of one of the paths that markets follow."""
    return make_key(seed, "path", name)


def sum_weighted_paths(
    seed: int, symbol: SpotSymbol, first: int, last: int, read: ReadPaths = make_paths
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the weighted sums of a market's paths: log price, variance spent, and swing.

    Log price and variance are at each minute boundary, shape (n + 1,); the swing is of each minute,
    shape (n,) (see `price_path.PricePath`).
    """
    level = np.zeros(last - first + 1)
    variance = np.zeros(last - first + 1)
    swing = np.zeros(last - first)
    keys = [make_path_key(seed, name) for name, _ in symbol.weights]
    for (_, weight), shared in zip(symbol.weights, read(keys, first, last), strict=True):
        level += shared.level * weight
        variance += shared.variance * (weight * weight)
        swing += shared.swing * (weight * weight)
    return level, variance, swing


def count_pairs_before_minutes(
    seed: int, symbol: SpotSymbol, variance: FloatArray, first: int, last: int
) -> IntArray:
    """Return the number of pairs of trades from 2010 to each minute boundary, shape (n + 1,).

    It is computed from the running sum of the variance, so trade ids need no counting. During an
    outage the number stays, and in the minutes after the outage it catches up.
    """
    index = np.arange(first, last + 1, dtype=np.int64)
    pairs = _compute_pair_counts(symbol, variance, index)
    for outage in make_outages(seed):
        end = min(outage.end + CATCH_UP_MINUTES, MINUTES)
        if outage.halt >= last or end <= first:
            continue
        before, after = (
            int(
                _compute_pair_counts(
                    symbol, _compute_variance_at(seed, symbol, at), np.array([at])
                )[0]
            )
            for at in (outage.halt, end)
        )
        since = np.maximum(index - outage.end, 0)
        caught_up = before + (after - before) * since // CATCH_UP_MINUTES
        within = (index >= outage.halt) & (index < end)
        pairs = np.where(within, caught_up, pairs)
    return pairs


def _compute_pair_counts(symbol: SpotSymbol, variance: FloatArray, index: IntArray) -> IntArray:
    """Return the pairs that the variance since 2010 has brought at each minute boundary."""
    yearly = 0.0
    for _, weight in symbol.weights:
        yearly += weight * weight
    calm, busy = THIN_PAIRS if symbol.untraded_share else LIVELY_PAIRS
    return index * calm + np.floor(variance * (busy * MINUTES_PER_YEAR / yearly)).astype(np.int64)


def _compute_variance_at(seed: int, symbol: SpotSymbol, boundary: int) -> FloatArray:
    """Return the variance spent at one boundary, shape (1,)."""
    first = min(boundary, MINUTES - 1)
    return sum_weighted_paths(seed, symbol, first, first + 1)[1][boundary - first :][:1]
