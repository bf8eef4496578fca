"""Speed of several symbols on one account, compared with vectorbt and with one symbol alone.

    unset PYTHONDONTWRITEBYTECODE
    uv run python benchmarks/portfolio.py --peers FOLDER > benchmarks/results/portfolio.json

Every sample is taken in a separate process. Those that are compared follow each other, so that a
busy machine is busy for all. The symbols are seeded walks of a million minutes each on one axis,
traded by SMA 10/30 at a fee of 0.1 %. "Nothing binds" is one coin a trade; "cash binds always" is
all in, where seven of eight entries find no cash; "sizes follow the equity" is 30 % of the equity a
trade, where every fourth entry finds too little. The engine's samples are simulation and all
metrics, arrays in memory, the quicker of two runs; vectorbt's are the second call of
`Portfolio.from_signals` with the final value and the number of trades, without its compilation.
"""

import argparse
import compileall
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import numpy as np
from backtest import BACKTESTER, CASH, SCRIPTS, Ended, install_peers, run_process
from recording import ROOT, SEED, describe_machine, measure, print_document, refuse_slow_imports
from store import FIRST, KEY

from onetape.core.candles import Candles
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import (
    AccountConfig,
    SymbolSeries,
    compute_metrics,
    simulate,
    simulate_portfolio,
)
from onetape.store.candles import insert_columns
from onetape.store.database import open_store
from onetape.strategies import load_strategy

#: By name: sizing of entries, vectorbt's name of the sizing, text for the table, and the goal.
KINDS: Final[dict[str, tuple[dict[str, Any], str, str, float]]] = {
    "free": ({"sizing": "base_amount", "base_amount": 1.0}, "one_coin", "nothing binds", 0.5),
    "cash": ({"sizing": "all_in"}, "all_in", "cash binds always", 1.5),
    "equity": (
        {"sizing": "equity_share", "equity_share": 0.3},
        "all_in",
        "sizes follow the equity",
        1.5,
    ),
}
SYMBOLS: Final = 8
PEER: Final = SCRIPTS / "portfolio_with_vectorbt.py"
#: Numbers of symbols over which the cost should grow linearly.
COUNTS: Final = (2, 4, 8, 16)


def make_walk(number: int, rows: int) -> Candles:
    """Return the candles of one symbol."""
    chance = np.random.default_rng(SEED + number)
    close = 30_000 * np.exp(np.cumsum(chance.normal(0, 5e-4, rows)))
    open_ = np.concatenate(([30_000.0], close[:-1]))
    high, low = np.maximum(open_, close) * 1.0003, np.minimum(open_, close) * 0.9997
    times = FIRST + 60 * np.arange(rows)
    return Candles(times, open_, high, low, close, chance.exponential(5, rows))


def make_symbol(number: int) -> str:
    """Return the name of a symbol."""
    return f"S{number}/USDT"


def prepare(folder: Path, rows: int) -> None:
    """Write the candles as SQLite for the backtester and as columns for vectorbt."""
    with open_store(folder / "candles.db", create=True) as store:
        for number in range(SYMBOLS):
            made, columns = make_walk(number, rows), folder / str(number)
            key = type(KEY)(KEY.exchange, make_symbol(number), KEY.timeframe)
            insert_columns(store, key, made, source="rest", seen_ms=0)
            columns.mkdir()
            for name in ("timestamp", "open", "close"):
                np.save(columns / f"{name}.npy", getattr(made, name))


def time_engine(kind: str, symbols: int, rows: int) -> None:
    """Print the seconds of simulation and metrics, the quicker of two, and the result."""
    account, *_ = KINDS[kind]
    rules = AccountConfig(cash=float(CASH), fee_rate=0.001, **account)
    strategy = load_strategy("sma_cross", {"fast": 10, "slow": 30})
    series: list[SymbolSeries] = []
    for number in range(symbols):
        candles = make_walk(number, rows)
        signal = strategy.evaluate(candles, {}).signal
        series.append(SymbolSeries(make_symbol(number), candles, signal, 0, NO_TRADING_RULES))
    seconds, alone = list[float](), list[float]()
    document: dict[str, Any] = {}
    for _ in range(2):
        began = time.perf_counter()
        metrics = compute_metrics(simulate_portfolio(series, rules))
        seconds.append(time.perf_counter() - began)
        document = {"equity": metrics.final_equity, "trades": metrics.trades}
        began = time.perf_counter()
        compute_metrics(simulate(series[0].candles, series[0].signal, rules))
        alone.append(time.perf_counter() - began)
    print(json.dumps({**document, "seconds": min(seconds), "alone": min(alone)}))  # noqa: T201 - read by the parent


def make_engine_command(kind: str, symbols: int, rows: int) -> list[str]:
    """Return the command of `time_engine`."""
    return [sys.executable, __file__, "--engine", kind, str(symbols), str(rows)]


def compare_with_vectorbt(
    folder: Path, python: Path, rows: int, rounds: int
) -> Generator[dict[str, Any]]:
    """Compare the engine with vectorbt's warm call."""
    for kind, (_, size, words, goal) in KINDS.items():
        peer = [str(python), str(PEER), str(folder), str(SYMBOLS), size, "2"]
        ours: list[float] = []
        warm: list[float] = []
        results: list[dict[str, Any]] = [{}, {}]
        for _ in range(rounds):
            results[0] = run_process(make_engine_command(kind, SYMBOLS, rows), folder).document
            results[1] = run_process(peer, folder).document
            del results[0]["alone"]
            ours.append(results[0].pop("seconds"))
            warm.append(results[1].pop("seconds")[-1])
        yield measure(
            f"engine and metrics, {SYMBOLS} symbols of {rows:,} candles, {words}", "ratio",
            [one / base for one, base in zip(ours, warm, strict=True)],
            goal=goal, wanted="below", of="vectorbt's warm call", seconds=ours, seconds_of=warm,
            result=results[0], result_of=results[1],
        )  # fmt: skip


def measure_scaling(folder: Path, rows: int, rounds: int) -> Generator[dict[str, Any]]:
    """Measure the cost of a symbol on accounts of more and more symbols."""
    for kind in ("free", "cash"):
        taken: dict[int, list[float]] = {count: [] for count in (1, *COUNTS)}
        alone: list[float] = []
        for _ in range(rounds):
            for count, seconds in taken.items():
                document = run_process(make_engine_command(kind, count, rows), folder).document
                seconds.append(document["seconds"] / count)
                if count == 1:
                    alone.append(document["alone"])
        words = KINDS[kind][2]
        if kind == "free":
            yield measure(
                f"engine and metrics, an account of one symbol of {rows:,} candles", "ratio",
                [one / base for one, base in zip(taken[1], alone, strict=True)],
                goal=1.25, wanted="below", of="the single run", seconds=taken[1], seconds_of=alone,
            )  # fmt: skip
        for count in COUNTS[1:]:
            yield measure(
                f"engine and metrics, one of {count} symbols, {words}", "ratio",
                [one / base for one, base in zip(taken[count], taken[2], strict=True)],
                goal=1.5, wanted="below", of="one of 2 symbols", seconds=taken[count],
                seconds_of=taken[2],
            )  # fmt: skip


def measure_processes(
    folder: Path, python: Path, rows: int, rounds: int
) -> Generator[dict[str, Any]]:
    """Compare whole processes; the first round fills the caches and does not count."""
    symbols = [flag for number in range(SYMBOLS) for flag in ("--symbol", make_symbol(number))]
    own = [
        str(BACKTESTER), "--db", str(folder / "candles.db"), *symbols, "-t", "1m", "-s",
        "sma_cross", "--param", "fast=10", "--param", "slow=30", "--fee", "0.001", "--cash", CASH,
        "--trading-rules", "none", "--json", "--sizing", "base_amount=1",
    ]  # fmt: skip
    peer = [str(python), str(PEER), str(folder), str(SYMBOLS), "one_coin", "1"]
    ours, theirs = list[Ended](), list[Ended]()
    for number in range(rounds + 1):
        samples = [run_process(command, folder) for command in (own, peer)]
        if number:
            ours.append(samples[0])
            theirs.append(samples[1])
    yield measure(
        f"whole process, {SYMBOLS} symbols of {rows:,} candles, nothing binds", "ratio",
        [one.seconds / base.seconds for one, base in zip(ours, theirs, strict=True)],
        goal=0.2, wanted="below", of="vectorbt's", seconds=[one.seconds for one in ours],
        seconds_of=[one.seconds for one in theirs],
    )  # fmt: skip
    yield measure(
        f"memory of {SYMBOLS} symbols of {rows:,} candles", "MB", [one.megabytes for one in ours],
        goal=600, wanted="below",
        memory_of={"vectorbt": statistics.median(one.megabytes for one in theirs)},
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure accounts of several symbols.")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each measurement")
    parser.add_argument("--peers", type=Path, help="folder of the peers")
    parser.add_argument("--rows", type=int, default=1_000_000, help="candles of each symbol")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.engine:
        kind, symbols, rows = flags.engine
        time_engine(kind, int(symbols), int(rows))
        return
    if flags.prepare:
        prepare(flags.prepare, flags.rows)
        return
    refuse_slow_imports()
    python = install_peers(flags.peers.resolve())["vectorbt"]
    before = describe_machine()
    for path in (*ROOT.glob("apps/*"), *ROOT.glob("packages/*/src")):
        compileall.compile_dir(path, quiet=2)
    with tempfile.TemporaryDirectory(prefix="onetape-benchmark-") as name:
        folder, rows, rounds = Path(name), flags.rows, flags.rounds
        # The measured memory of a process includes that of its parent at the fork.
        command = [sys.executable, __file__, "--rows", str(rows), "--prepare", name]
        subprocess.run(command, check=True)  # noqa: S603 - this program
        measurements = [
            *compare_with_vectorbt(folder, python, rows, rounds),
            *measure_scaling(folder, rows, rounds),
            *measure_processes(folder, python, rows, rounds),
        ]
    command_text = f"uv run python benchmarks/portfolio.py --peers FOLDER --rounds {rounds}"
    paths = ["packages/store", "packages/core", "packages/engine", "packages/strategies"]
    print_document(
        "portfolio", command_text, [*paths, "packages/backtest", "apps/backtester"], before,
        measurements,
    )  # fmt: skip


if __name__ == "__main__":
    main()
