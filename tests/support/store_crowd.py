"""Many real processes on one database: what each of them did, how long it waited, what it met.

`run_crowd` starts this file as a program, which forks its workers before it has opened anything.
Workers of a role begin at once; each ends after the given seconds, or when its work is done.
"""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apsw

from onetape.core.errors import OnetapeError
from onetape.store.database import Store, open_store
from onetape.store.leases import acquire_lease, renew_lease
from onetape.store.market_data import Ticker, insert_ticker
from store_guards import without

BULK_ROWS = 2_000
ADDITIONS = 25


@dataclass
class Worker:
    """What a worker did."""

    role: str
    number: int
    done: int = 0
    """Writes that were acknowledged."""
    turns_given: int = 0
    """Between how many of them others wrote; counted for `bulk`."""
    error: str | None = None
    """The error that ended it."""
    waits_ms: list[float] = field(default_factory=list[float])
    """How long each write took."""
    seen: int = 0
    """SQLite's number of what others had written by then."""


def run_crowd(
    path: Path,
    roles: Sequence[tuple[str, int]],
    *,
    seconds: float = 0.0,
    guards_off: Sequence[str] = (),
) -> list[Worker]:
    """Run workers side by side and return what they say.

    Args:
        path: The database.
        roles: Names of functions below, and how many workers of each.
        seconds: How long they work.
        guards_off: Names in `store_guards.GUARDS`, switched off in the workers.
    """
    done = subprocess.run(
        [sys.executable, __file__, str(path), json.dumps([roles, seconds, guards_off])],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return [Worker(**worker) for worker in json.loads(done.stdout)]


def p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return sorted(values)[int(len(values) * 0.99)]


def _timed(worker: Worker, write: Callable[[], object]) -> None:
    began = time.perf_counter()
    write()
    worker.waits_ms.append((time.perf_counter() - began) * 1_000)
    worker.done += 1


def writer(path: Path, worker: Worker, until: float) -> None:
    """Write a row, rest, write the next."""
    rest = _rest(worker)
    with open_store(path, create=False) as store:
        while time.monotonic() < until:
            _timed(worker, lambda: _row(store, worker))
            time.sleep(rest.uniform(0.02, 0.06))


def trader(path: Path, worker: Worker, until: float) -> None:
    """Hold a lease and write durably, as often as a busy trader does."""
    rest = _rest(worker)
    name = f"paper/{worker.number}"
    with open_store(path, create=False) as store:
        token = acquire_lease(store, name, "crowd", now_ms=_now_ms(), seconds=20)
        while time.monotonic() < until:
            _timed(worker, lambda: _trader_row(store, worker))
            renew_lease(store, name, token, now_ms=_now_ms(), seconds=20)
            time.sleep(rest.uniform(0.05, 0.15))


def hasty(path: Path, worker: Worker, until: float) -> None:
    """Hold a lease and write without a rest, and without waiting for the disk."""
    with open_store(path, create=False) as store:
        acquire_lease(store, f"paper/{worker.number}", "crowd", now_ms=_now_ms(), seconds=20)
        while time.monotonic() < until:
            _timed(worker, lambda: _row(store, worker))


def bulk(path: Path, worker: Worker, until: float) -> None:
    """Commit without a rest, the lock held nearly all the time."""
    rows = [("binance", f"BULK{worker.number}/USDT", i, 1.0) for i in range(BULK_ROWS)]
    with open_store(path, create=False) as store:
        while time.monotonic() < until:
            _timed(worker, lambda: _bulk_rows(store, worker, rows))


def opener(path: Path, worker: Worker, _: float) -> None:
    """Open the file, which may not be there yet, and write one row."""
    with open_store(path, create=True) as store:
        acquire_lease(store, f"crowd/{worker.number}", "crowd", now_ms=0, seconds=1)
        worker.done = 1


def adder(path: Path, worker: Worker, _: float) -> None:
    """Read a number and write the next one, in one transaction."""
    with open_store(path, create=False) as store:
        store.patience_seconds = 30.0
        for _ in range(ADDITIONS):
            with store.write() as connection:
                seen = connection.execute("SELECT token FROM leases WHERE name = 'sum'").get
                connection.execute("UPDATE leases SET token = ? WHERE name = 'sum'", (seen + 1,))
            worker.done += 1


def _row(store: Store, worker: Worker) -> None:
    ticker = Ticker(worker.done, 1.0, None, None)
    insert_ticker(store, "binance", f"W{worker.number}/USDT", ticker)


def _bulk_rows(store: Store, worker: Worker, rows: Sequence[tuple[Any, ...]]) -> None:
    with store.write(bulk=True) as connection:
        # Changes with the commits of other connections only.
        seen = connection.execute("PRAGMA data_version").get
        worker.turns_given += seen != worker.seen
        worker.seen = seen
        connection.executemany(
            "INSERT OR REPLACE INTO ticker_data (exchange, symbol, timestamp_ms, last) "
            "VALUES (?, ?, ?, ?)",
            rows,
        )


def _trader_row(store: Store, worker: Worker) -> None:
    with store.write(durable=True) as connection:
        connection.execute(
            "INSERT INTO ticker_data (exchange, symbol, timestamp_ms) VALUES ('binance', ?, ?)",
            (f"T{worker.number}/USDT", worker.done),
        )


def _rest(worker: Worker) -> random.Random:
    return random.Random(worker.number)  # noqa: S311 - a seeded pace, no secret


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


ROLES = {role.__name__: role for role in (writer, trader, hasty, bulk, opener, adder)}


def _work(path: Path, worker: Worker, seconds: float, start: Any, results: Any) -> None:
    start.wait()
    try:
        ROLES[worker.role](path, worker, time.monotonic() + seconds)
    except (OnetapeError, apsw.Error) as error:
        worker.error = f"{type(error).__name__}: {error}"
    results.put(asdict(worker))


def main() -> None:
    """Run the workers that the command line names, and print what they say."""
    path = Path(sys.argv[1])
    roles, seconds, guards_off = json.loads(sys.argv[2])
    without(*guards_off)
    workers = [Worker(role, number) for role, count in roles for number in range(count)]
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(len(workers)), context.Queue()
    processes = [
        context.Process(target=_work, args=(path, worker, seconds, start, results))
        for worker in workers
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    sys.stdout.write(json.dumps(sorted(said, key=lambda each: (each["role"], each["number"]))))


if __name__ == "__main__":
    main()
