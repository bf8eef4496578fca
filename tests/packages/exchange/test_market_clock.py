"""The simulator's clock, asked for its time: what happens when it does not answer."""

import re
import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from onetape.core.errors import ExchangeUnreachable
from onetape.core.simulated import SimulatedSource
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import SimulatorClock, ask_simulator
from programs import Program

#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


@pytest.fixture
def simulator(tmp_path: Path) -> Generator[tuple[Program, str]]:
    """Return a simulator's process and its address."""
    arguments = ("--port", "0", "--start", "2024-03-01", "--seed", "9")
    with Program("simulator", *arguments, folder=tmp_path) as program:
        yield program, re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]


def test_a_frozen_simulator_holds_its_readers_up_once_and_not_each_time(
    simulator: tuple[Program, str],
) -> None:
    program, url = simulator
    clock = SimulatorClock(url)
    before = clock.now_ms()
    program.send(signal.SIGSTOP)
    began = time.monotonic()
    times = [clock.now_ms() for _ in range(50)]
    # If each read waited by itself, fifty would take 20 s.
    assert time.monotonic() - began < 5
    assert {*times} == {before}
    program.send(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while clock.now_ms() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    clock.close()


def test_a_connection_that_was_closed_is_made_anew_at_once(
    simulator: tuple[Program, str], tmp_path: Path
) -> None:
    program, url = simulator
    clock = SimulatorClock(url)
    program.send(signal.SIGKILL)
    program.ends()
    arguments = ("--port", url.rpartition(":")[2], "--start", "2024-04-01")
    with Program("simulator", *arguments, folder=tmp_path) as again:
        again.until("simulator:")
        assert clock.now_ms() > MARCH_MS + 30 * 86_400_000
    clock.close()


def test_a_simulator_tells_its_seed_and_a_real_exchange_is_not_asked(
    simulator: tuple[Program, str],
) -> None:
    _, url = simulator
    asked = ask_simulator(Endpoint("simulator", url))
    assert asked is not None
    assert (asked.source, asked.now_ms // 60_000) == (SimulatedSource(9, {}), MARCH_MS // 60_000)
    assert ask_simulator(Endpoint("kraken")) is None
    with pytest.raises(ExchangeUnreachable, match="no simulator answers"):
        ask_simulator(Endpoint("simulator", "http://127.0.0.1:1"))
