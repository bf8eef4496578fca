"""Dates without a time zone as files write them: recognised by pattern and converted.

Whether 1/2/2024 is in January or February is decided once for each table, by its other dates.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from onetape.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Suffixes that mark a time as UTC.
UTC_SUFFIX: Final = r"\s*(?:UTC|GMT|Z)$"
#: An offset behind a time of day, such as +01:00, or +00 as PostgreSQL writes it.
OFFSET: Final = r":\d\d(?:\.\d+)?\s*[+-]\d\d(?::?\d\d)?$"
_TWO: Final = r"\d{1,2}"
#: Pattern of each known notation of a date, with its strptime format.
_DATES: Final = (
    (r"\d{4}-\d{1,2}-\d{1,2}", "%Y-%m-%d"),
    (r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d"),
    (r"\d{4}\.\d{1,2}\.\d{1,2}", "%Y.%m.%d"),
    (r"\d{4}-\d{2}", "%Y-%m"),
    (r"\d{8}", "%Y%m%d"),
    (r"\d{12}", "%Y%m%d%H%M"),
    (r"\d{14}", "%Y%m%d%H%M%S"),
    (rf"{_TWO}\.{_TWO}\.\d{{4}}", "%d.%m.%Y"),
    (rf"{_TWO}/{_TWO}/\d{{4}}", "%d/%m/%Y"),
    (rf"{_TWO}-{_TWO}-\d{{4}}", "%d-%m-%Y"),
    (r"[A-Za-z]{3} \d{1,2}, \d{4}", "%b %d, %Y"),
    (r"[A-Za-z]{4,9} \d{1,2}, \d{4}", "%B %d, %Y"),
    (r"\d{1,2} [A-Za-z]{3} \d{4}", "%d %b %Y"),
    (r"\d{1,2}-[A-Za-z]{3}-\d{4}", "%d-%b-%Y"),
)
#: Pattern of each known notation of a time of day, with its strptime format; empty: only a date.
_TIMES: Final = (
    (r"", ""),
    (r"\d{1,2}:\d{2}", "%H:%M"),
    (r"\d{1,2}:\d{2}:\d{2}", "%H:%M:%S"),
    (r"\d{1,2}:\d{2}:\d{2}\.\d{1,9}", "%H:%M:%S.%f"),
    (r"\d{1,2}:\d{2} ?[AaPp][Mm]", "%I:%M %p"),
    (r"\d{1,2}:\d{2}:\d{2} ?[AaPp][Mm]", "%I:%M:%S %p"),
    (r"\d{1,2}[- ]?[AaPp][Mm]", "%I %p"),
    (r"\d{6}", "%H%M%S"),
)
#: Formats in which the day may also come after the month, with that other format.
_EITHER: Final = {"%d/%m/%Y": "%m/%d/%Y", "%d-%m-%Y": "%m-%d-%Y"}
_TIME_OF_DAY: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?|\d{6}")
_DATE: Final = re.compile("|".join(pattern for pattern, _ in _DATES))
#: Maximum number of different date formats in a column.
_MOST_FORMS: Final = 6


def is_time_of_day(text: str) -> bool:
    """Return whether a cell is a time without a date, such as 14:00 or 2:00 PM."""
    return _TIME_OF_DAY.fullmatch(text.strip()) is not None


def is_date(text: str) -> bool:
    """Return whether a cell is a date without a time."""
    return _DATE.fullmatch(text.strip()) is not None


def find_date_format(text: str) -> str | None:
    """Return the strptime format of a date with or without a time of day; None: no known one."""
    for date, date_form in _DATES:
        for time, time_form in _TIMES:
            between = r"(?:T|,? )" if time else ""
            if re.fullmatch(f"{date}{between}{time}", text):
                return f"{date_form} {time_form}".strip()
    return None


class DateReader:
    """Converts the dates of one table, block by block; all have the same order of day and month."""

    def __init__(self, source: str) -> None:
        """Start with the order of day and month unknown; `source` is the table, for errors."""
        self._source = source
        self._month_first: bool | None = None

    def read(self, texts: "pd.Series") -> "pd.Series":
        """Return naive datetimes; a text that is no date becomes NaT.

        Args:
            texts: Dates without offset or zone, shape (n,), stripped.

        Raises:
            DataError: whether the day or the month comes first cannot be decided.
        """
        import pandas as pd

        found = pd.Series(pd.NaT, index=texts.index, dtype="datetime64[us]")
        left = texts[texts.str.contains(r"\d", regex=True, na=False)]
        for _ in range(_MOST_FORMS):
            form = next(_iterate_date_formats(left), None)
            if form is None:
                break
            plain = _unify_date_spacing(left)
            if form.split(" ")[0] in _EITHER and self._is_month_first(plain):
                day_first = form.split(" ")[0]
                form = form.replace(day_first, _EITHER[day_first])
            parsed = pd.to_datetime(plain, format=form, errors="coerce")
            found = found.where(found.notna(), parsed.reindex(found.index).astype("datetime64[us]"))
            left = left[parsed.isna()]
        return found

    def _is_month_first(self, texts: "pd.Series") -> bool:
        """Return whether 1/2/2024 is the second of January; decided by the first block of dates.

        Raises:
            DataError: the dates do not show the order of day and month.
        """
        if self._month_first is None:
            parts = texts.str.extract(r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4}) ?(.*)$").dropna()
            numbers = parts[[0, 1, 2]].astype(int)
            first, second = int(numbers[0].max()), int(numbers[1].max())
            if first > 12 >= second:
                self._month_first = False
            elif second > 12 >= first or parts[3].str.contains("[AaPp][Mm]$", regex=True).any():
                self._month_first = True  # with am and pm as in the United States
            elif parts[3].nunique() > 1 and (first > 1 or second > 1):
                # Rows of less than a day are of a few consecutive days, so that the number of the
                # month changes less often than that of the day.
                counts = [len({*zip(numbers[2], numbers[at], strict=True)}) for at in (0, 1)]
                self._month_first = counts[0] < counts[1]
                if counts[0] == counts[1]:
                    raise self._make_ambiguous_date_error(texts)
            else:
                raise self._make_ambiguous_date_error(texts)
        return self._month_first

    def _make_ambiguous_date_error(self, texts: "pd.Series") -> DataError:
        return DataError(
            f"{self._source}: whether the day or the month comes first in {texts.iloc[0]} cannot "
            "be known; write dates as 2024-01-31"
        )


def _iterate_date_formats(texts: Iterable[str]) -> Iterator[str]:
    """Yield the date format of each text, without texts that are no date."""
    for text in texts:
        form = find_date_format(text)
        if form is not None:
            yield form


def _unify_date_spacing(texts: "pd.Series") -> "pd.Series":
    """Return dates with one blank before the time, and one before AM or PM."""
    joined = texts.str.replace(r"(?<=\d)(?:T|, ?)(?=\d{1,2}:|\d{6}$)", " ", regex=True)
    return joined.str.replace(r"[- ]?([AaPp][Mm])$", r" \1", regex=True)
