"""`backtester --watch`: real processes, and the report in a real headless Chromium."""

import itertools
import re
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from backtester.watch.report_server import NewestReport, ReportServer
from backtester.watch.watch_loop import BacktestWatch
from backtester.watch.watched_files import WatchedFiles, make_strategy_path
from browser import BrowserTab, Chromium
from programs import Program

Run = Callable[..., Any]
STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"
    period: int = parameter(20, ge=2, le=500)

    @property
    def lookback(self):
        return self.period + 1

    def evaluate(self, candles, higher):
        average = indicators.sma(candles.close, self.period)
        return Signals(indicators.crosses(candles.close, average, 0.0), {"average": average})
"""
#: The last twelve days of the database: each save is checked whole, and quickly.
FLAGS = ("--exchange", "simulator", "-s", "mine", "--from", "2024-04-18", "--watch")
PERIOD = "document.querySelector('#rules-title').parentElement.textContent"
BAR = "document.getElementById('watch').textContent"


@pytest.fixture
def strategy_path(database: Path) -> Path:
    """Return the file of a strategy called `mine`."""
    del database
    path = Path("user/strategies/mine.py").resolve()
    path.parent.mkdir(parents=True)
    path.write_text(STRATEGY)
    return path


@pytest.fixture
def watched(strategy_path: Path, tmp_path: Path) -> Iterator[Program]:
    """Return a watch whose first backtest has ended."""
    del strategy_path
    with Program("backtester", *FLAGS, folder=tmp_path) as program:
        program.until("", inside="mine: return ")
        yield program


def save(path: Path, text: str) -> None:
    """Write a file at one moment: a watch on a busy machine may see a half-written one."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def find_address(program: Program) -> str:
    """Return where the report is served."""
    found = re.search(r"http://127\.0\.0\.1:\d+/", program.lines[0])
    assert found is not None
    return found[0]


@pytest.fixture
def page(watched: Program, chromium: Chromium) -> Iterator[BrowserTab]:
    """Return the watched report in a tab."""
    tab = BrowserTab(chromium, 1280, 900)
    tab.call("Page.navigate", url=find_address(watched))
    tab.wait_for("document.readyState === 'complete' && !!document.getElementById('watch')")
    yield tab
    tab.close()


def test_ctrl_c_ends_the_watch_with_0(watched: Program) -> None:
    watched.send(signal.SIGINT)
    assert watched.ends() == 0
    assert watched.errors == []


def test_saving_the_settings_runs_the_backtest_again(watched: Program, tmp_path: Path) -> None:
    first = watched.lines[-1]
    settings = tmp_path / "user/config/backtester.yaml"
    settings.parent.mkdir()
    save(settings, "account:\n  fee_rate: 0.01\n")
    assert watched.until("", inside="mine: return ")[9:] != first[9:]


def test_saving_a_file_that_the_strategy_imports_runs_the_backtest_again(
    database: Path, tmp_path: Path
) -> None:
    del database
    folder = tmp_path / "user" / "strategies"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(f"import my_tools\n{STRATEGY}".replace("(20,", "(my_tools.N,"))
    with Program("backtester", *FLAGS, folder=tmp_path) as program:
        # It is looked at before it is there.
        program.until("", inside="ModuleNotFoundError")
        save(folder / "my_tools.py", "N = 20\n")
        first = program.until("", inside="mine: return ")
        save(folder / "my_tools.py", "N = 50\n")
        assert program.until("", inside="mine: return ")[9:] != first[9:]


def test_a_saved_strategy_is_checked_and_look_ahead_is_reported(
    page: BrowserTab, watched: Program, strategy_path: Path
) -> None:
    assert "bias check: passed, 288 bars" in watched.lines[-1]
    save(
        strategy_path,
        STRATEGY.replace("self.period)\n        return", "self.period)[::-1]\n        return"),
    )
    printed = watched.until("", inside="mine: return ")
    assert "(look-ahead): do not trust this result" in printed
    assert "! look-ahead: mine: return " in printed
    # Wherever one has scrolled to, and right under the headline; over neither of them.
    page.wait_for(f"!!document.getElementById('watch') && {BAR}.startsWith('look-ahead: do not')")
    assert page.run("document.querySelector('h1 + [role=alert]').textContent").startswith("Look-")
    tops = "['.market', '#watch'].map((one) => document.querySelector(one).getBoundingClientRect())"
    head, bar = page.run(f"{tops}.map((box) => [box.top, box.bottom])")
    assert head[0] >= bar[1]
    save(strategy_path, STRATEGY)
    page.wait_for(f"!!document.getElementById('watch') && {BAR} === ''")


def test_a_broken_file_prints_one_line_and_the_next_version_runs(
    watched: Program, strategy_path: Path
) -> None:
    save(strategy_path, STRATEGY.replace("return self.period + 1", "return self.period +"))
    assert "line 13: SyntaxError" in watched.until("", inside="backtester: strategy file")
    save(strategy_path, STRATEGY)
    watched.until("", inside="mine: return ")
    assert (len(watched.lines), watched.errors) == (4, [])


def test_the_open_report_reloads_after_a_save(page: BrowserTab, strategy_path: Path) -> None:
    assert "period20" in page.run(PERIOD)
    save(strategy_path, STRATEGY.replace("parameter(20", "parameter(5"))
    page.wait_for(f"!!document.getElementById('watch') && {PERIOD}.includes('period5')")
    assert page.complaints() == []


def test_an_error_in_the_saved_file_is_shown_on_the_page_until_it_is_fixed(
    page: BrowserTab, strategy_path: Path
) -> None:
    save(strategy_path, STRATEGY + "\n1 / 0\n")
    page.wait_for(f"{BAR}.includes('ZeroDivisionError')")
    save(strategy_path, STRATEGY)
    page.wait_for(f"!!document.getElementById('watch') && {BAR} === ''")


def test_sigterm_ends_the_watch_with_0_and_the_page_shows_that(
    page: BrowserTab, watched: Program
) -> None:
    watched.send(signal.SIGTERM)
    assert watched.ends() == 0
    page.wait_for(f"{BAR}.includes('has ended')")


def test_a_watch_of_a_broken_file_shows_its_first_report_once_it_is_fixed(
    strategy_path: Path, tmp_path: Path, chromium: Chromium
) -> None:
    strategy_path.write_text("import nothing_that_exists\n")
    flags = ("--exchange", "simulator", "-s", f"{strategy_path}:Mine", "--watch")
    with Program("backtester", *flags, folder=tmp_path) as program:
        program.until("", inside="ModuleNotFoundError")
        tab = BrowserTab(chromium, 1280, 900)
        tab.call("Page.navigate", url=find_address(program))
        tab.wait_for("document.body && document.body.textContent.includes('No report yet')")
        save(strategy_path, STRATEGY)
        tab.wait_for("!!document.getElementById('rules-title')")
        assert tab.complaints() == []
        tab.close()


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_request_of_a_foreign_page_is_refused(watched: Program, name: str) -> None:
    connection = HTTPConnection(find_address(watched).removeprefix("http://").rstrip("/"))
    connection.request("GET", "/state", headers={name: "http://evil.example"})
    assert connection.getresponse().status == 403
    connection.close()


def test_a_page_that_closes_its_connection_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    with ReportServer(NewestReport()) as server:
        place = ("127.0.0.1", int(server.address.rstrip("/").rpartition(":")[2]))
        with socket.create_connection(place) as client:
            client.sendall(b"GET / HTTP")
            # To close it is a reset then, which a reader meets for certain.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Connections are taken in turn: the first is in its thread when the next gets its response.
        connection = HTTPConnection(*place)
        connection.request("GET", "/state")
        assert connection.getresponse().status == 200
        connection.close()
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join()
    assert capfd.readouterr().err == ""


class _LookCounter(threading.Event):
    """A stop request after a number of looks at the file, without waiting."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self._left -= 1
        if self._left == 0:
            self.set()
        return self.is_set()


def test_a_backtest_that_hangs_is_reported_once(
    strategy_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    strategy_path.write_text("while True:\n    pass\n")
    clock = itertools.count(0.0, 4.0)
    watch = BacktestWatch(
        ["--exchange=simulator", "--strategy=mine"],
        None,
        tmp_path / "report.html",
        NewestReport(),
        clock=lambda: next(clock),
    )
    watch.run_until(_LookCounter(3))
    assert capfd.readouterr().err == ""
    watch.run_until(_LookCounter(9))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("still running after 10 s; where the strategy hangs, fix and save it")


@pytest.mark.parametrize("flag", ["--json", "--no-report"])
def test_a_watch_without_a_report_is_refused(backtester: Run, flag: str) -> None:
    ended = backtester("--watch", flag)
    assert (ended.code, ended.err) == (
        2, f"backtester: --watch shows a report; leave {flag} out\n"
    )  # fmt: skip


def test_saving_the_same_content_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text("1")
    files = WatchedFiles()
    files.watch([path, tmp_path / "missing.yaml"])
    path.write_text("1")
    assert not files.has_changed()


def test_added_and_deleted_files_count_as_changes(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    files = WatchedFiles()
    files.watch([path])
    path.write_text("1")
    assert files.has_changed()
    path.unlink()
    assert files.has_changed()


@pytest.mark.parametrize(
    ("name", "path"),
    [("mine", "user/strategies/mine.py"), ("a/b.py", "a/b.py"), ("a/b.py:Mine", "a/b.py")],
)
def test_a_strategys_file_is_found_without_running_it(name: str, path: str) -> None:
    assert make_strategy_path(name) == Path(path)
