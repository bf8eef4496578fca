"""The series that a program takes where nothing names another one."""

from typing import Final

DEFAULT_EXCHANGE: Final = "binance"
DEFAULT_SYMBOL: Final = "BTC/USDT"
DEFAULT_TIMEFRAME: Final = "1h"
