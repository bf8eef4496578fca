"""A run repeated from its logged seed and timeline is the same, byte for byte."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from onetape.core.clock import Clock
from onetape.simulator.faults.model import Fault, make_fault
from onetape.simulator.faults.registry import Faults
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
MINUTE_MS = 60_000
#: Everything here is drawn: which calls, which candles, how they are revised.
TIMELINE = (
    Fault("status", path="/api/v3/klines", status=503, code=-1008, probability=0.3),
    Fault("candles", shape="revised", probability=0.6),
    Fault("candles", shape="none", stream="btcusdt@kline_*", probability=0.2),
    Fault("events", shape="lost", stream="btcusdt@kline_*", probability=0.1),
    Fault("events", shape="duplicated", stream="*", probability=0.1),
    Fault("ws_garbage", shape="truncated", market_from="+10m", probability=0.2),
    Fault("clock_skew", seconds=-3, market_from="+15m"),
    Fault("halted", symbol="BTC/USDT", market_from="+20m", market_for="3m"),
)


async def play_fixed_requests(clock: Clock, faults: Faults) -> tuple[list[str], list[str], Any]:
    """Play a fixed scene; return every byte that came, the log, and the faults as listed."""
    received: list[str] = []
    async with (
        Simulator(clock=clock, faults=faults) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{simulator.url}/ws/btcusdt@kline_1m/ethusdt@bookTicker") as socket,
    ):
        for minute in range(30):
            await simulator.advance_to_ms(MARCH_MS + minute * MINUTE_MS + 30_000)
            await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            while '"result"' not in (frame := await socket.receive_str(timeout=60)):
                received.append(frame)
            since = f"startTime={MARCH_MS - 20 * MINUTE_MS}&limit=30"
            for path in (f"klines?symbol=BTCUSDT&interval=1m&{since}", "time", "exchangeInfo"):
                async with session.get(f"{simulator.url}/api/v3/{path}") as response:
                    received.append(f"{response.status} {await response.text()}")
        async with session.get(f"{simulator.url}/simulator/faults") as response:
            listed = await response.json()
    return received, [json.dumps(fired.make_document()) for fired in simulator.faults.log], listed


def test_a_run_repeated_from_its_logged_seed_and_timeline_is_equal_byte_for_byte(
    run: Run, stepped: Stepped
) -> None:
    first, log, listed = run(play_fixed_requests(stepped(0), Faults(TIMELINE, seed=11)))
    again = Faults(
        (make_fault(one["fault"]) for one in listed["faults"]), seed=json.loads(log[0])["seed"]
    )
    second, second_log, _ = run(play_fixed_requests(stepped(0), again))
    assert first == second
    assert log == second_log
    assert {json.loads(line)["fault"] for line in log} == set(range(1, len(TIMELINE) + 1))


def test_another_seed_is_another_run(run: Run, stepped: Stepped) -> None:
    _, log, _ = run(play_fixed_requests(stepped(0), Faults(TIMELINE, seed=11)))
    _, other, _ = run(play_fixed_requests(stepped(0), Faults(TIMELINE, seed=12)))
    assert log != other
