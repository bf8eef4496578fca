"""Each fault of a socket, as the unchanged CCXT Pro class meets it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import ccxt
import pytest

from onetape.simulator.faults.kinds import FRAME_SHAPES
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
#: CCXT gives a socket up after three of these without a response, milliseconds.
KEEP_ALIVE_MS = 200
#: So many may miss where each must get a response: a machine that stands still is no dead socket.
MISSES = 10

#: What ends a socket between two calls raises nothing (failure mode 29), so it comes until a call
#: meets it.
#: Never used up: after a standstill the stream brings a candle for each tenth of a second of it.
OFTEN = 1_000_000_000


def make_fast_clock() -> Any:
    """Return a clock on which a minute takes a tenth of a second, so that frames come quickly."""
    return make_clock(start_ms=MARCH_MS, speed=600)


async def watch_until_error(client: Any) -> Exception:
    """Watch candles until CCXT raises and return the error; `run` bounds the wait."""
    errors: list[object] = []
    loop = asyncio.get_running_loop()
    # A dead receive loop is reported to this handler only.
    loop.set_exception_handler(lambda _, context: errors.append(context))
    while True:
        try:
            await client.watch_ohlcv("BTC/USDT", "1m")
        except ccxt.BaseError as error:
            return error


async def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that CCXT does not report; `run` bounds the wait."""
    while not holds():  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0.01)


async def run_for_each(
    scene: Callable[[str], Coroutine[Any, Any, Any]], names: Iterable[str]
) -> dict[str, Any]:
    """Run a scene for all names at once, because each mostly waits."""
    requested = list(names)
    return dict(zip(requested, await asyncio.gather(*map(scene, requested)), strict=True))


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1012, 4000])
def test_row_28_a_close_is_a_network_error_at_once(run: Run, faulty: Opened, code: int) -> None:
    fault = Fault("ws_close", stream="btcusdt@kline_1m", code=code, nth=3, count=OFTEN)

    async def scene() -> Any:
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (simulator, client):
            error = await watch_until_error(client)
            simulator.faults.clear()
            return error, await client.watch_ohlcv("BTC/USDT", "1m")

    error, rows = run(scene())
    assert type(error) is ccxt.NetworkError
    assert f"closing code {code}" in str(error)
    assert rows, "the next call dials and subscribes by itself"


def test_row_28_an_abort_is_a_network_error_at_once(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("ws_abort", nth=3, count=OFTEN)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (simulator, client):
            error = await watch_until_error(client)
            simulator.faults.clear()
            return error, await client.watch_ohlcv("BTC/USDT", "1m")

    error, rows = run(scene())
    assert isinstance(error, ccxt.NetworkError)
    assert rows


def test_row_29_a_close_between_two_calls_raises_nothing(run: Run, faulty: Opened) -> None:
    async def scene() -> None:
        async with faulty([], pro=True, clock=make_fast_clock()) as (simulator, client):
            await client.watch_ohlcv("BTC/USDT", "1m")
            fired = asyncio.Event()
            simulator.faults.listener = lambda _: fired.set()
            simulator.faults.add(kind="ws_close", count=1)
            await fired.wait()
            await wait_until(lambda: not client.clients)
            assert await client.watch_ohlcv("BTC/USDT", "1m")

    run(scene())


def test_row_30_candles_that_close_while_the_socket_is_away_never_come(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> tuple[int, int]:
        fault = Fault("ws_close", nth=3)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (simulator, client):
            rows: list[list[int]] = []
            # The end raises only where it meets a call.
            with suppress(ccxt.NetworkError):
                while not simulator.faults.log:
                    rows = await client.watch_ohlcv("BTC/USDT", "1m")
            await wait_until(lambda: not client.clients)
            back_ms = simulator.faults.log[0].market_ms + 180_000
            await wait_until(lambda: simulator.clock.now_ms() >= back_ms)
            before_ms = rows[-1][0]
            rows = await client.watch_ohlcv("BTC/USDT", "1m")
            return before_ms, rows[0][0]

    before_ms, after_ms = run(scene())
    assert after_ms - before_ms > 60_000


def test_row_31_a_socket_with_pongs_and_no_data_never_raises(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("ws_silence", nth=3, count=1_000_000)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (simulator, client):
            client.streaming |= {"keepAlive": KEEP_ALIVE_MS, "maxPingPongMisses": MISSES}
            watching = asyncio.create_task(watch_until_error(client))
            await wait_until(lambda: bool(simulator.faults.log))
            (socket,) = client.clients.values()
            longer_ms = client.milliseconds() + KEEP_ALIVE_MS * (MISSES + 1)
            await wait_until(lambda: watching.done() or (socket.lastPong or 0) > longer_ms)
            raised = watching.done()
            watching.cancel()
            return raised, [fired.kind for fired in simulator.faults.log]

    assert run(scene()) == (False, ["ws_silence"])


def test_row_32_a_half_open_socket_is_found_after_three_pings(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("ws_half_open", nth=3)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            client.streaming["keepAlive"] = KEEP_ALIVE_MS
            return await watch_until_error(client)

    error = run(scene())
    assert type(error) is ccxt.RequestTimeout
    assert "ping-pong keepalive missing" in str(error)


def test_an_invalid_frame_ends_the_receive_loop_without_an_error(run: Run, faulty: Opened) -> None:
    async def scene(shape: str) -> Any:
        fault = Fault("ws_garbage", shape=shape, nth=3)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            client.streaming["keepAlive"] = KEEP_ALIVE_MS
            return type(await watch_until_error(client))

    deadly = FRAME_SHAPES[: FRAME_SHAPES.index("deep") + 1]
    assert run(run_for_each(scene, deadly)) == dict.fromkeys(deadly, ccxt.RequestTimeout)


def test_a_frame_without_content_is_ignored(run: Run, faulty: Opened) -> None:
    async def scene(shape: str) -> Any:
        fault = Fault("ws_garbage", shape=shape, nth=3)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (simulator, client):
            while not simulator.faults.log:
                await client.watch_ohlcv("BTC/USDT", "1m")
            later_ms = simulator.faults.log[0].market_ms + 120_000
            while (await client.watch_ohlcv("BTC/USDT", "1m"))[-1][0] < later_ms:
                pass
            return len(simulator.faults.log)

    harmless = ("text", "null", "number", "empty", "unknown_symbol", "unknown_event")
    assert run(run_for_each(scene, harmless)) == dict.fromkeys(harmless, 1)


def test_a_frame_that_is_not_utf8_is_a_network_error(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("ws_garbage", shape="invalid_utf8", nth=3, count=OFTEN)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            return await watch_until_error(client)

    error = run(scene())
    assert type(error) is ccxt.NetworkError
    assert "1007" in str(error)


def test_an_error_payload_is_raised_at_once(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("ws_garbage", shape="error", nth=3, count=OFTEN)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            return await watch_until_error(client)

    assert isinstance(run(scene()), ccxt.ExchangeError)


def test_row_34_a_frame_of_eleven_megabytes_is_a_network_error(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("ws_big_frame", nth=3, count=OFTEN)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            return await watch_until_error(client)

    error = run(scene())
    assert type(error) is ccxt.NetworkError
    assert "1009" in str(error)


def test_row_34_after_a_flood_the_newest_candle_is_right(run: Run, faulty: Opened) -> None:
    async def scene() -> None:
        fault = Fault("ws_flood", nth=3, per_second=10_000, seconds=0.5)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (simulator, client):
            while not simulator.faults.log:
                await client.watch_ohlcv("BTC/USDT", "1m")
            # Half a second of flood is five minutes of the market.
            ends_ms = simulator.faults.log[0].market_ms + 300_000
            newest_ms = 0
            while newest_ms < max(ends_ms, simulator.clock.now_ms() - 120_000):
                newest_ms = (await client.watch_ohlcv("BTC/USDT", "1m"))[-1][0]

    run(scene())


REFUSALS = {
    "403": Fault("ws_refuse", status=403),
    "418": Fault("ws_refuse", status=418),
    "429": Fault("ws_refuse", status=429, headers={"Retry-After": "1"}),
    "503": Fault("ws_refuse", status=503),
    "a page": Fault("ws_refuse", shape="page"),
    "a reset": Fault("ws_refuse", shape="reset"),
    "no response": Fault("ws_refuse", shape="hang"),
}


def test_row_35_a_refused_handshake_is_a_network_error(run: Run, faulty: Opened) -> None:
    async def scene(name: str) -> Any:
        async with faulty([REFUSALS[name]], pro=True, clock=make_fast_clock()) as (_, client):
            if name == "no response":
                client.streaming["connectionTimeout"] = 1_000
            return type(await watch_until_error(client))

    expected = dict.fromkeys(REFUSALS, ccxt.NetworkError) | {"no response": ccxt.RequestTimeout}
    assert run(run_for_each(scene, REFUSALS)) == expected


def test_row_35_ccxt_waits_as_long_as_a_refused_handshake_states(run: Run, faulty: Opened) -> None:
    async def scene() -> float:
        fault = Fault("ws_refuse", status=429, headers={"Retry-After": "1"}, count=1)
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert isinstance(await watch_until_error(client), ccxt.NetworkError)
            await client.watch_ohlcv("BTC/USDT", "1m")
            return loop.time() - began

    assert run(scene()) >= 0.9


def test_row_36_data_arrives_without_an_acknowledgement(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        async with faulty([Fault("ws_no_ack")], pro=True, clock=make_fast_clock()) as (
            simulator,
            client,
        ):
            for _ in range(3):
                assert await client.watch_ohlcv("BTC/USDT", "1m")
            return [fired.kind for fired in simulator.faults.log]

    assert run(scene()) == ["ws_no_ack"]


def test_row_36_a_rejected_subscription_is_an_exchange_error(run: Run, faulty: Opened) -> None:
    fault = Fault("ws_reject", symbol="BTC/USDT", text="Invalid request: unknown stream")

    async def scene() -> Any:
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            return await watch_until_error(client)

    error = run(scene())
    assert isinstance(error, ccxt.ExchangeError)


def test_row_10_maintenance_cuts_and_refuses_sockets(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        async with faulty([], pro=True, clock=make_fast_clock()) as (simulator, client):
            await client.watch_ohlcv("BTC/USDT", "1m")
            simulator.faults.add(kind="maintenance")
            error = await watch_until_error(client)
            with pytest.raises(ccxt.ExchangeNotAvailable):
                await client.fetch_ohlcv("BTC/USDT", "1m")
            with pytest.raises(ccxt.NetworkError):
                await client.watch_ohlcv("BTC/USDT", "1m")
            simulator.faults.clear()
            return error, await client.watch_ohlcv("BTC/USDT", "1m")

    error, rows = run(scene())
    assert isinstance(error, ccxt.NetworkError)
    assert rows


@pytest.mark.parametrize(
    ("shape", "places"),
    [
        ("lost", [0, 2, 3, 4]),
        ("duplicated", [0, 1, 1, 2]),
        ("reordered", [0, 2, 1, 3]),
        ("delayed", [0, 2, 3, 4]),
    ],
)
def test_ccxt_returns_lost_duplicate_and_unordered_trades_unchanged(
    run: Run, faulty: Opened, shape: str, places: list[int]
) -> None:
    # One that is delayed comes long after the others.
    seconds = 50.0 if shape == "delayed" else None
    fault = Fault("events", shape=shape, stream="btcusdt@trade", nth=2, seconds=seconds)

    async def scene() -> list[int]:
        async with faulty([fault], pro=True, clock=make_fast_clock()) as (_, client):
            ids: list[int] = []
            while len(ids) < len(places):
                ids += [int(trade["id"]) for trade in await client.watch_trades("BTC/USDT")]
            return ids[: len(places)]

    ids = run(scene())
    assert [number - ids[0] for number in ids] == places
