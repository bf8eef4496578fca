"""Speed of backtests and optimizations, compared with backtesting.py, vectorbt and plain NumPy.

    unset PYTHONDONTWRITEBYTECODE
    uv run python benchmarks/backtest.py --peers FOLDER > benchmarks/results/backtest.json

Every sample is a whole process: start, import, load, run, print. Processes that are compared run
one after the other, so that load on the machine affects all. The peers (backtesting.py, vectorbt)
are installed in separate environments in FOLDER; they read .npy columns, the backtester reads the
SQLite file with its warm cache. The floor is a process that does the same work with NumPy alone
(peers/floor.py).
"""

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from recording import ROOT, SEED, describe_machine, measure, print_document, refuse_slow_imports
from store import FIRST, KEY

from onetape.core.candles import Candles
from onetape.store.candles import insert_columns
from onetape.store.database import open_store

#: Packages of each peer's environment.
PEERS: Final = {"backtesting": "backtesting==0.6.6", "vectorbt": "vectorbt==1.2.0"}
#: Start balance, so large that all-in works with the whole coins that backtesting.py trades.
CASH: Final = "1e12"
SIZES: Final = {100_000: ("all_in", "all_in"), 1_000_000: ("one_coin", "base_amount=1")}
#: Time limit of a whole process, as a multiple of the floor.
OF_FLOOR: Final = {100_000: 1.8, 1_000_000: 2.2}
#: Most memory of a whole process, MB.
MOST_MEMORY: Final = 140
GRID: Final = ("--param", "fast=5:50:5", "--param", "slow=60:240:20")
#: Time limit of a search, as a part of vectorbt's warm call.
SEARCH_GOALS: Final = {"whole process": 1 / 6, "in process": 1 / 8}
#: Results that vectorbt computes of the grid.
WARM: Final = {"returns": "of total returns alone", "sharpe": "with Sharpe ratios"}
SCRIPTS: Final = Path(__file__).resolve().parent / "peers"
BACKTESTER: Final = Path(sys.executable).with_name("backtester")


@dataclass(frozen=True)
class Ended:
    """A process that has ended well."""

    seconds: float
    megabytes: float
    """Largest memory of the process, MB."""
    document: dict[str, Any]
    """JSON document that the process printed."""


def run_process(command: Sequence[str], folder: Path) -> Ended:
    """Run a process to its end."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output)  # noqa: S603 - ours
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {status}")
        output.seek(0)
        return Ended(seconds, usage.ru_maxrss / 1024, json.loads(output.read()))


def install_peers(folder: Path) -> dict[str, Path]:
    """Return the Python of each peer, installed where it is missing."""
    found: dict[str, Path] = {}
    for name, package in PEERS.items():
        found[name] = folder / name / "bin" / "python"
        if not found[name].exists():
            for command in (
                ["uv", "venv", "-q", "-p", sys.executable, str(folder / name)],
                [
                    "uv",
                    "pip",
                    "install",
                    "-q",
                    "--compile-bytecode",
                    "-p",
                    str(found[name]),
                    package,
                ],
            ):
                subprocess.run(command, check=True)  # noqa: S603 - fixed arguments
    return found


def make_candles(rows: int) -> Candles:
    """Return seeded candles, a minute each; not rounded, so that no two averages are equal.

    Libraries differ in whether a touch is a cross.
    """
    chance = np.random.default_rng(SEED)
    close = 30_000 * np.exp(np.cumsum(chance.normal(0, 5e-4, rows)))
    open_ = np.concatenate(([30_000.0], close[:-1]))
    high, low = np.maximum(open_, close) * 1.0003, np.minimum(open_, close) * 0.9997
    times = FIRST + 60 * np.arange(rows)
    return Candles(times, open_, high, low, close, chance.exponential(5, rows))


def prepare_in_process(folder: Path, rows: int) -> tuple[Path, Path]:
    """Return the candles' database and columns, written by a separate process.

    The measured memory of a process includes that of its parent at the fork, so this process must
    stay small.
    """
    command = [sys.executable, __file__, "--peers", str(folder), "--prepare", str(rows)]
    subprocess.run(command, check=True)  # noqa: S603 - this program
    return folder / f"{rows}.db", folder / str(rows)


def prepare(folder: Path, rows: int) -> None:
    """Write the candles as SQLite for the backtester and as columns for the peers."""
    database, columns = folder / f"{rows}.db", folder / str(rows)
    made = make_candles(rows)
    with open_store(database, create=True) as store:
        insert_columns(store, KEY, made, source="rest", seen_ms=0)
    columns.mkdir()
    for name in ("timestamp", "open", "high", "low", "close", "volume"):
        np.save(columns / f"{name}.npy", getattr(made, name))


def make_command(database: Path, sizing: str) -> list[str]:
    """Return the command of the backtester."""
    return [
        str(BACKTESTER), "--db", str(database), "-t", "1m", "-s", "sma_cross", "--param", "fast=10",
        "--param", "slow=30", "--fee", "0.001", "--cash", CASH, "--sizing", sizing,
        "--trading-rules", "none", "--json",
    ]  # fmt: skip


def read_result(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return final equity and closed trades of a run."""
    if name not in ("onetape", "unchecked"):
        return document
    metrics = document["metrics"]
    return {"equity": metrics["final_equity"], "trades": metrics["trades"]}


def measure_processes(
    folder: Path, pythons: dict[str, Path], rows: int, rounds: int
) -> Generator[dict[str, Any]]:
    """Compare whole processes at one size."""
    database, columns = prepare_in_process(folder, rows)
    size, sizing = SIZES[rows]
    commands = {
        "floor": [sys.executable, str(SCRIPTS / "floor.py"), str(columns)],
        "onetape": make_command(database, sizing),
        "unchecked": [*make_command(database, sizing), "--no-check"],
        "vectorbt": [
            str(pythons["vectorbt"]), str(SCRIPTS / "with_vectorbt.py"), str(columns), size,
        ],
        "backtesting": [
            str(pythons["backtesting"]), str(SCRIPTS / "with_backtesting.py"), str(columns), size,
        ],
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[float]] = {name: [] for name in commands}
    results: dict[str, dict[str, Any]] = {}
    for number in range(rounds + 1):
        for name, command in commands.items():
            ended = run_process(command, folder)
            results[name] = read_result(name, ended.document)
            if number:  # the first round fills caches: ours, numba's, the system's
                seconds[name].append(ended.seconds)
                memory[name].append(ended.megabytes)
    least = 0.25 if rows == 100_000 else 0.1
    for name, goal, words in (
        ("backtesting", least, "backtesting.py's"),
        ("vectorbt", least, "vectorbt's"),
        ("floor", OF_FLOOR[rows], "the floor"),
    ):
        for own, kind in (("onetape", ""), ("unchecked", ", --no-check")):
            yield measure(
                f"whole process, {rows:,} candles{kind}", "ratio",
                [one / base for one, base in zip(seconds[own], seconds[name], strict=True)],
                goal=goal, wanted="below", of=words, seconds=seconds[own],
                seconds_of=seconds[name], result=results[own], result_of=results[name],
            )  # fmt: skip
    yield measure(
        f"memory at {rows:,} candles", "MB", memory["onetape"], goal=MOST_MEMORY, wanted="below",
        memory_of={name: statistics.median(memory[name]) for name in memory},
    )  # fmt: skip


def measure_grid(folder: Path, pythons: dict[str, Path], rounds: int) -> Generator[dict[str, Any]]:
    """Compare a grid of 100 pairs with vectorbt's broadcast, warm and without its start."""
    database, columns = folder / "100000.db", folder / "100000"
    command = [
        str(BACKTESTER), "optimize", "--db", str(database), "-t", "1m", "-s", "sma_cross", *GRID,
        "--fee", "0.001", "--cash", CASH, "--trading-rules", "none", "--json",
    ]  # fmt: skip
    peer = [str(pythons["vectorbt"]), str(SCRIPTS / "with_vectorbt.py"), str(columns), "grid"]
    taken: dict[str, list[float]] = {"whole process": [], "in process": []}
    warm: dict[str, list[float]] = {kind: [] for kind in WARM}
    for _ in range(rounds):
        shutil.rmtree(folder / "data", ignore_errors=True)
        ended = run_process(command, folder)
        taken["whole process"].append(ended.seconds)
        taken["in process"].append(ended.document["seconds"])
        document = run_process(peer, folder).document
        for kind, samples in warm.items():
            samples.append(document[kind][-1])
    for how, own in taken.items():
        for kind, words in WARM.items():
            yield measure(
                f"optimization of 100 pairs over 100,000 candles, {how}", "ratio",
                [one / base for one, base in zip(own, warm[kind], strict=True)],
                goal=SEARCH_GOALS[how], wanted="below", of=f"vectorbt's warm broadcast {words}",
                seconds=own, seconds_of=warm[kind],
            )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the backtester; prints JSON.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each measurement")
    parser.add_argument("--peers", type=Path, required=True, help="folder of the peers")
    parser.add_argument("--rows", type=int, nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.prepare is not None:
        prepare(flags.peers, flags.prepare)
        return
    refuse_slow_imports()
    pythons = install_peers(flags.peers.resolve())
    before = describe_machine()
    for path in (*ROOT.glob("apps/*"), *ROOT.glob("packages/*/src")):
        compileall.compile_dir(path, quiet=2)
    with tempfile.TemporaryDirectory(prefix="onetape-benchmark-") as name:
        folder = Path(name)
        measurements = [
            one
            for rows in flags.rows
            for one in measure_processes(folder, pythons, rows, flags.rounds)
        ]
        if 100_000 in flags.rows:
            measurements += measure_grid(folder, pythons, flags.rounds)
    command = f"uv run python benchmarks/backtest.py --peers FOLDER --rounds {flags.rounds}"
    libraries = ("backtest", "cli", "core", "engine", "optimization", "store", "strategies")
    paths = [f"packages/{name}" for name in libraries]
    print_document("backtest", command, [*paths, "apps/backtester"], before, measurements)


if __name__ == "__main__":
    main()
