"""Progress on stderr: a bar for each running series in a terminal, now and then a line elsewhere.

Other lines on stderr also pass through this module, so that they do not break the bars.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backfiller.series_fetch import Progress
from onetape.cli.output import note
from onetape.core.printable import escape_unprintable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

#: Seconds between two lines of one series where there is no terminal.
LINE_EVERY_SECONDS = 5.0


class ProgressDisplay:
    """Shows the progress of the series being fetched, and notes."""

    def __init__(self, bars: "Bars | None", *, shows_failures: bool) -> None:
        """Show progress bars; without bars, print lines."""
        self._bars = bars
        self._shows_failures = shows_failures
        self._printed: set[str] = set()

    def note(self, text: str) -> None:
        """Print a line above the bars."""
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
        """Print the reason why a series failed, once for all series that fail for this reason."""
        if self._shows_failures:
            self.note_once(f"backfiller: {text}")

    def show_line(self, text: str) -> None:
        """Print a line while progress bars are shown."""
        if self._bars is not None:
            self.note(text)

    @contextmanager
    def track_series(self, title: str) -> Generator[Progress]:
        """Yield a function to report progress to, for as long as one series is fetched."""
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
    """Yield the display of a run; afterwards only the notes stay on the terminal.

    Args:
        series: Number of series; the failure of a single one is the program's own last line.
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

    class Rows(ProgressColumn):
        """Progress bar column: number of candles of the total."""

        def render(self, task: Task) -> Text:
            total = "?" if task.total is None else f"{task.total:,.0f}"
            return Text(f"{task.completed:,.0f}/{total} rows", justify="right")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        Rows(),
        TextColumn("{task.fields[rate]}", justify="right"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )


def _make_line_reporter(title: str) -> Callable[[int, int], None]:
    began = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_SECONDS:
            last = now
            rate = done / (now - began)
            left = (total - done) / rate if rate else 0.0
            note(f"{title}: {done:,} of {total:,} rows, {rate:,.0f}/s, {left:,.0f} s left")

    return report
