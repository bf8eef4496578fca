"""A few candles that are valid in any order of columns, and functions to read them back."""

from pathlib import Path
from random import Random

from onetape.core.candles import Candle, SeriesKey
from onetape.store.database import open_store
from onetape.store.reading import read_closed_between

#: 2024-03-01 00:00 UTC.
MARCH = 1_709_251_200
HOUR = 3_600


def walk(
    count: int, *, start: int = MARCH, step: int = HOUR, price: float = 42_000.0
) -> list[Candle]:
    """Return candles of a random walk: each opens at the close before, with wicks on both sides."""
    random = Random(count)  # noqa: S311 - repeatable, no secret
    rows: list[Candle] = []
    price = 42_000.0
    for at in range(count):
        close = round(price * random.uniform(0.99, 1.01), 2)
        high = round(max(price, close) * random.uniform(1.0005, 1.003), 2)
        low = round(min(price, close) * random.uniform(0.997, 0.9995), 2)
        volume = round(random.uniform(1, 50), 5)
        rows.append(Candle(start + at * step, price, high, low, close, volume))
        price = close
    return rows


def read_stored_rows(path: Path, key: SeriesKey) -> list[Candle]:
    """Return the closed candles of a series."""
    with open_store(path, create=False) as store:
        c = read_closed_between(store, key, 0, 2**40)
    columns = (c.timestamp, c.open, c.high, c.low, c.close, c.volume)
    return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
