"""Scripted prices: from a minute on, for a time or forever, prices of a market are multiplied.

A driver scripts them with `POST /simulator/price` or `Simulator.move_price`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onetape.simulator.market.minutes import Minutes
from onetape.simulator.market.prng import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class PriceMove:
    """A scripted spike, or a lasting jump without an end: prices are multiplied by a factor."""

    start: int
    """First minute of the price move, epoch seconds."""
    end: int | None
    """First minute after the price move, epoch seconds; None: it lasts forever."""
    factor: float
    """Factor of the prices, such as 0.9 for a fall by 10 %."""


def move_prices(found: Minutes, moves: Sequence[PriceMove]) -> Minutes:
    """Return minutes with their prices multiplied; amounts and numbers of trades stay."""
    factors = np.ones(len(found.bars))
    for move in moves:
        end = np.iinfo(np.int64).max if move.end is None else move.end
        within = (found.bars.timestamp >= move.start) & (found.bars.timestamp < end)
        factors[within] *= move.factor
    if (factors == 1).all():
        return found
    bars = found.bars
    opened, high, low, closed = (
        _scale_prices(column, factors) for column in (bars.open, bars.high, bars.low, bars.close)
    )
    lots = found.buy_lots + found.sell_lots
    first_bought = found.first_amount * found.first_buys
    last_bought = found.last_amount * found.last_buys
    moved = replace(
        bars,
        open=opened,
        high=high,
        low=low,
        close=closed,
        quote=found.first_amount * opened
        + found.high_amount * high
        + found.low_amount * low
        + found.last_amount * closed
        + lots * (high + low),
        buy_quote=first_bought * opened
        + found.high_amount * high
        + last_bought * closed
        + found.buy_lots * (high + low),
    )
    return replace(found, bars=moved)


def _scale_prices(ticks: IntArray, factors: FloatArray) -> IntArray:
    scaled: IntArray = np.maximum(np.rint(ticks * factors), 1.0).astype(np.int64)
    return scaled
