"""Default exchange, symbol and timeframe of the programs."""

from typing import Final

DEFAULT_EXCHANGE: Final = "binance"
DEFAULT_SYMBOL: Final = "BTC/USDT"
DEFAULT_TIMEFRAME: Final = "1h"
