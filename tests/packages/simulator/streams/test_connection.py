"""A WebSocket connection: commands and replies, pings, stalled readers."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.simulator.server.simulator import Simulator
from raw_sockets import open_socket, read_frames

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
HOUR_MS = 3_600_000
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


def test_commands_get_the_responses_of_binance(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0)) as simulator,
            open_socket(simulator, "/stream/ws/0") as opened,
        ):

            async def ask(command: Any) -> Any:
                text = command if isinstance(command, str) else json.dumps(command)
                await opened.send_str(text)
                while True:
                    (reply,) = await read_frames(opened, 1)
                    if "e" not in reply:
                        return reply

            name = "btcusdt@kline_1m"
            assert await ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}) == {
                "result": [],
                "id": 1,
            }
            subscribe = {"method": "SUBSCRIBE", "params": [name], "id": 2}
            assert await ask(subscribe) == {"result": None, "id": 2}
            listed = await ask({"method": "LIST_SUBSCRIPTIONS", "id": 3})
            assert listed["result"] == [name]
            gone = await ask({"method": "UNSUBSCRIBE", "params": [name], "id": 4})
            assert gone == {"result": None, "id": 4}
            bad = {"method": "SUBSCRIBE", "params": ["btcusdt nope"], "id": 5}
            assert await ask(bad) == {
                "error": {"code": 2, "msg": "Invalid request: invalid stream"},
                "id": 5,
            }
            for text, code in (
                ("{", 3),
                ("[]", 2),
                ("[" * 100_000, 3),
                ('{"method": "DANCE", "id": 1}', 2),
                ('{"method": "SUBSCRIBE", "params": "x", "id": 1}', 2),
                ('{"method": "SUBSCRIBE", "params": [1], "id": 1}', 2),
                ('{"method": "LIST_SUBSCRIPTIONS", "id": [1]}', 2),
                ('{"method": "SET_PROPERTY", "params": ["a", 1], "id": 1}', 0),
            ):
                assert (await ask(text))["error"]["code"] == code
            combined = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 6}
            assert await ask(combined) == {"result": None, "id": 6}
            assert (await ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 7}))[
                "result"
            ] is True

    run(scene())  # fmt: skip


@pytest.mark.parametrize("name", ["btcusdt@depth5", "btcusdt@avgPrice", "!miniTicker@arr"])
def test_a_stream_that_is_not_served_is_ignored_and_the_others_are_served(
    run: Run, stepped: Stepped, name: str
) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0)) as simulator,
            open_socket(simulator, f"/stream?streams={name}/btcusdt@kline_1m") as opened,
        ):
            await opened.send_str('{"method": "LIST_SUBSCRIPTIONS", "id": 1}')
            found = [reply for reply in await read_frames(opened, 2) if "result" in reply]
            assert found == [{"result": [name, "btcusdt@kline_1m"], "id": 1}]

    run(scene())


def test_an_invalid_stream_in_the_address_is_a_bad_request(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator:
            with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
                async with open_socket(simulator, "/ws/btcusdt nope"):
                    pass
        assert failure.value.status == 400

    run(scene())


def test_a_stalled_reader_is_disconnected_and_delays_no_other(
    run: Run, stepped: Stepped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.simulator.streams.sockets.SEND_SECONDS", 0.3)

    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator:
            host, port = simulator.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
            writer.write(
                b"GET /ws/btcusdt@trade/btcusdt@aggTrade/ethusdt@trade/ethusdt@aggTrade"
                b"/solusdt@trade/solusdt@aggTrade/xrpusdt@trade/xrpusdt@aggTrade HTTP/1.1\r\n"
                b"Host: x\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            async with open_socket(simulator, "/ws/btcusdt@kline_1h") as healthy:
                await read_frames(healthy, 1)
                # Far more than the buffers of a socket hold; it is never read.
                step = asyncio.ensure_future(simulator.advance_to_ms(MARCH_MS + 24 * HOUR_MS))
                events = await read_frames(healthy, 25)
                await step
                assert [event["k"]["x"] for event in events] == [True] * 24 + [False]
            assert await simulator.disconnect() == 0
            writer.close()

    run(scene())


def test_the_server_pings_and_disconnects_a_socket_that_never_responds(
    run: Run, stepped: Stepped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.simulator.streams.sockets.PING_SECONDS", 0.05)
    monkeypatch.setattr("onetape.simulator.streams.sockets.PONG_TIMEOUT_SECONDS", 0.2)

    async def scene() -> Any:
        async with (
            Simulator(clock=stepped(0)) as simulator,
            open_socket(simulator, "/ws", autoping=False) as opened,
        ):
            ping = await opened.receive(timeout=60)
            end = ping
            while end.type is aiohttp.WSMsgType.PING:
                end = await opened.receive(timeout=60)
            return ping, end

    ping, end = run(scene())
    assert ping.type is aiohttp.WSMsgType.PING
    assert end.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
