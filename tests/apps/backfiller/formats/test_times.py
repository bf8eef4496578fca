"""Times of files become epoch seconds, whatever they count."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfiller.formats.times import ISO, UNITS, UNREADABLE, read_times
from onetape.core.errors import DataError

#: 2025-01-01 00:00 UTC.
NEW_YEAR = 1_735_689_600
moments = st.integers(1_230_768_000, 4_102_444_799)


@given(st.lists(moments, min_size=1, max_size=20), st.sampled_from(sorted(UNITS)))
def test_every_unit_is_recognised(seconds: list[int], unit: str) -> None:
    series = pd.Series([moment * UNITS[unit] for moment in seconds])
    times = read_times(series, None, "x")
    assert (times.seconds.tolist(), times.unit) == (seconds, unit)


@given(
    st.lists(moments, min_size=1, max_size=10),
    st.sampled_from(["datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]"]),
    st.sampled_from([None, "UTC", "Europe/Berlin"]),
)
def test_datetimes_of_any_resolution_and_zone_are_read(
    seconds: list[int], kind: str, zone: str | None
) -> None:
    index = pd.DatetimeIndex(np.array(seconds, dtype="datetime64[s]").astype(kind))
    shown = index if zone is None else index.tz_localize("UTC").tz_convert(zone)
    assert read_times(pd.Series(shown), None, "x").seconds.tolist() == seconds


@pytest.mark.parametrize(
    "pattern", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d"]
)
def test_iso_dates_are_utc_unless_they_say_otherwise(pattern: str) -> None:
    text = datetime.fromtimestamp(NEW_YEAR, UTC).strftime(pattern)
    times = read_times(pd.Series([text]), None, "x")
    assert (times.seconds.tolist(), times.unit) == ([NEW_YEAR], ISO)


def test_an_offset_counts() -> None:
    assert read_times(pd.Series(["2025-01-01T01:00:00+01:00"]), None, "x").seconds[0] == NEW_YEAR


def test_milliseconds_and_microseconds_may_follow_each_other() -> None:
    times = read_times(pd.Series([(NEW_YEAR - 60) * 10**3, NEW_YEAR * 10**6]), None, "x")
    assert (times.seconds.tolist(), times.unit) == ([NEW_YEAR - 60, NEW_YEAR], "ms and us")


def test_what_is_no_time_is_unreadable_and_no_part_of_a_second_is_cut_off() -> None:
    values = pd.Series([NEW_YEAR * 1_000, NEW_YEAR * 1_000 + 500, 5, float("nan"), float("inf")])
    seconds = read_times(values, None, "x").seconds.tolist()
    assert seconds == [NEW_YEAR, *[UNREADABLE] * 4]


@pytest.mark.parametrize("value", [17, 20_250_101, 202_501_010_000, 20_250_101_000_000])
def test_a_number_that_is_a_time_in_no_unit_is_refused(value: int) -> None:
    with pytest.raises(DataError, match="--time-unit"):
        read_times(pd.Series([value]), None, "x.csv")


def test_a_unit_that_was_said_is_not_questioned() -> None:
    assert read_times(pd.Series([86_400_000]), "ms", "x").seconds.tolist() == [86_400]


def test_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(DataError, match=r"x\.csv: 'yesterday' is no time"):
        read_times(pd.Series(["yesterday"]), None, "x.csv")
