"""The trader's stream: `latency` from frame to committed row, `memory` over many messages.

    uv run python benchmarks/stream.py latency > benchmarks/results/stream.json
    uv run python benchmarks/stream.py memory --messages 1000000

`latency` runs a session in this process, and the simulator in another one, which sends given frames
through a proxy, first few a second, then many. It prints one JSON document. On a computer with
other work, `chrt -r 10` before the command keeps that work out of the numbers. `memory` runs the
simulator and the trader as processes, floods the candle stream, and prints the trader's
proportional set size (PSS).
"""

import argparse
import asyncio
import bisect
import contextlib
import importlib
import json
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from recording import describe_machine, measure, print_document
from stream_feed import HOURS

from onetape.cli.output import print_line
from onetape.simulator.market.clock import make_clock
from programs import Program
from session_harness import MARCH, open_session

#: Number of frames a second: in a quiet market, and in a busy one.
QUIET, BUSY = 5, 200
#: Number of messages of one flood, and of messages a second.
FLOOD, PER_SECOND = 100_000, 8_000


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("latency", "memory"))
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.what == "latency":
        asyncio.run(measure_latency(options.seconds, options.rounds))
    else:
        measure_memory(options.messages)


async def measure_latency(seconds: float, rounds: int) -> None:
    """Print the document of the times from sending a frame to the commit of its row."""
    before = describe_machine()
    committed = record_commits()
    quiet: list[list[float]] = []
    busy: list[list[float]] = []
    bare: list[list[float]] = []
    with contextlib.redirect_stdout(sys.stderr):
        for _ in range(rounds):
            await measure_round(seconds, committed, quiet, busy, bare)
    pairs = zip(busy, quiet, strict=True)
    shares = [compute_percentile(one, 0.99) / statistics.median(other) for one, other in pairs]
    print_document(
        "stream",
        f"uv run python benchmarks/stream.py latency --rounds {rounds} --seconds {seconds:g}",
        ["apps/trader", "packages/store", "packages/websocket"],
        before,
        [
            measure(
                f"a frame until its row is committed, {QUIET} a second, median", "ms",
                [1_000 * statistics.median(one) for one in quiet], goal=10, wanted="below",
            ),
            measure(
                f"a frame until its row is committed, {BUSY} a second, median", "ms",
                [1_000 * statistics.median(one) for one in busy], goal=10, wanted="below",
            ),
            measure(
                f"a frame until its row is committed, {BUSY} a second, p99", "ratio", shares,
                goal=5, wanted="below", of=f"the median with {QUIET} a second",
                milliseconds=[1_000 * compute_percentile(one, 0.99) for one in busy],
                largest_milliseconds=[1_000 * max(one) for one in busy],
                bare_commit_p99_milliseconds=[
                    1_000 * compute_percentile(one, 0.99) for one in bare
                ],
                bare_commit_largest_milliseconds=[1_000 * max(one) for one in bare],
            ),
        ],
    )  # fmt: skip


def record_commits() -> list[tuple[float, float]]:
    """Make the writer record the close and the commit time of each row; return the records."""
    writer_module: Any = importlib.import_module("trader.stream_candles")
    replace_forming = writer_module.replace_forming
    committed: list[tuple[float, float]] = []

    def timed(store: Any, key: Any, row: Any, **rest: Any) -> bool:
        done = replace_forming(store, key, row, **rest)
        committed.append((row.close, time.monotonic()))
        return done

    writer_module.replace_forming = timed
    return committed


async def measure_round(
    seconds: float,
    committed: list[tuple[float, float]],
    quiet: list[list[float]],
    busy: list[list[float]],
    bare: list[list[float]],
) -> None:
    """Run a session next to the exchange's process; add the seconds to each commit."""
    feed: Any = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("stream_feed.py")),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**24,
    )  # fmt: skip

    async def command(line: str) -> Any:
        feed.stdin.write(f"{line}\n".encode())
        return json.loads(await feed.stdout.readline())

    url = (await feed.stdout.readline()).decode().strip()
    with tempfile.TemporaryDirectory() as folder:
        opened: Any = Feed(url)
        async with open_session(opened, Path(folder) / "data.db", in_thread=True) as trading:
            while not trading.query("SELECT 1 FROM ohlcv_data WHERE closed = 0"):
                await command("send 5 0.2 500")
            await trading.until(lambda: trading.query("SELECT 1 FROM decisions"))
            stop = threading.Event()
            probe = asyncio.create_task(
                asyncio.to_thread(commit_until, stop, Path(folder) / "bare.db")
            )
            for found, per_second, first in ((quiet, QUIET, 1_000.0), (busy, BUSY, 2_000.0)):
                committed.clear()
                sent = await command(f"send {per_second} {seconds} {first}")
                await trading.until(partial(has_arrived, committed, sent))
                found.append(compute_latencies(sent, committed))
            stop.set()
            bare.append(await probe)
    feed.stdin.close()
    await feed.wait()


def commit_until(stop: threading.Event, path: Path) -> list[float]:
    """Commit a row to an otherwise unused database again and again; return the seconds of each.

    The result shows the load of the disk and the machine without the trader.
    """
    taken: list[float] = []
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, value REAL)")
    while not stop.wait(1 / BUSY):
        began = time.monotonic()
        connection.execute("INSERT OR REPLACE INTO rows VALUES (1, ?)", (began,))
        taken.append(time.monotonic() - began)
    connection.close()
    return taken


class Feed:
    """The market of the other process, for the session of this one, with a stepped clock."""

    def __init__(self, url: str) -> None:
        """Take the exchange's URL."""
        self.proxy = SimpleNamespace(url=url)
        clock = make_clock(start_ms=int((MARCH + HOURS * 3_600) * 1_000), stepped=True)
        self.simulator = SimpleNamespace(clock=clock)


def has_arrived(committed: list[tuple[float, float]], sent: list[list[float]]) -> bool:
    """Return whether the last frame is committed."""
    return bool(committed) and committed[-1][0] == sent[-1][0]


def compute_latencies(sent: list[list[float]], committed: list[tuple[float, float]]) -> list[float]:
    """Return the seconds to the commit of each frame, or of the later one it was merged with."""
    closes = [close for close, _ in committed]
    return [committed[bisect.bisect_left(closes, close)][1] - at for close, at in sent]


def compute_percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[int(len(values) * share)]


def measure_memory(messages: int) -> None:
    """Print the trader's memory after each flood of messages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = ("--port", "0", "--speed", "60", "--start", "2024-03-01T00:00:20")
        with Program("simulator", *start, folder=folder) as simulator:
            url = re.findall(r"http://[\d.:]+\d", simulator.until("simulator:"))[0]
            arguments = ("--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m")
            with Program("trader", *arguments, folder=folder) as program:
                program.until("candles:")
                print_memory(program, 0)
                for number in range(messages // FLOOD):
                    flood(url)
                    wait_until_read(program)
                    print_memory(program, (number + 1) * FLOOD)


def flood(url: str) -> None:
    """Let the simulator repeat a candle's frame `FLOOD` times."""
    fault = {
        "kind": "ws_flood", "stream": "btcusdt@kline_*", "per_second": PER_SECOND,
        "seconds": FLOOD / PER_SECOND, "count": 1,
    }  # fmt: skip
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/simulator/faults", json.dumps(fault).encode(), {"X-Onetape-Control": "1"}
    )
    with urllib.request.urlopen(request, timeout=60):  # noqa: S310 - loopback
        pass


def wait_until_read(program: Program) -> None:
    """Wait until the flood has begun and the trader rests again."""
    time.sleep(FLOOD / PER_SECOND)
    while True:
        before = read_processor_seconds(program)
        time.sleep(2.0)
        if read_processor_seconds(program) - before < 0.6:
            return


def read_processor_seconds(program: Program) -> float:
    """Return the processor time of the trader's process."""
    fields = Path(f"/proc/{program.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def print_memory(program: Program, messages: int) -> None:
    """Print the proportional set size of the trader's process."""
    text = Path(f"/proc/{program.pid}/smaps_rollup").read_text()
    (kilobytes,) = re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    print_line(f"{messages:>9,} messages: PSS {int(kilobytes) / 1_024:.1f} MB")


if __name__ == "__main__":
    main()
