"""`uv run demo` as a new user runs it: output, files and processes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from browser import BrowserTab
from onetape.core.candles import Candle
from onetape.simulator.market.simulated_market import SimulatedMarket

#: What one command may take after the install, seconds.
LIMIT_SECONDS = 60
READ_ROWS = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute(
    "SELECT exchange, symbol, timeframe, closed, timestamp, open, high, low, close, volume "
    "FROM ohlcv_data ORDER BY timestamp").fetchall()
print(json.dumps(rows))
"""


@dataclass(frozen=True)
class DemoOutput:
    """What the demo printed and left."""

    folder: Path
    exit_code: int
    lines: list[str]
    errors: str

    @property
    def text(self) -> str:
        """Return all lines."""
        return "\n".join(self.lines)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoOutput:
    """Run the demo in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "onetape.simulator.demo"],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        timeout=10 * LIMIT_SECONDS,
        check=False,
    )
    return DemoOutput(folder, done.returncode, done.stdout.splitlines(), done.stderr)


def test_the_demo_ends_with_0_and_prints_nothing_on_stderr(demo: DemoOutput) -> None:
    assert (demo.exit_code, demo.errors) == (0, "")


def test_the_first_line_states_that_nothing_leaves_this_machine(demo: DemoOutput) -> None:
    assert demo.lines[0] == "Onetape demo: no account, no key, nothing leaves this machine."


def test_the_numbered_lines_of_the_demo_fit_on_one_screen(demo: DemoOutput) -> None:
    numbers = [int(line[1]) for line in demo.lines if re.match(r" \d\. ", line)]
    assert numbers == [1, 2, 3, 4, 5]
    assert len(demo.lines) <= 24


def test_the_market_is_marked_as_invented(demo: DemoOutput) -> None:
    assert "market INVENTED" in demo.lines[1]


def test_the_demo_fetches_at_least_180_days_of_history_without_a_gap(demo: DemoOutput) -> None:
    match = re.search(r"2\. history: ([\d,]+) candles of 1h .* (\d+) pages, no gaps", demo.text)
    assert match is not None
    assert int(match[1].replace(",", "")) >= 180 * 24


def test_the_backtest_is_compared_with_buy_and_hold_with_its_fees(demo: DemoOutput) -> None:
    assert re.search(r"rsi [+-][\d.]+%, buy and hold [+-][\d.]+%, .* fees [\d,.]+ USDT", demo.text)


def test_the_socket_is_disconnected_once_and_the_missed_candles_are_fetched(
    demo: DemoOutput,
) -> None:
    assert demo.text.count("stream lost") == 1
    match = re.search(r"stream is back, (\d+) missed candles? filled over REST", demo.text)
    assert match is not None
    assert int(match[1]) >= 1


def test_every_paper_trade_equals_the_backtest_of_the_same_candles(demo: DemoOutput) -> None:
    match = re.search(r"(\d+) of (\d+) fills on paper equal", demo.text)
    assert match is not None
    assert match[1] == match[2]
    assert int(match[1]) >= 2


def test_the_demo_ends_with_the_paths_and_the_next_three_commands(demo: DemoOutput) -> None:
    assert (demo.folder / "data/reports/demo.html").is_file()
    assert (demo.folder / "data/demo.db").is_file()
    commands = [line.split()[2] for line in demo.lines[-3:]]
    assert commands == ["backfiller", "backtester", "trader"]


def test_every_stored_candle_is_closed_and_equals_the_simulators(demo: DemoOutput) -> None:
    # A foreign client reads the file, in a separate process.
    done = subprocess.run(
        [sys.executable, "-c", READ_ROWS, str(demo.folder / "data/demo.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)
    assert {tuple(row[:4]) for row in rows} == {("simulator", "BTC/USDT", "1h", 1)}
    stored = [Candle(*row[4:]) for row in rows]
    first, last = stored[0].timestamp, stored[-1].timestamp
    ledger = SimulatedMarket(7).get_candles("BTC/USDT", "1h", first, last + 3_600)
    columns = (getattr(ledger, name).tolist() for name in Candle._fields)
    assert stored == [Candle(*row) for row in zip(*columns, strict=True)]


def test_the_report_shows_candles_indicator_markers_and_equity(
    demo: DemoOutput, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(demo.folder / "data/reports/demo.html")
    # Candles with RSI, equity and drawdown below them.
    assert page.run("window.onetapeReport.panes()") == 4
    assert page.run("window.onetapeReport.markers()") > 10
    assert page.complaints() == []


def test_the_demo_leaves_no_process(demo: DemoOutput) -> None:
    own = str(demo.folder)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            folder = (entry / "cwd").readlink()
        except OSError:
            continue
        assert str(folder) != own, (entry / "cmdline").read_bytes()
