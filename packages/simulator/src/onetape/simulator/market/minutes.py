"""One-minute candles of an invented market, computed from its price path.

All longer candles are built from them (`simulated_market.py`).

Every trade of a minute is either one of four (the first, one at the high, one at the low, the last)
or half of a pair with equal amounts whose prices lie as far below the middle of high and low as
above it. So the value of all pairs is known without making a single trade, and a minute's sums are
exactly those of its trades (`trades.py`).

A minute without a trade is flat at the previous close; an outage has no minutes (`outages.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from onetape.simulator.market.bars import NO_BARS, Bars, flatten_untraded_bars
from onetape.simulator.market.outages import (
    MAX_UNTRADED_MINUTES,
    find_last_traded_minute,
    make_missing_mask,
    make_traded_mask,
)
from onetape.simulator.market.price_path import ORIGIN_SECONDS, PricePath, make_paths
from onetape.simulator.market.prng import (
    BoolArray,
    FloatArray,
    HashArray,
    IntArray,
    compute_exponential,
    draw_normal,
    draw_uniform,
    extract_16_bits,
    hash_indices,
    make_key,
    rehash,
)
from onetape.simulator.market.shared_paths import (
    ReadPaths,
    count_pairs_before_minutes,
    make_path_key,
    sum_weighted_paths,
)
from onetape.simulator.market.symbols import SpotSymbol

#: One minute of 2**18 has a wick: its high or low is far from all other prices. Minimum depth as a
#: fraction of the price, and the factor of the cube of a uniform number that is added.
WICK_MASK: Final = (1 << 18) - 1
WICK_MIN: Final = 0.02
WICK_MORE: Final = 0.28
#: A larger move brings more volume, up to a move of this many standard deviations.
MAX_SURGE: Final = 12.0


@dataclass(frozen=True, slots=True)
class Minutes:
    """One-minute candles with the numbers that define their trades; arrays have shape (n,).

    Amounts are 0 in minutes without a trade.
    """

    bars: Bars
    first_amount: IntArray
    """Amount of the first trade, in steps."""
    high_amount: IntArray
    """Amount of the trade at the high, in steps; its taker buys."""
    low_amount: IntArray
    """Amount of the trade at the low, in steps; its taker sells."""
    last_amount: IntArray
    """Amount of the last trade, in steps."""
    first_buys: BoolArray
    """Whether the taker of the first trade buys."""
    last_buys: BoolArray
    """Whether the taker of the last trade buys."""
    buy_lots: IntArray
    """Amount of one half of all pairs whose takers buy, in steps."""
    sell_lots: IntArray
    """Amount of one half of all pairs whose takers sell, in steps."""

    def __getitem__(self, rows: slice) -> "Minutes":
        """Return the minutes of a slice."""
        return Minutes(self.bars[rows], *(column[rows] for column in self._get_extra_columns()))

    def select_rows(self, rows: IntArray) -> "Minutes":
        """Return the minutes of these row numbers."""
        bars = Bars(*(column[rows] for column in self.bars.get_columns()))
        return Minutes(bars, *(column[rows] for column in self._get_extra_columns()))

    def _get_extra_columns(self) -> tuple[NDArray[Any], ...]:
        return (
            self.first_amount, self.high_amount, self.low_amount, self.last_amount,
            self.first_buys, self.last_buys, self.buy_lots, self.sell_lots,
        )  # fmt: skip


_NONE: Final = np.empty(0, dtype=np.int64)
NO_MINUTES: Final = Minutes(
    NO_BARS,
    _NONE,
    _NONE,
    _NONE,
    _NONE,
    _NONE.astype(np.bool_),
    _NONE.astype(np.bool_),
    _NONE,
    _NONE,
)


def make_minutes(
    seed: int, symbol: SpotSymbol, first: int, last: int, read: ReadPaths = make_paths
) -> Minutes:
    """Return the minutes `first` to `last - 1` of a market, counted from 2010.

    Outages leave gaps, and there are no minutes before the first trade ever.

    Args:
        seed: Seed of the market.
        symbol: Symbol of the market.
        first: First minute, counted from 2010.
        last: End of the range, exclusive.
        read: Returns the price paths; a caller may pass a function with cached paths.

    Raises:
        ValueError: the range is empty or outside 2010 to 2041.
    """
    begin = first
    if not make_traded_mask(seed, symbol, max(first - 1, 0), first + 1).all():
        # The previous close and the number of trades so far depend on the last traded minute.
        begin = find_last_traded_minute(seed, symbol, first)
    traded = make_traded_mask(seed, symbol, begin, last)
    rows = np.flatnonzero(traded)
    if not len(rows):
        return NO_MINUTES
    found = _make_traded_minutes(seed, symbol, begin, last, rows, read)
    if len(rows) < len(traded):
        found = _add_untraded_minutes(found, begin, rows, ~make_missing_mask(seed, begin, last))
    cut = int(np.searchsorted(found.bars.timestamp, first * 60 + ORIGIN_SECONDS))
    return found[cut:] if cut else found


def make_minutes_of_markets(
    seed: int, symbols: Sequence[SpotSymbol], first: int, last: int
) -> list[Minutes]:
    """Return the minutes of each market, as `make_minutes`; the paths are computed together."""
    keys = list(
        dict.fromkeys(make_path_key(seed, name) for symbol in symbols for name, _ in symbol.weights)
    )
    # A market with untraded minutes also needs its last traded minute before `first`.
    known_first = max(first - MAX_UNTRADED_MINUTES, 0)
    known = dict(zip(keys, make_paths(keys, known_first, last), strict=True))

    def read(some: Sequence[int], begin: int, end: int) -> list[PricePath]:
        if begin < known_first or end > last:
            return make_paths(some, begin, end)
        return [known[key].cut(begin - known_first, end - known_first) for key in some]

    return [make_minutes(seed, symbol, first, last, read) for symbol in symbols]


def _make_traded_minutes(
    seed: int, symbol: SpotSymbol, begin: int, last: int, rows: IntArray, read: ReadPaths
) -> Minutes:
    """Return the minutes `begin + rows`, of which each has trades."""
    log_price, variance, swing = sum_weighted_paths(seed, symbol, begin, last, read)
    tick_price = compute_exponential(log_price) * (symbol.anchor * 10.0**symbol.price_digits)
    bounds = np.maximum(np.rint(tick_price), 1.0)
    ids = count_pairs_before_minutes(seed, symbol, variance, begin, last)
    # The volume of minutes without a trade moves to the next minute with trades.
    pairs_before = np.append(ids[rows[0]], ids[rows + 1])
    index = rows + begin
    noise = hash_indices(make_key(seed, symbol.id, "minute"), index)
    # In half of the minutes the open is a tick above or below the close before.
    nudge = extract_16_bits(noise, 0) & 3
    if len(rows) == last - begin:
        # Every minute has trades: views of the arrays are enough.
        start, closed = bounds[:-1], bounds[1:]
    else:
        start, closed, swing = bounds[rows], bounds[rows + 1], swing[rows]
    opened = np.maximum(start + (nudge == 3) - (nudge == 0), 1.0)
    sigma = start * np.sqrt(swing)
    high, low = _compute_extremes(seed, symbol, index, opened, closed, sigma)
    surge = np.minimum(np.abs(closed - opened) / np.maximum(sigma, 1.0), MAX_SURGE)
    toward = np.minimum(surge, 3.0) * np.where(closed >= opened, 1.0, -1.0)
    return _add_amounts(
        symbol,
        index,
        (opened.astype(np.int64), high, low, closed.astype(np.int64)),
        (draw_uniform(noise), surge, toward),
        rehash(noise),
        pairs_before,
    )


def _add_untraded_minutes(found: Minutes, begin: int, rows: IntArray, exists: BoolArray) -> Minutes:
    """Return the traded minutes, and a flat minute of volume 0 for each candle without a trade.

    Args:
        found: The minutes `begin + rows`.
        begin: First minute.
        rows: Row numbers of the minutes with trades, shape (k,).
        exists: Whether a minute has a candle, shape (n,); not needed before `rows[0]`.
    """
    exists[: rows[0]] = False
    # For each minute the last traded one at or before it.
    source = np.searchsorted(rows, np.arange(len(exists)), side="right") - 1
    source = source[exists]
    place = np.flatnonzero(exists)
    is_untraded = rows[source] != place
    picked = found.select_rows(source)
    traded = (~is_untraded).astype(np.int64)
    return Minutes(
        flatten_untraded_bars(picked.bars, (place + begin) * 60 + ORIGIN_SECONDS, is_untraded),
        first_amount=picked.first_amount * traded,
        high_amount=picked.high_amount * traded,
        low_amount=picked.low_amount * traded,
        last_amount=picked.last_amount * traded,
        first_buys=picked.first_buys,
        last_buys=picked.last_buys,
        buy_lots=picked.buy_lots * traded,
        sell_lots=picked.sell_lots * traded,
    )


def _compute_extremes(
    seed: int,
    symbol: SpotSymbol,
    index: IntArray,
    opened: FloatArray,
    closed: FloatArray,
    sigma: FloatArray,
) -> tuple[IntArray, IntArray]:
    """Return high and low: the extremes of a Brownian bridge from open to close.

    The maximum of a bridge is (a + b + sqrt((b - a)**2 - 2 sigma**2 ln U)) / 2; -2 ln U is the sum
    of two squared normal numbers. High and low are drawn independently; a few minutes have a wick
    (`WICK_MASK`).
    """
    move = (closed - opened) * (closed - opened)
    power = sigma * sigma
    noise = hash_indices(make_key(seed, symbol.id, "extremes"), index)
    reaches: list[FloatArray] = []
    for _ in range(2):
        first, second = draw_normal(noise), draw_normal(rehash(noise))
        reaches.append(np.sqrt(move + power * (first * first + second * second)))
        noise = rehash(rehash(noise))
    both = opened + closed
    high = np.floor((both + reaches[0]) * 0.5)
    low = np.ceil((both - reaches[1]) * 0.5)
    wick, strength = (noise & np.uint64(WICK_MASK)) == 0, draw_uniform(rehash(noise))
    depth = np.where(wick, strength * strength * strength * WICK_MORE + WICK_MIN, 0.0)
    up = extract_16_bits(noise, 3) & 1
    high = np.floor(high * (1.0 + depth * up))
    low = np.maximum(np.ceil(low * (1.0 - depth * (1 - up))), 1.0)
    return high.astype(np.int64), low.astype(np.int64)


def _add_amounts(
    symbol: SpotSymbol,
    index: IntArray,
    prices: tuple[IntArray, IntArray, IntArray, IntArray],
    move: tuple[FloatArray, FloatArray, FloatArray],
    noise: HashArray,
    pairs_before: IntArray,
) -> Minutes:
    """Return the minutes with the amounts of their trades.

    Args:
        symbol: Symbol of the market.
        index: Minutes since 2010, shape (n,).
        prices: Open, high, low and close of each minute, ticks.
        move: A uniform number, the strength and the direction of the move of each minute.
        noise: A hash of each minute.
        pairs_before: Number of pairs of trades before each minute boundary, shape (n + 1,).
    """
    opened, high, low, closed = prices
    chance, surge, toward = move
    pairs = pairs_before[1:] - pairs_before[:-1]
    first_amount, high_amount, low_amount, last_amount = (
        1 + ((extract_16_bits(noise, part) * symbol.lot) >> 15) for part in range(4)
    )
    # Two of the pairs are the four trades at open, high, low and close.
    other_pairs = pairs - 2
    size = other_pairs * (symbol.lot * (0.4 + 1.2 * chance) * (1.0 + 0.5 * surge))
    lots = np.maximum(size.astype(np.int64), other_pairs)
    # Each pair has one step at least, so the lots of buyers and sellers have a lower bound.
    buy_pairs = other_pairs // 2
    wanted = (lots * (0.5 + 0.1 * toward)).astype(np.int64)
    buy_lots = np.minimum(np.maximum(wanted, buy_pairs), lots - (other_pairs - buy_pairs))
    buy_lots = np.where(buy_pairs > 0, buy_lots, 0)
    first_buys = (extract_16_bits(noise, 0) & 1) == 1
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
