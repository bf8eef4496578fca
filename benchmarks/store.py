"""Speed at which the store reads, checks and inserts candles, as shares of the time of sqlite3.

    uv run python benchmarks/store.py > benchmarks/results/store.json

Every sample is taken in a fresh process, and those that are compared follow each other, so that a
busy machine is busy for both. Times are of the work alone, without the start and the imports of
a process, except where a whole command is measured. Prints one JSON document.
"""

import argparse
import compileall
import csv
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import numpy as np
from recording import ROOT, SEED, describe_machine, measure, print_document, refuse_slow_imports

from onetape.core.candles import Candles, SeriesKey
from onetape.store.cache import get_cache_folder
from onetape.store.candles import insert_columns
from onetape.store.database import open_store
from onetape.store.reading import read_closed_between
from onetape.store.verify import verify

KEY: Final = SeriesKey("binance", "BTC/USDT", "1m")
#: 2024-01-01
FIRST: Final = 1_704_067_200
FOREVER: Final = 2**40
TRIGGERS: Final = ("insert", "delete", "update")
FETCHALL: Final = "sqlite3's fetchall"


def make_candles(rows: int) -> Candles:
    """Return seeded candles, a minute each."""
    chance = np.random.default_rng(SEED)
    close = np.round(30_000 * np.exp(np.cumsum(chance.normal(0, 5e-4, rows))), 2)
    open_ = np.concatenate(([30_000.0], close[:-1]))
    return Candles(
        FIRST + 60 * np.arange(rows),
        open_,
        np.round(np.maximum(open_, close) * 1.0003, 2) + 0.01,
        np.round(np.minimum(open_, close) * 0.9997, 2) - 0.01,
        close,
        np.round(chance.exponential(5, rows), 5),
    )


def make(path: Path, rows: int) -> None:
    """Make a database with a number of candles."""
    with open_store(path, create=True) as store:
        insert_columns(store, KEY, make_candles(rows), source="rest", seen_ms=0)


def measure_seconds(work: Callable[[], Any]) -> float:
    """Return the duration of some work, seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def read_by_sqlite3(path: Path) -> float:
    """Read every candle as the standard library does."""
    connection = sqlite3.connect(path)
    select = (
        "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE exchange = ? "
        "AND symbol = ? AND timeframe = ? AND timestamp >= ? AND timestamp < ? ORDER BY timestamp"
    )
    return measure_seconds(lambda: connection.execute(select, (*KEY.names, 0, FOREVER)).fetchall())


def read_by_store(path: Path, *, cached: bool) -> float:
    """Read every candle into arrays."""
    with open_store(path, create=False) as store:
        return measure_seconds(lambda: read_closed_between(store, KEY, 0, FOREVER, cached=cached))


def check(path: Path) -> float:
    """Verify a database."""
    with open_store(path, create=False) as store:
        return measure_seconds(lambda: verify(store))


def insert_candles(path: Path, rows: int, *, guarded: bool) -> float:
    """Insert candles into a new database, with or without the triggers of the cache."""
    with open_store(path, create=True) as store:
        if not guarded:
            with store.write() as connection:
                for operation in TRIGGERS:
                    connection.execute(f"DROP TRIGGER ohlcv_data_{operation}_ends_chunk")
        candles = make_candles(rows)
        # Processor time, because a busy disk would hide the small cost of triggers.
        began = time.process_time()
        insert_columns(store, KEY, candles, source="rest", seen_ms=0)
        return time.process_time() - began


def import_file(path: Path, file: Path) -> float:
    """Import a file with the backfiller, its start included."""
    command = [str(Path(sys.executable).with_name("backfiller")), "import", str(file)]
    flags = ["--db", str(path), "--exchange", "binance", "--symbol", "BTC/USDT", "-t", "1m"]
    return measure_seconds(
        lambda: subprocess.run(  # noqa: S603 - our own program
            [*command, *flags], check=True, capture_output=True
        )
    )


TASKS: Final[dict[str, Callable[[Path, int], float]]] = {
    "fetchall": lambda path, _: read_by_sqlite3(path),
    "rows": lambda path, _: read_by_store(path, cached=False),
    "cache": lambda path, _: read_by_store(path, cached=True),
    "verify": lambda path, _: check(path),
    "insert": lambda path, rows: insert_candles(path, rows, guarded=True),
    "insert unguarded": lambda path, rows: insert_candles(path, rows, guarded=False),
}


def measure_in_process(task: str, path: Path, rows: int) -> float:
    """Return the seconds of a task in a separate process."""
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, __file__, "--task", task, "--db", str(path), "--rows", str(rows)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def measure_reading(folder: Path, rows: int, rounds: int) -> Generator[dict[str, Any]]:
    """Compare reading from rows and from chunk files with fetchall."""
    path = folder / f"{rows}.db"
    make(path, rows)
    seconds: dict[str, list[float]] = {"fetchall": [], "rows": [], "first": [], "cache": []}
    for _ in range(rounds):
        shutil.rmtree(get_cache_folder(path), ignore_errors=True)
        for name in seconds:
            seconds[name].append(
                measure_in_process("cache" if name == "first" else name, path, rows)
            )
    names = (
        ("rows", "from the rows", 0.8),
        ("first", "for the first time, which writes the chunk files", 1.5),
        ("cache", "from the chunk files", 0.06 if rows >= 1_000_000 else 0.1),
    )
    for name, words, goal in names:
        ratios = [one / base for one, base in zip(seconds[name], seconds["fetchall"], strict=True)]
        yield measure(
            f"reading {rows:,} candles {words}", "ratio", ratios, goal=goal, wanted="below",
            of=FETCHALL, seconds=seconds[name], seconds_of=seconds["fetchall"],
        )  # fmt: skip


def measure_verifying(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Measure `verify`."""
    samples = [measure_in_process("verify", folder / f"{rows}.db", rows) for _ in range(rounds)]
    return measure(f"verify of {rows:,} candles", "s", samples, goal=2, wanted="below")


def measure_inserting(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Measure the cost of the cache's triggers for a writer."""
    seconds: dict[str, list[float]] = {"insert unguarded": [], "insert": []}
    for number in range(rounds):
        for task, samples in seconds.items():
            path = folder / f"{task} {number}.db"
            samples.append(measure_in_process(task, path, rows))
            path.unlink()
    plain, guarded = seconds.values()
    return measure(
        f"processor time of inserting {rows:,} candles", "ratio",
        [one / base for one, base in zip(guarded, plain, strict=True)],
        goal=1.15, wanted="below", of="the same without the cache's triggers",
        seconds=guarded, seconds_of=plain,
    )  # fmt: skip


def measure_importing(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Measure `backfiller import` of a CSV file, the whole process."""
    file, candles = folder / "candles.csv", make_candles(rows)
    names = ("timestamp", "open", "high", "low", "close", "volume")
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(names)
        writer.writerows(zip(*(getattr(candles, name).tolist() for name in names), strict=True))
    samples: list[float] = []
    for number in range(rounds):
        path = folder / f"import {number}.db"
        samples.append(import_file(path, file))
        path.unlink()
    return measure(f"import of a CSV of {rows:,} candles", "s", samples, goal=8, wanted="below")


def measure_all(rounds: int, folder: Path) -> Generator[dict[str, Any]]:
    """Take every measurement."""
    for rows in (100_000, 1_000_000):
        yield from measure_reading(folder, rows, rounds)
    yield measure_inserting(folder, 1_000_000, rounds)
    yield measure_verifying(folder, 1_000_000, rounds)
    yield measure_importing(folder, 1_000_000, rounds)


def main() -> None:
    """Measure and print; or, in a process of a sample, do one task and print its seconds."""
    parser = argparse.ArgumentParser(description="Measure the store; prints JSON.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each measurement")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--db", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task is not None:
        print(TASKS[options.task](options.db, options.rows))  # noqa: T201 - read by the parent
        return
    refuse_slow_imports()
    before = describe_machine()
    for folder in (*ROOT.glob("apps/*"), *ROOT.glob("packages/*/src")):
        compileall.compile_dir(folder, quiet=2)
    with tempfile.TemporaryDirectory(prefix="onetape-benchmark-") as name:
        measurements = list(measure_all(options.rounds, Path(name)))
    command = f"uv run python benchmarks/store.py --rounds {options.rounds}"
    paths = ["packages/store", "packages/core", "apps/backfiller"]
    print_document("store", command, paths, before, measurements)


if __name__ == "__main__":
    main()
