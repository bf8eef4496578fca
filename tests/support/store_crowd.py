"""Many processes that write to one database, with their waits and errors.

`run_crowd` starts this file as a program, which forks its workers before it has opened anything.
Those that open the file begin at once. The others begin when all have opened it, and end after the
given seconds, on a busy machine not before there are enough writes to compare them by.
"""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apsw

from onetape.core.errors import OnetapeError
from onetape.store.database import Store, open_store
from onetape.store.leases import acquire_lease, renew_lease
from onetape.store.market_data import BestPrices, insert_ticker
from store_guards import switch_off_guards

BULK_ROWS = 2_000
ADDITIONS = 25
#: Writes of each worker, on average of its role, before a comparison of them means something.
LEAST_WRITES = 20
#: Time limit for these writes.
MOST_SECONDS = 60


@dataclass
class Worker:
    """Result of a worker."""

    role: str
    number: int
    done: int = 0
    """Writes that were acknowledged."""
    turns_given: int = 0
    """Number of pairs of writes between which another worker wrote; counted for `bulk`."""
    error: str | None = None
    """The error that ended the worker."""
    waits_ms: list[float] = field(default_factory=list[float])
    """Duration of each write."""
    seen: int = 0
    """SQLite's `data_version` after the last write; it changes with commits of others."""


def run_crowd(
    path: Path,
    roles: Sequence[tuple[str, int]],
    *,
    seconds: float = 0.0,
    guards_off: Sequence[str] = (),
) -> list[Worker]:
    """Run workers side by side and return their results.

    Args:
        path: The database.
        roles: Names of functions below, and how many workers of each.
        seconds: Time for which they work.
        guards_off: Names in `store_guards.GUARDS`, switched off in the workers.
    """
    done = subprocess.run(
        [sys.executable, __file__, str(path), json.dumps([roles, seconds, guards_off])],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=3 * MOST_SECONDS,
    )
    return [Worker(**worker) for worker in json.loads(done.stdout)]


def compute_p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return sorted(values)[int(len(values) * 0.99)]


class Span:
    """Start and end of the work, equal for all workers."""

    def __init__(self, workers: Sequence[Worker], seconds: float, context: Any) -> None:
        """Prepare, before the workers are forked."""
        self._workers = workers
        self._seconds = seconds
        self._opened = context.Barrier(len(workers))
        self._done = context.Array("l", len(workers), lock=False)
        self._until = 0.0

    def begin(self) -> None:
        """Wait until every worker has opened the file, or one of them could not."""
        with suppress(threading.BrokenBarrierError):
            self._opened.wait()
        self._until = time.monotonic() + self._seconds

    def give_up(self) -> None:
        """Let the others begin without a worker that met an error."""
        self._opened.abort()

    def goes_on(self, worker: Worker) -> bool:
        """Return whether the worker should write again."""
        self._done[self._workers.index(worker)] = worker.done
        late = time.monotonic() - self._until
        return late < 0 or (late < MOST_SECONDS and not self._is_enough())

    def _is_enough(self) -> bool:
        done: dict[str, list[int]] = {}
        for worker, count in zip(self._workers, self._done, strict=True):
            done.setdefault(worker.role, []).append(count)
        return all(sum(counts) >= LEAST_WRITES * len(counts) for counts in done.values())


def _time_write(worker: Worker, write: Callable[[], object]) -> None:
    began = time.perf_counter()
    write()
    worker.waits_ms.append((time.perf_counter() - began) * 1_000)
    worker.done += 1


def run_writer(path: Path, worker: Worker, span: Span) -> None:
    """Write a row, rest, write the next."""
    rest = _rest(worker)
    with open_store(path, create=False) as store:
        span.begin()
        while span.goes_on(worker):
            _time_write(worker, lambda: _write_row(store, worker))
            time.sleep(rest.uniform(0.02, 0.06))


def run_trader(path: Path, worker: Worker, span: Span) -> None:
    """Hold a lease and write durably, as often as a busy trader does."""
    rest = _rest(worker)
    name = f"paper/{worker.number}"
    with open_store(path, create=False) as store:
        token = acquire_lease(store, name, "crowd", now_ms=_now_ms(), seconds=20)
        span.begin()
        while span.goes_on(worker):
            _time_write(worker, lambda: _write_trader_row(store, worker))
            renew_lease(store, name, token, now_ms=_now_ms(), seconds=20)
            time.sleep(rest.uniform(0.05, 0.15))


def run_hasty_trader(path: Path, worker: Worker, span: Span) -> None:
    """Hold a lease and write without a rest, and without waiting for the disk."""
    with open_store(path, create=False) as store:
        acquire_lease(store, f"paper/{worker.number}", "crowd", now_ms=_now_ms(), seconds=20)
        span.begin()
        while span.goes_on(worker):
            _time_write(worker, lambda: _write_row(store, worker))


def run_bulk_writer(path: Path, worker: Worker, span: Span) -> None:
    """Commit without a rest, the lock held nearly all the time."""
    rows = [("binance", f"BULK{worker.number}/USDT", i, 1.0) for i in range(BULK_ROWS)]
    with open_store(path, create=False) as store:
        span.begin()
        while span.goes_on(worker):
            _time_write(worker, lambda: _write_bulk_rows(store, worker, rows))


def run_opener(path: Path, worker: Worker, _span: Span) -> None:
    """Open the file, which may not be there yet, and write one row."""
    with open_store(path, create=True) as store:
        acquire_lease(store, f"crowd/{worker.number}", "crowd", now_ms=0, seconds=1)
        worker.done = 1


def run_adder(path: Path, worker: Worker, _span: Span) -> None:
    """Read a number and write the next one, in one transaction."""
    with open_store(path, create=False) as store:
        store.lock_timeout_seconds = 30.0
        for _ in range(ADDITIONS):
            with store.write() as connection:
                seen = connection.execute("SELECT token FROM leases WHERE name = 'sum'").get
                connection.execute("UPDATE leases SET token = ? WHERE name = 'sum'", (seen + 1,))
            worker.done += 1


def _write_row(store: Store, worker: Worker) -> None:
    ticker = BestPrices(worker.done, 1.0, None, None)
    insert_ticker(store, "binance", f"W{worker.number}/USDT", ticker)


def _write_bulk_rows(store: Store, worker: Worker, rows: Sequence[tuple[Any, ...]]) -> None:
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


def _write_trader_row(store: Store, worker: Worker) -> None:
    with store.write(durable=True) as connection:
        connection.execute(
            "INSERT INTO ticker_data (exchange, symbol, timestamp_ms) VALUES ('binance', ?, ?)",
            (f"T{worker.number}/USDT", worker.done),
        )


def _rest(worker: Worker) -> random.Random:
    return random.Random(worker.number)  # noqa: S311 - a seeded pace, no secret


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


ROLES = {
    "writer": run_writer,
    "trader": run_trader,
    "hasty": run_hasty_trader,
    "bulk": run_bulk_writer,
    "opener": run_opener,
    "adder": run_adder,
}


def _work(path: Path, worker: Worker, span: Span, start: Any, results: Any) -> None:
    start.wait()
    try:
        ROLES[worker.role](path, worker, span)
    except (OnetapeError, apsw.Error, OSError) as error:
        worker.error = f"{type(error).__name__}: {error}"
        span.give_up()
    results.put(asdict(worker))


def main() -> None:
    """Run the workers that the command line names, and print their results."""
    path = Path(sys.argv[1])
    roles, seconds, guards_off = json.loads(sys.argv[2])
    switch_off_guards(*guards_off)
    workers = [Worker(role, number) for role, count in roles for number in range(count)]
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(len(workers)), context.Queue()
    span = Span(workers, seconds, context)
    processes = [
        context.Process(target=_work, args=(path, worker, span, start, results))
        for worker in workers
    ]
    for process in processes:
        process.start()
    printed = [results.get(timeout=2 * MOST_SECONDS) for _ in processes]
    for process in processes:
        process.join()
    sys.stdout.write(json.dumps(sorted(printed, key=lambda each: (each["role"], each["number"]))))


if __name__ == "__main__":
    main()
