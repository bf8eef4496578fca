"""Accept gaps, for `backfiller gaps --accept RANGE --because REASON`, and undo it.

A person states why candles are missing; the gaps count as explained from then on.
"""

from collections.abc import Sequence
from typing import Final

from onetape.cli.dates import parse_timerange
from onetape.core.candles import LATEST_TIMESTAMP, SeriesKey
from onetape.core.clock import format_day
from onetape.core.dates import parse_moment
from onetape.core.errors import DataError, UsageError
from onetape.store.database import Store
from onetape.store.gaps import ACCEPTED, Gap, clear_gaps, read_gaps, set_gaps

#: Half-open range of time, epoch seconds.
Range = tuple[int, int]
#: Maximum length of a reason, characters.
MOST_CHARACTERS: Final = 100
#: Texts between start and end of a range.
_SEPARATORS: Final = ("..", "/", " to ")
_DAY_SECONDS: Final = 86_400


def parse_reason_flags(accept: str | None, because: str | None, undo: str | None) -> str:
    """Return the reason that the flags give; empty if the flags accept no gap.

    Args:
        accept: Value of --accept.
        because: Value of --because.
        undo: Value of --undo.

    Raises:
        UsageError: the flags contradict each other, or the reason is missing, longer than 100
            characters or unprintable.
    """
    if accept is not None and undo is not None:
        raise UsageError("--accept and --undo exclude each other; name one of them")
    if accept is None and because is not None:
        raise UsageError(
            "--because is the reason for accepting a gap; name the range with --accept"
        )
    if accept is not None and because is None:
        raise UsageError("--accept needs a reason, such as --because outage")
    reason = " ".join((because or "").split())
    if accept is not None and not (reason.isprintable() and 0 < len(reason) <= MOST_CHARACTERS):
        raise UsageError(f"--because takes 1 to {MOST_CHARACTERS} printable characters")
    return reason


def parse_range(text: str | None, flag: str) -> Range:
    """Return a range of time that the user typed; `all` is the range of all candles.

    Args:
        text: `FROM..TO`, one day, freqtrade's `YYYYMMDD-YYYYMMDD`, or `all`; None: as `all`.
        flag: Flag of the range, for the error.

    Raises:
        UsageError: the text is no range, or the range is empty.
    """
    if text is None or text == "all":
        return 0, LATEST_TIMESTAMP
    for separator in _SEPARATORS:
        if separator in text:
            start, end = (part.strip() for part in text.split(separator, 1))
            return _check_range_order(
                parse_moment(start, flag), parse_moment(end, flag), text, flag
            )
    first, dash, last = text.partition("-")
    if dash and all(len(part) in (0, 8) and part.isdecimal() for part in (first, last) if part):
        ends = parse_timerange(text)
        low = 0 if ends[0] is None else parse_moment(ends[0], flag)
        high = LATEST_TIMESTAMP if ends[1] is None else parse_moment(ends[1], flag)
        return _check_range_order(low, high, text, flag)
    day = parse_moment(text, flag)
    if day % _DAY_SECONDS:
        raise UsageError(f"{flag} {text!r} is one moment; write FROM..TO, a day, or `all`")
    return day, day + _DAY_SECONDS


def accept_gaps(
    store: Store, keys: Sequence[SeriesKey], requested: Range, *, reason: str, now_ms: int
) -> int:
    """Accept the unexplained gaps inside a range; return the number of accepted candles.

    Args:
        store: The open database.
        keys: The series.
        requested: Range whose gaps are accepted, as far as they lie in it.
        reason: Cause of the missing candles.
        now_ms: Computer's time, epoch milliseconds.

    Raises:
        DataError: the range has no unexplained gap.
        StoreError: the file cannot be written.
    """
    gaps_by_series = {key: [gap for gap in _read_gaps_in_range(store, key, requested) if not
    gap.is_explained]
             for key in keys}  # fmt: skip
    if not any(gaps_by_series.values()):
        raise DataError(
            f"{store.path} has no unexplained gap between {format_day(requested[0])} and "
            f"{format_day(requested[1])} UTC; list them: uv run backfiller gaps"
        )
    for key, gaps in gaps_by_series.items():
        ranges = [(gap.start, gap.end) for gap in gaps]
        set_gaps(store, key, ranges, state=ACCEPTED, requested_ms=now_ms, reason=reason)
    return sum(gap.candles for gaps in gaps_by_series.values() for gap in gaps)


def undo_acceptance(store: Store, keys: Sequence[SeriesKey], requested: Range) -> int:
    """Undo accepted gaps of a range; return the number of candles that are "not fetched" now.

    Args:
        store: The open database.
        keys: The series.
        requested: Range whose accepted gaps are undone.

    Raises:
        DataError: no gap of the range is accepted.
        StoreError: the file cannot be written.
    """
    gaps_by_series = {key: [gap for gap in _read_gaps_in_range(store, key, requested) if gap.state
    == ACCEPTED]
             for key in keys}  # fmt: skip
    if not any(gaps_by_series.values()):
        raise DataError(
            f"{store.path} has no accepted gap between {format_day(requested[0])} and "
            f"{format_day(requested[1])} UTC; list them: uv run backfiller gaps"
        )
    for key, gaps in gaps_by_series.items():
        clear_gaps(store, key, [(gap.start, gap.end) for gap in gaps])
    return sum(gap.candles for gaps in gaps_by_series.values() for gap in gaps)


def _read_gaps_in_range(store: Store, key: SeriesKey, requested: Range) -> list[Gap]:
    return read_gaps(store, key, start=requested[0], end=requested[1])


def _check_range_order(start: int, end: int, text: str, flag: str) -> Range:
    if end <= start:
        raise UsageError(f"{flag} {text!r} ends before it begins; the end is exclusive")
    return start, end
