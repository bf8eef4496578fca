"""Random candles in whole hundredths, exact as decimals and as floats."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from onetape.core.candles import Candles
from untraded import make_untraded_mask


@dataclass(frozen=True)
class CentCandles:
    """Candles whose prices are whole hundredths and whose volumes are whole."""

    timestamp: list[int]
    open: list[Decimal]
    high: list[Decimal]
    low: list[Decimal]
    close: list[Decimal]
    volume: list[Decimal]
    candles: Candles
    """Prices of the walk as floats."""


def make_cent_walk(seed: int, count: int, start: int = 10_000, move: int = 200) -> CentCandles:
    """Return a random walk in hundredths with gaps, wicks and candles without volume or trade."""
    rng = np.random.default_rng(seed)
    close = 100 + np.abs(start + np.cumsum(rng.integers(-move, move + 1, count)))
    gap = np.where(rng.random(count) < 0.2, rng.integers(-move, move + 1, count), 0)
    open_ = np.maximum(np.append(start, close[:-1]) + gap, 100)
    high = np.maximum(open_, close) + rng.integers(0, move + 1, count)
    low = np.maximum(np.minimum(open_, close) - rng.integers(0, move + 1, count), 1)
    volume = np.where(rng.random(count) < 0.05, 0, rng.integers(1, 2_000, count))
    flat = make_untraded_mask(rng, count)
    for bar in np.flatnonzero(flat).tolist():
        open_[bar] = high[bar] = low[bar] = close[bar] = close[bar - 1]
    volume[flat] = 0
    times = np.arange(count, dtype=np.int64) * 3_600
    columns = [column / 100 for column in (open_, high, low, close)]
    candles = Candles.from_columns(
        times, columns[0], columns[1], columns[2], columns[3], volume.astype(np.float64)
    )
    exact = [[make_exact(price) for price in column.tolist()] for column in columns]
    volumes = [Decimal(one) for one in volume.tolist()]
    return CentCandles(times.tolist(), exact[0], exact[1], exact[2], exact[3], volumes, candles)


def round_every_second_month(prices: CentCandles) -> CentCandles:
    """Return the candles with whole tenths for prices in every second month of 30 days."""
    columns = [list(one) for one in (prices.open, prices.high, prices.low, prices.close)]
    for bar, time in enumerate(prices.timestamp):
        if time // (30 * 86_400) % 2:
            for column in columns:
                column[bar] = max(column[bar].quantize(Decimal("0.1")), Decimal("0.1"))
    open_, high, low, close = columns
    candles = Candles.from_columns(
        np.array(prices.timestamp, dtype=np.int64),
        np.array(open_, dtype=np.float64),
        np.array(high, dtype=np.float64),
        np.array(low, dtype=np.float64),
        np.array(close, dtype=np.float64),
        prices.candles.volume,
    )
    return CentCandles(prices.timestamp, open_, high, low, close, prices.volume, candles)


def make_exact(number: float) -> Decimal:
    """Return the decimal that a setting was written as."""
    return Decimal(repr(float(number)))
