"""Duration of the trader's commands on a large database: 100 sessions, 1,000,000 decisions.

uv run python benchmarks/status.py > benchmarks/results/status.json
"""

import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from recording import describe_machine, measure, print_document, refuse_slow_imports

from onetape.core.candles import Candle, SeriesKey
from onetape.core.trading import Session
from onetape.store.accounts import AccountSeries, open_account
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, acquire_lease, make_lease_name
from onetape.store.process_lock import ProcessLock
from onetape.store.sessions import end_session, start_session

COMMAND = "uv run python benchmarks/status.py > benchmarks/results/status.json"
DECISIONS = 1_000_000
SESSIONS = 100
HOUR = 3_600
START = 1_600_000_000 - 1_600_000_000 % HOUR
RUNS = 7
GOAL_SECONDS = 0.3


def fill(path: Path, accounts: int) -> None:
    """Write a database with a number of accounts that share sessions and decisions."""
    with open_store(path, create=True) as store:
        for number in range(accounts):
            _fill_account(store, f"account {number}", f"C{number}/USDT", SESSIONS // accounts)


def _fill_account(store: Store, name: str, symbol: str, sessions: int) -> None:
    key = SeriesKey("binance", symbol, "1h")
    lock = ProcessLock(store.path, make_lease_name(name, symbol))
    if not lock.acquire():
        raise SystemExit(f"{store.path} is locked")
    now_ms = time.time_ns() // 1_000_000
    token = acquire_lease(
        store,
        make_lease_name(name, symbol),
        "process 1 on host",
        now_ms=now_ms,
        seconds=20,
        lock=lock,
    )
    fence = Fence(make_lease_name(name, symbol), token)
    each = DECISIONS // SESSIONS
    for number in range(sessions):
        session = Session(
            f"{name} {number}", "trader", "paper", name, *key.names, "rsi", {"period": 14}, "0",
            (START + number * each * HOUR) * 1_000, {"stop_loss": 0.05},
        )  # fmt: skip
        if number == 0:
            opened = AccountSeries(
                name, "paper", *key.names, "rsi", "USDT", Decimal(10_000), session.started_ms
            )
            open_account(store, opened, fence)
        start_session(store, session, fence)
        with store.write() as connection:
            connection.executemany(
                "INSERT INTO decisions (decision, session, timestamp, signal, indicators, gates, "
                "action, decided_ms) VALUES (?, ?, ?, 0, '{\"rsi\": 41.2}', "
                '\'{"strategy": "ok", "stream": "ok"}\', \'HOLD\', ?)',
                (
                    (f"{name} {number} {place}", session.session, opened, opened * 1_000)
                    for place in range(each)
                    for opened in [START + (number * each + place) * HOUR]
                ),
            )
        if number < sessions - 1:
            end = (START + (number + 1) * each * HOUR) * 1_000
            end_session(store, session.session, ended_ms=end, reason="SIGTERM")
    last = START + sessions * each * HOUR
    rows = [Candle(last + hour * HOUR, 10.0, 11.0, 9.0, 10.5, 1.0) for hour in range(200)]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=(last + 900 * HOUR) * 1_000)
    lock.release()


def measure_seconds(path: Path, *words: str) -> tuple[list[float], list[float]]:
    """Return the elapsed and the processor time of each run of a command as a whole process."""
    program = Path(sys.executable).parent / "trader"
    elapsed: list[float] = []
    busy: list[float] = []
    for _ in range(RUNS):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(  # noqa: S603 - our own program
            [str(program), *words, "--db", str(path)],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        elapsed.append(round(time.perf_counter() - began, 4))
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        busy.append(round(used, 4))
    return elapsed, busy


def measure_command(path: Path, what: str, command: str, goal: float) -> list[dict[str, Any]]:
    """Return the measurements of one command; a busy machine stretches the elapsed time alone."""
    elapsed, busy = measure_seconds(path, command)
    name = f"trader {command}: {what}"
    return [
        measure(f"{name}, processor time", "s", busy, goal=goal, wanted="below"),
        measure(f"{name}, elapsed", "s", elapsed, goal=goal, wanted="below"),
    ]


def main() -> None:
    """Measure, and print the document."""
    refuse_slow_imports()
    before = describe_machine()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for accounts in (10, 100):
            path = Path(folder) / f"{accounts}.db"
            fill(path, accounts)
            what = f"{accounts} traders, {SESSIONS} sessions, {DECISIONS:,} decisions"
            found += measure_command(path, what, "status", GOAL_SECONDS)
        path = Path(folder) / "10.db"
        for command in ("accounts", "profit", "logs"):
            found += measure_command(path, "10 traders of it", command, 1.0)
    print_document("status", COMMAND, ["apps/trader", "packages"], before, found)


if __name__ == "__main__":
    main()
