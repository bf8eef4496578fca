"""A market without gaps: recorded minutes whose price moves by one tick at a time."""

from pathlib import Path

import numpy as np

from onetape.simulator.recorded.replay import Replay, read_replay

MINUTE = 60


def write_tick_walk(path: Path, start: int, end: int, *, seed: int, price: int = 2_000) -> Replay:
    """Write a random walk of one-minute candles and return its replay.

    Each price follows from the one before by at most one tick, which is 1 USDT, inside candles and
    between them. So a stop is filled at its own price, and never beyond it.

    Args:
        path: Folder of the file.
        start: Epoch seconds of the first candle.
        end: Epoch seconds after the last candle.
        seed: Random seed of the walk.
        price: First price, USDT.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(start, end, MINUTE, dtype=np.int64)
    moves = rng.integers(-1, 2, len(times))
    # A step over these bounds is reflected: no price of the walk is far from the first one.
    low, high = price * 3 // 4, price * 5 // 4
    close = low + np.abs((price - low + np.cumsum(moves)) % (2 * (high - low)) - (high - low))
    opened = np.append(price, close[:-1])
    opened[0] = close[0]
    volume = rng.integers(2_000_000, 6_000_000, len(times)) / 100_000
    columns = (times, opened, np.maximum(opened, close), np.minimum(opened, close), close, volume)
    file = path / "walk_BTC-USDT_1m.csv"
    rows = "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True))
    file.write_text(f"timestamp,open,high,low,close,volume\n{rows}\n", encoding="utf-8")
    return read_replay(file)
