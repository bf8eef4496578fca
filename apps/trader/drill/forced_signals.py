"""The strategy of a drill: evaluates the user's strategy, and signals at fixed candles instead.

A strategy may signal once a month, and a drill has minutes. So the code of the user's strategy runs
on every candle as in the trader, with its own lookback, higher timeframes and other markets, and
its signals are replaced. Its stop and target stay, except where a BUY of the drill could not have
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray
from onetape.strategies import Signals, Strategy, load_strategy
from onetape.strategies.higher_timeframes import HigherCandles
from trader.drill.schedule import Schedule
from trader.drill.strategy_levels import make_entry_levels

#: Text of the strategy file that the drill writes for its trader.
_FILE = '''"""The strategy of a drill: {name}, with signals at fixed candles."""

from dataclasses import dataclass
from typing import ClassVar

from onetape.strategies import Market
from trader.drill.forced_signals import ForcedSignals, load


@dataclass(frozen=True)
class Drilled(ForcedSignals):
    """{name}, with signals at fixed candles."""

    name: ClassVar[str] = "drilled"
    tried: ClassVar = load({name!r}, {parameters!r}, {folder!r})
    higher_timeframes: ClassVar[tuple[str, ...]] = tried.higher_timeframes
    informative: ClassVar[tuple[Market, ...]] = tried.informative
    buys: ClassVar[tuple[int, ...]] = {buys!r}
    sells: ClassVar[tuple[int, ...]] = {sells!r}
'''


@dataclass(frozen=True)
class ForcedSignals(Strategy):
    """Evaluates a strategy, and replaces its signals; the written file has a subclass."""

    tried: ClassVar[Strategy]
    """Strategy of the user, whose signals are replaced."""
    buys: ClassVar[tuple[int, ...]]
    """Opens of the candles with a BUY, epoch seconds."""
    sells: ClassVar[tuple[int, ...]]
    """Opens of the candles with a SELL, epoch seconds."""

    @property
    def lookback(self) -> int:
        """Return the lookback of the strategy."""
        return type(self).tried.lookback

    @property
    def higher_lookback(self) -> int:
        """Return the strategy's lookback in higher timeframes and other markets."""
        return type(self).tried.higher_lookback

    def evaluate(self, candles: Candles, higher: Mapping[str, HigherCandles]) -> Signals:
        """Evaluate the strategy; arguments as of `Strategy.evaluate`."""
        found = type(self).tried.evaluate(candles, higher)
        is_buy = np.isin(candles.timestamp, type(self).buys)
        is_sell = np.isin(candles.timestamp, type(self).sells)
        signal = is_buy.astype(np.int8) - is_sell.astype(np.int8)
        levels = found.level_columns
        if levels is None:
            return structs.replace(found, signal=signal)
        entry = make_entry_levels(levels, candles.close)
        return structs.replace(
            found,
            signal=signal,
            stop=_replace_at(is_buy, entry.stop, levels.stop),
            target=_replace_at(is_buy, entry.target, levels.target),
        )


def _replace_at(
    is_buy: NDArray[np.bool_], entry: FloatArray | None, own: FloatArray | None
) -> FloatArray | None:
    """Return the strategy's prices, at the candles with a BUY of the drill those of the entry."""
    return None if entry is None or own is None else np.where(is_buy, entry, own)


def load(name: str, parameters: Mapping[str, object], folder: str) -> Strategy:
    """Return the strategy of the user; arguments and errors as of `load_strategy`."""
    return load_strategy(name, dict(parameters), Path(folder))


def make_strategy_source(
    name: str, parameters: Mapping[str, object], folder: Path, schedule: Schedule
) -> str:
    """Return the text of the strategy file of a drill; it is not written.

    Args:
        name: Name of the user's strategy: built in, in `folder`, or `path/to/file.py:Class`.
        parameters: Parameters of the user's strategy.
        folder: The user's folder.
        schedule: Candles of the signals.
    """
    path, colon, class_name = name.rpartition(":")
    if colon and path.endswith(".py"):
        name = f"{Path(path).resolve()}:{class_name}"
    elif name.endswith(".py"):
        name = str(Path(name).resolve())
    return _FILE.format(
        name=name,
        parameters=dict(parameters),
        folder=str(folder.resolve()),
        buys=schedule.buys,
        sells=schedule.sells,
    )
