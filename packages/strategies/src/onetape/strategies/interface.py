"""The interface of a strategy: a frozen dataclass of parameters with one pure method.

    from dataclasses import dataclass
    from typing import Any, ClassVar
    from onetape.strategies import Signals, Strategy, indicators, parameter

    @dataclass(frozen=True)
    class Mine(Strategy):
        name: ClassVar[str] = "mine"
        period: int = parameter(20, ge=2, le=500, help="Bars of the average.")

        @property
        def lookback(self) -> int:
            return self.period + 1

        def evaluate(self, candles, higher):
            average = indicators.sma(candles.close, self.period)
            signal = indicators.crosses(candles.close, average, candles.close * indicators.NOISE)
            return Signals(signal, {"average": average}, overlays=frozenset({"average"}))

The signal of bar t is known at its close and filled at the open of bar t + 1. BUY while long and
SELL while flat do nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray
from onetape.strategies.higher_timeframes import HigherCandles, Market
from onetape.strategies.parameters import check_parameters

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelColumns, LevelMode

SignalArray = NDArray[np.int8]

BUY = 1
HOLD = 0
SELL = -1


class Signals(Struct, frozen=True):
    """Signals of a strategy, one for each candle; all arrays have shape (n,)."""

    signal: SignalArray
    """Signal of each candle: 1 BUY, -1 SELL, 0 HOLD, shape (n,)."""
    indicators: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    """Columns to draw, by name and in drawing order, each of shape (n,); NaN where not known."""
    overlays: frozenset[str] = frozenset()
    """The indicators in the unit of the price, drawn over the candles.

    Other indicators get separate panes; names that begin with the same word share a pane, such as
    `MACD` and `MACD signal`.
    """
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Guide lines to draw in an indicator's pane."""
    reason: NDArray[np.integer[Any]] | None = None
    """Code of the reason of each candle's signal, shape (n,); its text is in `reason_texts`."""
    reason_texts: Mapping[int, str] = field(default_factory=dict[int, str])
    """Text of each reason code."""

    conditions: Mapping[str, NDArray[np.bool_]] = field(
        default_factory=dict[str, NDArray[np.bool_]]
    )
    """Named conditions, whether each is met per candle, such as {"rsi low": rsi < 30}."""
    stop: FloatArray | None = None
    """Price at which a position is sold at the market, NaN for no price, shape (n,).

    The price of a candle acts from the next candle on. With NaN the last price stays.
    """
    target: FloatArray | None = None
    """Price of a limit order that sells a position, NaN for no price, shape (n,)."""
    stop_mode: "LevelMode" = "at_entry"
    """`at_entry`: the stop of the candle with the BUY stays; `each_candle`: the stop moves, up
    only."""
    target_mode: "LevelMode" = "at_entry"
    """`at_entry`: the target of the candle with the BUY stays; `each_candle`: the target moves."""
    limit: FloatArray | None = None
    """Price of the limit order that a BUY leads to, NaN for a market order, shape (n,).

    The strategy must state `limit_expiry_candles`.
    """
    limit_expiry_candles: int = 1
    """Number of candles for which a limit order stays open: that of the strategy, which
    `evaluate_strategy` sets."""

    @property
    def level_columns(self) -> "LevelColumns | None":
        """Return stop, target and limit of each candle; None where the strategy gives none."""
        if self.stop is None and self.target is None and self.limit is None:
            return None
        # Most strategies give none, and load none of it.
        from onetape.core.strategy_levels import LevelColumns

        return LevelColumns(
            self.stop,
            self.target,
            self.stop_mode,
            self.target_mode,
            self.limit,
            self.limit_expiry_candles,
        )

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.signal)

    def get_reason_text(self, index: int) -> str:
        """Return the reason of a candle's signal; empty where none was given."""
        return "" if self.reason is None else self.reason_texts.get(int(self.reason[index]), "")

    def format_met_conditions(self, index: int) -> str:
        """Return the names of the conditions that are met on a candle, joined; empty: none."""
        return ", ".join(name for name, column in self.conditions.items() if column[index])

    def format_conditions(self, index: int) -> str:
        """Return the conditions that are not met on a candle, and those that are, as text."""
        missing = ", ".join(name for name, column in self.conditions.items() if not column[index])
        texts = (("not met", missing), ("met", self.format_met_conditions(index)))
        return "; ".join(f"{label}: {names}" for label, names in texts if names)


@dataclass(frozen=True)
class Strategy(ABC):
    """Base of all strategies. Subclasses are frozen dataclasses whose fields are the parameters.

    `evaluate` is pure: no file, no network, no clock, no state between calls. It may be called
    from several threads.
    """

    name: ClassVar[str]
    """Name of the strategy on the command line: lower case, digits, underscores."""
    higher_timeframes: ClassVar[tuple[str, ...]] = ()
    """CCXT timeframes above the traded one that `evaluate` needs in `higher`, such as ("1d",)."""
    informative: ClassVar[tuple[Market, ...]] = ()
    """Other markets that `evaluate` needs in `higher`, such as (Market("BTC/USDT", "1h"),)."""

    def __post_init__(self) -> None:
        """Check the parameters; a subclass that overrides this calls it first.

        Raises:
            UsageError: a parameter is out of bounds or of the wrong type.
        """
        check_parameters(self)

    @property
    def startup_candle_count(self) -> int:
        """Number of candles at the beginning of a series that give no signal; 0 by default.

        If a series begins inside the range of a backtest of one symbol, the backtest starts after
        these candles.
        """
        return 0

    @property
    def limit_expiry_candles(self) -> int | None:
        """Number of candles for which a limit order to buy stays open; None: no limit orders.

        A strategy that gives `Signals.limit` overrides it.
        """
        return None

    @property
    @abstractmethod
    def lookback(self) -> int:
        """Number of candles that give the last signal exactly as all candles would."""

    @property
    def higher_lookback(self) -> int:
        """Number of candles of each entry of `higher` that the last signal depends on.

        By default it equals `lookback`.
        """
        return self.lookback

    @abstractmethod
    def evaluate(self, candles: Candles, higher: Mapping[str, HigherCandles]) -> Signals:
        """Return the signals of these candles.

        Args:
            candles: Closed candles, oldest first, at least one.
            higher: Closed candles of each of `higher_timeframes`, by timeframe, and of each market
                of `informative`, by its name, such as `BTC/USDT 1h`; `as_of` brings their columns
                to the traded candles.

        Returns:
            One signal per candle; that of candle i depends on candles 0 to i only.
        """

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return a description of one candle by the strategy, for the trader's line.

        Args:
            signals: Signals that `evaluate` returned.
            index: The candle; -1 is the last.
            holding: Whether a position is open, so that the next order would be a SELL.
        """
        del holding
        shown = (
            f"{name} {(format_level if name in signals.overlays else format_value)(column[index])}"
            for name, column in signals.indicators.items()
        )
        columns = signals.level_columns
        levels = {} if columns is None else columns.get_row(index).make_values()
        prices = (f"{name.split()[0]} {format_level(price)}" for name, price in levels.items())
        return "; ".join(
            text
            for text in (signals.format_conditions(index), ", ".join([*shown, *prices]))
            if text
        )


def format_value(value: float) -> str:
    """Return an indicator's value with the digits that matter: `61,240`, `-12.3`, `0.00081`."""
    size = abs(value)
    if math.isnan(value):
        return "unknown"
    if size >= 10_000:
        return f"{value:,.0f}"
    if size >= 100 or size == 0:
        return f"{value:,.1f}"
    if size >= 1:
        return f"{value:.2f}"
    decimals = min(2 - math.floor(math.log10(size)), 20)
    return f"{value:.{decimals}f}"


def format_level(value: float) -> str:
    """Return a value in the unit of the price: as `format_value`, with six digits under 100.

    So `1.08013` can be compared with a price of 1.0801.
    """
    size = abs(value)
    if not 0 < size < 100:
        return format_value(value)
    return f"{value:.{min(5 - math.floor(math.log10(size)), 20)}f}"
