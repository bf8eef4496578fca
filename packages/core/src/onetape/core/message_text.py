"""Parts of messages as text: counts, errors, durations, and the name that a user likely meant."""

from collections.abc import Iterable
from typing import Final

from onetape.core.printable import escape_unprintable

#: Maximum number of characters of an error's text in a message.
_LONGEST_ERROR_LINE: Final = 500


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` with the known name nearest to a wrong one; empty if none is."""
    import difflib  # A run without an error does not need the module.

    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not near:
        folded = {candidate.casefold(): candidate for candidate in names}
        near = [folded[name.casefold()]] if name.casefold() in folded else []
    return f"; did you mean {near[0]!r}?" if near else ""


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: `1 candle`, `4,320 candles`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_error(error: BaseException) -> str:
    """Return the text of an error that other code raised, as one line of at most 500 characters."""
    try:
        text = str(error)
    except Exception as other:
        text = f"(its text fails: {type(other).__name__})"
    line = escape_unprintable(" ".join(text.split()))
    return line if len(line) <= _LONGEST_ERROR_LINE else f"{line[: _LONGEST_ERROR_LINE - 3]}..."


def format_os_error(error: Exception) -> str:
    """Return the text of an error; for an OSError without the number and path that Python adds."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits: `45 s`, `12 min`, `3.5 h`, `2.0 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
