"""SIGTERM ends a trader within two seconds, whatever state it is in."""

import json
import re
import signal
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from busy_loop import BusyLoop
from held_lock import hold_write_lock
from programs import Program
from session_harness import OFTEN

#: One minute of market takes a quarter of a second.
SPEED = "240"
#: It takes 0.4 to 1.5 s; processor seconds of a loop next to it, of which a busy machine has less.
STOP_SECONDS = 3.0


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Program, str]]:
    """Return a simulator's process and its address."""
    arguments = ("--port", "0", "--speed", SPEED, "--start", "2024-03-01T00:00:20")
    with Program("simulator", *arguments, folder=tmp_path_factory.mktemp("simulator")) as program:
        greeting = program.until("simulator:")
        yield program, re.findall(r"http://[\d.:]+\d", greeting)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder like a user's, with a strategy of their own."""
    own = tmp_path / "user" / "strategies"
    own.mkdir(parents=True)
    (own / "often.py").write_text(OFTEN, encoding="utf-8")
    return tmp_path


def start_trader(folder: Path, url: str) -> Program:
    common = ("--exchange", "simulator", "--simulator-url", url, "--timeframe", "1m")
    return Program("trader", *common, "--strategy", "often", folder=folder)


def send_control(url: str, method: str, body: dict[str, Any] | None = None) -> None:
    """Send a command to the simulator."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Onetape-Control": "1"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - loopback
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - loopback


@pytest.mark.parametrize("state", ["trading", "locked", "refused", "stream lost", "frozen"])
def test_sigterm_ends_a_trader_within_two_seconds(
    folder: Path, simulator: tuple[Program, str], state: str
) -> None:
    server, url = simulator
    with start_trader(folder, url) as program, ExitStack() as stack:
        program.until("", inside=", next ")
        if state == "locked":
            stack.enter_context(hold_write_lock(folder / "data" / "simulator.db"))
            program.until("degraded: ")
        elif state == "refused":
            fault = {"kind": "status", "status": 451, "path": "/api/v3/klines"}
            send_control(f"{url}/simulator/faults", "POST", fault)
            stack.callback(send_control, f"{url}/simulator/faults", "DELETE")
            program.until("degraded: ")
        elif state == "stream lost":
            send_control(f"{url}/simulator/disconnect", "POST", {"refuse_seconds": 30})
            again = {"refuse_seconds": 0}
            stack.callback(send_control, f"{url}/simulator/disconnect", "POST", again)
            program.until("stream lost:")
        elif state == "frozen":
            server.send(signal.SIGSTOP)
            stack.callback(server.send, signal.SIGCONT)
            time.sleep(1)
        with BusyLoop() as busy_loop:
            program.send(signal.SIGTERM)
            assert program.ends() == 0
            took = busy_loop.seconds
    assert program.lines[-1].startswith("SIGTERM: stopped with ")
    assert program.errors == []
    assert took < STOP_SECONDS
