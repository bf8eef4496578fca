"""Candles as NumPy columns, and the key of the series that they belong to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Names one series of candles."""

    exchange: str
    """CCXT exchange id, such as `binance`; `simulator` for the offline exchange."""
    symbol: str
    """CCXT spot symbol, such as `BTC/USDT`."""
    timeframe: str
    """CCXT timeframe, such as `1h`."""

    def __str__(self) -> str:
        """Return the key as a person writes it."""
        return f"{self.exchange} {self.symbol} {self.timeframe}"


@dataclass(frozen=True, slots=True)
class Candles:
    """Closed candles, oldest first, one array a column; all arrays have shape (n,)."""

    timestamp: IntArray
    """The candle's open, epoch seconds UTC, strictly increasing."""
    open: FloatArray
    """First price, in quote currency."""
    high: FloatArray
    """Highest price, in quote currency."""
    low: FloatArray
    """Lowest price, in quote currency."""
    close: FloatArray
    """Last price, in quote currency."""
    volume: FloatArray
    """Traded amount, in base currency."""

    @classmethod
    def from_columns(
        cls,
        timestamp: IntArray,
        open_: FloatArray,
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray,
    ) -> "Candles":
        """Return candles of these columns.

        Raises:
            ValueError: the columns differ in length.
        """
        columns = (timestamp, open_, high, low, close, volume)
        lengths = {len(column) for column in columns}
        if len(lengths) != 1:
            msg = f"candle columns must have one length, found {sorted(lengths)}"
            raise ValueError(msg)
        return cls(timestamp, open_, high, low, close, volume)

    @classmethod
    def empty(cls) -> "Candles":
        """Return no candles."""
        none = np.empty(0, dtype=np.float64)
        return cls(np.empty(0, dtype=np.int64), none, none, none, none, none)

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.timestamp)

    def __getitem__(self, rows: slice) -> "Candles":
        """Return the candles of a slice, as views of the same memory."""
        return Candles(
            self.timestamp[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
        )

    def frame(self) -> "pd.DataFrame":
        """Return the candles as a pandas DataFrame, indexed by their open (UTC datetimes)."""
        import pandas as pd

        index = pd.DatetimeIndex(pd.to_datetime(self.timestamp, unit="s", utc=True), name="date")
        columns = {
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
        }
        return pd.DataFrame(columns, index=index)
