"""Candles as a tuple and as NumPy columns, the rules of a valid candle, and the key of a series.

A candle is sound if its open is a time at which a candle of its timeframe opens, its values are
finite and within the limits below, and its low and high enclose open and close.
"""

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.timeframes import Timeframe

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


#: Last second at which a candle may open: the year 3000. Milliseconds as seconds exceed it.
LATEST_TIMESTAMP = 32_503_680_000
#: Upper bound of prices in any quote currency; infinity is above it.
PRICE_LIMIT = 1e15
#: Upper bound of volumes in any base currency.
VOLUME_LIMIT = 1e18

_TIME_OUT_OF_RANGE = "time out of range"
_OFF_GRID = "time is not the open of a {} candle"


class Candle(NamedTuple):
    """One candle as a tuple: epoch seconds, prices in quote, volume in base currency."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def find_candle_fault(candle: Candle, timeframe: Timeframe) -> str | None:
    """Return a short text on the fault of a candle that may not be stored; None: sound."""
    timestamp = candle.timestamp
    if not 0 <= timestamp <= LATEST_TIMESTAMP:
        return _TIME_OUT_OF_RANGE
    if timeframe.floor(timestamp) != timestamp:
        return _OFF_GRID.format(timeframe.name)
    return next((fault for holds, fault in _make_value_rules(*candle[1:]) if not holds), None)


def find_candle_faults(candles: "Candles", timeframe: Timeframe) -> dict[int, str]:
    """Return a short text on the first fault of each unsound row, by row number in order.

    The rules are those of `find_candle_fault`. Sound rows are not in the result.
    """
    timestamp = candles.timestamp
    in_range = (timestamp >= 0) & (timestamp <= LATEST_TIMESTAMP)
    rules = (
        (in_range, _TIME_OUT_OF_RANGE),
        (timeframe.is_open(np.where(in_range, timestamp, 0)), _OFF_GRID.format(timeframe.name)),
        *_make_value_rules(candles.open, candles.high, candles.low, candles.close, candles.volume),
    )
    # Backwards, so that the first fault of a row overwrites later ones.
    found = {row: fault for holds, fault in rules[::-1] for row in np.flatnonzero(~holds).tolist()}
    return dict(sorted(found.items()))


def are_sound(candles: "Candles") -> bool:
    """Return whether prices and volumes of all rows are sound; times are not checked.

    The rules are those of `find_candle_fault`; this check is faster than a search for the faults.
    """
    open_, high, low, close = candles.open, candles.high, candles.low, candles.close
    volume = candles.volume
    # NaN makes every comparison false.
    return not len(candles) or bool(
        low.min() > 0
        and high.max() < PRICE_LIMIT
        and volume.min() >= 0
        and volume.max() < VOLUME_LIMIT
        and (low <= open_).all()
        and (low <= close).all()
        and (high >= open_).all()
        and (high >= close).all()
    )


def find_first_fault(candles: "Candles") -> tuple[int, str] | None:
    """Return the number of the first row whose prices or volume are unsound, and its fault.

    None: all rows are sound. Times are not checked.
    """
    if are_sound(candles):
        return None
    rules = _make_value_rules(
        candles.open, candles.high, candles.low, candles.close, candles.volume
    )
    faulty = np.flatnonzero(~np.logical_and.reduce([holds for holds, _ in rules]))
    return int(faulty[0]), next(fault for holds, fault in rules if not holds[faulty[0]])


# Any: five floats, or five arrays. A rule for both can only be written with `&` and without `not`;
# each comparison is false for NaN.
def _make_value_rules(
    open_: Any, high: Any, low: Any, close: Any, volume: Any
) -> tuple[tuple[Any, str], ...]:
    """Return each condition for prices and volume with the text of the fault if it is false."""
    finite = (
        (abs(open_) < inf)
        & (abs(high) < inf)
        & (abs(low) < inf)
        & (abs(close) < inf)
        & (abs(volume) < inf)
    )
    positive = (open_ > 0) & (high > 0) & (low > 0) & (close > 0)
    bounded = (
        (open_ < PRICE_LIMIT) & (high < PRICE_LIMIT) & (low < PRICE_LIMIT) & (close < PRICE_LIMIT)
    )
    return (
        (finite, "a value is not a finite number"),
        (positive & bounded, "a price is out of range"),
        ((volume >= 0) & (volume < VOLUME_LIMIT), "volume is out of range"),
        (
            (high >= open_) & (high >= close) & (low <= open_) & (low <= close),
            "high or low does not hold open and close",
        ),
    )


class SeriesKey(Struct, frozen=True):
    """Key of one series of candles: exchange, symbol and timeframe."""

    exchange: str
    """CCXT exchange id, such as `binance`; `simulator` for the offline exchange."""
    symbol: str
    """CCXT spot symbol, such as `BTC/USDT`."""
    timeframe: str
    """CCXT timeframe, such as `1h`."""

    @property
    def names(self) -> tuple[str, str, str]:
        """Exchange, symbol and timeframe as a tuple, to bind to the key columns of a table."""
        return self.exchange, self.symbol, self.timeframe

    def __str__(self) -> str:
        """Return the key as text, such as `binance BTC/USDT 1h`."""
        return f"{self.exchange} {self.symbol} {self.timeframe}"


class Candles(Struct, frozen=True):
    """Closed candles, oldest first, one array per column; all arrays have shape (n,)."""

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
        """Return candles made of these columns, each of shape (n,).

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
    def make_empty(cls) -> "Candles":
        """Return columns of length 0."""
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

    def take(self, numbers: NDArray[np.integer]) -> "Candles":
        """Return the candles with these indices, in the order of the indices, as copies."""
        return Candles(
            self.timestamp[numbers],
            self.open[numbers],
            self.high[numbers],
            self.low[numbers],
            self.close[numbers],
            self.volume[numbers],
        )

    def concat(self, later: "Candles") -> "Candles":
        """Return these candles followed by `later`; the order of times is not checked."""
        if not len(self):
            return later
        return Candles(
            np.concatenate((self.timestamp, later.timestamp)),
            np.concatenate((self.open, later.open)),
            np.concatenate((self.high, later.high)),
            np.concatenate((self.low, later.low)),
            np.concatenate((self.close, later.close)),
            np.concatenate((self.volume, later.volume)),
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
