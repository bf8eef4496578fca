"""A random path over 32 years of minutes that can be read anywhere without walking there.

The years from 2010 to 2041 are one interval of 2**24 minutes that is halved 24 times. Each halving
draws from the hash of its node how the interval's variance divides between its halves (uneven, so
calm and wild stretches come at every scale: volatility clusters, regimes and fat tails) and where
the path stands in the middle (a Brownian bridge in that uneven time). A value depends on its 24
ancestors only, so any range gives the same numbers whatever was asked before.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from onetape.simulator.noise import FloatArray, hashed, normal, rehashed, uniform

DEPTH: Final = 24
MINUTES: Final = 1 << DEPTH
#: 2010-01-01 00:00 UTC, the first minute of every path, epoch seconds.
ORIGIN_SECONDS: Final = 1_262_304_000
#: 2041-11-24: the last minute of every path has passed.
END_SECONDS: Final = ORIGIN_SECONDS + 60 * MINUTES
MINUTES_PER_YEAR: Final = 525_960.0
#: The variance of the whole path, such that a weight of 1 means 100 % volatility a year.
TOTAL_VARIANCE: Final = MINUTES / MINUTES_PER_YEAR
#: A half gets 0.5 +- this much of its parent's variance, uniformly spread.
SPLIT_SPREAD: Final = 0.23
#: The swings of many years are held back, so that a price stays within the same power of ten.
LONG_SWINGS: Final = (0.25, 0.3, 0.4, 0.5, 0.7, 0.85)


@dataclass(frozen=True, slots=True)
class Path:
    """The path at the boundaries of n minutes; all arrays have shape (n + 1,)."""

    level: FloatArray
    """Where the path stands; a log price once weighted. It begins and ends (2041) at 0."""
    variance: FloatArray
    """Variance spent since the origin: the market's own, uneven time. Strictly increasing."""


def path(key: int, first: int, last: int) -> Path:
    """Return the path over the minutes `first` to `last - 1`, counted from 2010.

    Costs O(n + 24) vectorised steps.

    Args:
        key: Which path, from `noise.key_of`.
        first: First minute, at least 0.
        last: One past the last minute, above `first` and at most `MINUTES`.

    Raises:
        ValueError: the range is empty or outside the path.
    """
    if not 0 <= first < last <= MINUTES:
        msg = f"minutes {first} to {last} are not within 0 to {MINUTES}"
        raise ValueError(msg)
    start = 0
    level = np.zeros(2)
    clock = np.array([0.0, TOTAL_VARIANCE])
    spent = np.array([TOTAL_VARIANCE])
    for depth in range(DEPTH):
        node = np.arange(start, start + len(spent), dtype=np.int64) + (1 << depth)
        value = hashed(key, node)
        share = uniform(rehashed(value)) * (2.0 * SPLIT_SPREAD) + (0.5 - SPLIT_SPREAD)
        early = spent * share
        late = spent - early
        swing = LONG_SWINGS[depth] if depth < len(LONG_SWINGS) else 1.0
        bend = np.sqrt(early * (1.0 - share)) * normal(value) * swing
        middle = level[:-1] + (level[1:] - level[:-1]) * share + bend
        width = DEPTH - depth - 1
        low = (first >> width) - 2 * start
        high = ((last - 1) >> width) + 1 - 2 * start
        level = _interleaved(level, middle)[low : high + 1]
        clock = _interleaved(clock, clock[:-1] + early)[low : high + 1]
        spent = _alternating(early, late)[low:high]
        start = 2 * start + low
    return Path(level, clock)


def _interleaved(bounds: FloatArray, middles: FloatArray) -> FloatArray:
    joined = np.empty(len(bounds) + len(middles))
    joined[0::2] = bounds
    joined[1::2] = middles
    return joined


def _alternating(early: FloatArray, late: FloatArray) -> FloatArray:
    joined = np.empty(2 * len(early))
    joined[0::2] = early
    joined[1::2] = late
    return joined
