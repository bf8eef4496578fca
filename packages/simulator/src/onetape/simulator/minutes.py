"""The smallest bars: one-minute candles of a market, computed from its path.

Every trade of a minute is either one of four (the first, one at the high, one at the low, the last)
or half of a pair with equal amounts whose prices lie as far below the middle of high and low as
above it. So the value of all pairs is known without making a single trade, and a minute's sums are
exactly those of its trades (`trades.py`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onetape.simulator.bars import Bars
from onetape.simulator.noise import (
    FloatArray,
    IntArray,
    exponential,
    hashed,
    key_of,
    normal,
    part16,
    rehashed,
    uniform,
)
from onetape.simulator.path import MINUTES_PER_YEAR, ORIGIN_SECONDS, path
from onetape.simulator.symbols import SpotSymbol

#: Pairs of trades in the calmest minute: two halves for the four special trades, and two real ones.
QUIET_PAIRS: Final = 4.0
#: Pairs of trades that come on top in a minute of mean variance.
BUSY_PAIRS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Minutes:
    """One-minute candles and what their trades need; all arrays have shape (n,)."""

    bars: Bars
    first_amount: IntArray
    """Amount of the first trade, in steps."""
    high_amount: IntArray
    """Amount of the trade at the high, in steps; its taker buys."""
    low_amount: IntArray
    """Amount of the trade at the low, in steps; its taker sells."""
    last_amount: IntArray
    """Amount of the last trade, in steps."""
    first_buys: NDArray[np.bool_]
    """Whether the taker of the first trade buys."""
    last_buys: NDArray[np.bool_]
    """Whether the taker of the last trade buys."""
    buy_lots: IntArray
    """Amount of one half of all pairs whose takers buy, in steps."""
    sell_lots: IntArray
    """Amount of one half of all pairs whose takers sell, in steps."""


def minutes(seed: int, symbol: SpotSymbol, first: int, last: int) -> Minutes:
    """Return the minutes `first` to `last - 1` of a market, counted from 2010.

    Raises:
        ValueError: the range is empty or outside 2010 to 2041.
    """
    log_price, variance = _weighted_paths(seed, symbol, first, last)
    tick_price = exponential(log_price) * (symbol.anchor * 10.0**symbol.price_digits)
    bounds = np.maximum(np.rint(tick_price), 1.0)
    index = np.arange(first, last, dtype=np.int64)
    noise = hashed(key_of(seed, symbol.id, "minute"), index)
    nudge = part16(noise, 0) & 3
    opened = np.maximum(bounds[:-1] + (nudge == 3) - (nudge == 0), 1.0)
    closed = bounds[1:]
    sigma = bounds[:-1] * np.sqrt(variance[1:] - variance[:-1])
    high, low = _extremes(seed, symbol, index, opened, closed, sigma)
    strength = np.minimum(np.abs(closed - opened) / np.maximum(sigma, 1.0), 3.0)
    toward = strength * np.where(closed >= opened, 1.0, -1.0)
    pairs_before = _pairs_before(symbol, variance, first, last)
    return _priced(
        symbol,
        index,
        (opened.astype(np.int64), high, low, closed.astype(np.int64)),
        (uniform(noise), strength, toward),
        rehashed(noise),
        pairs_before,
    )


def _weighted_paths(
    seed: int, symbol: SpotSymbol, first: int, last: int
) -> tuple[FloatArray, FloatArray]:
    level = np.zeros(last - first + 1)
    variance = np.zeros(last - first + 1)
    for name, weight in symbol.weights:
        shared = path(key_of(seed, "path", name), first, last)
        level += shared.level * weight
        variance += shared.variance * (weight * weight)
    return level, variance


def _pairs_before(symbol: SpotSymbol, variance: FloatArray, first: int, last: int) -> IntArray:
    """Return how many pairs of trades came before each minute boundary since 2010.

    More variance, more trades. Read from running sums, so that trade ids need no counting.
    """
    yearly = 0.0
    for _, weight in symbol.weights:
        yearly += weight * weight
    busy = variance * (BUSY_PAIRS * MINUTES_PER_YEAR / yearly)
    quiet = np.arange(first, last + 1, dtype=np.int64) * QUIET_PAIRS
    return np.floor(quiet + busy).astype(np.int64)


def _extremes(
    seed: int,
    symbol: SpotSymbol,
    index: IntArray,
    opened: FloatArray,
    closed: FloatArray,
    sigma: FloatArray,
) -> tuple[IntArray, IntArray]:
    """Return high and low: the extremes of a Brownian bridge from open to close, each on its own.

    The maximum of a bridge is (a + b + sqrt((b - a)**2 - 2 sigma**2 ln U)) / 2; -2 ln U is the sum
    of two squared normal numbers.
    """
    move = (closed - opened) * (closed - opened)
    power = sigma * sigma
    noise = hashed(key_of(seed, symbol.id, "extremes"), index)
    reaches: list[FloatArray] = []
    for _ in range(2):
        one, two = normal(noise), normal(rehashed(noise))
        reaches.append(np.sqrt(move + power * (one * one + two * two)))
        noise = rehashed(rehashed(noise))
    both = opened + closed
    high = np.floor((both + reaches[0]) * 0.5)
    low = np.maximum(np.ceil((both - reaches[1]) * 0.5), 1.0)
    return high.astype(np.int64), low.astype(np.int64)


def _priced(
    symbol: SpotSymbol,
    index: IntArray,
    prices: tuple[IntArray, IntArray, IntArray, IntArray],
    mood: tuple[FloatArray, FloatArray, FloatArray],
    noise: NDArray[np.uint64],
    pairs_before: IntArray,
) -> Minutes:
    """Return the minutes with amounts; `mood` is chance, strength and direction of the move."""
    opened, high, low, closed = prices
    chance, strength, toward = mood
    pairs = pairs_before[1:] - pairs_before[:-1]
    first_amount, high_amount, low_amount, last_amount = (
        1 + ((part16(noise, part) * symbol.lot) >> 15) for part in range(4)
    )
    real = pairs - 2
    size = real * (symbol.lot * (0.4 + 1.2 * chance) * (1.0 + 0.5 * strength))
    lots = np.maximum(size.astype(np.int64), real)
    buyers = real // 2
    wish = (lots * (0.5 + 0.1 * toward)).astype(np.int64)
    buy_lots = np.minimum(np.maximum(wish, buyers), lots - (real - buyers))
    first_buys = (part16(noise, 0) & 1) == 1
    last_buys = closed >= opened
    first_bought, last_bought = first_amount * first_buys, last_amount * last_buys
    bars = Bars(
        timestamp=index * 60 + ORIGIN_SECONDS,
        open=opened,
        high=high,
        low=low,
        close=closed,
        volume=first_amount + high_amount + low_amount + last_amount + 2 * lots,
        quote=first_amount * opened
        + high_amount * high
        + low_amount * low
        + last_amount * closed
        + lots * (high + low),
        trades=2 * pairs,
        first_id=2 * pairs_before[:-1] + 1,
        buy_volume=first_bought + high_amount + last_bought + 2 * buy_lots,
        buy_quote=first_bought * opened
        + high_amount * high
        + last_bought * closed
        + buy_lots * (high + low),
    )
    return Minutes(
        bars, first_amount, high_amount, low_amount, last_amount,
        first_buys, last_buys, buy_lots, lots - buy_lots,
    )  # fmt: skip
