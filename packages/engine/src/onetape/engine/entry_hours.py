"""Trading hours of an account: hours and weekdays in which entries are made, in a time zone.

Whether an order may enter depends on the open of the candle that would fill it. A run without
trading hours loads neither this module nor the time zones.
"""

import re
from collections.abc import Iterator
from datetime import datetime, tzinfo
from functools import cache
from typing import Final

from msgspec import Struct

from onetape.core.clock import format_utc
from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.core.time_zones import load_time_zone

#: Weekdays; the index is that of `datetime.weekday`.
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS_KEY: Final = "account.trading_hours"
_DAYS_KEY: Final = "account.trading_days"
_TIMEZONE_KEY: Final = "account.trading_timezone"
_DAY_SECONDS: Final = 86_400
_SPAN: Final = r"\s*(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)\s*"


class EntryHours(Struct, frozen=True):
    """Hours and weekdays in which entries are made; exits are made at any time."""

    spans: tuple[tuple[int, int], ...]
    """Start and end (exclusive) of each span of a day, in seconds after midnight by local time."""
    days: frozenset[int]
    """Weekdays on which entries are made; 0 is Monday."""
    timezone: str
    """IANA name of the time zone."""
    text: str
    """Hours, weekdays and time zone, for output."""

    @property
    def zone(self) -> tzinfo:
        """Return the time zone."""
        return load_time_zone(self.timezone, _TIMEZONE_KEY)

    def contains(self, timestamp: int) -> bool:
        """Return whether entries are made in a candle.

        Args:
            timestamp: Open of the candle, epoch seconds.
        """
        local = datetime.fromtimestamp(timestamp, self.zone)
        seconds = local.hour * 3_600 + local.minute * 60 + local.second
        is_open = any(start <= seconds < end for start, end in self.spans)
        return is_open and local.weekday() in self.days

    def describe_closed(self, timestamp: int) -> str:
        """Return the reason why no entry is made in a candle, for output.

        Args:
            timestamp: Open of the candle, epoch seconds.
        """
        opened = format_utc(timestamp)
        return f"the candle of {opened} opens outside the trading hours {self.text}"


@cache
def parse_entry_hours(hours: str | None, days: str | None, timezone: str) -> EntryHours:
    """Return the trading hours that settings describe.

    Args:
        hours: Hours such as `08:00-22:00`, several joined by commas; None: the whole day.
        days: Weekdays such as `mon-fri` or `sat,sun`; None: all.
        timezone: IANA name of the time zone.

    Raises:
        UsageError: a setting is invalid; the text names setting, allowed values and value found.
    """
    load_time_zone(timezone, _TIMEZONE_KEY)
    spans = ((0, _DAY_SECONDS),) if hours is None else tuple(_parse_spans(hours))
    weekdays = frozenset(range(7)) if days is None else frozenset(_parse_days(days))
    given = [" ".join(one.split()) for one in (hours, days) if one is not None]
    return EntryHours(spans, weekdays, timezone, ", ".join([*given, timezone]))


def _parse_spans(hours: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of a day; hours across midnight are two of them."""
    for text in hours.split(","):
        found = re.fullmatch(_SPAN, text)
        numbers = [] if found is None else [int(one) for one in found.groups()]
        if not numbers or max(numbers[1], numbers[3]) > 59:
            raise _make_hours_error(hours)
        start, end = (hour * 3_600 + minute * 60 for hour, minute in (numbers[:2], numbers[2:]))
        if start >= _DAY_SECONDS or end > _DAY_SECONDS:
            raise _make_hours_error(hours)
        if start == end:
            raise UsageError(
                f"trading_hours must not begin and end at the same time, found {hours!r}; leave "
                "trading_hours out for the whole day",
                setting=_HOURS_KEY,
            )
        if start < end:
            yield start, end
        else:
            yield start, _DAY_SECONDS
            yield 0, end


def _make_hours_error(hours: str) -> UsageError:
    return UsageError(
        "trading_hours must be HH:MM-HH:MM from 00:00 to 24:00, several joined by commas, such as "
        f"08:00-22:00 or 08:00-12:00,13:00-17:30, found {hours!r}",
        setting=_HOURS_KEY,
    )


def _parse_days(days: str) -> Iterator[int]:
    """Yield the weekdays of a setting, 0 is Monday; a range such as `sat-mon` may cross Sunday."""
    for text in days.split(","):
        first, dash, last = (part.strip().lower() for part in text.partition("-"))
        start = _parse_day(first, days)
        end = _parse_day(last, days) if dash else start
        for number in range(start, end + (1 if start <= end else 8)):
            yield number % 7


def _parse_day(name: str, days: str) -> int:
    if name not in WEEKDAYS:
        raise UsageError(
            f"trading_days must be days or ranges of days ({', '.join(WEEKDAYS)}) joined by "
            f"commas, such as mon-fri or sat,sun, found {days!r}{suggest_name(name, WEEKDAYS)}",
            setting=_DAYS_KEY,
        )
    return WEEKDAYS.index(name)
