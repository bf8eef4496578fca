"""The text about candle rows of an exchange or a file that were refused as unsound."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

#: Maximum number of characters shown of the first refused row.
_LONGEST_ROW: Final = 200


def describe_refused_rows(
    faults: Sequence[str], first_row: str, timeframe: str, *, sound: int = 0
) -> str:
    """Return a text about refused rows: their number, the commonest fault, and the first row.

    Args:
        faults: Fault of each refused row, in the order of the rows; at least one.
        first_row: The first refused row, as in the source.
        timeframe: Timeframe of the candles, such as `1h`.
        sound: Number of rows that were not refused.
    """
    (fault, count), *_ = Counter(faults).most_common(1)
    often = "all" if count == len(faults) else f"{count:,} of {len(faults):,}"
    plain = "".join(each if each.isprintable() else " " for each in first_row)
    shown = plain if len(plain) <= _LONGEST_ROW else f"{plain[:_LONGEST_ROW]}..."
    head = "" if sound else f"no row is a valid {timeframe} candle, "
    return (
        f"{head}{len(faults):,} refused; the commonest fault: "
        f"{fault} ({often}); the first row: {shown} ({faults[0]})"
    )
