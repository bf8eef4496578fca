"""Higher-timeframe candles for a strategy: closed ones only.

    class Mine(Strategy):
        higher_timeframes = ("1d",)

        def evaluate(self, candles, higher):
            daily = higher["1d"]
            trend = daily.as_of(indicators.sma(daily.close, 20))   # one value per traded candle
            signal = np.where(candles.close > trend, 1, -1)

A column of `higher["1d"]` has one value per day. `as_of` turns it into one value per traded candle:
on each bar the value of the last day that had closed by the close of that bar.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from onetape.core.candle_gaps import compute_next_opens
from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.resample import check_multiple
from onetape.core.timeframes import Timeframe


class HigherCandles(Candles, frozen=True):
    """Closed candles of a higher timeframe, with the number that each traded candle may use."""

    timeframe: Timeframe
    """Higher timeframe of these candles, such as `1d`."""
    visible: IntArray
    """Number of these candles that had closed by the close of each traded candle, shape (n,) of
    the traded candles."""

    @classmethod
    def from_candles(
        cls, candles: Candles, timeframe: Timeframe, visible: IntArray
    ) -> "HigherCandles":
        """Return candles of a higher timeframe, with the number that each traded candle may use."""
        return cls(
            candles.timestamp,
            candles.open,
            candles.high,
            candles.low,
            candles.close,
            candles.volume,
            timeframe,
            visible,
        )

    def as_of(self, column: FloatArray) -> FloatArray:
        """Return for each traded candle the value of the last higher candle that had closed.

        Args:
            column: One value per higher-timeframe candle, computed from these candles.

        Returns:
            One value per traded candle; NaN before the first higher candle has closed.

        Raises:
            ValueError: the column has another length.
        """
        values: FloatArray = np.asarray(column, dtype=np.float64)
        if values.shape != (len(self),):
            raise ValueError(
                f"as_of takes one value for each of the {len(self):,} {self.timeframe.name} "
                f"candles, found shape {values.shape}; make the column of higher[...] itself"
            )
        aligned = np.full(len(self.visible), np.nan)
        known = self.visible > 0
        aligned[known] = values[self.visible[known] - 1]
        return aligned

    def select_known(
        self, candles: Candles, start: int, end: int, count: int, *, since: int = 0
    ) -> "HigherCandles":
        """Return the higher-timeframe candles known if only the traded candles `[start, end)` are.

        Args:
            candles: All traded candles.
            start: Index of the first known traded candle.
            end: Index after the last known traded candle; at least one is known.
            count: Number of known higher candles before the first traded one, by their times.
            since: Higher candles that open earlier are not known, epoch seconds.
        """
        last = int(self.visible[end - 1])
        first = 0
        if count < last:
            since = max(since, self.timeframe.shift(int(candles.timestamp[start]), -count))
        if since:
            first = min(int(np.searchsorted(self.timestamp, since)), last)
        visible = np.maximum(self.visible[start:end] - first, 0)
        known = self[first:last]
        return HigherCandles.from_candles(known, self.timeframe, visible)


#: Argument `higher` of `evaluate`: higher-timeframe candles by timeframe.
Higher = Mapping[str, HigherCandles]


def align_higher_candles(
    candles: Candles, timeframe: Timeframe, higher_candles: Candles, higher_timeframe: Timeframe
) -> HigherCandles:
    """Return higher-timeframe candles, with the number that each traded candle may use.

    Args:
        candles: The traded candles.
        timeframe: Timeframe of the traded candles.
        higher_candles: Closed candles of the higher timeframe, oldest first; those that close
            after the last traded one are left out.
        higher_timeframe: Timeframe of `higher_candles`.
    """
    closes = compute_next_opens(higher_candles.timestamp, higher_timeframe)
    visible = np.searchsorted(
        closes, compute_next_opens(candles.timestamp, timeframe), side="right"
    )
    known = higher_candles[: int(visible[-1]) if len(visible) else 0]
    return HigherCandles.from_candles(known, higher_timeframe, visible.astype(np.int64))


def collect_higher_timeframes(strategy: Any, timeframe: Timeframe) -> tuple[Timeframe, ...]:
    """Return the higher timeframes that a strategy needs.

    Args:
        strategy: Any strategy.
        timeframe: Timeframe of the traded candles.

    Raises:
        ConfigurationError: `higher_timeframes` of the strategy holds an invalid timeframe.
        UsageError: a higher timeframe is no multiple of the traded one.
    """
    names: Any = strategy.higher_timeframes
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"strategy {strategy.name}: higher_timeframes must be a tuple of names such as "
            f'("1d",), found {names!r}; fix it in its file'
        )
    found: list[Timeframe] = []
    for name in names:
        try:
            higher_timeframe = Timeframe.parse(name)
            check_multiple(timeframe, higher_timeframe)
        except UsageError as error:
            raise UsageError(f"strategy {strategy.name} needs {name} candles: {error}") from error
        found.append(higher_timeframe)
    return tuple(found)
