"""Timeframes: opens, closes and counts, on fixed lengths and on the calendar."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import LATEST_TIMESTAMP
from onetape.core.errors import UsageError
from onetape.core.timeframes import Timeframe

NAMES = (
    "1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 7d 1w 2w 1M 2M 3M 6M 12M".split()  # noqa: SIM905
)

timeframes = st.sampled_from([Timeframe.parse(name) for name in NAMES])
moments = st.integers(0, LATEST_TIMESTAMP)


def parse_time(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(timeframes, moments)
def test_a_time_lies_in_the_candle_that_floor_returns(timeframe: Timeframe, moment: int) -> None:
    start = timeframe.floor(moment)
    assert start <= moment < timeframe.next(moment)
    assert timeframe.floor(start) == start == timeframe.ceil(start)


@given(timeframes, moments)
def test_the_next_candle_opens_where_this_one_ends(timeframe: Timeframe, moment: int) -> None:
    following = timeframe.next(moment)
    assert timeframe.floor(following) == following
    assert timeframe.floor(following - 1) == timeframe.floor(moment)


@given(timeframes, moments, st.integers(0, 200))
def test_shifting_by_n_equals_taking_the_next_candle_n_times(
    timeframe: Timeframe, moment: int, candles: int
) -> None:
    stepped = timeframe.floor(moment)
    for _ in range(candles):
        stepped = timeframe.next(stepped)
    assert timeframe.shift(moment, candles) == stepped
    assert timeframe.shift(stepped, -candles) == timeframe.floor(moment)


@given(timeframes, moments, st.integers(0, 100), st.integers(-86_400, 86_400))
def test_the_count_of_a_range_equals_the_number_of_opens_in_it(
    timeframe: Timeframe, start: int, candles: int, ragged: int
) -> None:
    end = timeframe.shift(start, candles) + ragged
    opens, cursor = 0, timeframe.ceil(start)
    while cursor < end:
        opens, cursor = opens + 1, timeframe.next(cursor)
    assert timeframe.count_between(start, end) == opens


@pytest.mark.parametrize(
    ("name", "moment", "opened", "closed"),
    [
        ("1h", "2024-01-31T14:59:59", "2024-01-31T14:00", "2024-01-31T15:00"),
        ("1w", "2024-03-10T23:59:59", "2024-03-04", "2024-03-11"),
        ("1w", "1970-01-05", "1970-01-05", "1970-01-12"),
        ("1w", "2020-03-01", "2020-02-24", "2020-03-02"),
        ("1M", "2024-02-29T12:00", "2024-02-01", "2024-03-01"),
        ("1M", "2023-02-28T23:59", "2023-02-01", "2023-03-01"),
        ("1M", "2100-02-28T23:59", "2100-02-01", "2100-03-01"),
        ("1M", "2023-12-31T23:59", "2023-12-01", "2024-01-01"),
        ("3M", "2024-05-15", "2024-04-01", "2024-07-01"),
        ("3d", "2017-08-18T00:00", "2017-08-16", "2017-08-19"),
        ("1d", "2024-02-29T00:00", "2024-02-29", "2024-03-01"),
    ],
)
def test_candles_open_where_binance_opens_them(
    name: str, moment: str, opened: str, closed: str
) -> None:
    timeframe = Timeframe.parse(name)
    assert timeframe.floor(parse_time(moment)) == parse_time(opened)
    assert timeframe.next(parse_time(moment)) == parse_time(closed)


def test_a_leap_year_has_one_more_day() -> None:
    day = Timeframe.parse("1d")
    assert day.count_between(parse_time("2023-01-01"), parse_time("2024-01-01")) == 365
    assert day.count_between(parse_time("2024-01-01"), parse_time("2025-01-01")) == 366


def test_a_range_that_ends_before_it_starts_holds_no_candle() -> None:
    assert (
        Timeframe.parse("1M").count_between(parse_time("2024-05-01"), parse_time("2024-01-01")) == 0
    )
    assert (
        Timeframe.parse("1h").count_between(parse_time("2024-05-01"), parse_time("2024-01-01")) == 0
    )


@pytest.mark.parametrize(
    "name", ["", "h", "0h", "01h", "1H", "1y", "h1", " 1h", "1h\n", "-1h", "1\u0661m"]
)
def test_an_invalid_timeframe_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="was not understood"):
        Timeframe.parse(name)
