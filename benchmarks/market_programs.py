"""Programs of a benchmark: a simulator, and traders of its markets."""

import json
import os
import re
import sys
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from programs import Program

START: Final = "2024-03-01T00:00:20"


@contextmanager
def run_simulator(folder: Path, *, symbols: int, speed: float) -> Generator[str]:
    """Run a simulator; yield its URL."""
    words = ("--port", "0", "--symbols", str(symbols), "--speed", str(speed), "--start", START)
    with Program("simulator", *words, folder=folder) as program:
        yield re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]


def fetch_symbols(url: str, count: int) -> list[str]:
    """Return a number of the simulator's USDT markets that are traded now."""
    found: list[str] = []
    for one in read_json(f"{url}/api/v3/exchangeInfo")["symbols"]:
        if one["quoteAsset"] != "USDT" or one["status"] != "TRADING":
            continue
        candles = read_json(f"{url}/api/v3/klines?symbol={one['symbol']}&interval=1m&limit=2")
        # Markets without trades have no frames that could show that the stream is live.
        if candles and float(candles[0][5]) > 0:
            found.append(f"{one['baseAsset']}/USDT")
        if len(found) == count:
            return found
    raise SystemExit(f"the simulator trades {len(found)} of {count} markets")


def read_json(url: str) -> Any:
    """Return the simulator's response at an address."""
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - loopback
        return json.load(response)


def list_process_tree(pid: int) -> list[int]:
    """Return a process and its running descendants."""
    found, waiting = list[int](), [pid]
    while waiting:
        one = waiting.pop()
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(one)
    return found


def read_processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of its running descendants."""
    ticks = 0
    for one in list_process_tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def start_trader(folder: Path, url: str, db: Path, symbols: Sequence[str], *more: str) -> Program:
    """Start a trader of some symbols."""
    listed = [word for symbol in symbols for word in ("-p", symbol)]
    words = (
        "--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m", "--db", db,
        "--account", f"account of {symbols[0]}",
    )  # fmt: skip
    return Program("trader", *map(str, words), *listed, *more, folder=folder)
