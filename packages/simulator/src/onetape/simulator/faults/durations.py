"""Times in the settings of a fault, as text.

A span is `90s` or `2h`; a moment is `+10m` (from when the fault was added) or `2024-03-01T00:10`,
UTC.
"""

import re
from datetime import UTC, datetime
from typing import Final

_UNITS_MS: Final = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000,
}  # fmt: skip
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_span_ms(text: str) -> int:
    """Return a span in milliseconds.

    Raises:
        ValueError: the text is not a number followed by ms, s, m, h or d.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        msg = f"a span such as 500ms, 90s, 10m, 2h or 1d, found {text!r}"
        raise ValueError(msg)
    return round(float(match[1]) * _UNITS_MS[match[2]])


def parse_moment_ms(text: str, anchor_ms: int) -> int:
    """Return a moment in epoch milliseconds; `+10m` counts from the anchor.

    Raises:
        ValueError: the text is neither a span with a plus nor an ISO date.
    """
    text = text.strip()
    if text.startswith("+"):
        return anchor_ms + parse_span_ms(text[1:])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"a moment such as +10m or 2024-03-01T00:10 (UTC), found {text!r}"
        raise ValueError(msg) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000)


def format_moment(epoch_ms: int) -> str:
    """Return a moment as `parse_moment_ms` reads it, to the millisecond."""
    moment = datetime.fromtimestamp(epoch_ms / 1_000, tz=UTC)
    return moment.isoformat(timespec="milliseconds")
