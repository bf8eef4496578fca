"""Read the range of a command from `--from` and `--to`, or from freqtrade's `--timerange`.

The dates stay texts here; `core.dates` parses them. Dates are UTC, and ranges are half-open.
"""

from onetape.core.errors import UsageError


def parse_range_flags(
    from_: str | None, to: str | None, timerange: str | None
) -> tuple[str | None, str | None]:
    """Return the texts of start and end of a range; None: that end was not given.

    Raises:
        UsageError: the timerange is invalid, or --from or --to is given as well.
    """
    if timerange is None:
        return from_, to
    if from_ is not None or to is not None:
        raise UsageError("--timerange and --from or --to set the same range; leave one of them out")
    return parse_timerange(timerange)


def parse_timerange(text: str) -> tuple[str | None, str | None]:
    """Return the texts of start and end of freqtrade's `20240101-20240201`; an open end is None.

    Raises:
        UsageError: the text is no range.
    """
    start, dash, end = text.partition("-")
    if not dash or "-" in end or not (start or end):
        raise UsageError(
            f"--timerange {text!r} was not understood; "
            "write 20240101-20240201, 20240101- or -20240201"
        )
    return start or None, end or None
