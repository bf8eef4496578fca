"""Segments: parts of a series without an unexplained gap, which no window of a strategy crosses.

Each segment is evaluated alone. Signals begin at the candle whose window, as a trader would read
it, lies inside the segment; the candles before are the warm-up, and their signals are HOLD. The
beginning of a series is not a gap: a strategy then gets a shorter window. Candles that are proven
to be missing at the exchange are not a gap here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from onetape.core.candle_gaps import compute_next_opens
from onetape.core.candles import Candles, FloatArray
from onetape.core.timeframes import Timeframe
from onetape.strategies.evaluation import evaluate_strategy
from onetape.strategies.higher_timeframes import Higher
from onetape.strategies.interface import BUY, HOLD, SignalArray, Signals, Strategy
from onetape.strategies.registry import get_lookback

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelColumns

#: Half-open range of candle opens, epoch seconds.
Range = tuple[int, int]


class IndexedGap(Struct, frozen=True):
    """An unexplained gap of the traded candles."""

    start: int
    """Open of the first missing candle, epoch seconds."""
    end: int
    """Open of the first candle after the missing ones, epoch seconds."""
    at: int
    """Index of the first stored candle after the gap."""


class InputGaps(Struct, frozen=True):
    """The unexplained gaps of a series that a strategy reads in addition to the traded one."""

    timeframe: Timeframe
    """Timeframe of the series."""
    ranges: tuple[Range, ...] = ()
    """The gaps, oldest first."""
    label: str = ""
    """Name of the series for output, such as `1d` or `BTC/USDT 1h`."""

    def find_latest(self, close: int) -> Range | None:
        """Return the latest gap whose first candle had closed by a time, epoch seconds, if any."""
        return next(
            (gap for gap in reversed(self.ranges) if self.timeframe.next(gap[0]) <= close), None
        )


class UnexplainedGaps(Struct, frozen=True):
    """The unexplained gaps of the candles of a run."""

    traded: tuple[IndexedGap, ...] = ()
    """Gaps of the traded candles, oldest first."""
    higher: Mapping[str, InputGaps] = field(default_factory=dict[str, InputGaps])
    """Gaps of each higher timeframe and other market, by name."""

    def __bool__(self) -> bool:
        """Return whether there is any gap."""
        return bool(self.traded) or any(one.ranges for one in self.higher.values())

    def select_range(self, first: int, end: int) -> "UnexplainedGaps":
        """Return the gaps of the traded candles `[first, end)` alone, by their new indices."""
        inside = [gap for gap in self.traded if first <= gap.at < end]
        return UnexplainedGaps(
            tuple(replace(gap, at=gap.at - first) for gap in inside), self.higher
        )


class Segment(Struct, frozen=True):
    """Traded candles without an unexplained gap between them."""

    start: int = 0
    """Index of the segment's first candle."""
    ready: int = 0
    """Index of the first candle after the segment's warm-up, whose window is full."""
    gap: Range | None = None
    """The unexplained gap before the segment, epoch seconds; None: the segment is the first."""
    series: str = ""
    """Series of the gap before the segment, such as `1h`, or `BTC/USDT 1h` of another market."""
    since: Mapping[str, int] = field(default_factory=dict[str, int])
    """End of the latest gap of each entry of `higher`, epoch seconds; older candles are unused."""

    def select_higher(
        self, candles: Candles, higher: Higher, start: int, end: int, count: int
    ) -> Higher:
        """Return the higher-timeframe candles of a window of this segment.

        Args:
            candles: All traded candles.
            higher: All higher candles.
            start: First traded candle of the window.
            end: Index after the last candle.
            count: Higher candles before the first traded one, of each timeframe.
        """
        return {
            name: one.select_known(candles, start, end, count, since=self.since.get(name, 0))
            for name, one in higher.items()
        }


#: The segments of a series without gaps.
WHOLE: Final = (Segment(),)


def split_into_segments(
    candles: Candles, timeframe: Timeframe, gaps: UnexplainedGaps, window: int, higher_window: int
) -> tuple[Segment, ...]:
    """Return the segments of traded candles, oldest first.

    Args:
        candles: The traded candles, at least one.
        timeframe: Timeframe of the traded candles.
        gaps: The unexplained gaps.
        window: Traded candles that a decision is made on.
        higher_window: Higher candles before the first of these.
    """
    if not gaps:
        return WHOLE
    closes = compute_next_opens(candles.timestamp, timeframe)
    starts: dict[int, IndexedGap | None] = {0: None, **{gap.at: gap for gap in gaps.traded}}
    for own in gaps.higher.values():
        for low, _ in own.ranges:
            # From here on the missing higher candle would be the last one that has closed.
            starts.setdefault(int(np.searchsorted(closes, own.timeframe.next(low))), None)
    found: list[Segment] = []
    for start in sorted(start for start in starts if start < len(candles)):
        segment = Segment(start, start)
        gap = starts[start]
        if gap is not None:
            span = (gap.start, gap.end)
            segment = Segment(start, start + window - 1, span, timeframe.name)
        for name, own in gaps.higher.items():
            seen = own.find_latest(int(closes[start]))
            if seen is not None:
                since = {**segment.since, name: seen[1]}
                segment = replace(segment, since=since)
                segment = _start_after_gap(segment, candles, own, seen, window, higher_window)
        found.append(segment)
    return tuple(found)


def _start_after_gap(
    segment: Segment, candles: Candles, gaps: InputGaps, gap: Range, window: int, higher_window: int
) -> Segment:
    """Return a segment with a warm-up until its windows lie after a gap of an entry of `higher`."""
    full_from = gaps.timeframe.shift(gap[1], higher_window)
    first = int(np.searchsorted(candles.timestamp, full_from))
    ready = first + window - 1
    if first <= segment.start or ready <= segment.ready:
        return segment
    return replace(segment, ready=ready, gap=gap, series=gaps.label or gaps.timeframe.name)


def find_segment(segments: Sequence[Segment], index: int) -> Segment:
    """Return the segment that holds a candle."""
    return next(segment for segment in reversed(segments) if segment.start <= index)


def compute_segment_ends(segments: Sequence[Segment], count: int) -> list[int]:
    """Return the end of each segment, exclusive, of a series of `count` candles."""
    return [*(segment.start for segment in segments[1:]), count]


def evaluate_by_segment(
    strategy: Strategy,
    candles: Candles,
    higher: Higher,
    segments: Sequence[Segment],
    *,
    are_sound: bool = False,
) -> Signals:
    """Return the strategy's signals for all candles, each segment evaluated alone.

    Signals of a warm-up after a gap are HOLD; a segment that is shorter than its warm-up is not
    evaluated.

    Args:
        strategy: Any strategy.
        candles: All traded candles.
        higher: The higher candles.
        segments: The segments of the traded candles.
        are_sound: Whether `core.candles.are_sound` has been checked and is true of the candles.

    Raises:
        OnetapeError: see `evaluate_strategy`.
    """
    if tuple(segments) == WHOLE:
        signals = evaluate_strategy(strategy, candles, higher, are_sound=are_sound)
        if signals.level_columns is not None:
            _validate_entries(strategy, candles, signals)
        return signals
    parts: list[tuple[int, Signals]] = []
    for segment, end in zip(segments, compute_segment_ends(segments, len(candles)), strict=True):
        if segment.ready >= end:
            continue
        count = max(map(len, higher.values()), default=0)
        known = segment.select_higher(candles, higher, segment.start, end, count)
        part = candles[segment.start : end]
        signals = evaluate_strategy(strategy, part, known, are_sound=are_sound)
        ready = segment.ready - segment.start
        signal = signals.signal.copy()
        signal[:ready] = HOLD
        if signals.level_columns is not None:
            _validate_entries(strategy, part, signals, ready)
        parts.append(
            (
                segment.start,
                replace(
                    signals,
                    signal=signal,
                    stop=_drop_first_prices(signals.stop, ready),
                    target=_drop_first_prices(signals.target, ready),
                    limit=_drop_first_prices(signals.limit, ready),
                ),
            )
        )
    return _join_signals(parts, len(candles))


def _validate_entries(
    strategy: Strategy, candles: Candles, signals: Signals, ready: int = 0
) -> None:
    """Check stop and target of each BUY from a candle on, once the lookback is full."""
    # Most strategies give no stop and no target, and load none of it.
    from onetape.strategies.level_validation import validate_entry_levels

    first = max(ready, get_lookback(strategy) - 1)
    validate_entry_levels(strategy, candles, signals, first)


def _drop_first_prices(column: FloatArray | None, count: int) -> FloatArray | None:
    if column is None:
        return None
    column = column.copy()
    column[:count] = np.nan
    return column


def _join_signals(parts: Sequence[tuple[int, Signals]], count: int) -> Signals:
    """Return the signals of segments as those of the whole series; HOLD and NaN between them."""
    signal = np.zeros(count, dtype=np.int8)
    reason = np.zeros(count, dtype=np.int64)
    columns = {name: np.full(count, np.nan) for _, part in parts for name in part.indicators}
    met = {name: np.zeros(count, dtype=np.bool_) for _, part in parts for name in part.conditions}
    for start, part in parts:
        inside = slice(start, start + len(part))
        signal[inside] = part.signal
        for name, values in part.indicators.items():
            columns[name][inside] = values
        for name, values in part.conditions.items():
            met[name][inside] = values
        if part.reason is not None:
            reason[inside] = part.reason
    levels = {
        name: np.full(count, np.nan)
        for name in ("stop", "target", "limit")
        if any(getattr(part, name) is not None for _, part in parts)
    }
    for start, part in parts:
        for name, values in levels.items():
            column = getattr(part, name)
            if column is not None:
                values[start : start + len(part)] = column
    has_reasons = any(part.reason is not None for _, part in parts)
    return Signals(
        signal,
        columns,
        overlays=frozenset(name for _, part in parts for name in part.overlays),
        levels={name: lines for _, part in parts for name, lines in part.levels.items()},
        reason=reason if has_reasons else None,
        reason_texts={code: text for _, part in parts for code, text in part.reason_texts.items()},
        conditions=met,
        stop=levels.get("stop"),
        target=levels.get("target"),
        stop_mode=parts[-1][1].stop_mode if parts else "at_entry",
        target_mode=parts[-1][1].target_mode if parts else "at_entry",
        limit=levels.get("limit"),
        limit_expiry_candles=parts[-1][1].limit_expiry_candles if parts else 1,
    )


def end_limits_at_gaps(
    levels: "LevelColumns | None", gaps: UnexplainedGaps
) -> "LevelColumns | None":
    """Return the columns of a strategy with the gaps across which no limit order stays open."""
    if levels is None or levels.limit is None:
        return levels
    return replace(levels, after_gaps=tuple(gap.at for gap in gaps.traded if gap.at > 0))


def drop_entries_before_gaps(signal: SignalArray, gaps: UnexplainedGaps) -> SignalArray:
    """Return signals without a BUY whose next candle is missing: the price of its fill is unknown.

    A SELL stays: it fills at the first open after the gap.
    """
    last = np.array([gap.at - 1 for gap in gaps.traded if gap.at > 0], dtype=np.int64)
    last = last[signal[last] == BUY] if len(last) else last
    if not len(last):
        return signal
    changed = signal.copy()
    changed[last] = HOLD
    return changed
