"""Speed of the backfiller with its store, as a share of a bare loop that stores nothing.

    uv run python benchmarks/backfill.py > benchmarks/results/backfill.json

The simulator runs in a separate process, with its limits off, and so does each measured loop:
CCXT's `fetch_ohlcv` in a loop, the backfiller's `fetch_series`, and that again next to 16 processes
that write to the same file as traders do. They follow each other, so that a busy machine is busy
for all. Times are of the loops alone: no start, no import, no list of markets. The simulator has
invented every page before. Prints one JSON document with every sample.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from recording import SEED, describe_machine, measure, print_document, refuse_slow_imports

#: 2023-04-01; the few minutes that the simulator lacks since then, as exchanges do, are requested
#: twice.
START: Final = 1_680_307_200
SYMBOL: Final = "BTC/USDT"
PAGE: Final = 1_000
TRADERS: Final = 16
BARE: Final = "a bare fetch_ohlcv loop"


@contextmanager
def run_simulator() -> Generator[str]:
    """Run a simulator without limits, and yield its address."""
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        [
            *(sys.executable, "-m", "onetape.simulator.main", "--port", "0"),
            *("--seed", str(SEED), "--start", "2026-05-01", "--stepped"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - requested above
        greeting = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        if greeting is None:
            raise SystemExit("the simulator did not start")
        yield greeting[0]
    finally:
        process.terminate()
        process.wait()


async def fetch_with_ccxt(url: str, candles: int) -> dict[str, Any]:
    """Fetch page after page with CCXT, and store nothing."""
    import ccxt.async_support as ccxt

    from onetape.exchange.clients import Endpoint, make_client_settings, redirect

    client: Any = ccxt.binance(make_client_settings(Endpoint("simulator", url)))  # pyright: ignore[reportArgumentType] - a plain dict
    redirect(client.urls["api"], url)
    await client.load_markets()
    since_ms, fetched = START * 1_000, 0
    began = time.perf_counter()
    while since_ms < (START + 60 * candles) * 1_000:
        rows: list[Any] = await client.fetch_ohlcv(SYMBOL, "1m", since_ms, PAGE)
        fetched += len(rows)
        since_ms = rows[-1][0] + 60_000
    seconds = time.perf_counter() - began
    await client.close()
    return {"rate": fetched / seconds}


async def fetch_with_backfiller(url: str, candles: int, path: Path) -> dict[str, Any]:
    """Fetch and store as the backfiller does, into an existing file."""
    from backfiller.run_database import RunDatabase
    from backfiller.series_fetch import fetch_series
    from onetape.core.candles import SeriesKey
    from onetape.exchange.clients import Endpoint
    from onetape.exchange.rest import RestExchange

    key = SeriesKey("simulator", SYMBOL, "1m")
    with RunDatabase(path, "simulator") as database:
        async with RestExchange(Endpoint("simulator", url)) as exchange:
            await exchange.fetch_market(SYMBOL)
            before = read_peak_mb()
            began = time.perf_counter()
            summary = await fetch_series(
                exchange,
                database.get_or_open_store(),
                key,
                start=START,
                end=START + 60 * candles,
                progress=lambda done, total: None,
            )
            seconds = time.perf_counter() - began
    if summary.unproven or summary.stored + summary.missing != candles:
        raise SystemExit(f"{summary.stored:,} candles were stored, {candles:,} were requested")
    return {"rate": summary.stored / seconds, "grown_mb": read_peak_mb() - before}


def read_peak_mb() -> float:
    """Return the peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def write_as_trader(path: Path, number: int, end: Any, waits: Any) -> None:
    """Write as a trader does, twice a second, and record the duration of each write."""
    from onetape.core.candles import Candle, SeriesKey
    from onetape.store.candles import replace_forming
    from onetape.store.database import open_store
    from onetape.store.leases import acquire_lease, renew_lease
    from onetape.store.market_data import BestPrices, insert_ticker

    pace, key = random.Random(number), SeriesKey("simulator", f"T{number}/USDT", "1m")  # noqa: S311
    found: list[float] = []
    with open_store(path, create=False) as store:
        name = f"paper/{number}"
        token = acquire_lease(store, name, "benchmark", now_ms=read_clock_ms(), seconds=20)
        while not end.wait(pace.uniform(0.3, 0.7)):
            began = time.perf_counter()
            replace_forming(
                store, key, Candle(START, 1.0, 2.0, 0.5, 1.5, 9.0), seen_ms=read_clock_ms()
            )
            found.append((time.perf_counter() - began) * 1_000)
            ticker = BestPrices(read_clock_ms(), 1.0, 1.1, 1.05)
            insert_ticker(store, key.exchange, key.symbol, ticker)
            renew_lease(store, name, token, now_ms=read_clock_ms(), seconds=20)
    waits.put(found)


def read_clock_ms() -> int:
    """Return the computer's time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@contextmanager
def run_traders(path: Path) -> Generator[list[float]]:
    """Run traders on a file; the list holds their waits (ms) when the block has ended."""
    context = multiprocessing.get_context("spawn")
    end, queue, waits = context.Event(), context.Queue(), list[float]()
    processes = [
        context.Process(target=write_as_trader, args=(path, number, end, queue))
        for number in range(TRADERS)
    ]
    for process in processes:
        process.start()
    time.sleep(3.0)  # until all of them write
    try:
        yield waits
    finally:
        end.set()
        for _ in processes:
            waits += queue.get(timeout=30)
        for process in processes:
            process.join()


def run_child(*arguments: str) -> dict[str, Any]:
    """Take one sample in a fresh process."""
    done = subprocess.run(  # noqa: S603 - this file
        [sys.executable, __file__, "--child", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def take_sample(kind: str, url: str, candles: int) -> dict[str, Any]:
    """Take one sample: of the bare loop, of the backfiller, or of it next to traders."""
    if kind == "bare":
        return run_child(kind, url, str(candles))
    from onetape.store.database import open_store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "candles.db")
        open_store(path, create=True).close()
        if kind == "ours":
            return run_child("ours", url, str(candles), str(path))
        with run_traders(path) as waits:
            taken = run_child("ours", url, str(candles), str(path))
        return {**taken, "p99_ms": sorted(waits)[int(len(waits) * 0.99)]}


def main() -> None:
    """Measure and print, or take one sample."""
    if sys.argv[1:2] == ["--child"]:
        kind, url, candles, *path = sys.argv[2:]
        count = int(candles)
        loop = (
            fetch_with_ccxt(url, count)
            if kind == "bare"
            else fetch_with_backfiller(url, count, Path(path[0]))
        )
        print(json.dumps(asyncio.run(loop)))  # noqa: T201 - for the parent
        return
    parser = argparse.ArgumentParser(description="Measure the backfiller; prints JSON.")
    parser.add_argument("--candles", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    flags = parser.parse_args()
    refuse_slow_imports()
    here = describe_machine()
    taken: dict[str, list[dict[str, Any]]] = {"bare": [], "ours": [], "next_to_traders": []}
    with run_simulator() as url:
        run_child("bare", url, str(flags.candles))  # so that every page has been invented
        for _ in range(flags.repeat):
            for kind, samples in taken.items():
                samples.append(take_sample(kind, url, flags.candles))
    rates = {kind: [one["rate"] for one in samples] for kind, samples in taken.items()}
    what = f"{flags.candles:,} candles fetched and stored"
    raw = {f"{kind}_per_second": rate for kind, rate in rates.items()}

    def share(kind: str) -> list[float]:
        return [mine / theirs for mine, theirs in zip(rates[kind], rates["bare"], strict=True)]

    print_document(
        "backfill",
        f"uv run python benchmarks/backfill.py --candles {flags.candles} --repeat {flags.repeat}",
        ["packages", "apps/backfiller"],
        here,
        [
            measure(what, "ratio", share("ours"), goal=0.6, wanted="above", of=BARE, raw=raw),
            measure(
                f"{what} next to {TRADERS} traders", "ratio", share("next_to_traders"), goal=0.6,
                wanted="above", of=BARE,
            ),
            measure(
                "memory it grows by", "MB", [one["grown_mb"] for one in taken["ours"]], goal=60,
                wanted="below",
            ),
            measure(
                f"p99 of a write of {TRADERS} traders meanwhile", "ms",
                [one["p99_ms"] for one in taken["next_to_traders"]], goal=50, wanted="below",
            ),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
