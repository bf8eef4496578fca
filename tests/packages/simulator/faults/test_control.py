"""Faults over HTTP, and from the thread of an embedded simulator."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.simulator.faults.model import Fault
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
CONTROL = {"X-Onetape-Control": "1"}
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


async def send_request(
    simulator: Simulator, method: str, path: str, body: str | None = None
) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, simulator.url + path, data=body, headers=CONTROL) as response,
    ):
        return response.status, await response.json(content_type=None)


def test_a_fault_is_added_listed_fired_logged_and_removed(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0), faults=[Fault("drip", nth=9)]) as simulator:
            fault = {"kind": "status", "path": "/api/v3/time", "status": 503, "code": -1008}
            added = await send_request(simulator, "POST", "/simulator/faults", json.dumps(fault))
            assert added == (200, {"numbers": [2]})
            status, body = await send_request(simulator, "GET", "/api/v3/time")
            assert (status, body["code"]) == (503, -1008)
            _, listed = await send_request(simulator, "GET", "/simulator/faults")
            assert listed["seed"] == 7
            assert listed["faults"][1] == {
                "number": 2,
                "added_ms": MARCH_MS,
                "calls": 1,
                "fired": 1,
                "fault": fault,
            }
            _, log = await send_request(simulator, "GET", "/simulator/faults/log")
            assert [(line["fault"], line["on"]) for line in log["log"]] == [(2, "GET /api/v3/time")]
            assert await send_request(simulator, "DELETE", "/simulator/faults/2") == (
                200,
                {"removed": 1},
            )
            assert (await send_request(simulator, "DELETE", "/simulator/faults/2"))[0] == 404
            assert (await send_request(simulator, "GET", "/api/v3/time"))[0] == 200
            assert await send_request(simulator, "DELETE", "/simulator/faults") == (
                200,
                {"removed": 1},
            )

    run(scene())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("nonsense", "the body must be a fault"),
        ("[1]", "the body must be a fault"),
        ('{"kind": "latency"}', "seconds: latency needs seconds"),
        ('[{"kind": "drip"}, {"kind": "drop"}]', "kind: unknown kind 'drop'; did you mean 'drip'?"),
        ('{"kind": "drip", "nth": "3"}', "nth: expected a whole number, found '3'"),
    ],
)
def test_an_invalid_fault_is_refused_and_none_is_added(
    run: Run, stepped: Stepped, body: str, problem: str
) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator:
            status, response = await send_request(simulator, "POST", "/simulator/faults", body)
            assert status == 400
            assert response["error"].startswith(problem)
            assert simulator.faults.list_faults() == []

    run(scene())


def test_the_control_endpoints_work_in_maintenance(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0), faults=[Fault("maintenance")]) as simulator:
            assert (await send_request(simulator, "GET", "/simulator/clock"))[0] == 200
            await simulator.advance_to_ms(MARCH_MS + 1_000)

    run(scene())


def test_an_embedded_simulator_takes_faults_from_its_callers_thread() -> None:
    from onetape.simulator.embedded import embedded_simulator
    from onetape.simulator.market.clock import make_clock

    clock = make_clock(start_ms=MARCH_MS, stepped=True)
    with embedded_simulator(clock=clock, faults=[Fault("drip", nth=9)]) as simulator:
        simulator.faults.add(kind="status", path="/api/v3/time", status=418)
        with pytest.raises(urllib.error.HTTPError, match="418"):
            urllib.request.urlopen(f"{simulator.url}/api/v3/time", timeout=60)  # noqa: S310 - loopback
        assert [fired.kind for fired in simulator.faults.log] == ["status"]
