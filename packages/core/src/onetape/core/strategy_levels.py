"""Stop, target and limit prices that a strategy gives for each candle.

The row of a candle is known at its close and acts from the next candle on. A position begins with
the stop and the target of the candle whose BUY led to its entry. After that the mode decides:

- `at_entry`: these prices stay.
- `each_candle`: the row of each further candle counts. A stop moves up only; a target moves either
  way; a row without a price changes nothing.

The limit of a BUY is the price of its order, which stays open for `expiry_candles` candles; a BUY
without a limit is a market order. Limits of other signals have no effect.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import FloatArray, IntArray

#: When the stop or the target of an open position follows the strategy's column.
LevelMode = Literal["at_entry", "each_candle"]
LEVEL_MODES: Final[tuple[LevelMode, ...]] = get_args(LevelMode)
#: Name by which a limit price is stored, with the number of candles for which its order stays open.
_LIMIT_NAME: Final = re.compile(r"limit (\d+)_candles")
#: Part of a price by which two prices may differ and count as the same one.
SAME_PRICE: Final = 1e-9


class LevelRow(Struct, frozen=True):
    """Stop and target price of a strategy: given for one candle, or in force for a position."""

    stop: float | None = None
    """Price of the stop, quote currency; None: no price."""
    target: float | None = None
    """Price of the target, quote currency; None: no price."""
    stop_mode: LevelMode = "at_entry"
    """When the stop of a position follows further rows."""
    target_mode: LevelMode = "at_entry"
    """When the target of a position follows further rows."""
    limit: float | None = None
    """Price of the limit order that a BUY of the candle leads to, quote currency; None: a BUY is a
    market order."""
    expiry_candles: int = 1
    """Number of candles for which the limit order stays open."""

    def make_values(self) -> dict[str, float]:
        """Return the prices by the names that they are stored by, next to indicators."""
        prices = {
            f"stop {self.stop_mode}": self.stop,
            f"target {self.target_mode}": self.target,
            f"limit {self.expiry_candles}_candles": self.limit,
        }
        return {name: price for name, price in prices.items() if price is not None}


def parse_level_values(values: Mapping[str, float | None]) -> LevelRow | None:
    """Return the row of values that `LevelRow.make_values` has made; None: no price."""
    stop, target = (_find_price(values, name) for name in ("stop", "target"))
    expiry_candles, limit = _find_limit(values)
    if stop[1] is None and target[1] is None and limit is None:
        return None
    return LevelRow(stop[1], target[1], stop[0], target[0], limit, expiry_candles)


def _find_price(values: Mapping[str, float | None], name: str) -> tuple[LevelMode, float | None]:
    for mode in LEVEL_MODES:
        price = values.get(f"{name} {mode}")
        if price is not None:
            return mode, price
    return "at_entry", None


def _find_limit(values: Mapping[str, float | None]) -> tuple[int, float | None]:
    for name, price in values.items():
        found = _LIMIT_NAME.fullmatch(name)
        if found is not None and price is not None:
            return int(found[1]), price
    return 1, None


def update_levels(held: LevelRow | None, row: LevelRow | None) -> LevelRow | None:
    """Return the levels in force after the row of one further candle.

    Args:
        held: Levels in force before; None: none.
        row: Row of the candle; None: the strategy gave none.

    Returns:
        Stop and target in force, and the limit of `held`.
    """
    if row is None:
        return held
    held = held or LevelRow()
    stop, target = held.stop, held.target
    if row.stop_mode == "each_candle" and row.stop is not None:
        stop = row.stop if stop is None else max(stop, row.stop)
    if row.target_mode == "each_candle" and row.target is not None:
        target = row.target
    return replace(
        row, stop=stop, target=target, limit=held.limit, expiry_candles=held.expiry_candles
    )


def is_same_row(first: LevelRow, second: LevelRow) -> bool:
    """Return whether two rows have the same prices, up to a billionth: sums of floats differ."""
    return (
        _is_same_price(first.stop, second.stop)
        and _is_same_price(first.target, second.target)
        and _is_same_price(first.limit, second.limit)
    )


def _is_same_price(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=SAME_PRICE)


class LevelColumns(Struct, frozen=True):
    """Stop, target and limit of a strategy for each candle; arrays have shape (n,)."""

    stop: FloatArray | None = None
    """Price of the stop by candle, quote currency; NaN: no price. None: no such column."""
    target: FloatArray | None = None
    """Price of the target by candle, quote currency; NaN: no price. None: no such column."""
    stop_mode: LevelMode = "at_entry"
    """When the stop of a position follows further rows."""
    target_mode: LevelMode = "at_entry"
    """When the target of a position follows further rows."""
    limit: FloatArray | None = None
    """Limit price of a BUY by candle, quote currency; NaN: a market order. None: no such column."""
    expiry_candles: int = 1
    """Number of candles for which a limit order stays open."""
    expiry_by_candle: IntArray | None = None
    """Number of candles for which the limit order of each candle stays open, shape (n,), where
    parts of the range differ in it; None: `expiry_candles` for all."""
    after_gaps: tuple[int, ...] = ()
    """Indices of the candles after unexplained gaps, ascending: no limit order is open across a
    gap, because the missing candles may have filled it."""

    @property
    def has_exits(self) -> bool:
        """Return whether there is a stop or a target column."""
        return self.stop is not None or self.target is not None

    def get_expiry(self, index: int) -> int:
        """Return the number of candles for which the limit order of a candle stays open."""
        one = self.expiry_by_candle
        return self.expiry_candles if one is None else int(one[index])

    def get_row(self, index: int) -> LevelRow:
        """Return the row of the candle with this index; a negative index counts from the end."""
        return LevelRow(
            _get_price(self.stop, index),
            _get_price(self.target, index),
            self.stop_mode,
            self.target_mode,
            _get_price(self.limit, index),
            self.get_expiry(index),
        )


def _get_price(column: FloatArray | None, index: int) -> float | None:
    price = math.nan if column is None else float(column[index])
    return None if math.isnan(price) else price
