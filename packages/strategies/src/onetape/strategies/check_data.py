"""Input of a bias check: candles, the bars whose signals are checked, and their windows.

A window is the candles that a trader passes to the strategy at a bar's close. The functions return
the three signals that `lookahead_check.py` compares.
"""

import zlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct, field

from onetape.core.candles import Candles, IntArray, are_sound
from onetape.strategies.evaluation import evaluate_last_levels, evaluate_last_signal
from onetape.strategies.higher_timeframes import Higher, collect_input_names
from onetape.strategies.interface import HOLD, SignalArray, Signals, Strategy
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.output_capture import discard_stderr
from onetape.strategies.registry import get_higher_lookback, get_lookback
from onetape.strategies.segments import (
    WHOLE,
    Segment,
    compute_segment_ends,
    evaluate_by_segment,
    find_segment,
)

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelRow

#: Runs the strategy's file again and returns a new instance of the strategy.
StrategyMaker = Callable[[], Strategy]


class CheckData(Struct, frozen=True, dict=True):
    """The candles that a strategy is checked on."""

    candles: Candles
    """Traded candles, warm-up first."""
    higher: Higher = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType] - the alias states of what
    """Candles of each higher timeframe and other market that the strategy uses."""
    first: int = 0
    """Index of the first candle after the warm-up."""
    segments: tuple[Segment, ...] = WHOLE
    """Parts of the candles without an unexplained gap; no window crosses from one to another."""
    are_known_sound: bool = False
    """Whether an earlier check has found all candles sound."""

    def __len__(self) -> int:
        """Return the number of bars that can be checked."""
        return len(self.bars)

    @cached_property
    def bars(self) -> IntArray:
        """Return the indices of the bars that can be checked (after their warm-up), increasing."""
        ends = compute_segment_ends(self.segments, len(self.candles))
        parts = [
            np.arange(max(segment.ready, self.first), end)
            for segment, end in zip(self.segments, ends, strict=True)
        ]
        return np.concatenate(parts)

    def find_signalling_bars(self, signals: SignalArray, bars: IntArray) -> IntArray:
        """Return the bars with a BUY or SELL out of some bars, increasing.

        Args:
            signals: The signals of all candles.
            bars: Some of the bars.
        """
        if not len(bars):
            return bars
        first, last = int(bars[0]), int(bars[-1])
        if last - first + 1 == len(bars):
            # Consecutive bars, the usual case: a slice is faster than an index for each bar.
            return np.flatnonzero(signals[first : last + 1] != HOLD) + first
        return bars[signals[bars] != HOLD]

    @cached_property
    def are_sound(self) -> bool:
        """Return whether all candles are sound, so that no window need be checked."""
        return self.are_known_sound or are_sound(self.candles)

    @property
    def seed(self) -> int:
        """Return a random seed that is the same for equal candles."""
        ends = self.candles[-1_000:]
        return zlib.crc32(ends.close.tobytes(), len(self.candles) ^ int(ends.timestamp[-1]))

    def find_window_start(self, bar: int, candles: int) -> int:
        """Return the first of the last `candles` candles up to a bar, inside its segment."""
        return max(find_segment(self.segments, bar).start, bar + 1 - candles)


class WindowSizes(Struct, frozen=True):
    """Number of candles of each timeframe in a window, which the last signal is computed from."""

    candles: int
    """Number of traded candles."""
    higher: int
    """Number of candles of each entry of `higher` before the first of `candles`."""

    @classmethod
    def from_strategy(cls, strategy: Strategy) -> "WindowSizes":
        """Return the sizes of the windows that a trader passes to a strategy.

        Raises:
            ConfigurationError: the lookback of the strategy is invalid.
        """
        higher = get_higher_lookback(strategy) if collect_input_names(strategy) else 0
        return cls(compute_window_size(get_lookback(strategy)), compute_window_size(higher))


def evaluate_signals(strategy: Strategy, data: CheckData) -> SignalArray:
    """Return the signals of all candles, as a backtest computes them, shape (n,)."""
    return evaluate_all(strategy, data).signal


def evaluate_all(strategy: Strategy, data: CheckData) -> Signals:
    """Return signals, stops and targets of all candles, as a backtest takes them."""
    with discard_stderr():
        return evaluate_by_segment(
            strategy, data.candles, data.higher, data.segments, are_sound=data.are_sound
        )


def evaluate_prefix_signal(strategy: Strategy, data: CheckData, bar: int) -> int:
    """Return the signal of a bar from all candles of its segment up to it."""
    candles, higher = _select_prefix(data, bar)
    with discard_stderr():
        return evaluate_last_signal(strategy, candles, higher)


def evaluate_prefix_levels(strategy: Strategy, data: CheckData, bar: int) -> "LevelRow":
    """Return stop and target of a bar from all candles of its segment up to it."""
    candles, higher = _select_prefix(data, bar)
    with discard_stderr():
        return evaluate_last_levels(strategy, candles, higher)


def _select_prefix(data: CheckData, bar: int) -> tuple[Candles, Higher]:
    """Return all candles of a bar's segment up to it, and the higher ones."""
    segment, end = find_segment(data.segments, bar), bar + 1
    count = max(map(len, data.higher.values()), default=0)
    higher = segment.select_higher(data.candles, data.higher, segment.start, end, count)
    # A copy, because a strategy could reach the later candles through a view of the array.
    return _copy_candles(data.candles[segment.start : end]), _copy_higher_candles(higher)


def evaluate_window_signal(
    strategy: Strategy, data: CheckData, bar: int, windows: WindowSizes
) -> int:
    """Return the signal of a bar from its last candles, as a trader evaluates them."""
    candles, higher = _select_window(data, bar, windows)
    with discard_stderr():
        return evaluate_last_signal(strategy, candles, higher, are_sound=data.are_sound)


def evaluate_window_levels(
    strategy: Strategy, data: CheckData, bar: int, windows: WindowSizes
) -> "LevelRow":
    """Return stop and target of a bar from its last candles, as a trader evaluates them."""
    candles, higher = _select_window(data, bar, windows)
    with discard_stderr():
        return evaluate_last_levels(strategy, candles, higher, are_sound=data.are_sound)


def _select_window(data: CheckData, bar: int, windows: WindowSizes) -> tuple[Candles, Higher]:
    """Return the last candles of a bar, and the higher ones."""
    segment, end = find_segment(data.segments, bar), bar + 1
    start = max(segment.start, end - windows.candles)
    higher = segment.select_higher(data.candles, data.higher, start, end, windows.higher)
    # A copy, because a strategy could reach the later candles through a view of the array.
    return _copy_candles(data.candles[start:end]), _copy_higher_candles(higher)


def _copy_candles(candles: Candles) -> Candles:
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.timestamp.copy(), *(column.copy() for column in columns))


def _copy_higher_candles(higher: Higher) -> Higher:
    return {name: one.copy_with(_copy_candles(one), one.visible) for name, one in higher.items()}
