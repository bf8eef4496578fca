"""Conversion of moments given in Python (texts, datetimes, epoch seconds) to epoch seconds."""

from datetime import datetime
from typing import Any

from onetape.core.dates import parse_moment
from onetape.core.errors import UsageError


def convert_moment(value: Any, name: str) -> int:
    """Return epoch seconds of a moment.

    Args:
        value: A text such as `2024-01-31` or `2024-01-31T14:00` (UTC unless it has an offset), a
            datetime or pandas Timestamp with a time zone, or epoch seconds.
        name: Name of the argument, for the error.

    Raises:
        UsageError: the value is no moment, or a datetime without a time zone.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UsageError(f"{name}={value} has no time zone; name it, such as UTC")
        return int(value.timestamp())
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UsageError(
            f"{name} must be a day such as '2024-01-31', a datetime or epoch seconds, "
            f"found {value!r}"
        )
    return parse_moment(value, f"{name}=") if isinstance(value, str) else value
