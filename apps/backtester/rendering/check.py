"""Output of `backtester check`: lines for a terminal, a document for `--json`, a progress bar."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onetape.backtest.full_check import CheckedSeries
    from onetape.core.errors import CheckFailed


def format_series_check(checked: "CheckedSeries") -> list[str]:
    """Return a bias check as lines for the terminal."""
    from onetape.core.clock import format_utc
    from onetape.strategies.check_text import format_check_line, format_smallest_lookback

    result, lines = checked.result, [format_check_line(checked.result)]
    if checked.part is not None:
        first, last = (format_utc(moment) for moment in checked.part)
        lines.insert(0, f"range: {first} to {last} UTC, chosen by the candles; all: --all")
    if result.difference is not None and result.difference.kind == "warm-up":
        lines.append(format_smallest_lookback(result, checked.smallest))
    ahead = result.look_ahead
    if ahead is not None and ahead != result.difference:
        lines.append(f"look-ahead as well, first seen at {format_utc(ahead.timestamp)} UTC")
    return [*lines, *(f"note: {note}" for note in checked.notes)]


def make_series_check_document(checked: "CheckedSeries") -> dict[str, Any]:
    """Return a check for --json."""
    from onetape.strategies.check_text import make_check_document

    named = {"strategy": checked.strategy, "series": checked.series}
    return {
        **named,
        **make_check_document(checked.result, checked.smallest),
        "notes": checked.notes,
    }


def find_check_failure(checked: "CheckedSeries") -> "CheckFailed | None":
    """Return the error of a failed check; None if the check passed."""
    from onetape.core.clock import format_utc
    from onetape.core.errors import CheckFailed
    from onetape.core.message_text import format_count
    from onetape.strategies.check_text import get_remedy

    result, found = checked.result, checked.result.first
    if found is None:
        return None
    parts = [
        f"{each.kind} on {format_count(len(bars), 'bar')}, first {format_utc(each.timestamp)} UTC"
        for bars, each in (
            (result.failing, result.failure),
            (result.differing, result.difference or (None if result.failing else found)),
        )
        if each is not None
    ]
    if result.look_ahead not in (None, result.difference):
        parts.append(f"look-ahead first seen {format_utc(result.look_ahead.timestamp)} UTC")
    remedies = dict.fromkeys(get_remedy(each) for each in (result.worst, result.failure) if each)
    return CheckFailed(
        f"strategy {checked.strategy} on {checked.series}: {', and '.join(parts)}; "
        f"{'; '.join(remedies)}"
    )


@contextmanager
def progress_bar(title: str, total: int) -> Generator[Callable[[int], None]]:
    """Yield a function that shows the number of bars done, as a bar if stderr is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bars = Progress(console=Console(stderr=True), transient=True)
    task = bars.add_task(title, total=total)

    def report(done: int) -> None:
        # The bar, which has a thread, is made now, because processes must be forked before.
        bars.start()
        bars.update(task, completed=done)

    try:
        yield report
    finally:
        bars.stop()
