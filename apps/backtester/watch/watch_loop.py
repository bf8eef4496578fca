"""The loop of `backtester --watch`: a backtest in a separate process at each save of a file.

The process loads the strategy and the modules that it imports again, and can be ended at the next
save if the strategy hangs. The report is served to the browser (report_server.py).
"""

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

import msgspec

from backtester.configuration import load_backtest_settings
from backtester.flags import parse_backtest_flags
from backtester.watch.report_server import NewestReport, ReportServer
from backtester.watch.watched_files import WatchedFiles, list_settings_files, make_strategy_path
from onetape.backtest.records import RunSummary
from onetape.backtest.warning_banner import format_fault_mark, format_warning
from onetape.cli.output import note, print_line
from onetape.core.errors import OnetapeError, UsageError
from onetape.strategies.imported_files import find_import_places

if TYPE_CHECKING:
    import typer

#: Seconds between two checks of the files.
CHECK_SECONDS: Final = 0.2
#: Time that a change must be old before a run begins, because editors may write in steps, seconds.
SETTLE_SECONDS: Final = 0.1
#: Seconds after which a line states that a backtest takes long.
SLOW_AFTER_SECONDS: Final = 10.0
#: Parameters of flags that have no effect in a watch, or that the watch sets itself.
_OWN_FLAGS: Final = ("watch", "report", "save", "no_report", "json_")


def watch(context: "typer.Context") -> None:
    """Run backtests until SIGTERM, SIGHUP or Ctrl-C; return then.

    A signal that the program was started to ignore, as by nohup, stays ignored.

    Args:
        context: Typer's context with the flags of the backtest.

    Raises:
        UsageError: a flag leaves nothing to watch.
    """
    given = context.params
    for name, flag in (("json_", "--json"), ("no_report", "--no-report")):
        if given[name]:
            raise UsageError(f"--watch shows a report; leave {flag} out")
    flags, config, report = collect_typed_flags(context), given["config"], given["report"]
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    newest = NewestReport()
    with (
        tempfile.TemporaryDirectory(prefix="onetape-watch-") as folder,
        ReportServer(newest) as server,
    ):
        path = Path(report or Path(folder) / "report.html").resolve()
        print_line(f"report: {server.address} (reloads by itself; Ctrl-C ends)")
        BacktestWatch(flags, config and Path(config), path, newest).run_until(stop)
    print_line("watch ended")


class BacktestWatch:
    """Runs one backtest at a time, and starts it again when a file changes."""

    def __init__(
        self,
        flags: Sequence[str],
        config: Path | None,
        report: Path,
        newest: NewestReport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; no backtest runs yet.

        Args:
            flags: Flags of the backtest as they are typed.
            config: Settings file of `--config`; None: the default files.
            report: File that each backtest writes its report to.
            newest: Report and error that the server shows.
            clock: Returns monotonic seconds.
        """
        self._clock = clock
        self._flags = list(flags)
        self._config = config
        self._report = report
        self._newest = newest
        self._files = WatchedFiles()
        self._strategy: Path | None = None

    def run_until(self, stop: threading.Event) -> None:
        """Run a backtest, and again at each change of a watched file, until `stop` is set."""
        while not stop.is_set():
            self._update_watched_files()
            with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
                running = self._start_run(out, err)
                slow_at = self._clock() + SLOW_AFTER_SECONDS
                while not stop.wait(CHECK_SECONDS) and not self._files.has_changed():
                    if running is None:
                        continue
                    if running.poll() is not None:
                        self._show_end(running.returncode, _read_text(out), _read_text(err))
                        running = None
                    elif self._clock() >= slow_at:
                        slow_at = math.inf
                        note(
                            f"still running after {SLOW_AFTER_SECONDS:g} s; where the strategy "
                            "hangs, fix and save it: that ends this backtest"
                        )
                if running is not None:
                    running.kill()
                    running.wait()
            stop.wait(SETTLE_SECONDS)

    def _update_watched_files(self) -> None:
        """Watch the settings files and the strategy's file, which the settings may have changed."""
        self._strategy = find_chosen_strategy_file(self._flags) or self._strategy
        paths = list_settings_files(self._config)
        if self._strategy is not None:
            paths += [self._strategy, *find_import_places(self._strategy)]
        self._files.watch(paths)

    def _start_run(self, out: IO[bytes], err: IO[bytes]) -> "subprocess.Popen[bytes]":
        program = [sys.executable, "-m", "backtester.watch.watched_run", str(os.getpid())]
        flags = ["--report", str(self._report), "--no-save", "--json"]
        return subprocess.Popen(  # noqa: S603 - this program
            [*program, *self._flags, *flags],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )

    def _show_end(self, code: int, document: str, errors: str) -> None:
        """Show the result of a backtest: a line, and the page."""
        now = time.strftime("%H:%M:%S", time.gmtime())
        lines = errors.splitlines()
        if code == 0:
            summary = msgspec.json.decode(document, type=RunSummary)
            printed, line = lines, format_headline(summary)
            page = self._report.read_text(encoding="utf-8")
            self._newest.show(page, format_warning(summary.check))
        else:
            *printed, line = lines or [f"the backtest ended with {code}"]
            self._newest.show_error(line)
        for text in printed:
            note(text)  # what the strategy printed
        print_line(f"{now} {line}")


def find_chosen_strategy_file(flags: Sequence[str]) -> Path | None:
    """Return the file of the strategy that flags and settings choose.

    If the settings cannot be used, which the backtest prints, the flag alone chooses the file: the
    error may be in the settings that the file of a freqtrade strategy states.

    Args:
        flags: The flags of a backtest as they are typed.

    Returns:
        None where the settings cannot be used and no flag names a strategy.
    """
    given: str | None = None
    try:
        parsed = parse_backtest_flags(flags, "--watch")
        given = parsed["strategy"]
        name = load_backtest_settings(parsed).settings.strategy.name
    except OnetapeError:
        return None if given is None else make_strategy_path(given)
    return make_strategy_path(name)


def collect_typed_flags(context: "typer.Context") -> list[str]:
    """Return the flags of a backtest as typed, without the flags of the report."""
    flags: list[str] = []
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if option.name in _OWN_FLAGS or value is None or value is False or value == []:
            continue
        flag = option.opts[0]
        if value is True:
            flags.append(flag)
        else:
            is_several = isinstance(value, list | tuple)
            values = cast("Sequence[object]", value) if is_several else [value]
            flags += [
                f"{flag}={one}" if flag.startswith("--") else f"{flag}{one}" for one in values
            ]
    return flags


def _read_text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def format_headline(summary: RunSummary) -> str:
    """Return a run in one line."""
    metrics, hold = summary.metrics, summary.metrics.buy_and_hold
    hold_text = f" (holding {hold.total_return:+.2%})" if hold else ""
    sharpe = "none" if metrics.sharpe is None else f"{metrics.sharpe:.2f}"
    found = format_fault_mark(summary.check)
    return (
        f"{f'{found}: ' if found else ''}{summary.strategy}: "
        f"return {metrics.total_return:+.2%}{hold_text}, max drawdown "
        f"{metrics.max_drawdown:.2%}, Sharpe {sharpe}, {metrics.trades:,} trades; "
        f"bias check: {summary.check.text}"
    )
