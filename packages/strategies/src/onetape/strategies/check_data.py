"""What a strategy is checked on: candles, the bars that are decided on, and their windows."""

import zlib
from collections.abc import Callable
from functools import cached_property

import numpy as np
from msgspec import Struct, field

from onetape.core.candles import Candles, IntArray, are_sound
from onetape.strategies.evaluation import last_signal
from onetape.strategies.higher_timeframes import Higher, HigherCandles
from onetape.strategies.interface import HOLD, SignalArray, Strategy
from onetape.strategies.lookback_window import window_size
from onetape.strategies.output_capture import muted
from onetape.strategies.registry import higher_lookback_of, lookback_of
from onetape.strategies.segments import (
    WHOLE,
    Segment,
    segment_at,
    segment_ends,
    signals_by_segment,
)

#: Returns a new instance of the strategy, its file run again.
Maker = Callable[[], Strategy]


class CheckData(Struct, frozen=True, dict=True):
    """The candles that a strategy is checked on."""

    candles: Candles
    """Traded candles, warm-up first."""
    higher: Higher = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType] - the alias states of what
    """All higher-timeframe candles, in addition to the traded ones."""
    first: int = 0
    """Index of the first candle after the warm-up."""
    segments: tuple[Segment, ...] = WHOLE
    """Parts of the candles without an unexplained gap; no window crosses from one to another."""
    are_known_sound: bool = False
    """Whether all candles have been found sound before."""

    def __len__(self) -> int:
        """Return the number of bars that can be checked."""
        return len(self.bars)

    @cached_property
    def bars(self) -> IntArray:
        """Return the bars that can be checked, increasing: those that are decided on."""
        ends = segment_ends(self.segments, len(self.candles))
        parts = [
            np.arange(max(segment.ready, self.first), end)
            for segment, end in zip(self.segments, ends, strict=True)
        ]
        return np.concatenate(parts)

    def signalling(self, signals: SignalArray, bars: IntArray) -> IntArray:
        """Return those of some bars, which increase, that signal something.

        Args:
            signals: The signals of all candles.
            bars: Some of the bars.
        """
        if not len(bars):
            return bars
        first, last = int(bars[0]), int(bars[-1])
        if last - first + 1 == len(bars):
            # A part without a break, as most are: no index for each of a million.
            return np.flatnonzero(signals[first : last + 1] != HOLD) + first
        return bars[signals[bars] != HOLD]

    @cached_property
    def are_sound(self) -> bool:
        """Return whether all candles are sound, so that no window need look."""
        return self.are_known_sound or are_sound(self.candles)

    @property
    def seed(self) -> int:
        """Return a number that equal candles share."""
        ends = self.candles[-1_000:]
        return zlib.crc32(ends.close.tobytes(), len(self.candles) ^ int(ends.timestamp[-1]))

    def window_start(self, bar: int, candles: int) -> int:
        """Return the first of the last `candles` candles up to a bar, inside its segment."""
        return max(segment_at(self.segments, bar).start, bar + 1 - candles)


class Windows(Struct, frozen=True):
    """Number of candles, of each timeframe, that the last signal is computed from."""

    candles: int
    higher: int
    """Number of candles of each higher timeframe before the first of `candles`."""

    @classmethod
    def of(cls, strategy: Strategy) -> "Windows":
        """Return the sizes of the windows that a trader passes to a strategy.

        Raises:
            ConfigurationError: the lookback of the strategy is invalid.
        """
        higher = higher_lookback_of(strategy) if strategy.higher_timeframes else 0
        return cls(window_size(lookback_of(strategy)), window_size(higher))


def signals_of(strategy: Strategy, data: CheckData) -> SignalArray:
    """Return the signals of all candles, as a backtest takes them."""
    with muted():
        return signals_by_segment(
            strategy, data.candles, data.higher, data.segments, are_sound=data.are_sound
        ).signal


def prefix_signal(strategy: Strategy, data: CheckData, bar: int) -> int:
    """Return the signal of a bar from all candles of its segment up to it."""
    segment, end = segment_at(data.segments, bar), bar + 1
    most = max(map(len, data.higher.values()), default=0)
    higher = segment.higher(data.candles, data.higher, segment.start, end, most)
    # A part of its own memory: behind it, the later candles could be read.
    candles = _copied(data.candles[segment.start : end])
    with muted():
        return last_signal(strategy, candles, _copied_higher(higher))


def window_signal(strategy: Strategy, data: CheckData, bar: int, windows: Windows) -> int:
    """Return the signal of a bar from its last candles, as a trader evaluates them."""
    segment, end = segment_at(data.segments, bar), bar + 1
    start = max(segment.start, end - windows.candles)
    higher = segment.higher(data.candles, data.higher, start, end, windows.higher)
    with muted():
        # A copy: a view of the candles would let a strategy read the memory of later candles.
        window = _copied(data.candles[start:end])
        return last_signal(strategy, window, _copied_higher(higher), are_sound=data.are_sound)


def _copied(candles: Candles) -> Candles:
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.timestamp.copy(), *(column.copy() for column in columns))


def _copied_higher(higher: Higher) -> Higher:
    return {
        name: HigherCandles.of(_copied(one), one.timeframe, one.visible)
        for name, one in higher.items()
    }
