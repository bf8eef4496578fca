"""A freqtrade strategy file for tests."""

from pathlib import Path

CROSS = """from pandas import DataFrame

import freqtrade.vendor.qtpylib.indicators as qtpylib
from freqtrade.strategy import DecimalParameter, IntParameter, IStrategy, informative


class Cross(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "5m"
    minimal_roi = {"60": 0.01, "0": 0.04}
    stoploss = -0.10
    startup_candle_count: int = 30
    fast = IntParameter(2, 20, default=5, space="buy")
    width = DecimalParameter(0.5, 3.0, default=1.5, decimals=1, space="buy")
EXTRA

    def populate_indicators(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe["fast"] = dataframe["close"].rolling(self.fast.value).mean()
        dataframe["slow"] = dataframe["close"].rolling(20).mean()
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        crossed = qtpylib.crossed_above(dataframe["fast"], dataframe["slow"])
        dataframe.loc[crossed & (dataframe["volume"] > 0), ["enter_long", "enter_tag"]] = (1, "up")
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe.loc[qtpylib.crossed_below(dataframe["fast"], dataframe["slow"]), "exit_long"] = 1
        return dataframe
"""


def write_strategy(folder: Path, text: str, name: str = "cross.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def write_cross(folder: Path, extra: str = "") -> str:
    return write_strategy(folder, CROSS.replace("EXTRA", extra))
