"""Parse dates and times of flags and settings; all times are UTC."""

import re
from datetime import UTC, datetime
from typing import Final

from onetape.core.candles import LATEST_TIMESTAMP
from onetape.core.errors import UsageError

#: A text without separators must begin with eight digits: strptime reads 202411 as 2024-01-01.
_EIGHT_DIGITS: Final = r"[0-9]{8}(T|$)"
_EPOCH: Final = r"[0-9]{10}|[0-9]{13}"
_COMPACT: Final = ("%Y%m%d", "%Y%m%dT%H%M", "%Y%m%dT%H%M%S")


def parse_moment(text: str, name: str) -> int:
    """Return epoch seconds of `2024-01-31`, ISO 8601, `20240131`, or an epoch of 10 or 13 digits.

    Args:
        text: Date or time as typed; UTC where the text has no offset.
        name: Key of the setting that the error is about, or a flag that is not a setting.

    Raises:
        UsageError: the text is no date, or is outside the years 1970 to 2999.
    """
    timestamp = _parse_timestamp(text)
    if timestamp is None:
        raise UsageError(
            f"{name} {text!r} was not understood; "
            "write a UTC day such as 2024-01-31, or 2024-01-31T14:00",
            setting=name,
        )
    if not 0 <= timestamp <= LATEST_TIMESTAMP:
        raise UsageError(f"{name} {text!r} is outside the years 1970 to 2999", setting=name)
    return timestamp


def _parse_timestamp(text: str) -> int | None:
    """Return a date, with or without a time, or an epoch, as epoch seconds; None: it is neither."""
    if re.fullmatch(_EPOCH, text):
        return int(text[:10])
    for pattern in _COMPACT if re.match(_EIGHT_DIGITS, text) else ():
        try:
            return int(datetime.strptime(text, pattern).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())
