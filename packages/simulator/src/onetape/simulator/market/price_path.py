"""A random path over 32 years of minutes with direct access to every minute.

The years from 2010 to 2041 are one interval of 2**24 minutes that is halved 24 times. Each halving
draws from the hash of its node how the interval's variance divides between its halves (uneven, so
calm and wild stretches come at every scale: volatility clusters, regimes and fat tails) and where
the path stands in the middle (a Brownian bridge in that uneven time). A value depends on its 24
ancestors only, so any range gives the same numbers in any order of calls.

Regimes: halvings of days to weeks divide the variance very unevenly (calm and wild stretches), and
every three days draw how rough they are inside: smooth ones are trends, since their ends stay where
they are. Jumps: a block of days may hold one, a step in one minute that a slope over the whole
block takes back, so that the block's ends stay where they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from onetape.simulator.market.prng import (
    FloatArray,
    draw_normal,
    draw_uniform,
    extract_16_bits,
    hash_indices_for_keys,
    rehash,
)

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
#: Factors of the swings over many years, so that a price stays within the same power of ten.
LONG_SWINGS: Final = (0.25, 0.3, 0.4, 0.5, 0.7, 0.85)
#: Halvings that make regimes, of stretches of 23 days down to 1.4 days, and their spread.
REGIME_DEPTHS: Final = range(9, 14)
REGIME_SPREAD: Final = 0.33
#: From this depth on (stretches of 2.8 days) each stretch draws one of four values of roughness: a
#: trend, two usual values, and movement without direction.
ROUGH_DEPTH: Final = 12
ROUGHNESS: Final = (0.4, 1.0, 1.0, 1.25)
#: A block of 2**13 minutes (5.7 days) has a jump with this probability. Its size (1 is a factor of
#: e in a path of weight 1) is a minimum, plus the cube of a uniform number times a factor.
JUMP_BITS: Final = 13
JUMP_CHANCE: Final = 0.35
JUMP_MIN: Final = 0.012
JUMP_MORE: Final = 0.1


@dataclass(frozen=True, slots=True)
class PricePath:
    """A part of the path, n minutes long."""

    level: FloatArray
    """Level of the path at each boundary, shape (n + 1,); a log price once weighted. The path
    begins and ends (2041) at 0."""
    variance: FloatArray
    """Variance spent since the origin at each boundary, shape (n + 1,): the market's own, uneven
    time. Strictly increasing."""
    swing: FloatArray
    """Variance of the level within each minute, without jumps, shape (n,)."""

    def cut(self, begin: int, end: int) -> "PricePath":
        """Return the minutes `begin` to `end - 1` of the path, counted from its first, as views."""
        return PricePath(
            self.level[begin : end + 1], self.variance[begin : end + 1], self.swing[begin:end]
        )


def make_paths(keys: Sequence[int], first: int, last: int) -> list[PricePath]:
    """Return some paths over the minutes `first` to `last - 1`, counted from 2010.

    Costs O(n + 24) vectorised steps, whatever the number of paths.

    Args:
        keys: Keys of the paths, from `prng.make_key`.
        first: First minute, at least 0.
        last: One past the last minute, above `first` and at most `MINUTES`.

    Raises:
        ValueError: the range is empty or outside the path.
    """
    if not 0 <= first < last <= MINUTES:
        msg = f"minutes {first} to {last} are not within 0 to {MINUTES}"
        raise ValueError(msg)
    # One row for each path.
    start, count = 0, len(keys)
    level = np.zeros((count, 2))
    clock = np.array([[0.0, TOTAL_VARIANCE]] * count)
    spent = np.full((count, 1), TOTAL_VARIANCE)
    rough = np.ones((count, 1))
    for depth in range(DEPTH):
        node = np.arange(start, start + spent.shape[1], dtype=np.int64) + (1 << depth)
        value = hash_indices_for_keys(keys, node)
        spread = REGIME_SPREAD if depth in REGIME_DEPTHS else SPLIT_SPREAD
        # In place where it can be: a new array for each step would cost more than the step.
        share = draw_uniform(rehash(value))
        share *= 2.0 * spread
        share += 0.5 - spread
        if depth == ROUGH_DEPTH:
            rough = np.array(ROUGHNESS)[extract_16_bits(rehash(rehash(value)), 0) & 3]
        early = spent * share
        late = spent - early
        swing = LONG_SWINGS[depth] if depth < len(LONG_SWINGS) else 1.0
        bend = 1.0 - share
        bend *= early
        np.sqrt(bend, out=bend)
        bend *= draw_normal(value)
        bend *= rough * swing
        middle = level[:, 1:] - level[:, :-1]
        middle *= share
        middle += level[:, :-1]
        middle += bend
        width = DEPTH - depth - 1
        low = (first >> width) - 2 * start
        high = ((last - 1) >> width) + 1 - 2 * start
        level = _interleave_columns(level, middle)[:, low : high + 1]
        clock = _interleave_columns(clock, clock[:, :-1] + early)[:, low : high + 1]
        spent = _interleave_columns(early, late)[:, low:high]
        if depth >= ROUGH_DEPTH:
            rough = np.repeat(rough, 2, axis=1)[:, low:high]
        start = 2 * start + low
    level = level + _compute_jumps(keys, first, last)
    return list(map(PricePath, level, clock, spent * (rough * rough)))


def _compute_jumps(keys: Sequence[int], first: int, last: int) -> FloatArray:
    """Return the sum of all jumps at each boundary, shape (k, last - first + 1)."""
    offset = first >> JUMP_BITS
    blocks = np.arange(offset, (last >> JUMP_BITS) + 1, dtype=np.int64)
    value = hash_indices_for_keys([key ^ JUMP_BITS for key in keys], blocks)
    chance, strength = draw_uniform(value), draw_uniform(rehash(value))
    size = strength * strength * strength * JUMP_MORE + JUMP_MIN
    sign = np.where(value & np.uint64(1), 1.0, -1.0)
    size = size * np.where(chance < JUMP_CHANCE, sign, 0.0)
    place = extract_16_bits(rehash(rehash(value)), 0) >> (16 - JUMP_BITS)
    boundary = np.arange(first, last + 1, dtype=np.int64)
    block, within = (boundary >> JUMP_BITS) - offset, boundary & ((1 << JUMP_BITS) - 1)
    step = (within > place[:, block]).astype(np.float64)
    return size[:, block] * (step - within.astype(np.float64) * 2.0**-JUMP_BITS)


def _interleave_columns(even: FloatArray, odd: FloatArray) -> FloatArray:
    """Return the columns of two arrays by turns."""
    joined = np.empty((len(even), even.shape[1] + odd.shape[1]))
    joined[:, 0::2] = even
    joined[:, 1::2] = odd
    return joined
