"""Trading hours computed for one time at a time, without the engine's code."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.engine import AccountConfig, SymbolSeries

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: Whole hours and others, with and without daylight-saving time; one that moves by half an hour.
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata"),
    *("Australia/Lord_Howe", "Africa/Casablanca"),
)
#: Days before clocks change somewhere among these, and one before none: epoch seconds.
STARTS = (
    *(1_709_856_000, 1_711_670_400, 1_712_275_200),  # 2024-03-08, 2024-03-29, 2024-04-05
    *(1_728_086_400, 1_729_900_800, 1_730_505_600),  # 2024-10-05, 2024-10-26, 2024-11-02
    1_705_276_800,  # 2024-01-15
)


def is_within(rules: AccountConfig, timestamp: int) -> bool:
    """Return whether the account may enter in a candle that opens at this time."""
    if rules.trading_hours is None and rules.trading_days is None:
        return True
    local = datetime.fromtimestamp(timestamp, ZoneInfo(rules.trading_timezone))
    clock = local.strftime("%H:%M:%S")
    spans = [span.split("-") for span in (rules.trading_hours or "00:00-24:00").split(",")]
    in_hours = [
        start <= clock < end if start < end else clock >= start or clock < end
        for start, end in spans
    ]
    return any(in_hours) and DAYS[local.weekday()] in _parse_days(rules.trading_days or "mon-sun")


def _parse_days(days: str) -> set[str]:
    found: set[str] = set()
    for part in days.split(","):
        first, _, last = part.partition("-")
        number = DAYS.index(first)
        found.add(first)
        while last and DAYS[number % 7] != last:
            number += 1
            found.add(DAYS[number % 7])
    return found


_clock = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 0, 15, 30, 59]))
_span = st.tuples(_clock, st.one_of(_clock, st.just("24:00"))).filter(lambda ends: len({*ends}) > 1)
_hours = st.lists(_span.map("-".join), min_size=1, max_size=3).map(",".join)
_range = st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map("-".join)
_days = st.lists(st.one_of(_range, st.sampled_from(DAYS)), min_size=1, max_size=3).map(",".join)


@st.composite
def draw_hours(draw: st.DrawFn) -> dict[str, Any]:
    """Return settings of trading hours: hours, weekdays or both, in any time zone."""
    which = draw(st.sampled_from(["hours", "hours", "days", "both"]))
    return {
        "trading_hours": None if which == "days" else draw(_hours),
        "trading_days": None if which == "hours" else draw(_days),
        "trading_timezone": draw(st.sampled_from(ZONES)),
    }


def move_candles(candles: Candles, start: int, seconds: int) -> Candles:
    """Return hourly candles from 1970 as candles of another length from another time on."""
    return replace(candles, timestamp=start + candles.timestamp // 3_600 * seconds)


def move_series(series: list[SymbolSeries], start: int, seconds: int) -> list[SymbolSeries]:
    """Return series with the candles of `move_candles`."""
    return [replace(one, candles=move_candles(one.candles, start, seconds)) for one in series]
