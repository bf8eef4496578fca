"""Dates and ranges as texts of flags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.cli.dates import parse_range_flags, parse_timerange
from onetape.core.candles import LATEST_TIMESTAMP
from onetape.core.clock import check_range, format_day
from onetape.core.dates import parse_moment
from onetape.core.errors import UsageError

JANUARY_31 = 1_706_659_200


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-31", JANUARY_31),
        ("20240131", JANUARY_31),
        ("2024-01-31T14:00", JANUARY_31 + 14 * 3_600),
        ("2024-01-31 14:00:01", JANUARY_31 + 14 * 3_600 + 1),
        ("20240131T1400", JANUARY_31 + 14 * 3_600),
        ("2024-01-31T14:00Z", JANUARY_31 + 14 * 3_600),
        ("2024-01-31T14:00+02:00", JANUARY_31 + 12 * 3_600),
        ("1706659200", JANUARY_31),
        ("1706659200000", JANUARY_31),
        ("2024-02-29", JANUARY_31 + 29 * 86_400),
    ],
)
def test_a_date_may_be_written_in_several_ways(text: str, moment: int) -> None:
    assert parse_moment(text, "--from") == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-13-01", "2023-02-29", "31.01.2024", "2024", "17066592001"]
)
def test_an_invalid_date_is_refused_with_its_flag(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--from .* was not understood"):
        parse_moment(text, "--from")


@pytest.mark.parametrize("text", ["1969-12-31", "0001-01-01T00:00+05:00", "9999-12-31"])
def test_a_date_outside_the_possible_candles_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="outside the years 1970 to 2999"):
        parse_moment(text, "--from")


@given(st.text(max_size=20) | st.text("0123456789-T:+Z ", max_size=25))
def test_any_text_is_either_a_date_or_a_usage_error(text: str) -> None:
    try:
        moment = parse_moment(text, "--to")
    except UsageError:
        return
    assert 0 <= moment <= LATEST_TIMESTAMP


@given(st.integers(0, LATEST_TIMESTAMP // 60 - 1))
def test_a_formatted_date_reads_back_as_the_same_date(minute: int) -> None:
    assert parse_moment(format_day(minute * 60), "--from") == minute * 60


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("20240101-20240201", ("20240101", "20240201")),
        ("20240101-", ("20240101", None)),
        ("-20240201", (None, "20240201")),
    ],
)
def test_a_timerange_is_read_as_in_freqtrade(
    text: str, ends: tuple[str | None, str | None]
) -> None:
    assert parse_timerange(text) == ends
    assert parse_range_flags(None, None, text) == ends


@pytest.mark.parametrize("text", ["", "-", "20240101", "2024-01-01-2024-02-01"])
def test_an_invalid_timerange_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timerange .* was not understood"):
        parse_timerange(text)


def test_a_timerange_with_from_or_to_is_refused() -> None:
    assert parse_range_flags("a", "b", None) == ("a", "b")
    for from_, to in (("2024-01-01", None), (None, "2024-01-01")):
        with pytest.raises(UsageError, match="leave one of them out"):
            parse_range_flags(from_, to, "20240101-")


@pytest.mark.parametrize("end", [JANUARY_31, JANUARY_31 - 3_600])
def test_a_range_that_is_empty_or_runs_backwards_is_refused(end: int) -> None:
    with pytest.raises(UsageError, match=r"is not after from 2024-01-31; the end is exclusive"):
        check_range(JANUARY_31, end)
