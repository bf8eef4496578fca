"""Progress of fetching on stderr: in a terminal a bar for each series, elsewhere a line every 5 s.

Notes and failures are printed through the same `ProgressDisplay`, so that they appear above the
bars.
"""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backfiller.series_fetch import Progress
from onetape.cli.output import note
from onetape.core.printable import escape_unprintable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

#: Minimum time between two lines of one series without a terminal, seconds.
LINE_EVERY_SECONDS = 5.0


class ProgressDisplay:
    """Shows the progress of the series being fetched, and notes."""

    def __init__(self, bars: "Bars | None", *, shows_failures: bool) -> None:
        """Create the display.

        Args:
            bars: The progress bars; None: there is no terminal, and lines are printed.
            shows_failures: Whether `show_failure` prints.
        """
        self._bars = bars
        self._shows_failures = shows_failures
        self._printed: set[str] = set()
        """Lines that `note_once` printed."""

    def note(self, text: str) -> None:
        """Print a line, above the bars if there are any."""
        if self._bars is None:
            note(text)
        else:
            self._bars.console.print(
                escape_unprintable(text), markup=False, highlight=False, soft_wrap=True
            )

    def note_once(self, text: str) -> None:
        """Print a line, the first time only."""
        if text not in self._printed:
            self._printed.add(text)
            self.note(text)

    def show_failure(self, text: str) -> None:
        """Print the reason why a series failed, once for all series with the same reason.

        Nothing is printed for a run of a single series, whose error the caller raises.
        """
        if self._shows_failures:
            self.note_once(f"backfiller: {text}")

    def show_line(self, text: str) -> None:
        """Print a line if there are progress bars; a log has no line for each step of the start."""
        if self._bars is not None:
            self.note(text)

    @contextmanager
    def track_series(self, title: str) -> Generator[Progress]:
        """Yield the function that is called with the progress of one series; `title` names it."""
        if self._bars is None:
            yield _make_line_reporter(title)
            return
        bars, began = self._bars, time.monotonic()
        task = bars.add_task(escape_unprintable(title), total=None, rate="")

        def report(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-9)
            bars.update(task, completed=done, total=total, rate=f"{rate:,.0f}/s")

        try:
            yield report
        finally:
            bars.remove_task(task)


@contextmanager
def open_progress_display(series: int) -> Generator[ProgressDisplay]:
    """Yield the display of a run; at its end the bars are removed, and printed lines stay.

    Args:
        series: Number of series of the run; failures are shown if there are several.
    """
    if not sys.stderr.isatty():
        yield ProgressDisplay(None, shows_failures=series > 1)
        return
    with _make_progress_bars() as bars:
        yield ProgressDisplay(bars, shows_failures=series > 1)


def _make_progress_bars() -> "Bars":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RowCountColumn(ProgressColumn):
        """Progress bar column: number of candles of the total."""

        def render(self, task: Task) -> Text:
            """Return the text of the column, such as `1,000/5,000 candles`."""
            total = "?" if task.total is None else f"{task.total:,.0f}"
            return Text(f"{task.completed:,.0f}/{total} candles", justify="right")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        RowCountColumn(),
        TextColumn("{task.fields[rate]}", justify="right"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )


def _make_line_reporter(title: str) -> Progress:
    """Return a function that prints progress, at most once in `LINE_EVERY_SECONDS`."""
    began = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_SECONDS:
            last = now
            rate = done / (now - began)
            left = (total - done) / rate if rate else 0.0
            note(f"{title}: {done:,} of {total:,} candles, {rate:,.0f}/s, {left:,.0f} s left")

    return report
