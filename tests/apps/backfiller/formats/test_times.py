"""Times in imported files are read as epoch seconds, in every unit and text form."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfiller.formats.time_formats import ISO, UNITS, UNREADABLE, TimeReader, parse_time_zone
from onetape.core.errors import DataError, UsageError

#: 2025-01-01 00:00 UTC.
NEW_YEAR = 1_735_689_600
moments = st.integers(1_230_768_000, 4_102_444_799)


@dataclass(frozen=True)
class ParsedTimes:
    """Result of parsing one block of times."""

    seconds: list[int]
    unit: str
    outside: int


def read(
    values: list[Any] | pd.Series, unit: str | None = None, zone: str | None = None
) -> ParsedTimes:
    """Read a table of one block."""
    reader = TimeReader("x.csv", unit, None if zone is None else parse_time_zone(zone))
    seconds = reader.read(pd.Series(values)).tolist()
    reader.finish()
    return ParsedTimes(seconds, reader.unit, reader.outside)


@given(st.lists(moments, min_size=1, max_size=20), st.sampled_from(sorted(UNITS)))
def test_every_unit_is_recognised(seconds: list[int], unit: str) -> None:
    series = pd.Series([moment * UNITS[unit] for moment in seconds])
    times = read(series)
    assert (times.seconds, times.unit) == (seconds, unit)


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
    assert read(pd.Series(shown)).seconds == seconds


@pytest.mark.parametrize(
    "pattern", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d"]
)
def test_iso_dates_are_utc_unless_they_have_another_zone(pattern: str) -> None:
    text = datetime.fromtimestamp(NEW_YEAR, UTC).strftime(pattern)
    times = read([text])
    assert (times.seconds, times.unit) == ([NEW_YEAR], ISO)


def test_an_offset_from_utc_is_applied() -> None:
    assert read(["2025-01-01T01:00:00+01:00"]).seconds == [NEW_YEAR]


def test_milliseconds_and_microseconds_in_one_column_are_read() -> None:
    times = read([(NEW_YEAR - 60) * 10**3, NEW_YEAR * 10**6])
    assert (times.seconds, times.unit) == ([NEW_YEAR - 60, NEW_YEAR], "ms and us")


def test_invalid_times_are_unreadable_and_fractions_of_a_second_are_not_cut_off() -> None:
    values = [NEW_YEAR * 1_000, NEW_YEAR * 1_000 + 500, 5, float("nan"), float("inf")]
    assert read(values).seconds == [NEW_YEAR, *[UNREADABLE] * 4]


def test_times_before_2009_are_counted_so_that_the_flag_for_their_unit_can_be_named() -> None:
    assert read([NEW_YEAR, 1_199_145_600, 1_199_149_200]).outside == 2


@pytest.mark.parametrize("value", [17, 20_250_101, 202_501_010_000, 20_250_101_000_000])
def test_a_number_that_is_not_a_time_in_any_unit_is_refused(value: int) -> None:
    with pytest.raises(DataError, match="--time-unit"):
        read([value])


def test_a_unit_given_by_flag_is_used_without_a_check() -> None:
    assert read([86_400_000], "ms").seconds == [86_400]


def test_text_that_is_not_a_time_is_refused() -> None:
    with pytest.raises(DataError, match=r"x\.csv: 'yesterday' is not a time"):
        read(["yesterday"])


@pytest.mark.parametrize(
    "text", ["2025-01-31 13:00 CET", "31.01.2025 13:00:00 (CEST)", "1/31/2025 1:00 PM EST"]
)
def test_an_abbreviated_time_zone_is_refused_and_the_flag_for_the_zone_is_named(
    text: str,
) -> None:
    with pytest.raises(DataError, match="--timezone Europe/Berlin"):
        read([text])


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-31 13:00:00 UTC", "2025-01-31 13:00 GMT", "2025-01-31T13:00:00.000Z",
        "2025/01/31 13:00", "2025.01.31 13:00", "31.01.2025 13:00:00", "31/01/2025 13:00",
        "01/31/2025 1:00 PM", "1/31/2025 01:00:00 PM", "31-01-2025 13:00", "Jan 31, 2025 13:00",
        "January 31, 2025 1:00 PM", "31 Jan 2025 13:00", "31-Jan-2025 13:00:00",
        "2025-01-31 01-PM", "20250131 13:00", "20250131 130000", "2025-01-31 14:00:00+01:00",
        "2025-01-31 08:00:00.000-0500", "2025-01-31, 13:00",
    ],
)  # fmt: skip
def test_dates_of_many_forms_are_read(text: str) -> None:
    assert read([text]).seconds == [NEW_YEAR + 30 * 86_400 + 13 * 3_600]


def test_midnight_may_be_written_without_a_time() -> None:
    assert read(["31/01/2025", "31/01/2025 01:00"]).seconds == [
        NEW_YEAR + 30 * 86_400, NEW_YEAR + 30 * 86_400 + 3_600,
    ]  # fmt: skip


@pytest.mark.parametrize(("twelve", "hour"), [("12:30 AM", 0), ("12:30 PM", 12)])
def test_twelve_o_clock_is_midnight_or_noon(twelve: str, hour: int) -> None:
    assert read([f"2025-01-01 {twelve}"]).seconds == [NEW_YEAR + hour * 3_600 + 1_800]


def test_one_unambiguous_date_decides_the_order_of_day_and_month_of_all_dates() -> None:
    assert read(["01/02/2025", "01/31/2025"]).seconds[0] == NEW_YEAR + 86_400


def test_dates_of_consecutive_hours_decide_the_order_of_day_and_month() -> None:
    texts = [f"{day:02}/03/2025 {hour:02}:00" for day in (1, 2, 3) for hour in range(24)]
    march = NEW_YEAR + 59 * 86_400
    assert read(texts).seconds == [march + hour * 3_600 for hour in range(72)]


def test_dates_with_an_ambiguous_order_of_day_and_month_are_refused() -> None:
    with pytest.raises(DataError, match=r"day or the month comes first in 01/02/2025"):
        read(["01/02/2025", "01/03/2025"])


def test_local_times_are_read_in_their_zone() -> None:
    times = read(["2024-07-01 02:00", "2024-12-01 02:00"], zone="Europe/Berlin")
    assert times.seconds == [1_719_792_000, 1_733_014_800]


def test_a_time_with_a_zone_keeps_it() -> None:
    texts = ["2025-01-01 00:00 UTC", "2025-01-01T02:00:00+02:00"]
    assert read(texts, zone="America/New_York").seconds == [NEW_YEAR, NEW_YEAR]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_local_hour_that_occurs_twice_is_read_in_the_order_of_the_rows(
    *, newest_first: bool
) -> None:
    utc = pd.date_range("2024-10-26 22:00", "2024-10-27 04:00", freq="15min", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").strftime("%Y-%m-%d %H:%M").tolist()
    seconds = [int(each.timestamp()) for each in utc]
    if newest_first:
        local, seconds = local[::-1], seconds[::-1]
    assert read(local, zone="Europe/Berlin").seconds == seconds


def test_a_single_row_in_a_local_hour_that_occurs_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"2024-10-27 02:00 comes 1 times, and the clock shows it"):
        read(["2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 03:00"], zone="Europe/Berlin")


def test_a_local_time_skipped_by_a_clock_change_is_refused() -> None:
    with pytest.raises(DataError, match=r"the clock never shows 2024-03-31 02:00 in Europe/Berlin"):
        read(["2024-03-31 02:00"], zone="Europe/Berlin")


def test_an_unknown_time_zone_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'Europe/Berlin'"):
        parse_time_zone("Europe/Berlim")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2024-12-31 23:00:00+00", -1),
        ("2025-01-01 00:00:00-03", 3),
        ("2025-01-01T05:30+05", 0.5),
        ("20250101T000000Z", 0),
        ("20250101T140000", 14),
        ("2025-01", 0),
    ],
)
def test_time_texts_of_databases_and_of_months_are_read(text: str, hours: float) -> None:
    assert read([text]).seconds == [NEW_YEAR + int(hours * 3_600)]


@pytest.mark.parametrize("value", [1_735_689_600.5, 45_352.25, 28_487_520])
def test_an_invalid_time_is_shown_with_the_text_of_the_file(value: float) -> None:
    with pytest.raises(DataError, match=f"the time {value} is between 2009 and 2100 in no unit"):
        read([value])


@pytest.mark.parametrize("name", ["CEST", "UTC+2", "GMT+2"])
def test_an_abbreviation_without_a_zone_of_its_offset_gets_no_proposal(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_time_zone(name)
    assert "did you mean" not in str(caught.value)
