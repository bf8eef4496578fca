"""`trader --live` as a process, with live orders against a simulator's process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from busy_loop import BusyLoop
from onetape.store.database import open_store
from programs import Program

SPEED = "120"
KEY, SECRET = "CanaryKey0123456789", "CanarySecret0123456789"
#: BUY in every sixth minute, SELL three candles later.
SIXTHS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Sixths(Strategy):
    name: ClassVar[str] = "sixths"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        place = candles.timestamp // 60 % 6
        return Signals(np.where(place == 0, 1, np.where(place == 3, -1, 0)).astype(np.int8), {})
"""
#: The same without a SELL: a position is there for as long as a busy machine takes.
KEEPS = SIXTHS.replace("np.where(place == 3, -1, 0)", "0")


@pytest.fixture
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Return the address of a simulator's process."""
    arguments = ("--port", "0", "--speed", SPEED, "--start", "2024-03-01T00:00:20")
    balance = ("--balance", "USDT=50000,BTC=2")
    folder = tmp_path_factory.mktemp("simulator")
    with Program("simulator", *arguments, *balance, folder=folder) as program:
        yield re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]


def start_trader(
    folder: Path, url: str, *flags: str, timeframe: str = "1m", source: str = SIXTHS
) -> Program:
    own = folder / "user" / "strategies"
    own.mkdir(parents=True, exist_ok=True)
    (own / "sixths.py").write_text(source, encoding="utf-8")
    return Program(
        "trader", "--live", "--exchange", "simulator", "--simulator-url", url,
        "--timeframe", timeframe, "--strategy", "sixths", "--stop-loss", "0.2",
        "--cash", "1000", *flags,
        folder=folder,
    )  # fmt: skip


def send_manual_action(url: str, verb: str, document: object, *, method: str = "POST") -> None:
    """Send a manual action to the simulator."""
    request = urllib.request.Request(  # noqa: S310 - our own loopback
        f"{url}/simulator/{verb}",
        json.dumps(document).encode(),
        {"Content-Type": "application/json", "X-Onetape-Control": "1"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        assert response.status == 200


def read_all_output(folder: Path, *programs: Program) -> bytes:
    """Return all that programs have printed, and every file below their folder."""
    printed = "\n".join(line for one in programs for line in (*one.lines, *one.errors))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return printed.encode() + b"".join(path.read_bytes() for path in files)


def read_ledger(url: str, name: str) -> list[dict[str, Any]]:
    script = Path(sys.executable).parent / "simulator"
    done = subprocess.run(
        [str(script), "ledger", "--url", url, "--json"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)[name]


def read_status(folder: Path) -> str:
    script = Path(sys.executable).parent / "trader"
    done = subprocess.run(
        [str(script), "status", "--exchange", "simulator"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def stop_after_entry(program: Program) -> None:
    """Send SIGTERM once a position was bought, and wait for a clean end within 8 s."""
    with BusyLoop() as busy_loop:
        program.until("entry: bought ")
        busy_loop.begin()
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert busy_loop.seconds < 8


def test_the_program_trades_through_a_kill_and_ends_with_its_stop_in_place(
    tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secrets = tmp_path / "app", tmp_path / "secrets"
    folder.mkdir()
    secrets.mkdir()
    send_manual_action(simulator, "keys/create", {"key": KEY, "secret": SECRET, "trading": True})
    for name, text in (("KEY", KEY), ("SECRET", SECRET)):
        (secrets / name).write_text(f"{text}\n", encoding="utf-8")
        (secrets / name).chmod(0o600)
        monkeypatch.setenv(f"ONETAPE_API_{name}_FILE", str(secrets / name))
    monkeypatch.setenv("ONETAPE_TRACEBACK", "1")
    log = ("--log-json", "trader.jsonl")
    with start_trader(folder, simulator, *log) as first:
        first.until("entry: bought ")
        first.until("exit: sold ")
        first.until("entry: bought ")
        first.send(signal.SIGKILL)
        first.ends()
    with start_trader(folder, simulator, *log) as second:
        second.until("exit: sold ")
        stop_after_entry(second)
    programs = [first, second]
    if "on the exchange" not in read_status(folder):
        # The strategy has sold before the signal came; this one never sells.
        with start_trader(folder, simulator, *log, source=KEEPS) as again:
            stop_after_entry(again)
        programs.append(again)
    assert "on the exchange" in read_status(folder)
    # Everything has changed: the account's name follows the timeframe, and the key may withdraw.
    send_manual_action(simulator, "keys/change", {"key": KEY, "withdrawals": True})
    with start_trader(folder, simulator, *log, timeframe="5m") as program:
        program.until("degraded: exits only: ", inside="the API key may move money out")
        program.until("exit: sold ")
        program.until("", inside="HOLD (degraded: exits only")
        assert "the timeframe is 5m now" in read_status(folder)
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    with open_store(folder / "data" / "simulator.db", create=False) as store, store.read() as one:
        booked = one.execute("SELECT exchange_trade_id FROM trades ORDER BY 1").fetchall()
        ids = [row[0] for row in one.execute("SELECT client_order_id FROM orders")]
    fills = read_ledger(simulator, "fills")
    assert sorted(int(row[0]) for row in booked) == sorted(int(fill["trade_id"]) for fill in fills)
    orders = read_ledger(simulator, "orders")
    assert {order["client_order_id"] for order in orders} <= set(ids)
    written = read_all_output(folder, *programs, program)
    assert b"exits only" in written
    for secret in (KEY, SECRET):
        assert secret.encode() not in written


#: A strategy file of freqtrade's that buys on each candle, and states a stop.
ALWAYS = """
from freqtrade.strategy import IStrategy


class Always(IStrategy):
    timeframe = "1m"
    stoploss = -0.2

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[:, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
"""


def test_row_65_a_broken_strategy_file_leaves_the_stop_of_a_position_in_place(
    tmp_path: Path, simulator: str
) -> None:
    file = tmp_path / "user" / "strategies" / "Always.py"
    file.parent.mkdir(parents=True)
    file.write_text(ALWAYS, encoding="utf-8")

    def started() -> Program:
        return Program(
            "trader", "--live", "--exchange", "simulator", "--simulator-url", simulator,
            "--strategy", "Always", "--cash", "1000", folder=tmp_path,
        )  # fmt: skip

    with started() as program:
        program.until("entry: bought ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    stop = read_ledger(simulator, "orders")[-1]
    assert (stop["type"], stop["status"]) == ("STOP_LOSS", "NEW")
    for text, reason in (
        (f"{ALWAYS}    if\n", "a strategy cannot be loaded"),
        (ALWAYS.replace("-0.2", "0.2"), "stoploss must be a number under 0"),
    ):
        file.write_text(text, encoding="utf-8")
        with started() as program:
            program.until("degraded: exits only: ", inside=reason)
            program.until("", inside=": HOLD")
            assert "on the exchange" in read_status(tmp_path)
            program.send(signal.SIGTERM)
            assert program.ends() == 0
        assert read_ledger(simulator, "orders")[-1] == stop


def test_row_65_a_broken_strategy_file_leaves_the_exits_of_a_paper_position(
    tmp_path: Path, simulator: str
) -> None:
    file = tmp_path / "user" / "strategies" / "Always.py"
    file.parent.mkdir(parents=True)
    file.write_text(ALWAYS, encoding="utf-8")

    def started(*flags: str) -> Program:
        return Program(
            "trader", "--exchange", "simulator", "--simulator-url", simulator,
            "--strategy", "Always", *flags, folder=tmp_path,
        )  # fmt: skip

    with started() as program:
        program.until("bought ", inside="on paper")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    for text, reason in (
        (f"{ALWAYS}    if\n", "a strategy cannot be"),
        (ALWAYS.replace("-0.2", "0.2"), "stoploss must be a number under 0"),
    ):
        file.write_text(text, encoding="utf-8")
        with started() as program:
            program.until("degraded: exits only: ", inside=reason)
            program.until("", inside=": HOLD")
            assert "stop loss " in read_status(tmp_path)
            program.send(signal.SIGTERM)
            assert program.ends() == 0
    with started("--account", "one that holds nothing") as program:
        assert program.ends() == 3
    with started() as program:
        program.until("degraded: exits only: ")
        with Program("trader", "exit", "all", "--exchange", "simulator", folder=tmp_path) as exit_:
            assert exit_.ends() == 0
        program.until("exit (exit by ", inside="sold ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0


def test_row_65_a_strategy_that_fails_to_load_leaves_the_exits_of_a_paper_position(
    tmp_path: Path, simulator: str
) -> None:
    file = tmp_path / "own.py"
    file.write_text(KEEPS, encoding="utf-8")

    def started() -> Program:
        return Program(
            "trader", "--exchange", "simulator", "--simulator-url", simulator, "--timeframe", "1m",
            "--strategy", "own.py", "--stop-loss", "0.2", folder=tmp_path,
        )  # fmt: skip

    with started() as program:
        program.until("bought ", inside="on paper")
        program.send(signal.SIGKILL)
    file.write_text(f"{KEEPS}raise ValueError\n", encoding="utf-8")
    with started() as program:
        program.until("degraded: exits only: ", inside="ValueError")
        assert "stop loss " in read_status(tmp_path)
        program.send(signal.SIGTERM)
        assert program.ends() == 0


def test_row_68_sigterm_leaves_a_stop_for_the_part_that_an_entry_has_filled(
    tmp_path: Path, simulator: str
) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    faults = (
        # Two offers of 0.01 BTC: the entry takes both, and the rest of it expires.
        {"kind": "thin_book", "levels": 2, "amount": 0.01, "ticks": 50},
        # Nothing that the exchange sends shows the order before the signal.
        {"kind": "reset", "method": "POST", "path": "/api/v3/order", "when": "after", "count": 1},
        {"kind": "status", "method": "GET", "path": "/api/v3/order", "status": 503},
        {"kind": "events", "stream": "user", "shape": "lost"},
    )
    send_manual_action(simulator, "faults", faults)
    with start_trader(folder, simulator) as program, BusyLoop() as busy_loop:
        program.until("entry: no clear response")
        assert [fill["side"] for fill in read_ledger(simulator, "fills")] == ["BUY", "BUY"]
        busy_loop.begin()
        program.send(signal.SIGTERM)
        send_manual_action(simulator, "faults", {}, method="DELETE")
        assert program.ends() == 0
        assert busy_loop.seconds < 8
    assert sum(line.startswith("entry: bought ") for line in program.lines) == 2
    last = {one["order_id"]: one for one in read_ledger(simulator, "orders")}
    entry, stop = last.values()
    assert (entry["side"], entry["status"], entry["filled"]) == ("BUY", "EXPIRED", "0.02000000")
    assert (stop["side"], stop["type"], stop["status"]) == ("SELL", "STOP_LOSS", "NEW")
    # All of it but the fee, which is taken in coins.
    assert stop["quantity"] == "0.01998000"
    assert "on the exchange" in read_status(folder)


def test_row_138_programs_with_copies_of_one_database_stop_instead_of_trading_twice(
    tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"

    def started(folder: Path) -> Program:
        # The locks of one computer are in its folder of temporary files.
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
        return start_trader(folder, simulator)

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).parent / "trader"
        command = [str(script), *arguments, "--exchange", "simulator"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    def halted(*programs: Program) -> list[Program]:
        text = "halted: another copy of this database trades BTC/USDT"
        return [one for one in programs if any(line.startswith(text) for line in one.lines)]

    with started(one) as program:
        program.until("exit: sold ")
        program.send(signal.SIGTERM)
        program.ends()
    shutil.copytree(one / "data", other / "data")
    with started(one) as first, started(other) as second:
        deadline = time.monotonic() + 180
        while not halted(first, second):
            assert time.monotonic() < deadline, (first.lines, second.lines)
            time.sleep(0.1)
        is_first = first in halted(first)
        folder, stopped = (one, second) if is_first else (other, first)
        assert run(folder, "status").returncode == 11
        assert "another copy of this database" in run(folder, "status").stdout
        assert "stop the other copy, then answer --adopt" in run(folder, "reconcile").stdout
        stopped.send(signal.SIGTERM)
        stopped.ends()
        number = json.loads(run(folder, "reconcile", "--json").stdout)["differences"][0]["number"]
        assert run(folder, "reconcile", "--adopt", str(number)).returncode == 0
        left = first if is_first else second
        left.until("trading again after ")
        left.until("exit: sold ")
        left.until("entry: bought ")
        left.until("exit: sold ")
        left.send(signal.SIGTERM)
        left.ends()
    # The file that went on has every execution, once.
    path = folder / "data" / "simulator.db"
    with open_store(path, create=False) as store, store.read() as connection:
        booked = connection.execute("SELECT exchange_trade_id FROM trades").fetchall()
    made = [int(fill["trade_id"]) for fill in read_ledger(simulator, "fills")]
    assert sorted(int(row[0]) for row in booked) == sorted(made)
