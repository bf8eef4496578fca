"""Segments of candles: no window crosses an unexplained gap, and warm-ups after one are HOLD."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.strategies import align_higher_candles, load_strategy
from onetape.strategies.check_data import CheckData
from onetape.strategies.higher_timeframes import HigherCandles
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.segments import (
    WHOLE,
    IndexedGap,
    InputGaps,
    Segment,
    UnexplainedGaps,
    drop_entries_before_gaps,
    evaluate_by_segment,
    split_into_segments,
)
from onetape.strategies.testing import random_candles

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
HOUR, DAY = Timeframe.parse("1h"), Timeframe.parse("1d")
COUNT = 24 * 40
ALL = random_candles(COUNT, seed=3)
START = int(ALL.timestamp[0])

Spans = list[tuple[int, int]]


def remove_spans(spans: Spans) -> tuple[Candles, tuple[IndexedGap, ...]]:
    """Return the candles without those of half-open spans of indices, and the gaps."""
    missing = np.zeros(COUNT, dtype=np.bool_)
    for low, high in spans:
        missing[low:high] = True
    # The first candle is always there: before it, the series has not begun.
    missing[0] = False
    candles = ALL.take(np.flatnonzero(~missing))
    opens = candles.timestamp
    after = np.flatnonzero(np.diff(opens) != HOUR_SECONDS) + 1
    gaps = tuple(
        IndexedGap(int(opens[at - 1]) + HOUR_SECONDS, int(opens[at]), at) for at in after.tolist()
    )
    return candles, gaps


def is_decided(candles: Candles, gaps: UnexplainedGaps, bar: int, window: int, days: int) -> bool:
    """Return whether the trader's window of a bar holds no gap, one gap after the other."""
    first = max(0, bar + 1 - window)
    start, now = int(candles.timestamp[first]), HOUR.next(int(candles.timestamp[bar]))
    crossed = any(first < gap.at <= bar for gap in gaps.traded)
    short = first == 0 and bar + 1 < window and any(gap.at == 0 for gap in gaps.traded)
    needed = DAY.shift(start, -days)
    ranges = [each for one in gaps.higher.values() for each in one.ranges]
    higher = any(high > needed and DAY.next(low) <= now for low, high in ranges)
    return not (crossed or short or higher)


spans = st.lists(
    st.tuples(st.integers(1, COUNT - 2), st.integers(1, 60)).map(lambda it: (it[0], sum(it))),
    max_size=4,
)
day_spans = st.lists(st.tuples(st.integers(0, 36), st.integers(1, 3)), max_size=2)


def find_day_gaps(found: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    days = sorted({day for low, count in found for day in range(low, low + count)})
    ranges: list[tuple[int, int]] = []
    for day in days:
        low = START + day * DAY_SECONDS
        if ranges and ranges[-1][1] == low:
            ranges[-1] = (ranges[-1][0], low + DAY_SECONDS)
        else:
            ranges.append((low, low + DAY_SECONDS))
    return tuple(ranges)


@given(spans, day_spans, st.integers(1, 130), st.integers(1, 12))
def test_a_bar_has_a_decision_exactly_if_its_window_crosses_no_gap(
    missing: Spans, days: list[tuple[int, int]], window: int, higher_window: int
):
    candles, traded = remove_spans(missing)
    gaps = UnexplainedGaps(traded, {"1d": InputGaps(DAY, find_day_gaps(days))})
    segments = split_into_segments(candles, HOUR, gaps, window, higher_window)
    decided = CheckData(candles, segments=segments).bars.tolist()
    assert decided == [
        bar for bar in range(len(candles)) if is_decided(candles, gaps, bar, window, higher_window)
    ]


@given(spans, st.sampled_from(["sma_cross", "donchian", "bollinger"]))
def test_decisions_after_a_gap_depend_on_no_candle_before_it(missing: Spans, name: str):
    candles, traded = remove_spans(missing)
    strategy = load_strategy(name)
    segments = split_into_segments(candles, HOUR, UnexplainedGaps(traded), 100, 100)
    found = evaluate_by_segment(strategy, candles, {}, segments)
    prices = {"open": candles.open, "high": candles.high, "low": candles.low}
    for segment in segments:
        before = np.arange(len(candles)) < segment.start
        changed = {column: np.where(before, 7.0, values) for column, values in prices.items()}
        other = Candles(
            candles.timestamp,
            changed["open"],
            changed["high"],
            changed["low"],
            np.where(before, 7.0, candles.close),
            candles.volume,
        )
        again = evaluate_by_segment(strategy, other, {}, segments)
        assert np.array_equal(found.signal[segment.start :], again.signal[segment.start :])


@given(spans)
def test_built_in_strategies_pass_the_check_across_gaps(missing: Spans):
    candles, traded = remove_spans(missing)
    segments = split_into_segments(candles, HOUR, UnexplainedGaps(traded), 100, 100)
    data = CheckData(candles, segments=segments)
    bars = choose_bars_to_check(data, whole=True)[::7]
    assert check_strategy(lambda: load_strategy("donchian"), data, bars).is_clean


def make_days_without_one(candles: Candles, lacking: int) -> HigherCandles:
    """Return the days of all candles without one of them, with some candles."""
    days = resample(ALL, HOUR, DAY)
    return align_higher_candles(
        candles, HOUR, days.take(np.flatnonzero(np.arange(len(days)) != lacking)), DAY
    )


def test_higher_timeframe_candles_before_a_gap_are_not_visible_after_it():
    gaps = UnexplainedGaps(higher={"1d": InputGaps(DAY, find_day_gaps([(20, 1)]))})
    segments = split_into_segments(ALL, HOUR, gaps, 100, 5)
    # The candle of day 20 would have closed with the last hour of that day.
    assert [segment.start for segment in segments] == [0, 24 * 21 - 1]
    assert segments[1].ready == 24 * 26 + 99
    higher = {"1d": make_days_without_one(ALL, 20)}
    seen = segments[1].select_higher(ALL, higher, segments[1].start, COUNT, 100)["1d"]
    assert int(seen.timestamp[0]) == START + 21 * DAY_SECONDS
    assert seen.visible[:25].tolist() == [*([0] * 24), 1]


def test_a_series_without_gaps_is_one_segment_and_decided_on_from_its_first_candle():
    assert split_into_segments(ALL, HOUR, UnexplainedGaps(), 100, 100) is WHOLE
    assert (Segment(0, 0),) == WHOLE


class SeenCandles:
    """A strategy that records the candles of each evaluation."""

    name = "seen"
    higher_timeframes: tuple[str, ...] = ()
    informative: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.counts: list[int] = []

    def evaluate(self, candles: Candles, higher: Any) -> Any:
        from onetape.strategies import Signals

        del higher
        self.counts.append(len(candles))
        ones = np.ones(len(candles), dtype=np.int8)
        return Signals(ones, {"close": candles.close}, reason=ones, reason_texts={1: "always"})


def test_a_segment_shorter_than_its_warm_up_is_not_evaluated():
    candles, traded = remove_spans([(300, 310), (350, 360)])
    strategy: Any = SeenCandles()
    segments = split_into_segments(candles, HOUR, UnexplainedGaps(traded), 100, 100)
    found = evaluate_by_segment(strategy, candles, {}, segments)
    assert strategy.counts == [300, 600]
    assert np.isnan(found.indicators["close"][300:340]).all()
    assert found.signal.tolist() == [1] * 300 + [0] * (40 + 99) + [1] * 501
    assert (found.get_reason_text(0), found.get_reason_text(310)) == ("always", "")


def test_an_entry_is_not_ordered_if_the_next_candle_is_missing_and_an_exit_is():
    _, traded = remove_spans([(300, 310)])
    buys = np.ones(950, dtype=np.int8)
    assert drop_entries_before_gaps(buys, UnexplainedGaps(traded))[298:301].tolist() == [1, 0, 1]
    assert buys[299] == 1
    sells = -buys
    assert drop_entries_before_gaps(sells, UnexplainedGaps(traded)) is sells
