"""Stops and targets of a strategy computed bar by bar, without the engine's code."""

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import Candles, FloatArray
from onetape.core.strategy_levels import LEVEL_MODES, LevelColumns, LevelRow

#: Distances of a price from the close; one is on the wrong side.
_DISTANCES = (-0.01, 0.004, 0.02, 0.06)
_CHANCES = (0.05, 0.25, 0.4, 0.3)


class CurrentLevels:
    """The stop and the target that hold for a position, and those that the next one begins with."""

    def __init__(self, levels: LevelColumns | None, signal: list[int]) -> None:
        self.levels, self.signal = levels, signal
        self.held: list[float | None] = [None, None]
        self.following: list[float | None] = [None, None]
        self.ordered: list[float | None] = [None, None]
        """Prices for the position that the open limit order would begin."""

    def take(self, bar: int) -> None:
        """Take in the prices of the candle before a bar."""
        if self.levels is None or bar == 0:
            return
        row = [_get_price(one, bar - 1) for one in (self.levels.stop, self.levels.target)]
        self.held = self._move(self.held, row)
        self.ordered = self._move(self.ordered, row)
        is_buy = self.signal[bar - 1] == 1
        self.following = row if is_buy else self._move(self.following, row)

    def enter(self) -> None:
        """Begin a position."""
        self.held = self.following

    def send_limit(self) -> None:
        """Begin a limit order: its position has the prices of the BUY, moved since."""
        self.ordered = self.following

    def fill_limit(self) -> None:
        """Begin the position of the limit order."""
        self.held = self.ordered

    def limit(self, bar: int) -> float | None:
        """Return the limit of the BUY that is due at a bar; None: a market order."""
        return None if self.levels is None or bar == 0 else _get_price(self.levels.limit, bar - 1)

    @property
    def expiry(self) -> int:
        """Return the number of candles for which a limit order stays open."""
        return 1 if self.levels is None else self.levels.expiry_candles

    @property
    def row(self) -> LevelRow:
        stop, target = self.held
        return LevelRow(stop, target)

    def _move(self, old: list[float | None], row: list[float | None]) -> list[float | None]:
        assert self.levels is not None
        stop, target = old
        if self.levels.stop_mode == "each_candle" and row[0] is not None:
            stop = row[0] if stop is None or row[0] > stop else stop
        if self.levels.target_mode == "each_candle" and row[1] is not None:
            target = row[1]
        return [stop, target]


def _get_price(column: FloatArray | None, row: int) -> float | None:
    price = np.nan if column is None else float(column[row])
    return None if np.isnan(price) else price


def make_levels(seed: int, candles: Candles) -> LevelColumns:
    """Return random stops and targets in hundredths, some missing, of any mode."""
    rng = np.random.default_rng(seed)
    stop, target = (_make_random_prices(rng, candles, sign) for sign in (-1, 1))
    which = rng.integers(4)
    return LevelColumns(
        None if which == 0 else stop,
        None if which == 1 else target,
        LEVEL_MODES[int(rng.integers(2))],
        LEVEL_MODES[int(rng.integers(2))],
    )


def _make_random_prices(rng: np.random.Generator, candles: Candles, sign: int) -> FloatArray:
    count = len(candles)
    away = rng.choice(_DISTANCES, count, p=_CHANCES)
    prices = np.maximum(np.round(candles.close * (1 + sign * away), 2), 0.01)
    prices[rng.random(count) < rng.choice([0.0, 0.3, 0.8])] = np.nan
    return prices


def limits_of(seed: int, candles: Candles) -> LevelColumns:
    """Return random limits in hundredths, some missing, with or without stops and targets.

    Most are at or below the close, and some a whole price that candles only touch.
    """
    rng = np.random.default_rng(seed + 1)
    count = len(candles)
    away = rng.choice([-0.01, 0.0, 0.002, 0.01, 0.04], count, p=[0.05, 0.15, 0.35, 0.3, 0.15])
    limit = np.maximum(np.round(candles.close * (1 - away), 2), 0.01)
    touched = np.roll(candles.low, -1)
    limit = np.where(rng.random(count) < 0.1, np.round(touched, 2), limit)
    limit[rng.random(count) < rng.choice([0.0, 0.2, 0.6])] = np.nan
    given = make_levels(seed, candles) if rng.random() < 0.6 else LevelColumns()
    return replace(given, limit=limit, expiry_candles=int(rng.choice([1, 2, 3, 8, 60])))


def fold_first_levels(levels: LevelColumns, end: int) -> LevelColumns:
    """Return the levels of the candles before one."""
    return LevelColumns(
        None if levels.stop is None else levels.stop[:end],
        None if levels.target is None else levels.target[:end],
        levels.stop_mode,
        levels.target_mode,
    )
