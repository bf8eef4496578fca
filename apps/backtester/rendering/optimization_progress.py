"""Progress of an optimization on stderr: a bar in a terminal, otherwise a line every 5 s."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from onetape.cli.output import note
from onetape.core.printable import escape_unprintable
from onetape.optimization.trial_loop import OptimizationDisplay

#: Seconds between two lines where there is no terminal.
LINE_EVERY_SECONDS: Final = 5.0


@contextmanager
def show_progress(total: int, earlier: int = 0) -> Generator[OptimizationDisplay]:
    """Yield the display of an optimization; the bar is gone afterwards.

    Args:
        total: Number of combinations.
        earlier: Number of combinations that an earlier start evaluated; they take no time now.
    """
    if not sys.stderr.isatty():
        yield OptimizationDisplay(_make_line_reporter(total, earlier), note)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, Remaining(compact=True), console=console, transient=True, expand=True
    ) as bars:
        task = bars.add_task("combinations", total=total, completed=earlier)

        def show_done(done: int) -> None:
            bars.update(task, completed=done)

        def print_text(text: str) -> None:
            console.print(escape_unprintable(text), markup=False, highlight=False, soft_wrap=True)

        yield OptimizationDisplay(show_done, print_text)


def format_progress_line(done: int, total: int, earlier: int, seconds: float) -> str:
    """Return the progress of an optimization in one line.

    Args:
        done: Number of finished combinations, those of an earlier start included.
        total: Number of all combinations.
        earlier: Number of combinations that an earlier start evaluated.
        seconds: Duration of this start so far, above 0.
    """
    rate = (done - earlier) / seconds
    remaining = f", {(total - done) / rate:,.0f} s left" if rate else ""
    evaluated = f" ({earlier:,} by an earlier start)" if earlier else ""
    return f"{done:,} of {total:,} combinations{evaluated}, {rate:,.1f}/s{remaining}"


def _make_line_reporter(total: int, earlier: int) -> Callable[[int], None]:
    began = last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_SECONDS:
            last = now
            note(format_progress_line(done, total, earlier, now - began))

    return report
