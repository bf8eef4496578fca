"""Measurement of the time from the proof that a candle has closed to the order at the exchange.

    uv run python benchmarks/order_latency.py > benchmarks/results/order_latency.json

The simulator runs in this process, at 30 times the clock; traders run as the program
`trader --live` and trade at each close of a 1-minute candle. First one trader, in a quiet market:
its median. Then several at once, each on a different symbol, on one file and one account. A time
begins when the frame leaves the exchange that makes an order due: the candle's last one, or the
first one of the next candle where that is later, because orders are filled there. It ends when the
exchange takes the order from the request; the simulator and the traders share the cores.
"""

import argparse
import asyncio
import contextlib
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from recording import describe_machine, measure, print_document, refuse_slow_imports

from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator

START_MS: Final = 1_709_252_400_000
SPEED: Final = 30.0
SYMBOLS: Final = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
STRATEGY: Final = '''"""In for one candle, out for one."""

from onetape.strategies.functions import Entries, strategy_function


@strategy_function(lookback=2)
def alternating(candles):
    """Enter on even minutes and leave on odd ones."""
    is_even = candles.index.minute % 2 == 0
    return Entries(entry=is_even, exit=~is_even)
'''


class Clocks:
    """Times at which orders became due and arrived, monotonic seconds by the market's id."""

    def __init__(self) -> None:
        """Install hooks in the exchange's streams and its book."""
        self.due: dict[str, float] = {}
        self.seconds: list[float] = []
        self._candles: dict[str, tuple[int, bool]] = {}
        feeds: Any = importlib.import_module("onetape.simulator.streams.feeds")
        iterate_kline_events = feeds.iterate_kline_events

        def noted(symbol: Any, *rest: Any, **named: Any) -> Iterator[Any]:
            for event in iterate_kline_events(symbol, *rest, **named):
                self._note_frame(symbol.id, event["k"]["t"])
                yield event

        feeds.iterate_kline_events = noted

    def _note_frame(self, market: str, open_ms: int) -> None:
        """Record the first frame of a candle: the one before has closed, and orders are due."""
        known, _ = self._candles.get(market, (0, False))
        if open_ms > known:
            self._candles[market] = open_ms, True
            self.due[market] = time.monotonic()

    def note_order(self, market: str) -> None:
        """Record an order; the first one of each candle counts."""
        open_ms, is_waiting = self._candles.get(market, (0, False))
        if is_waiting:
            self._candles[market] = open_ms, False
            self.seconds.append(time.monotonic() - self.due[market])


async def measure_traders(count: int, orders: int, clocks: Clocks) -> list[float]:
    """Return the seconds of each order of several traders that run at once."""
    clocks.seconds.clear()
    async with run_exchange(clocks) as url:
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            (folder / "alternating.py").write_text(STRATEGY, encoding="utf-8")
            traders = [start_trader(folder, url, symbol) for symbol in SYMBOLS[:count]]
            for one in traders:
                stack.callback(stop, one)
            # The first orders pay for starts and for first connections.
            warm = 3 * count
            while len(clocks.seconds) < orders + warm:
                check(traders, folder)
                await asyncio.sleep(0.5)
    return clocks.seconds[warm : warm + orders]


@asynccontextmanager
async def run_exchange(clocks: Clocks) -> AsyncGenerator[str]:
    """Yield the address of a simulator whose orders are recorded."""
    clock = make_clock(start_ms=START_MS, speed=SPEED)
    async with Simulator(clock=clock, balance={"USDT": Decimal(100_000)}) as simulator:
        book: Any = simulator.account.exchange
        place = book.place

        def noted(request: Any, *rest: Any, **named: Any) -> Any:
            clocks.note_order(request.symbol.id)
            return place(request, *rest, **named)

        book.place = noted
        yield simulator.url


def start_trader(folder: Path, url: str, symbol: str) -> "subprocess.Popen[bytes]":
    """Start the program on one symbol."""
    log = (folder / f"{symbol[:3]}.log").open("ab")
    return subprocess.Popen(  # noqa: S603 - our own program
        [
            Path(sys.executable).parent / "trader", "--live", "--exchange", "simulator",
            "--simulator-url", url, "-p", symbol, "--timeframe", "1m", "--strategy",
            "alternating.py:alternating", "--sizing", "quote_amount=100", "--db", "trades.db",
            "--account", "latency", "--cash", "10000",
        ],
        cwd=folder,
        stdout=log,
        stderr=log,
        env={**os.environ, "ONETAPE_API_KEY": "simulator", "ONETAPE_API_SECRET": "simulator"},
    )  # fmt: skip


def check(traders: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    """Exit if a trader has ended."""
    if any(one.poll() is not None for one in traders):
        text = " ".join(one.read_text()[-1_000:] for one in folder.glob("*.log"))
        raise SystemExit(f"a trader has ended: {text}")


def stop(trader: "subprocess.Popen[bytes]") -> None:
    """End a trader."""
    trader.terminate()
    trader.wait(timeout=20)


def compute_percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[int(len(values) * share)]


async def main() -> None:
    """Measure, and print the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=200, help="of each part and round")
    parser.add_argument("--traders", type=int, default=len(SYMBOLS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    refuse_slow_imports()
    before = describe_machine()
    clocks = Clocks()
    quiet: list[list[float]] = []
    crowd: list[list[float]] = []
    with contextlib.redirect_stdout(sys.stderr):
        for _ in range(options.rounds):
            quiet.append(await measure_traders(1, options.orders, clocks))
            crowd.append(await measure_traders(options.traders, options.orders, clocks))
    medians = [statistics.median(one) for one in quiet]
    print_document(
        "order_latency",
        f"uv run python benchmarks/order_latency.py --orders {options.orders} "
        f"--traders {options.traders} --rounds {options.rounds}",
        ["apps/trader", "packages/exchange", "packages/store", "packages/websocket"],
        before,
        [
            measure(
                "a candle's proof until the order is at the exchange, one trader, median", "ms",
                [1_000 * one for one in medians], goal=100, wanted="below",
            ),
            *(
                measure(
                    f"a candle's proof until the order is at the exchange, {name}, p99", "ratio",
                    [compute_percentile(one, 0.99) / median
                     for one, median in zip(found, medians, strict=True)],
                    goal=3, wanted="below", of="the median of one trader",
                    milliseconds=[[round(1_000 * each, 1) for each in one] for one in found],
                )
                for name, found in (("one trader", quiet), (f"{options.traders} traders", crowd))
            ),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
