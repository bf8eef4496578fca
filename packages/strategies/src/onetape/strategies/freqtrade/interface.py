"""freqtrade's `IStrategy` and `DataProvider`, as far as a strategy file can use them here.

Names and arguments are freqtrade's.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

#: Name of the traded pair in `metadata["pair"]` and `current_whitelist`, in place of the real one.
TRADED_PAIR = "traded pair"


class DataProvider:
    """Candles of the traded pair in higher timeframes, and of other pairs, for `self.dp`."""

    def __init__(self, frames: Mapping[tuple[str, str], Any]) -> None:
        """Take a DataFrame for each pair and timeframe."""
        self._frames = frames

    def current_whitelist(self) -> list[str]:
        """Return the traded pair."""
        return [TRADED_PAIR]

    def get_pair_dataframe(
        self, pair: str, timeframe: str | None = None, candle_type: str = ""
    ) -> Any:
        """Return the closed candles of a timeframe as a DataFrame.

        Raises:
            ValueError: the strategy has not declared pair and timeframe, or the candles are not
                those of a spot market.
        """
        if candle_type not in ("", "spot"):
            msg = f"only spot candles are there, found {candle_type} of {pair!r}"
            raise ValueError(msg)
        if timeframe is None or (pair, timeframe) not in self._frames:
            name = "pair" if pair == TRADED_PAIR else repr(pair)
            msg = f"informative_pairs() must return ({name}, {timeframe!r}) for these candles"
            raise ValueError(msg)
        return self._frames[pair, timeframe].copy()


class IStrategy:
    """Base class of freqtrade strategies, as strategy files import it; makes no signals itself."""

    INTERFACE_VERSION: ClassVar[int] = 3
    timeframe: str = ""
    startup_candle_count: int = 0
    use_exit_signal: bool = True
    dp: DataProvider

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take a configuration, which is empty here."""
        self.config = config

    def version(self) -> str | None:
        """Return the version of the strategy; None: none is stated."""
        return None

    def get_strategy_name(self) -> str:
        """Return the name of the class."""
        return type(self).__name__

    def informative_pairs(self) -> list[Any]:
        """Return pairs with their timeframes that the strategy reads in addition: none."""
        return []

    def populate_indicators(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Return the candles with columns of indicators."""
        del metadata
        return dataframe

    def populate_entry_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Return the candles with `enter_long`; by default that of `populate_buy_trend`."""
        return self.populate_buy_trend(dataframe, metadata)

    def populate_exit_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Return the candles with `exit_long`; by default that of `populate_sell_trend`."""
        return self.populate_sell_trend(dataframe, metadata)

    def populate_buy_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Return the candles with `buy`, freqtrade's older word for `enter_long`."""
        del metadata
        return dataframe

    def populate_sell_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Return the candles with `sell`, freqtrade's older word for `exit_long`."""
        del metadata
        return dataframe
