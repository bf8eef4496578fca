"""Minutes without a trade, and outages of the whole exchange.

A minute without a trade still has a candle: flat at the previous close, volume 0. An outage has
two parts, as Binance's own history shows: first candles without a trade, then no candle at all.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from onetape.simulator.market.price_path import DEPTH, ORIGIN_SECONDS
from onetape.simulator.market.prng import (
    BoolArray,
    draw_uniform,
    extract_16_bits,
    hash_indices,
    make_key,
)
from onetape.simulator.market.symbols import SpotSymbol

#: An outage begins in most ranges of 2**18 minutes (half a year), never near their ends.
_RANGE_BITS: Final = 18
_RANGE_MARGIN: Final = 4_096
#: Name of the outages' random numbers. With this one the market of seed 7, which the demo uses, has
#: no outage from August 2025 to the end of 2026.
_OUTAGES: Final = "outage 78"
_OUTAGE_CHANCE: Final = 0.7
#: Shortest and longest time without candles, minutes; short ones are more frequent.
_SHORTEST: Final = 35
_LONGEST: Final = 600
#: Longest time without a trade before the candles stop, minutes.
_LONGEST_HALT: Final = 90
#: A thin market has more or fewer minutes with trades for 32 minutes at a time ...
_ACTIVITY_BITS: Final = 5
#: ... and a trade at least every 64 minutes, so that the search for a previous close is short.
MAX_UNTRADED_MINUTES: Final = 64


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage of the exchange; all times are minutes since 2010."""

    halt: int
    """The first minute without a trade."""
    start: int
    """The first minute without a candle."""
    end: int
    """The first minute with trades again."""


@lru_cache(maxsize=64)
def make_outages(seed: int) -> tuple[Outage, ...]:
    """Return all outages of a market's exchange from 2010 to 2041, oldest first."""
    number = np.arange(1 << (DEPTH - _RANGE_BITS), dtype=np.int64)
    chance, place, span = (
        draw_uniform(hash_indices(make_key(seed, _OUTAGES, name), number)).tolist()
        for name in ("chance", "place", "span")
    )
    halts = extract_16_bits(hash_indices(make_key(seed, _OUTAGES, "halt"), number), 0).tolist()
    room = (1 << _RANGE_BITS) - 2 * _RANGE_MARGIN
    found: list[Outage] = []
    for row in range(len(number)):
        if chance[row] >= _OUTAGE_CHANCE:
            continue
        start = (row << _RANGE_BITS) + _RANGE_MARGIN + int(place[row] * room)
        length = _SHORTEST + int(span[row] * span[row] * (_LONGEST - _SHORTEST))
        found.append(Outage(start - halts[row] * _LONGEST_HALT // 65_536, start, start + length))
    return tuple(found)


def find_outage_at(seed: int, minute: int) -> Outage | None:
    """Return the outage that a minute since 2010 lies in, its halt included."""
    outages = make_outages(seed)
    return next((outage for outage in outages if outage.halt <= minute < outage.end), None)


def compute_minute_index(timestamp: int) -> int:
    """Return the minute since 2010 that holds a moment, epoch seconds."""
    return (timestamp - ORIGIN_SECONDS) // 60


def make_traded_mask(seed: int, symbol: SpotSymbol, first: int, last: int) -> BoolArray:
    """Return whether each minute in [first, last) has trades, shape (last - first,)."""
    mask = np.ones(max(last - first, 0), dtype=np.bool_)
    if symbol.untraded_share:
        index = np.arange(first, last, dtype=np.int64)
        inactivity = draw_uniform(
            hash_indices(make_key(seed, symbol.id, "mood"), index >> _ACTIVITY_BITS)
        )
        chance = draw_uniform(hash_indices(make_key(seed, symbol.id, "quiet"), index))
        mask = chance >= inactivity * (2.0 * symbol.untraded_share)
        mask |= index % MAX_UNTRADED_MINUTES == 0
        mask |= index == compute_minute_index(symbol.listed)
    for outage in make_outages(seed):
        if outage.halt < last and outage.end > first:
            mask[max(outage.halt - first, 0) : max(outage.end - first, 0)] = False
    return mask


def make_missing_mask(seed: int, first: int, last: int) -> BoolArray:
    """Return whether each minute in [first, last) lacks a candle, shape (last - first,)."""
    mask = np.zeros(max(last - first, 0), dtype=np.bool_)
    for outage in make_outages(seed):
        if outage.start < last and outage.end > first:
            mask[max(outage.start - first, 0) : max(outage.end - first, 0)] = True
    return mask


def find_last_traded_minute(seed: int, symbol: SpotSymbol, minute: int) -> int:
    """Return the last minute before `minute` that had a trade; `minute` itself if none had."""
    listed = compute_minute_index(symbol.listed)
    at = minute
    while at > listed:
        outage = find_outage_at(seed, at - 1)
        if outage is not None:
            at = outage.halt
            continue
        low = max(at - MAX_UNTRADED_MINUTES, listed)
        traded = np.flatnonzero(make_traded_mask(seed, symbol, low, at))
        if len(traded):
            return low + int(traded[-1])
        at = low
    return minute
