"""The simulator's clock as a program reads it: requests and times between them."""

import asyncio
import re
import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from busy_loop import BusyLoop
from fault_proxy import FaultProxy
from onetape.core.clock import ScaledClock
from onetape.core.errors import ExchangeUnreachable
from onetape.core.simulated import SimulatedSource
from onetape.exchange import market_clock
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import SimulatorClock, fetch_simulator_info
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import PacedClock
from onetape.simulator.server.simulator import Simulator
from programs import Program

#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


@pytest.fixture
def simulator(tmp_path: Path) -> Generator[tuple[Program, str]]:
    """Return a simulator's process and its address."""
    arguments = ("--port", "0", "--start", "2024-03-01", "--seed", "9")
    with Program("simulator", *arguments, folder=tmp_path) as program:
        yield program, re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]


def test_a_frozen_simulator_delays_its_readers_only_once(
    simulator: tuple[Program, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_clock, "EXTRAPOLATION_SECONDS", 0.0)
    program, url = simulator
    clock = SimulatorClock(url)
    before = clock.now_ms()
    program.send(signal.SIGSTOP)
    with BusyLoop() as busy_loop:
        times = [clock.now_ms() for _ in range(50)]
        # If each read waited by itself, fifty would take 20 s.
        assert busy_loop.seconds < 5
    assert {*times} == {before}
    program.send(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while clock.now_ms() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    clock.close()


def test_a_cached_market_time_goes_on_without_the_simulator_and_stops_after_a_while(
    simulator: tuple[Program, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_clock, "EXTRAPOLATION_SECONDS", 60.0)
    program, url = simulator
    clock = SimulatorClock(url)
    before = clock.now_ms()
    program.send(signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while clock.now_ms() < before + 50:
        assert time.monotonic() < deadline
    monkeypatch.setattr(market_clock, "EXTRAPOLATION_SECONDS", 0.0)
    assert clock.now_ms() == clock.now_ms()
    program.send(signal.SIGCONT)
    clock.close()


def test_a_market_time_between_readings_is_never_ahead_of_the_simulator_and_never_runs_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ScaledClock(MARCH_MS, 50_000)
    with embedded_simulator(seed=1, clock=own) as simulator:
        clock = SimulatorClock(simulator.url)
        last_ms = MARCH_MS
        for number in range(2_000):
            # Each tenth time it sends another request; each response is late by another way.
            monkeypatch.setattr(market_clock, "EXTRAPOLATION_SECONDS", 60.0 if number % 10 else 0.0)
            found_ms = clock.now_ms()
            assert last_ms <= found_ms <= own.now_ms()
            last_ms = found_ms
        clock.close()


def test_a_slow_response_does_not_put_the_clock_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ScaledClock(MARCH_MS, 50)

    def behind_ms(clock: SimulatorClock) -> tuple[int, int]:
        """Return the least and the most that the clock may be behind."""
        before = own.now_ms()
        found = clock.now_ms()
        return before - found, own.now_ms() - found

    async def compare() -> None:
        async with Simulator(seed=1, clock=own) as simulator, FaultProxy(simulator.url) as proxy:
            clock = await asyncio.to_thread(SimulatorClock, proxy.url)
            _, most = await asyncio.to_thread(behind_ms, clock)
            proxy.rest_delay_seconds = 0.2
            monkeypatch.setattr(market_clock, "EXTRAPOLATION_SECONDS", 0.0)
            await asyncio.to_thread(clock.now_ms)
            monkeypatch.setattr(market_clock, "EXTRAPOLATION_SECONDS", 60.0)
            least, _ = await asyncio.to_thread(behind_ms, clock)
            clock.close()
            # The delay is 10,000 ms of market time; what the readings themselves take is less.
            assert least <= most + 2_000

    asyncio.run(compare())


def test_a_stepped_market_time_is_requested_each_time() -> None:
    own = PacedClock(MARCH_MS, 1_000)
    with embedded_simulator(seed=1, clock=own) as simulator:
        clock = SimulatorClock(simulator.url)
        for limit_ms in range(MARCH_MS, MARCH_MS + 20_000, 1_000):
            own.allow_until(limit_ms)
            deadline = time.monotonic() + 60
            while own.now_ms() < limit_ms:
                assert time.monotonic() < deadline
            assert clock.now_ms() == limit_ms
        clock.close()


def test_a_closed_connection_is_opened_again_at_once(
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


def test_a_simulator_shows_its_seed_and_a_real_exchange_gets_no_request(
    simulator: tuple[Program, str],
) -> None:
    _, url = simulator
    requested = fetch_simulator_info(Endpoint("simulator", url))
    assert requested is not None
    assert (requested.source, requested.now_ms // 60_000) == (
        SimulatedSource(9, {}),
        MARCH_MS // 60_000,
    )
    assert fetch_simulator_info(Endpoint("kraken")) is None
    with pytest.raises(ExchangeUnreachable, match="no simulator responds"):
        fetch_simulator_info(Endpoint("simulator", "http://127.0.0.1:1"))
