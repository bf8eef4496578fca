"""Measure the trader's stream: `latency` from frame to committed row, `memory` over many messages.

    uv run python benchmarks/stream.py latency
    uv run python benchmarks/stream.py memory --messages 1000000

`latency` runs a session in this process and sends frames of its own through a proxy before the
simulator, first few, then many. `memory` runs the simulator and the trader as processes, floods the
candle stream, and prints the trader's proportional set size (PSS).
"""

import argparse
import asyncio
import importlib
import json
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from desk import MARCH, desk, market
from gate import kline
from onetape.cli.output import print_line
from programs import Program

#: Frames a second: in a quiet market, and in a busy one.
QUIET, BUSY = 5, 200
#: Messages of one flood, and how many a second.
FLOOD, PER_SECOND = 100_000, 8_000


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("latency", "memory"))
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    if options.what == "latency":
        asyncio.run(measure_latency(options.seconds))
    else:
        measure_memory(options.messages)


async def measure_latency(seconds: float) -> None:
    """Print the time from the moment a frame is sent until its row is committed."""
    recorder_module: Any = importlib.import_module("trader.stream_recorder")
    replace_forming = recorder_module.replace_forming
    committed: dict[float, float] = {}

    def timed(store: Any, key: Any, row: Any, **rest: Any) -> bool:
        done = replace_forming(store, key, row, **rest)
        committed[row.close] = time.perf_counter()
        return done

    recorder_module.replace_forming = timed
    with tempfile.TemporaryDirectory() as folder:
        async with market(0.25) as opened, desk(opened, Path(folder) / "data.db") as trading:
            await trading.until_live(opened)
            quiet = await latencies(opened, committed, QUIET, seconds, first=1_000.0)
            busy = await latencies(opened, committed, BUSY, seconds, first=2_000.0)
    for name, found in (("quiet", quiet), ("busy", busy)):
        ordered = sorted(found)
        print_line(
            f"{name}: {len(ordered):,} frames, median {statistics.median(ordered) * 1_000:.2f} ms, "
            f"p99 {ordered[int(len(ordered) * 0.99)] * 1_000:.2f} ms"
        )
    ratio = sorted(busy)[int(len(busy) * 0.99)] / statistics.median(quiet)
    print_line(f"p99 of the busy stream is {ratio:.1f} times the median of the quiet one")


async def latencies(
    opened: Any, committed: dict[float, float], per_second: float, seconds: float, *, first: float
) -> list[float]:
    """Send frames at a rate; return the seconds to each commit.

    A frame that was merged with a later one counts as committed with that.
    """
    sent: dict[float, float] = {}
    began = time.perf_counter()
    for number in range(int(per_second * seconds)):
        close = first + number / 100
        sent[close] = time.perf_counter()
        await opened.gate.inject(kline(MARCH * 1_000, close))
        await asyncio.sleep(max(0.0, began + (number + 1) / per_second - time.perf_counter()))
    await asyncio.sleep(1.0)
    times = sorted((close, at) for close, at in committed.items() if close in sent)
    found: list[float] = []
    place = 0
    for close in sorted(sent):
        while times[place][0] < close:
            place += 1
        found.append(times[place][1] - sent[close])
    return found


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
        before = cpu_seconds(program)
        time.sleep(2.0)
        if cpu_seconds(program) - before < 0.6:
            return


def cpu_seconds(program: Program) -> float:
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
