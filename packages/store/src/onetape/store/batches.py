"""Convert batches of candles between rows and columns, and sort them, before they are inserted."""

from collections.abc import Iterable, Sequence

import numpy as np

from onetape.core.candles import LATEST_TIMESTAMP, Candle, Candles, IntArray
from onetape.store.closed_rows import Row


def convert_rows_to_columns(rows: Sequence[Candle]) -> Candles:
    """Return rows as columns; a time outside 0 to `LATEST_TIMESTAMP` becomes -1."""
    if not rows:
        return Candles.make_empty()
    timestamp, *prices = zip(*rows, strict=True)
    # A time may be an int that is too large for the array.
    bounded = [each if 0 <= each <= LATEST_TIMESTAMP else -1 for each in timestamp]
    return Candles.from_columns(
        np.array(bounded, dtype=np.int64), *(np.array(each, dtype=np.float64) for each in prices)
    )


def is_increasing(timestamps: IntArray) -> bool:
    """Return whether each time is later than the time before."""
    return bool((timestamps[1:] > timestamps[:-1]).all())


def sort_rows(rows: list[Candle]) -> list[Candle]:
    """Return rows oldest first; of several rows with the same time, only the last."""
    by_time = {row.timestamp: row for row in rows}
    return sorted(by_time.values())


def sort_columns(candles: Candles, *, without: Iterable[int]) -> Candles:
    """Return candles oldest first; of several with the same time, only the last.

    Args:
        candles: Candles in any order.
        without: Row numbers to leave out.
    """
    is_chosen = np.ones(len(candles), dtype=np.bool_)
    is_chosen[list(without)] = False
    timestamp = candles.timestamp
    if is_chosen.all() and is_increasing(timestamp):
        return candles
    numbers = np.flatnonzero(is_chosen)
    # A stable sort: rows of one time stay in the order in which they came.
    numbers = numbers[np.argsort(timestamp[numbers], kind="stable")]
    times = timestamp[numbers]
    numbers = numbers[np.append(times[1:] != times[:-1], np.ones(1, dtype=np.bool_))[: len(times)]]
    return candles.take(numbers)


def convert_columns_to_rows(candles: Candles) -> list[Row]:
    """Return candles as rows of Python's ints and floats."""
    columns = (
        candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume,
    )  # fmt: skip
    return list(zip(*(column.tolist() for column in columns), strict=True))


def get_candle(candles: Candles, number: int) -> Candle:
    """Return the candle of a row number."""
    return Candle(*convert_columns_to_rows(candles[number : number + 1])[0])
