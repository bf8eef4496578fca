"""Requests of foreign web pages through a browser are refused and change nothing."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import aiohttp
import pytest

from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.player import Player
from onetape.simulator.recorded.recordings import Recordings
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
MARCH_MS = 1_709_251_200_000
CONTROL = {"X-Onetape-Control": "1"}
#: What each control endpoint takes.
CHANGES = [
    ("POST", "/simulator/clock", {"advance_to_ms": MARCH_MS + 60_000}),
    ("POST", "/simulator/disconnect", {"refuse_seconds": 0}),
    ("POST", "/simulator/faults", {"kind": "status", "status": 503, "path": "/api/v3/time"}),
    ("DELETE", "/simulator/faults", None),
    ("DELETE", "/simulator/faults/1", None),
    ("POST", "/simulator/account/deposit", {"asset": "BTC", "amount": "1"}),
    ("POST", "/simulator/account/withdraw", {"asset": "USDT", "amount": "1"}),
    ("POST", "/simulator/account/buy", {"symbol": "BTC/USDT", "quote": "100"}),
    ("POST", "/simulator/account/sell", {"symbol": "BTC/USDT", "quantity": "1"}),
    ("POST", "/simulator/account/dust", {"assets": ["DOGE"]}),
]
#: What a browser sends for a foreign page, and for one that was rebound to this address.
FOREIGN: list[Mapping[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example:8790", "Origin": "http://evil.example:8790"},
    {"Host": "evil.example"},
]


async def send(
    url: str, method: str, path: str, headers: Mapping[str, str], body: object = None
) -> tuple[int, str]:
    data = None if body is None else json.dumps(body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, data=data, headers=dict(headers)) as response,
    ):
        return response.status, await response.text()


def make_stepped_simulator() -> Simulator:
    return Simulator(clock=make_clock(start_ms=MARCH_MS, stepped=True))


def get_state(simulator: Simulator) -> object:
    return (
        simulator.clock.now_ms(),
        simulator.faults.list_faults(),
        simulator.account.get_balances(),
        len(simulator.account.exchange.orders),
    )


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_change_without_the_header_is_refused_as_a_form_would_send_it(
    run: Run, method: str, path: str, body: object
) -> None:
    async def scene() -> None:
        async with make_stepped_simulator() as simulator:
            before = get_state(simulator)
            form = {"Content-Type": "text/plain"}
            status, text = await send(simulator.url, method, path, form, body)
            assert status == 403
            assert "send the header X-Onetape-Control: 1" in json.loads(text)["error"]
            assert get_state(simulator) == before

    run(scene())


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_change_of_a_foreign_page_is_refused_even_with_the_header(
    run: Run, method: str, path: str, body: object, foreign: Mapping[str, str]
) -> None:
    async def scene() -> None:
        async with make_stepped_simulator() as simulator:
            before = get_state(simulator)
            status, _ = await send(simulator.url, method, path, {**CONTROL, **foreign}, body)
            assert status == 403
            assert get_state(simulator) == before

    run(scene())


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/simulator/clock"),
        ("GET", "/simulator/account"),
        ("GET", "/simulator/ledger/fills"),
        ("GET", "/api/v3/time"),
        ("POST", "/api/v3/order"),
        ("GET", "/no/such/path"),
        ("OPTIONS", "/simulator/clock"),
    ],
)
def test_a_foreign_page_reads_nothing_and_reaches_no_exchange_endpoint(
    run: Run, method: str, path: str, foreign: Mapping[str, str]
) -> None:
    async def scene() -> None:
        async with make_stepped_simulator() as simulator:
            assert (await send(simulator.url, method, path, foreign))[0] == 403

    run(scene())


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("path", ["/stream?streams=btcusdt@trade", "/ws", "/ws-api/v3"])
def test_a_foreign_page_opens_no_websocket(run: Run, path: str, foreign: Mapping[str, str]) -> None:
    async def scene() -> None:
        async with make_stepped_simulator() as simulator, aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(simulator.url + path, headers=dict(foreign))
            assert refused.value.status == 403

    run(scene())


def test_a_foreign_request_uses_up_no_fault_and_no_weight(run: Run) -> None:
    async def scene() -> None:
        async with Simulator(limits=True) as simulator:
            simulator.faults.add(kind="status", status=503, path="/api/v3/time", count=1)
            url = simulator.url
            for _ in range(3):
                assert (await send(url, "GET", "/api/v3/time", FOREIGN[0]))[0] == 403
            assert (await send(url, "GET", "/api/v3/time", {}))[0] == 503
            assert (await send(url, "GET", "/api/v3/time", {}))[0] == 200

    run(scene())


def test_a_page_of_the_simulator_itself_may_send_requests(run: Run) -> None:
    async def scene() -> None:
        async with make_stepped_simulator() as simulator:
            own = {"Origin": simulator.url, **CONTROL}
            body = {"asset": "BTC", "amount": "1"}
            assert (await send(simulator.url, "POST", "/simulator/account/deposit", own, body))[
                0
            ] == 200

    run(scene())


@pytest.mark.parametrize(
    ("host", "status"), [("simulator:8790", 200), ("10.0.0.7", 200), ("evil.example:8790", 403)]
)
def test_a_simulator_for_other_machines_is_reached_by_address_or_name_without_a_dot(
    run: Run, host: str, status: int
) -> None:
    async def scene() -> None:
        async with Simulator(host="0.0.0.0", allow_remote=True) as simulator:  # noqa: S104 - on purpose
            url = simulator.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
            assert (await send(url, "GET", "/simulator/clock", {"Host": host}))[0] == status

    run(scene())


@pytest.mark.parametrize("foreign", FOREIGN)
def test_the_player_of_recordings_refuses_foreign_pages(
    run: Run, foreign: Mapping[str, str]
) -> None:
    async def scene() -> None:
        async with Player(Recordings((), ())) as player:
            assert (await send(player.url, "GET", "/x", foreign))[0] == 403
            assert player.requests == []
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with aiohttp.ClientSession() as session:
                    await session.ws_connect(f"{player.url}/ws", headers=dict(foreign))

    run(scene())
