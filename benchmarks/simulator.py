"""Speed of the simulator's responses: first pages, all tickers, candles and messages a second.

    uv run python benchmarks/simulator.py > benchmarks/results/simulator.json

The simulator runs in a separate process, the client here reads raw sockets, so that CCXT's
parsing is not measured. Prints one JSON document with every sample. Unset
PYTHONDONTWRITEBYTECODE, because otherwise the imports of the server are measured.
"""

import argparse
import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from recording import SEED, describe_machine, measure, print_document, refuse_slow_imports

TIMEFRAMES: Final = {"1m": 60, "5m": 300, "1h": 3_600, "4h": 14_400, "1d": 86_400}
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
MONTHS: Final = [(year, month) for year in range(2018, 2026) for month in range(1, 13)]
#: Pages that the warm measurement requests, again and again.
WARM_PAGES: Final = 50
PAGE: Final = 1_000
#: Markets of the long list, fresh processes that serve all their tickers, and how often
#: each is requested again.
LISTED: Final = 3_000
FRESH: Final = 5
AGAIN: Final = 4


class Client:
    """One connection that is read as fast as the socket gives."""

    def __init__(self, port: int) -> None:
        """Connect to a simulator on loopback."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str) -> bytes:
        """Return the body of a reply."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: simulator\r\n\r\n".encode())
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += self._read()
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise SystemExit(f"{path} got the response {head[:200]!r}")
        parts, missing = [body], int(length[1]) - len(body)
        while missing > 0:
            parts.append(self._read())
            missing -= len(parts[-1])
        return b"".join(parts)

    def open_streams(self, names: list[str]) -> None:
        """Turn the connection into a socket of combined streams."""
        self.socket.sendall(
            f"GET /stream?streams={'/'.join(names)} HTTP/1.1\r\nHost: simulator\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._read()
        self.rest = received.partition(b"\r\n\r\n")[2]

    def frames(self) -> int:
        """Wait for some bytes and return the number of complete frames received."""
        data, at, count = self.rest + self._read(), 0, 0
        while len(data) - at >= 10:
            length, header = data[at + 1], 2
            if length == 126:
                length, header = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif length == 127:
                length, header = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if at + header + length > len(data):
                break
            at += header + length
            count += 1
        self.rest = data[at:]
        return count

    def _read(self) -> bytes:
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise SystemExit("the simulator closed the connection")
        return chunk


@contextmanager
def run_simulator(*arguments: str) -> Generator[Client]:
    """Run a simulator in a separate process and connect to it."""
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        [
            *(sys.executable, "-m", "onetape.simulator.main"),
            *("--port", "0", "--seed", str(SEED), *arguments),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - requested above
        greeting = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        if greeting is None:
            raise SystemExit("the simulator did not start")
        yield Client(int(greeting[1]))
    finally:
        process.terminate()
        process.wait()


def measure_first_pages(months: int) -> Generator[dict[str, Any]]:
    """Measure the first page of months without an earlier request, in fresh processes."""
    chosen = random.Random(SEED)  # noqa: S311 - the same months every time
    for name in TIMEFRAMES:
        samples: list[float] = []
        with run_simulator("--start", "2026-05-01", "--stepped") as client:
            for year, month in chosen.sample(MONTHS, months):
                start_ms = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000
                symbol = "BTCUSDT" if year < 2021 else chosen.choice(SYMBOLS)
                query = f"symbol={symbol}&interval={name}&startTime={start_ms}&limit={PAGE}"
                began = time.perf_counter()
                client.get(f"/api/v3/klines?{query}")
                samples.append(time.perf_counter() - began)
        yield measure(f"first page of a month, {name}", "s", samples, goal=1.0, wanted="below")


def measure_tickers() -> Generator[dict[str, Any]]:
    """Measure all 24-hour tickers of the long list: first in fresh processes, then once more."""
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(FRESH):
        with run_simulator(
            "--start", "2026-05-01", "--stepped", "--symbols", str(LISTED)
        ) as client:
            for samples in (cold, *[warm] * AGAIN):
                began = time.perf_counter()
                rows: list[Any] = json.loads(client.get("/api/v3/ticker/24hr"))
                samples.append(time.perf_counter() - began)
                if len(rows) != LISTED:
                    raise SystemExit(f"there are {len(rows)} tickers of {LISTED} markets")
    what = f"tickers of {LISTED:,} markets"
    yield measure(f"{what}, first", "s", cold, goal=3.0, wanted="below")
    yield measure(f"{what}, again in the same minute", "s", warm, goal=1.0, wanted="below")


def measure_candles(seconds: int) -> dict[str, Any]:
    """Measure candles a second over REST, from pages that were requested before."""
    with run_simulator("--start", "2026-05-01", "--stepped") as client:
        first = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
        paths = [
            f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit={PAGE}"
            f"&startTime={(first + 60 * PAGE * number) * 1_000}"
            for number in range(WARM_PAGES)
        ]
        for path in paths:
            rows: list[Any] = json.loads(client.get(path))
            if len(rows) != PAGE:
                raise SystemExit(f"{path} gave {len(rows)} candles")
        number = 0

        def page() -> int:
            nonlocal number
            client.get(paths[number % WARM_PAGES])
            number += 1
            return PAGE

        samples = measure_rates(page, seconds)
    return measure("candles over REST, warm", "1/s", samples, goal=100_000, wanted="above")


def measure_messages(seconds: int) -> dict[str, Any]:
    """Measure messages a second of four trade streams on one socket, each read as a frame."""
    with run_simulator("--start", "2024-03-01", "--speed", "36000") as client:
        client.open_streams([f"{symbol.lower()}@trade" for symbol in SYMBOLS])
        # The first second is not counted: code is loaded, caches are filled.
        measure_rates(client.frames, 1)
        samples = measure_rates(client.frames, seconds)
    return measure("stream messages, warm", "1/s", samples, goal=10_000, wanted="above")


def measure_rates(work: Any, seconds: int) -> list[float]:
    """Return the amount that `work` did in each of some seconds."""
    samples: list[float] = []
    for _ in range(seconds):
        done, began = 0, time.perf_counter()
        while (length := time.perf_counter() - began) < 1.0:
            done += work()
        samples.append(done / length)
    return samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the simulator; prints JSON.")
    parser.add_argument("--months", type=int, default=20, help="months of each timeframe")
    parser.add_argument("--seconds", type=int, default=10, help="of each warm measurement")
    flags = parser.parse_args()
    refuse_slow_imports()
    before = describe_machine()
    measurements = [
        *measure_first_pages(flags.months),
        *measure_tickers(),
        measure_candles(flags.seconds),
        measure_messages(flags.seconds),
    ]
    command = (
        f"uv run python benchmarks/simulator.py --months {flags.months} --seconds {flags.seconds}"
    )
    print_document("simulator", command, ["packages/simulator"], before, measurements)


if __name__ == "__main__":
    main()
