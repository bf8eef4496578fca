"""The control endpoints of the simulator, and the addresses that it may listen on."""

from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.core.errors import ConfigurationError, SafetyRefusal, UsageError
from onetape.simulator.market.clock import PacedClock, make_clock
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
CONTROL = {"X-Onetape-Control": "1"}
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


async def call(clock: Clock, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
    async with (
        Simulator(seed=3, clock=clock) as simulator,
        aiohttp.ClientSession() as session,
        session.request(method, simulator.url + path, data=body, headers=CONTROL) as response,
    ):
        return response.status, await response.json()


def test_the_clock_shows_its_kind_time_speed_and_seed(run: Run, stepped: Stepped) -> None:
    state = {
        "kind": "stepped", "market_ms": MARCH_MS + 5, "speed": 0.0, "steady": False, "seed": 3,
        "origin": "invented",
    }  # fmt: skip
    assert run(call(stepped(5), "GET", "/simulator/clock")) == (200, state)


@pytest.mark.parametrize(
    ("clock", "kind", "speed", "steady"),
    [
        (make_clock(), "real", 1.0, True),
        (make_clock(start_ms=MARCH_MS, speed=60), "accelerated", 60.0, True),
        (make_clock(start_ms=MARCH_MS), "accelerated", 1.0, True),
        (PacedClock(MARCH_MS, 60), "accelerated", 60.0, False),
    ],
)
def test_every_kind_of_clock_has_a_name(
    run: Run,
    clock: Clock,
    kind: str,
    speed: float,
    steady: bool,
) -> None:
    _, state = run(call(clock, "GET", "/simulator/clock"))
    assert (state["kind"], state["speed"], state["steady"]) == (kind, speed, steady)


def test_a_stepped_clock_moves_forward_on_request_and_never_back(
    run: Run, stepped: Stepped
) -> None:
    forward = f'{{"advance_to_ms": {MARCH_MS + 60_000}}}'
    back = f'{{"advance_to_ms": {MARCH_MS - 60_000}}}'
    assert run(call(stepped(0), "POST", "/simulator/clock", forward))[1]["market_ms"] == (
        MARCH_MS + 60_000
    )
    assert run(call(stepped(0), "POST", "/simulator/clock", back))[1]["market_ms"] == MARCH_MS


def test_a_clock_that_runs_by_itself_is_not_stepped(run: Run) -> None:
    status, body = run(call(make_clock(), "POST", "/simulator/clock", '{"advance_to_ms": 5}'))
    assert status == 409
    assert body["error"] == "only a stepped clock can be advanced; this one is real"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", "{}"),
        ("clock", '{"advance_to_ms": true}'),
        ("clock", '{"advance_to_ms": "5"}'),
        ("clock", "nonsense"),
        ("clock", "[1]"),
        ("clock", '{"a":' * 5_000),
        ("clock", '{"advance_to_ms": 99999999999999999999}'),
        ("faults", "[" * 5_000),
        ("account/deposit", "[" * 5_000),
        ("disconnect", '{"refuse_seconds": -1}'),
        ("disconnect", '{"refuse_seconds": "long"}'),
        ("disconnect", "nonsense"),
    ],
)
def test_an_invalid_body_is_refused_with_a_reason(
    run: Run, stepped: Stepped, path: str, body: str
) -> None:
    status, response = run(call(stepped(0), "POST", f"/simulator/{path}", body))
    assert status == 400
    assert response["error"]


def test_disconnect_needs_no_body(run: Run, stepped: Stepped) -> None:
    response = run(call(stepped(0), "POST", "/simulator/disconnect"))
    assert response == (200, {"disconnected": 0})


@pytest.mark.parametrize(
    "query",
    [
        "symbol=BTC/USDT&interval=1h",
        "symbol=BTC/USDT&interval=7m&startTime=0&endTime=1",
        "symbol=BTC/USDT&interval=1h&startTime=x&endTime=1",
        "symbol=NOPE&interval=1h&startTime=0&endTime=1",
        f"symbol=BTC/USDT&interval=1m&startTime=0&endTime={MARCH_MS}",
    ],
)
def test_a_ledger_request_that_cannot_be_answered_is_refused(
    run: Run, stepped: Stepped, query: str
) -> None:
    assert run(call(stepped(0), "GET", f"/simulator/ledger?{query}"))[0] == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])  # noqa: S104 - refused
def test_the_simulator_refuses_an_address_that_others_can_reach(host: str) -> None:
    with pytest.raises(SafetyRefusal, match="--allow-remote"):
        Simulator(host=host)


def test_a_port_in_use_is_named(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as first:
            port = int(first.url.rsplit(":", 1)[1])
            with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is in use"):
                await Simulator(clock=stepped(0), port=port).start()

    run(scene())


@pytest.mark.parametrize(
    "settings",
    [
        {"speed": 0.0},
        {"speed": -1.0},
        {"speed": float("nan")},
        {"speed": float("inf")},
        {"speed": 2.0, "stepped": True},
        {"start_ms": 0},
        {"start_ms": 9_999_999_999_999},
    ],
)
def test_a_clock_that_cannot_run_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_clock(**settings)
