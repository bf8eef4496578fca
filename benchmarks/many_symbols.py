"""Measurement of one trader of many symbols: memory with many strategies, time until it is live.

    uv run python benchmarks/many_symbols.py > benchmarks/results/many_symbols.json

The simulator and the trader are separate processes.
"""

import asyncio
import re
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from market_programs import fetch_symbols, list_process_tree, run_simulator, start_trader
from recording import describe_machine, measure, print_document, refuse_slow_imports

from fault_proxy import FaultProxy
from programs import Program

COMMAND: Final = "uv run python benchmarks/many_symbols.py"


def main() -> None:
    """Measure, and print the document."""
    refuse_slow_imports()
    before = describe_machine()
    with tempfile.TemporaryDirectory() as name:
        found = [*measure_strategies(Path(name)), *asyncio.run(measure_symbols(Path(name)))]
    print_document("many_symbols", COMMAND, ["apps/trader", "packages"], before, found)


def measure_strategies(parent: Path) -> list[dict[str, Any]]:
    """Return the memory of a trader of 20 symbols, each with a separate strategy."""
    folder = parent / "strategies"
    folder.mkdir()
    with ExitStack() as stack:
        url = stack.enter_context(run_simulator(folder, symbols=250, speed=20))
        listed = [
            f"  - {{symbol: {symbol}, strategy: {{name: {name}, parameters: {parameters}}}}}"
            for symbol, (name, parameters) in zip(fetch_symbols(url, 20), STRATEGIES, strict=True)
        ]
        (folder / "trader.yaml").write_text("\n".join(["symbols:", *listed]), encoding="utf-8")
        words = ("--config", "trader.yaml", "--exchange", "simulator", "--simulator-url", url)
        program = stack.enter_context(
            Program(
                "trader", *words, "-t", "1m", "--db", "data.db", "--account", "20", folder=folder
            )
        )
        program.until("", inside="candles:")
        samples: list[float] = []
        for _ in range(10):
            time.sleep(6)
            samples.append(measure_tree_pss(program.pid))
    name = "memory (PSS) of a trader of 20 symbols with 20 strategies, all its processes"
    return [measure(name, "MB", samples, goal=300, wanted="below")]


STRATEGIES: Final = [
    *[("rsi", f"{{period: {period}}}") for period in range(10, 20)],
    *[("sma_cross", f"{{fast: {fast}, slow: 60}}") for fast in range(10, 16)],
    *[("ema_cross", f"{{fast: {fast}, slow: 40}}") for fast in range(10, 14)],
]


def measure_tree_pss(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, MB."""
    total = 0.0
    for one in list_process_tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0]) / 1_024
    return total


async def measure_symbols(parent: Path) -> list[dict[str, Any]]:
    """Return the subscription rate of a trader of 200 symbols, and the time until all are live.

    Two runs, because the proxy that counts messages is slower than the simulator behind it.
    """
    folder = parent / "symbols"
    folder.mkdir()
    with ExitStack() as stack:
        url = stack.enter_context(run_simulator(folder, symbols=2_500, speed=1))
        names = fetch_symbols(url, 200)
        began = time.monotonic()
        with start_trader(folder, url, folder / "live.db", names) as program:
            live = wait_until_live(program, folder / "live.db", len(names))
            seconds = live - began
        async with CountingProxy(url) as proxy:
            with start_trader(folder, proxy.url, folder / "counted.db", names) as program:
                while sum(len(one.get("params", ())) for one in proxy.commands) < 2 * len(names):
                    if time.monotonic() - began > 400:
                        raise SystemExit(f"not all are subscribed: {program.lines[-5:]}")
                    await asyncio.sleep(0.5)
    name = "a trader of 200 symbols"
    return [
        measure(f"{name}: messages sent in a second, most", "1/s",
                [count_most_within_a_second(proxy.sent)], goal=5.1, wanted="below",
                messages=len(proxy.sent)),
        measure(f"{name}: from its start until all are live", "s", [seconds], goal=60,
                wanted="below"),
    ]  # fmt: skip


def wait_until_live(program: Program, db: Path, count: int) -> float:
    """Wait until the stream has brought a forming candle of each symbol; return that time."""
    ends = time.monotonic() + 300
    while (known := count_live_symbols(db)) < count:
        if time.monotonic() > ends:
            raise SystemExit(f"{known} of {count} are live: {program.lines[-5:], program.errors}")
        time.sleep(0.5)
    return time.monotonic()


class CountingProxy(FaultProxy):
    """Records the time of each message of the trader."""

    def __init__(self, behind: str) -> None:
        """Stand before the simulator."""
        super().__init__(behind)
        self.sent: list[float] = []
        self.commands = TimedList(self.sent)


class TimedList(list[dict[str, Any]]):
    """A list that records the time at which each element was added."""

    def __init__(self, times: list[float]) -> None:
        """Add the times to a list."""
        super().__init__()
        self._times = times

    def append(self, command: dict[str, Any]) -> None:
        """Add an element."""
        self._times.append(time.monotonic())
        super().append(command)


def count_most_within_a_second(times: Sequence[float]) -> int:
    """Return the largest number of moments within any second."""
    return max(sum(first <= one < first + 1 for one in times) for first in times)


def count_live_symbols(db: Path) -> int:
    """Return the number of symbols whose forming candle the stream has brought."""
    if not db.exists():
        return 0
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        try:
            rows = "SELECT count(DISTINCT symbol) FROM ohlcv_data WHERE source = 'ws'"
            return connection.execute(rows).fetchone()[0]
        except sqlite3.OperationalError:
            return 0


if __name__ == "__main__":
    main()
