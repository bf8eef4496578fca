"""Tables written as one text: times since an entry become numbers of candles."""

import pytest

from onetape.core.errors import UsageError
from onetape.core.table_text import count_candles_of_ages, parse_age_table
from onetape.core.timeframes import Timeframe


@pytest.mark.parametrize(
    ("text", "timeframe", "table"),
    [
        ("0=2%,24h=0.5%", "1h", {0: 0.02, 24: 0.005}),
        ("0=2%,24h=0.5%", "4h", {0: 0.02, 6: 0.005}),
        ("0=0.3%,1d=-0.1%", "1d", {0: 0.003, 1: -0.001}),
        ("0=0.02,2M=0.005", "1M", {0: 0.02, 2: 0.005}),
        ("{0: 0.02, 24: 0.005}", "4h", {0: 0.02, 24: 0.005}),
        ("{}", "1h", {}),
    ],
)
def test_times_are_counted_in_candles_and_braces_hold_candles(
    text: str, timeframe: str, table: dict[int, float]
) -> None:
    assert count_candles_of_ages(parse_age_table(text), Timeframe.parse(timeframe)) == table


@pytest.mark.parametrize(
    ("age", "timeframe"), [("90m", "1h"), ("1h", "4h"), ("1M", "1h"), ("30d", "1M")]
)
def test_a_time_that_is_no_whole_number_of_candles_is_refused(age: str, timeframe: str) -> None:
    with pytest.raises(UsageError, match=f"times of whole {timeframe} candles, found {age}"):
        count_candles_of_ages(parse_age_table(f"0=2%,{age}=1%"), Timeframe.parse(timeframe))
