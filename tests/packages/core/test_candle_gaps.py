"""Gaps found from a column of times equal those of a loop over candles."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candle_gaps import compute_next_opens, find_gaps
from onetape.core.timeframes import Timeframe

TIMEFRAMES = ["1s", "1m", "5m", "1h", "4h", "1d", "3d", "1w", "2w", "1M", "3M"]
SECONDS = st.integers(0, 32_503_680_000)


def find_gaps_by_loop(
    opens: list[int], timeframe: Timeframe, start: int, end: int
) -> list[tuple[int, int]]:
    """Return the gaps as a loop finds them."""
    gaps: list[tuple[int, int]] = []
    expected = timeframe.ceil(start)
    for timestamp in opens:
        if timestamp > expected:
            gaps.append((expected, timestamp))
        expected = timeframe.next(timestamp)
    if expected < timeframe.ceil(end):
        gaps.append((expected, timeframe.ceil(end)))
    return gaps


@given(
    st.sampled_from(TIMEFRAMES), SECONDS, st.integers(-3, 30), st.integers(1, 20),
    st.sets(st.integers(0, 25)), st.booleans(),
)  # fmt: skip
def test_gaps_equal_those_of_a_plain_loop(
    name: str, start: int, before: int, length: int, present: set[int], off_grid: bool
) -> None:
    timeframe = Timeframe.parse(name)
    start += before
    end = timeframe.shift(start, length) + before
    times = {timeframe.shift(start, each) + off_grid for each in present}
    opens = sorted(time for time in times if start <= time < end)
    found = find_gaps(np.array(opens, dtype=np.int64), timeframe, start, end)
    assert found == find_gaps_by_loop(opens, timeframe, start, end)


@given(st.sampled_from(TIMEFRAMES), st.lists(SECONDS, max_size=5))
def test_computed_next_opens_equal_those_of_the_timeframe(name: str, times: list[int]) -> None:
    timeframe = Timeframe.parse(name)
    after = compute_next_opens(np.array(times, dtype=np.int64), timeframe).tolist()
    assert after == [timeframe.next(time) for time in times]


@pytest.mark.parametrize(
    ("name", "opens", "gap"),
    [
        ("1M", ["2024-01-01", "2024-02-01", "2024-04-01"], ("2024-03-01", "2024-04-01")),
        ("1w", ["2024-12-23", "2024-12-30", "2025-01-13"], ("2025-01-06", "2025-01-13")),
    ],
)
def test_a_missing_month_or_week_is_one_gap(
    name: str, opens: list[str], gap: tuple[str, str]
) -> None:
    times = [parse_day(day) for day in opens]
    found = find_gaps(np.array(times), Timeframe.parse(name), times[0], times[-1] + 1)
    assert found[0] == (parse_day(gap[0]), parse_day(gap[1]))


def parse_day(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
