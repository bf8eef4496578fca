"""Converts times of files to epoch seconds UTC.

Times may be numbers in seconds to nanoseconds, or dates, with or without an offset.
"""

import re
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from backfiller.formats.date_formats import OFFSET, UTC_SUFFIX, DateReader
from onetape.core.candles import FloatArray, IntArray
from onetape.core.errors import DataError, UsageError
from onetape.core.printable import escape_unprintable

if TYPE_CHECKING:
    import pandas as pd

#: Number of each unit in a second. Binance's archives changed from ms to us on 2025-01-01.
UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
#: The unit of dates such as 2024-01-31T14:00:00Z.
ISO: Final = "iso"
#: Stands for a time that could not be read. No candle may have this time, so its row is refused.
UNREADABLE: Final = -1
#: Starts of 2009 and 2100, epoch seconds. No coin is older, and no number is a time between them in
#: two units.
_EARLIEST: Final = 1_230_768_000
_LATEST: Final = 4_102_444_800
#: A short name of a time zone after a time of day: 14:00 CET.
_ZONE_NAME: Final = re.compile(r"\d(?: ?[AaPp][Mm])? ?\(?([A-Z]{2,5})\)?\s*$")


def parse_time_zone(name: str) -> ZoneInfo:
    """Return the time zone of a name such as Europe/Berlin.

    Raises:
        UsageError: there is no such zone.
    """
    from zoneinfo import available_timezones

    from onetape.core.message_text import suggest_name

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        # Neither zones such as Etc/GMT+2, whose sign is reversed, nor short names are suggested.
        hint = suggest_name(
            name, {zone for zone in available_timezones() if "/" in zone and zone[:4] != "Etc/"}
        )
        raise UsageError(
            f"--timezone {name!r} is not a time zone such as Europe/Berlin or "
            f"America/New_York{hint}"
        ) from error


class TimeReader:
    """Converts the times of one table, block by block; `finish` is called after the last block."""

    def __init__(self, source: str, unit: str | None = None, zone: ZoneInfo | None = None) -> None:
        """Start without rows.

        Args:
            source: The table, for errors.
            unit: One of `UNITS`, or iso: all times are dates; None: recognised.
            zone: Time zone of dates without an offset; None: UTC.
        """
        self._source = source
        self._unit = unit
        self._zone = zone
        self._dates = DateReader(source)
        self._units: list[str] = []
        self._local: dict[int, int] = {}
        """Number of rows with each local time that the clock shows twice at the end of summer time.

        Local times are in seconds since 1970-01-01 00:00 of the same clock.
        """
        self._newest_first: bool | None = None
        """Whether the table has its newest row first; None: unknown."""
        self.outside = 0
        """Number of rows whose time is between 2009 and 2100 in no unit."""
        self.used_zone = False
        """Whether dates without an offset were read in the given zone."""

    @property
    def unit(self) -> str:
        """Unit of the times as read: s, ms, us, ns or iso; `ms and us` if both occur."""
        return " and ".join(self._units) or (self._unit or ISO)

    def read(self, values: "pd.Series") -> IntArray:
        """Return a block of times as epoch seconds; `UNREADABLE` for values that are no time.

        Args:
            values: Numbers, texts or datetimes, shape (n,).

        Raises:
            DataError: the values are no times, or their unit is ambiguous.
        """
        import pandas as pd

        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            self._add_unit(ISO)
            return self._convert_datetimes(values)
        if values.dtype.kind == "b":
            raise self._make_no_time_error("true")
        numbers = (
            pd.Series(np.nan, index=values.index)
            if self._unit == ISO
            else pd.to_numeric(values, errors="coerce")
        )
        if self._unit == ISO or (self._unit is None and not numbers.notna().any()):
            seconds = self._convert_texts(values)
            if (seconds == UNREADABLE).all() and values.notna().any():
                raise self._make_no_time_error(str(values[values.notna()].iloc[0]))
            self._add_unit(ISO)
            return seconds
        exact = numbers.to_numpy()
        if exact.dtype.kind not in "iu":
            exact = _convert_to_whole_numbers(np.asarray(numbers, dtype=np.float64))
        whole = exact.astype(np.int64)
        if self._unit is not None:
            self._add_unit(self._unit)
            return _scale_to_seconds(whole, UNITS[self._unit])
        return self._convert_numbers_by_size(whole, values)

    def finish(self) -> None:
        """Check at the end of the table that each ambiguous local time occurred twice.

        Raises:
            DataError: a local time that the clock shows twice occurs once in the table.
        """
        for wall, times in self._local.items():
            if times != 2:
                raise DataError(
                    f"{self._source}: {_format_wall_time(wall)} comes {times} times, and the clock "
                    f"shows it twice in {self._zone}, so which is meant cannot be known; "
                    "export the times in UTC"
                )

    def _add_unit(self, unit: str) -> None:
        if unit not in self._units:
            self._units.append(unit)

    def _make_no_time_error(self, text: str) -> DataError:
        zone = _ZONE_NAME.search(text)
        if zone is not None:
            return DataError(
                f"{self._source}: {escape_unprintable(text)[:40]!r} ends in {zone[1]}, a short "
                "name of a "
                "time zone, and several zones share such names; remove it from the times, and add "
                "--timezone with the whole name, such as --timezone Europe/Berlin"
            )
        return DataError(
            f"{self._source}: {escape_unprintable(text)[:40]!r} is not a time; "
            "write epoch seconds, or dates such as 2024-01-31T14:00:00Z"
        )

    def _convert_numbers_by_size(self, whole: IntArray, values: "pd.Series") -> IntArray:
        """Return whole numbers as epoch seconds; the size of each decides its unit.

        Args:
            whole: The numbers.
            values: The same numbers as the file has them, for the error.

        Raises:
            DataError: none of the table so far is a time between 2009 and 2100.
        """
        seconds = np.full(len(whole), UNREADABLE, dtype=np.int64)
        known = whole == UNREADABLE
        for unit, factor in UNITS.items():
            has_unit = (whole >= _EARLIEST * factor) & (whole < _LATEST * factor)
            if has_unit.any():
                self._add_unit(unit)
                known |= has_unit
                seconds = np.where(has_unit & (whole % factor == 0), whole // factor, seconds)
        self.outside += int(np.count_nonzero(~known))
        if not self._units and len(whole):
            raise DataError(
                f"{self._source}: the time {_format_first_number(values)} is between "
                "2009 and 2100 in no unit, or is not a whole number; "
                "name its unit with --time-unit s, ms, us or ns, or iso for a date"
            )
        return seconds

    def _convert_texts(self, values: "pd.Series") -> IntArray:
        """Return dates as epoch seconds; one without an offset is in the given zone, or in UTC."""
        import pandas as pd

        texts = values.astype(str).str.strip(" \t\"'")
        plain = texts.str.replace(UTC_SUFFIX, "", regex=True)
        is_utc = (plain != texts).to_numpy()
        has_offset = plain.str.contains(OFFSET, regex=True).to_numpy()
        seconds = np.full(len(values), UNREADABLE, dtype=np.int64)
        if has_offset.any():
            moments = pd.to_datetime(plain[has_offset], format="ISO8601", utc=True, errors="coerce")
            seconds[has_offset] = _convert_to_seconds(moments.dt.tz_localize(None))
        if not has_offset.all():
            naive = self._dates.read(plain[~has_offset])
            seconds[~has_offset] = self._convert_naive_datetimes(naive, is_utc[~has_offset])
        return seconds

    def _convert_datetimes(self, values: "pd.Series") -> IntArray:
        import pandas as pd

        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return _convert_to_seconds(values.dt.tz_convert("UTC").dt.tz_localize(None))
        return self._convert_naive_datetimes(values, np.zeros(len(values), dtype=np.bool_))

    def _convert_naive_datetimes(
        self, naive: "pd.Series", is_utc: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    ) -> IntArray:
        """Return naive datetimes, in the zone or in UTC, as epoch seconds."""
        seconds = _convert_to_seconds(naive)
        if self._zone is None or is_utc.all():
            return seconds
        self.used_zone = True
        local = ~is_utc & (seconds != UNREADABLE)
        seconds[local] = self._convert_local_times(seconds[local])
        return seconds

    def _convert_local_times(self, wall: IntArray) -> IntArray:
        """Return local times of the zone as epoch seconds.

        Of a time that the clock shows twice, the first row (in the order of time) is in summer
        time, the second one is not.

        Raises:
            DataError: the clock never shows one of the times.
        """
        import pandas as pd

        index = pd.DatetimeIndex(wall.astype("datetime64[s]"))
        zone = self._zone
        summer, winter = (
            index.tz_localize(zone, ambiguous=np.full(len(wall), flag), nonexistent="NaT")
            for flag in (True, False)
        )
        if summer.isna().any():
            raise DataError(
                f"{self._source}: the clock never shows "
                f"{_format_wall_time(int(wall[summer.isna()][0]))} "
                f"in {zone}; are these times of another zone, or UTC?"
            )
        first = _convert_to_seconds(pd.Series(summer.tz_convert("UTC").tz_localize(None)))
        second = _convert_to_seconds(pd.Series(winter.tz_convert("UTC").tz_localize(None)))
        if self._newest_first is None and len(wall) > 1:
            self._newest_first = bool(wall[0] > wall[-1])
        for row in np.flatnonzero(first != second).tolist():
            times = self._local.get(int(wall[row]), 0)
            self._local[int(wall[row])] = times + 1
            if bool(times) != bool(self._newest_first):
                first[row] = second[row]
        return first


def _format_first_number(values: "pd.Series") -> str:
    """Return the first value as written in the file, a whole number without a point."""
    value = values[values.notna()].iloc[0]
    return escape_unprintable(str(value).removesuffix(".0"))[:40]


def _scale_to_seconds(whole: IntArray, factor: int) -> IntArray:
    seconds = whole // factor
    return np.where((whole % factor == 0) & (whole >= 0), seconds, UNREADABLE)


def _convert_to_whole_numbers(numbers: FloatArray) -> IntArray:
    """Return whole numbers unchanged, and `UNREADABLE` in place of other values."""
    sound = np.isfinite(numbers) & (np.abs(numbers) < 2.0**63)
    rounded = np.where(sound, np.rint(np.where(sound, numbers, 0.0)), UNREADABLE)
    return np.where(sound & (rounded == numbers), rounded, UNREADABLE).astype(np.int64)


def _convert_to_seconds(naive: "pd.Series") -> IntArray:
    """Return naive datetimes of any resolution as epoch seconds; NaT is unreadable."""
    moments = naive.to_numpy()
    # The smallest number of 64 bits stands for "no time", and is below zero.
    return _scale_to_seconds(
        moments.astype(np.int64), UNITS[str(np.datetime_data(moments.dtype)[0])]
    )


def _format_wall_time(wall: int) -> str:
    return str(np.datetime64(wall, "s")).replace("T", " ")[:16]
