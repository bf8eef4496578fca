"""Timeframes: their length, and the open of the candle that holds a moment. All times are UTC.

`1w` opens on Monday 00:00 and `1M` on the first of the month at 00:00, as on Binance. Everything
else is a fixed number of seconds counted from the epoch.
"""

import re
from datetime import UTC, datetime
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.errors import UsageError

SECONDS_PER_UNIT: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
#: 1970-01-01 was a Thursday; the first Monday after it is 4 days on.
FIRST_MONDAY_SECONDS: Final = 4 * 86_400
#: A twelfth of a year of 365 days: the length of a month in annual metrics.
MONTH_SECONDS: Final = 365 * 86_400 // 12
_PATTERN: Final = re.compile(r"([1-9][0-9]{0,3})([smhdwM])")


class Timeframe(Struct, frozen=True):
    """A candle length under its CCXT name, such as `1h` or `1M`."""

    name: str
    """CCXT's name: a count and one of s, m, h, d, w, M (month)."""
    count: int
    """Number of units, such as 4 for 4h."""
    unit: str
    """Unit of time: one of s, m, h, d, w, M (month)."""

    @classmethod
    def parse(cls, name: str) -> "Timeframe":
        """Return the timeframe of that name.

        Raises:
            UsageError: the name is no timeframe.
        """
        match = _PATTERN.fullmatch(name)
        if match is None:
            raise UsageError(
                f"timeframe {name!r} was not understood; use a count and a unit, "
                "such as 1m, 15m, 1h, 4h, 1d, 1w or 1M (month)"
            )
        return cls(name=name, count=int(match[1]), unit=match[2])

    @property
    def is_month(self) -> bool:
        """Whether candles differ in length because they follow the calendar."""
        return self.unit == "M"

    @property
    def seconds(self) -> int:
        """Length in seconds; for months the nominal 30 days, for estimates only."""
        if self.is_month:
            return self.count * 30 * 86_400
        return self.count * SECONDS_PER_UNIT[self.unit]

    @property
    def average_seconds(self) -> int:
        """Length in seconds, a month being a twelfth of a year: to annualise metrics of candles."""
        return self.count * MONTH_SECONDS if self.is_month else self.seconds

    def floor(self, timestamp: int) -> int:
        """Return the open of the candle that holds `timestamp` (both epoch seconds)."""
        if self.is_month:
            return _compute_month_start(_compute_month_index(timestamp) // self.count * self.count)
        return (timestamp - self._anchor) // self.seconds * self.seconds + self._anchor

    def next(self, timestamp: int) -> int:
        """Return the close of the candle that contains `timestamp`, which is the next open."""
        if self.is_month:
            month = _compute_month_index(timestamp) // self.count * self.count
            return _compute_month_start(month + self.count)
        return self.floor(timestamp) + self.seconds

    def ceil(self, timestamp: int) -> int:
        """Return the first candle open at or after `timestamp`."""
        start = self.floor(timestamp)
        return start if start == timestamp else self.next(timestamp)

    def shift(self, timestamp: int, candles: int) -> int:
        """Return the open of the candle that is `candles` later (negative: earlier)."""
        start = self.floor(timestamp)
        if self.is_month:
            return _compute_month_start(_compute_month_index(start) + candles * self.count)
        return start + candles * self.seconds

    def count_between(self, start: int, end: int) -> int:
        """Return the number of candles that open in `[start, end)`, epoch seconds."""
        first, last = self.ceil(start), self.ceil(end)
        if last <= first:
            return 0
        if self.is_month:
            return (_compute_month_index(last) - _compute_month_index(first)) // self.count
        return (last - first) // self.seconds

    def is_open(self, timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the moments (epoch seconds, years 1 to 9999) at which candles open."""
        if self.is_month:
            months = timestamps.astype("datetime64[s]").astype("datetime64[M]")
            starts = months.astype("datetime64[s]").astype(np.int64)
            whole = (months.astype(np.int64) + 1970 * 12) % self.count == 0
            return (starts == timestamps) & whole
        return (timestamps - self._anchor) % self.seconds == 0

    @property
    def _anchor(self) -> int:
        """A moment, in epoch seconds, at which a candle of fixed length opens."""
        return FIRST_MONDAY_SECONDS if self.unit == "w" else 0


def _compute_month_index(timestamp: int) -> int:
    moment = datetime.fromtimestamp(timestamp, tz=UTC)
    return moment.year * 12 + moment.month - 1


def _compute_month_start(index: int) -> int:
    return int(datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC).timestamp())
