"""A clock that is days ahead, with which the bias check finds strategies that read the time."""

import contextlib
import datetime
import time
from collections.abc import Generator
from typing import Any, Final

#: Three days, 13 hours and one second: second, hour and weekday differ, each also in its parity.
AHEAD_SECONDS: Final = 306_001
#: Five days and one minute: the minute differs, also in its parity.
FURTHER_SECONDS: Final = 432_060
_DATE, _DATETIME = datetime.date, datetime.datetime


class _LikeDate(type):
    """Makes a date an instance of the class that replaces it."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _DATE)


class _LikeDatetime(type):
    """Makes a datetime an instance of the class that replaces it."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _DATETIME)


def _make_moved_classes(ahead: datetime.timedelta) -> tuple[Any, Any]:
    """Return the classes that replace `datetime.date` and `datetime.datetime`."""

    class Date(_DATE, metaclass=_LikeDate):
        @classmethod
        def today(cls) -> Any:
            return (_DATETIME.now() + ahead).date()

    class Datetime(_DATETIME, metaclass=_LikeDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return _DATETIME.now(tz) + ahead

        @classmethod
        def utcnow(cls) -> Any:
            return _DATETIME.now(datetime.UTC).replace(tzinfo=None) + ahead

        @classmethod
        def today(cls) -> Any:
            return _DATETIME.now() + ahead

    return Date, Datetime


@contextlib.contextmanager
def shift_clock(ahead_seconds: int = AHEAD_SECONDS) -> Generator[None]:
    """Move the time that Python code of this process reads days ahead, while the block lasts.

    Only code that is loaded inside the block reads the moved time: names that were imported before
    read the true time, and so do compiled libraries.
    """
    now, now_ns = time.time, time.time_ns
    date_class, datetime_class = _make_moved_classes(datetime.timedelta(seconds=ahead_seconds))
    replacements: list[tuple[Any, str, Any]] = [
        (time, "time", lambda: now() + ahead_seconds),
        (time, "time_ns", lambda: now_ns() + ahead_seconds * 1_000_000_000),
        (time, "localtime", _make_moved_function(time.localtime, ahead_seconds)),
        (time, "gmtime", _make_moved_function(time.gmtime, ahead_seconds)),
        (datetime, "date", date_class),
        (datetime, "datetime", datetime_class),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in replacements]
    try:
        for module, name, replacement in replacements:
            setattr(module, name, replacement)
        yield
    finally:
        for module, name, real in before:
            setattr(module, name, real)


def _make_moved_function(real: Any, ahead_seconds: int) -> Any:
    """Return a function of `time` that uses the moved time as the present time."""
    now = time.time

    def convert(seconds: float | None = None) -> Any:
        return real(now() + ahead_seconds if seconds is None else seconds)

    return convert
