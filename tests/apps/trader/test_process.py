"""The trader as a separate process, against a simulator in another process."""

import json
import os
import re
import signal
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from busy_loop import BusyLoop
from hostile_strategies import is_running, read_noted_processes, write_hostile
from onetape.cli.program import run_typer_app
from onetape.store.database import open_store
from programs import Program
from session_harness import OFTEN
from trader.main import app

#: One minute of market takes a quarter of a second.
SPEED = "240"
#: A stop takes a second; a request that waits for its response would take ten. Processor seconds
#: of a loop next to it.
STOP_SECONDS = 8
DECISION = re.compile(
    r"\d\d:\d\d close [\d,]+\.\d\d change -?[\d.,]+: "
    r"(BUY|SELL|HOLD)( \(.*: no order\))?, next \d\d:\d\d"
)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Return the address of a simulator's process."""
    arguments = ("--port", "0", "--speed", SPEED, "--start", "2024-03-01T00:00:20")
    with Program("simulator", *arguments, folder=tmp_path_factory.mktemp("simulator")) as program:
        greeting = program.until("simulator:")
        yield re.findall(r"http://[\d.:]+\d", greeting)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder like a user's, with a strategy of their own."""
    own = tmp_path / "user" / "strategies"
    own.mkdir(parents=True)
    (own / "often.py").write_text(OFTEN, encoding="utf-8")
    return tmp_path


def start_trader(folder: Path, url: str, *arguments: str, output: int | None = None) -> Program:
    common = ("--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m")
    words = (*common, "--strategy", "often", *arguments)
    return Program("trader", *words, folder=folder, output=output)


FREQTRADE = """from freqtrade.strategy import IStrategy


class Sample(IStrategy):
    timeframe = "1m"
    stoploss = -0.1
    order_types = {"entry": "limit"}
"""


def fetch_json(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, {"X-Onetape-Control": "1"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=180) as response:  # noqa: S310 - loopback
        return json.load(response)


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return rows of the database of a trader that has ended."""
    with open_store(folder / "data" / "simulator.db", create=False) as store, store.read() as one:
        return one.execute(sql).fetchall()


def read_decided_candles(folder: Path) -> dict[int, tuple[float, ...]]:
    """Return the closed candles up to the last decision.

    Those after it may still lack one that REST has not brought.
    """
    rows = query(
        folder,
        "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE closed = 1 "
        "AND timestamp <= (SELECT max(timestamp) FROM decisions)",
    )
    return {row[0]: row[1:] for row in rows}


def fetch_ledger(url: str, start: int, end: int) -> dict[int, tuple[float, ...]]:
    rows = fetch_json(
        url,
        f"/simulator/ledger?symbol=BTC/USDT&interval=1m&startTime={start}000&endTime={end}000",
    )
    return {row[0] // 1_000: tuple(float(value) for value in row[1:6]) for row in rows}


def test_a_run_prints_what_it_does_line_by_line_and_stops_cleanly(
    folder: Path, simulator: str
) -> None:
    with start_trader(folder, simulator) as program:
        program.until("paper trading simulator BTC/USDT 1m with often")
        first = program.until("", inside=", next ")
        with start_trader(folder, simulator) as second:
            assert second.ends() == 7
            assert "is traded by process" in second.errors[0]
            assert len(second.errors) == 1
        program.until("", 3, inside=", next ")
        fetch_json(simulator, "/simulator/disconnect", {"refuse_seconds": 0.8})
        program.until("stream lost:")
        program.until("stream is back,")
        program.until("", 3, inside=", next ")
        with BusyLoop() as busy_loop:
            program.send(signal.SIGTERM)
            assert program.ends() == 0
            assert busy_loop.seconds < STOP_SECONDS
    assert program.lines[-1].startswith("SIGTERM: stopped with ")
    assert program.errors == []
    decisions = [line for line in program.lines if ", next " in line]
    assert decisions[0] == first
    assert all(DECISION.fullmatch(line) for line in decisions)
    minutes = [line[:5] for line in decisions]
    assert minutes == sorted(set(minutes)), "one line for each closed candle, in order"

    stored = read_decided_candles(folder)
    assert stored == fetch_ledger(simulator, min(stored), max(stored) + 60)
    assert query(folder, "SELECT end_reason FROM sessions") == [("SIGTERM",)]
    decided = query(folder, "SELECT count(*), count(DISTINCT timestamp) FROM decisions")
    assert decided == [(len(decisions), len(decisions))]


@contextmanager
def open_unwritable_output(kind: str) -> Generator[int]:
    """Return a descriptor that takes no line: of a full disk, or of a pipe without a reader."""
    if kind == "full disk":
        number = os.open("/dev/full", os.O_WRONLY)
        yield number
        os.close(number)
        return
    reading, writing = os.pipe()
    if kind == "closed pipe":
        os.close(reading)
    else:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(4_096))
        os.set_blocking(writing, True)
    yield writing
    os.close(writing)
    if kind != "closed pipe":
        os.close(reading)


@pytest.mark.parametrize("kind", ["full disk", "closed pipe", "full pipe"])
def test_a_trader_whose_lines_cannot_be_written_goes_on_and_stops_cleanly(
    folder: Path, simulator: str, kind: str
) -> None:
    file = folder / "data" / "simulator.db"
    with (
        open_unwritable_output(kind) as output,
        start_trader(folder, simulator, output=output) as program,
    ):
        deadline = time.monotonic() + 180
        while not file.exists() or count_decisions(file) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert query(folder, "SELECT end_reason FROM sessions") == [("SIGTERM",)]


def count_decisions(file: Path) -> int:
    """Return how many decisions a trader has stored that may still be making its file."""
    with closing(sqlite3.connect(file)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM decisions").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def test_ctrl_c_stops_while_the_stream_is_down(folder: Path, simulator: str) -> None:
    with start_trader(folder, simulator) as program:
        program.until("", inside=", next ")
        fetch_json(simulator, "/simulator/disconnect", {"refuse_seconds": 30})
        program.until("stream lost:")
        time.sleep(0.5)
        with BusyLoop() as busy_loop:
            program.send(signal.SIGINT)
            assert program.ends() == 0
            assert busy_loop.seconds < STOP_SECONDS
    # Else the traders of the next tests would find no stream.
    fetch_json(simulator, "/simulator/disconnect", {"refuse_seconds": 0})
    assert program.lines[-1].startswith("Ctrl-C: stopped with ")
    assert program.errors == []


def test_a_killed_trader_starts_again_and_repeats_nothing(folder: Path, simulator: str) -> None:
    with start_trader(folder, simulator) as program:
        program.until("bought")
        program.until("", 2, inside=", next ")
        program.send(signal.SIGKILL)
        assert program.ends() == -signal.SIGKILL
    # The newest row may be closed already, and the next candle not begun.
    ((forming,),) = query(folder, "SELECT max(timestamp + 60 * closed) FROM ohlcv_data")
    trades = query(folder, "SELECT count(*) FROM trades")[0][0]
    with start_trader(folder, simulator) as program:
        account = program.until("account ")
        program.until("", 3, inside=", next ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    assert f"{trades} fill" in account
    twice = "SELECT count(*) - count(DISTINCT timestamp) FROM decisions"
    assert query(folder, twice) == [(0,)]
    assert query(folder, "SELECT count(*) FROM orders WHERE status = 'open'") == [(0,)]
    stored = read_decided_candles(folder)
    whole = fetch_ledger(simulator, min(stored), max(stored) + 60)
    # A trader begins with the last 100 closed candles; on a busy machine more have gone by.
    begun = query(folder, f"SELECT min(timestamp) FROM decisions WHERE timestamp > {forming}")[0][0]
    gone = {at for at in whole if forming <= at <= begun - 100 * 60} - stored.keys()
    assert stored == {at: row for at, row in whole.items() if at not in gone}
    newest = query(folder, "SELECT max(timestamp) FROM ohlcv_data")[0][0]
    assert query(folder, "SELECT timestamp FROM ohlcv_data WHERE closed = 0") in (
        [],
        [(newest,)],
        [(newest - 60,), (newest,)],
    )


@contextmanager
def serve_with_hanging_path(behind: str, path: str) -> Generator[tuple[str, threading.Event]]:
    """Serve the simulator's responses, except for one path, whose requests hang."""
    requested, stop = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith(path):
                requested.set()
                stop.wait(180)
                return
            with urllib.request.urlopen(f"{behind}{self.path}", timeout=180) as response:  # noqa: S310
                body = response.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requested
        stop.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "number", "name"),
    [
        ("/api/v3/exchangeInfo", signal.SIGTERM, "SIGTERM"),
        ("/api/v3/klines", signal.SIGINT, "Ctrl-C"),
    ],
    ids=["start-up", "warm-up"],
)
def test_a_stop_before_the_first_decision_is_clean(
    folder: Path, simulator: str, path: str, number: signal.Signals, name: str
) -> None:
    with (
        serve_with_hanging_path(simulator, path) as (url, requested),
        start_trader(folder, url) as program,
    ):
        assert requested.wait(180)
        with BusyLoop() as busy_loop:
            program.send(number)
            assert program.ends() == 0
            assert busy_loop.seconds < STOP_SECONDS
    assert program.lines[-1].startswith(f"{name}: stopped")
    assert program.errors == []


def test_an_unreachable_exchange_prints_one_line_and_exits_with_5(
    folder: Path, refusing_port: int
) -> None:
    url = f"http://127.0.0.1:{refusing_port}"
    with start_trader(folder, url) as program:
        assert program.ends() == 5
    assert program.lines == []
    assert len(program.errors) == 1
    assert url in program.errors[0]
    assert not (folder / "data").exists()


CONFIGS = {
    "an unknown key": "stale_after_second: 30",
    "an idle timer of nothing": "stale_after_seconds: 0",
    "a signal age that is not a number": "max_signal_age_seconds: .nan",
    "a bound that is infinite": "ticker_days: .inf",
    "a mode that does not exist": "mode: lively",
    "a fee over 100 %": "account: {fee_rate: 2}",
    "no symbol": "symbol: BTCUSDT",
    "no strategy": "strategy: {name: rsii}",
    "malformed YAML": "strategy: [",
}


@pytest.mark.parametrize("what", CONFIGS)
def test_an_invalid_setting_prints_one_line_exits_with_3_and_writes_nothing(
    folder: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    (folder / "trader.yaml").write_text(CONFIGS[what], encoding="utf-8")
    arguments = ["--exchange", "simulator", "--config", "trader.yaml"]
    assert run_typer_app(app, "trader", arguments) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("trader: trader.yaml:1: ")
    assert err.count("\n") == 1
    assert not (folder / "data").exists()


def test_an_invalid_flag_is_named_and_exits_with_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert run_typer_app(app, "trader", ["--exchange", "simulator", "--fee", "2"]) == 2
    assert capsys.readouterr().err == (
        "trader: --fee: fee_rate must be 0 or more and under 1, found 2.0\n"
    )
    assert not (folder / "data").exists()


def test_a_strategy_that_fails_on_its_first_candle_prints_one_line_and_exits_with_3(
    folder: Path, simulator: str
) -> None:
    failing = OFTEN.replace("        rose =", "        raise ValueError('no more')\n        rose =")
    (folder / "user" / "strategies" / "often.py").write_text(failing, encoding="utf-8")
    with start_trader(folder, simulator) as program:
        assert program.ends() == 3
    assert not any(", next " in line for line in program.lines)
    assert program.lines[-1].startswith("an error: stopped with ")
    (error,) = program.errors
    assert "strategy often failed on the 100 candles" in error
    assert "often.py, line " in error


def test_sigterm_ends_a_trader_within_two_seconds_while_its_strategy_loops_for_ever(
    folder: Path, simulator: str
) -> None:
    hanging = write_hostile(
        folder, "note_process()\n            while True: pass", condition="len(CALLS) > 1"
    )
    Path(hanging).replace(folder / "user" / "strategies" / "often.py")
    with start_trader(folder, simulator) as program:
        program.until("", inside=", next ")
        deadline = time.monotonic() + 180
        while not read_noted_processes(folder):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with BusyLoop() as busy_loop:
            program.send(signal.SIGTERM)
            assert program.ends() == 0
            assert busy_loop.seconds < 2
    assert program.lines[-1].startswith("SIGTERM: stopped with ")
    assert not any(map(is_running, read_noted_processes(folder)))


def test_settings_of_a_freqtrade_file_without_effect_are_printed_at_the_start(
    simulator: str, folder: Path
) -> None:
    (folder / "Sample.py").write_text(FREQTRADE, encoding="utf-8")
    with start_trader(folder, simulator, "--strategy", "Sample.py") as program:
        line = program.until("note: without effect")
    assert "note: without effect here, of Sample.py: order_types (line 7); docs/" in line
