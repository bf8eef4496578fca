"""WebSocketManager on a server with faults: it never hangs and never emits a wrong row."""

import asyncio
import contextlib
import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import pytest

from busy_loop import BusyLoop
from onetape.core.candles import Candle
from onetape.core.clock import SystemClock
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost, StreamQuiet
from onetape.websocket.feeds import CandleFeed
from onetape.websocket.websocket import WebSocketManager

MARCH = 1_709_251_200
HOUR = 3_600

Run = Callable[[Any], Any]
Kline = Callable[..., dict[str, Any]]
Ticker = Callable[[float], dict[str, Any]]
Watching = Callable[..., AbstractAsyncContextManager[Any]]
#: A scene with limits of tenths of a second is played again, so many times as slowly, where a
#: machine that stands still may have been late.
PACES = (1, 5, 25)
MisbehavingServer = Callable[[], AbstractAsyncContextManager[Any]]

MALFORMED = {
    "truncated JSON": '{"e": "kline", "k": {"t": 17',
    "a literal NaN": '{"e": "kline", "k": {"t": NaN}}',
    "k missing": {"e": "kline", "E": 1, "s": "BTCUSDT"},
    "k a list": {"e": "kline", "E": 1, "s": "BTCUSDT", "k": [1, 2]},
    "an unknown interval": {"e": "kline", "s": "BTCUSDT", "k": {"t": 1, "s": "BTCUSDT", "i": "7x"}},
    "deep nesting": "[" * 100_000,
    "a ticker without a symbol": {"e": "24hrTicker", "E": 1},
}
#: CCXT ignores these, and so do we: what follows on the same socket arrives.
IGNORED = {
    "text": "hello",
    "null": "null",
    "a number": "17",
    "nothing": "",
    "an array": '[{"e": "kline"}]',
    "an unknown symbol": {"e": "kline", "k": {"t": 1, "s": "NOPEUSDT", "i": "1h"}},
    "an unknown event": {"e": "dance", "s": "BTCUSDT"},
}


def close_of(timestamp: int, close: float) -> Callable[[list[StreamEvent]], bool]:
    return lambda events: any(
        row.timestamp == timestamp and row.close == close
        for event in events
        if isinstance(event, CandleUpdate)
        for row in event.rows
    )


def list_lost(events: list[StreamEvent]) -> list[StreamLost]:
    return [event for event in events if isinstance(event, StreamLost)]


def has_lost_times(count: int) -> Callable[[list[StreamEvent]], bool]:
    return lambda events: len(list_lost(events)) >= count


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_frame_loses_the_stream_and_it_recovers(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline, what: str
) -> None:
    async def scene(busy_loop: BusyLoop) -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send(kline(0, 101))
            await stream.until(close_of(MARCH, 101))
            busy_loop.begin()
            await server.send(MALFORMED[what])
            await stream.until(list_lost)
            await server.wait_for_socket(2)
            await server.send(kline(0, 102))
            await stream.until(close_of(MARCH, 102))
            assert busy_loop.seconds < 10
            assert stream.candle_updates[-1].connection == 2
            assert "bad frame" in list_lost(stream.events)[0].reason

    with BusyLoop() as busy_loop:
        run(scene(busy_loop))


@pytest.mark.parametrize("what", IGNORED)
def test_a_frame_without_data_is_skipped(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline, what: str
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send(IGNORED[what], kline(0, 101))
            await stream.until(close_of(MARCH, 101))
            assert list_lost(stream.events) == []

    run(scene())


def test_out_of_order_frames_are_all_emitted_by_timestamp(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            for hour in (1, 2, 5, 3):
                await server.send(kline(hour, 100 + hour))
                await stream.until(close_of(MARCH + hour * HOUR, 100 + hour))
            count = len(stream.candle_updates)
            await server.send(kline(1, 111))
            await stream.until(close_of(MARCH + HOUR, 111))
            rows = stream.candle_updates[count].rows
            assert rows == (Candle(MARCH + HOUR, 100, 200, 50, 111, 7),)

    run(scene())


def test_frames_of_one_burst_are_emitted_together_in_order(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send(kline(2, 102), kline(4, 104), kline(3, 103), kline(4, 114))
            await stream.until(close_of(MARCH + 4 * HOUR, 114))
            await stream.until(close_of(MARCH + 3 * HOUR, 103))
            for update in stream.candle_updates:
                assert list(update.rows) == sorted(update.rows)

    run(scene())


def test_a_value_that_is_not_a_number_is_emitted_once_and_not_with_every_frame(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send(kline(0, None), kline(1, 101))
            await stream.until(close_of(MARCH + HOUR, 101))
            for close in (102, 103, 104):
                await server.send(kline(1, close))
                await stream.until(close_of(MARCH + HOUR, close))
            rows = [row for update in stream.candle_updates for row in update.rows]
            assert sum(row.timestamp == MARCH for row in rows) == 1

    run(scene())


def test_a_socket_with_pongs_and_no_data_is_disconnected_by_the_idle_timer(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with (
            run_faulty_server() as server,
            watching(server.url, stale_after_seconds=1.0) as stream,
        ):
            await server.send_until(lambda: close_of(MARCH, 101)(stream.events), kline(0, 101))
            cut, before = len(server.sockets), stream.candle_updates[-1].connection
            await stream.until(has_lost_times(cut))
            assert list_lost(stream.events)[-1].reason.startswith("no message for")
            await server.wait_for_socket(cut + 1)
            await server.send_until(lambda: close_of(MARCH, 102)(stream.events), kline(0, 102))
            assert stream.candle_updates[-1].connection > before

    run(scene())


def test_a_half_open_socket_is_disconnected_by_the_idle_timer_without_waiting_for_its_close(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching
) -> None:
    async def scene(busy_loop: BusyLoop) -> None:
        async with run_faulty_server() as server:
            server.mute = True
            clock = server.simulator.clock
            async with watching(server.url, stale_after_seconds=0.2, clock=clock) as stream:
                while len(server.sockets) < 2:
                    # The market goes on, as REST shows.
                    await server.simulator.advance_to_ms(clock.now_ms() + 60_000)
                    await asyncio.sleep(0.05)
                assert list_lost(stream.events)
                busy_loop.begin()
            # A close that waits for the other side takes ten seconds.
            assert busy_loop.seconds < 5
            assert [task for task in asyncio.all_tasks() if "/ccxt/" in repr(task)] == []

    with BusyLoop() as busy_loop:
        run(scene(busy_loop))


def test_closing_that_is_cancelled_again_and_again_leaves_nothing_open(
    run: Run, run_faulty_server: MisbehavingServer
) -> None:
    async def use(exchange: RestExchange) -> None:
        async with (
            WebSocketManager(exchange, ["BTC/USDT"], stale_after_seconds=30) as streams,
            aclosing(streams.events("BTC/USDT", "1h")) as events,
        ):
            async for _ in events:
                pass

    async def scene() -> None:
        async with run_faulty_server() as server:
            # Its socket does not respond to the close, which therefore takes a moment.
            server.mute = True
            endpoint = Endpoint("simulator", server.url)
            exchange = await asyncio.to_thread(RestExchange, endpoint)
            exchange.clock = SystemClock()
            async with exchange:
                task = asyncio.create_task(use(exchange))
                await server.wait_for_socket()
                while not task.done():
                    task.cancel()
                    await asyncio.sleep(0.02)
                assert task.cancelled()
            gc.collect()

    run(scene())


def test_streams_with_an_unchanged_price_are_not_disconnected(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline, ticker: Ticker
) -> None:
    async def scene(pace: int) -> list[StreamLost]:
        limit = 0.2 * pace
        async with (
            run_faulty_server() as server,
            watching(server.url, stale_after_seconds=limit) as stream,
        ):
            await server.wait_for_socket()
            # A socket that was cut takes no frame.
            with contextlib.suppress(ConnectionResetError):
                for close in range(100, 108):
                    await server.send(kline(0, close), ticker(close))
                    await asyncio.sleep(0.3 * limit)
            return list_lost(stream.events)

    assert any(run(scene(pace)) == [] for pace in PACES)


@pytest.mark.parametrize(
    "prices",
    [(101,), (101, 102, 101), (105,)],
    ids=["the same price", "there and back", "a price of another kind"],
)
def test_candles_of_a_market_without_trades_may_pause_for_long(
    run: Run,
    run_faulty_server: MisbehavingServer,
    watching: Watching,
    kline: Kline,
    ticker: Ticker,
    prices: tuple[int, ...],
) -> None:
    async def scene(pace: int) -> list[StreamLost]:
        limit = 0.2 * pace
        async with (
            run_faulty_server() as server,
            watching(server.url, stale_after_seconds=limit) as stream,
        ):
            await server.wait_for_socket()
            with contextlib.suppress(ConnectionResetError):
                await server.send(kline(0, 101))
                for price in (*prices, *[prices[-1]] * 8):
                    await server.send(ticker(price))
                    # CCXT may leave out a ticker that another one follows.
                    await asyncio.sleep(0.3 * limit)
            return list_lost(stream.events)

    assert any(run(scene(pace)) == [] for pace in PACES)


def test_a_dead_stream_is_noticed_while_another_one_sends(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline, ticker: Ticker
) -> None:
    async def sent(
        server: Any, stream: Any, frame: Callable[[float], dict[str, Any]], pause_seconds: float
    ) -> list[StreamLost]:
        price = 100
        while not list_lost(stream.events):
            price += 1
            # The idle timer may have just cut the socket.
            with contextlib.suppress(ConnectionResetError):
                await server.send(frame(price))
            await asyncio.sleep(pause_seconds)
        return list_lost(stream.events)

    def candle(price: float) -> dict[str, Any]:
        return kline(0, price)

    async def scene(frame: Callable[[float], dict[str, Any]], pace: int) -> str:
        async with (
            run_faulty_server() as server,
            watching(server.url, stale_after_seconds=0.3 * pace) as stream,
        ):
            await server.wait_for_socket()
            with contextlib.suppress(ConnectionResetError):
                await server.send(kline(0, 100), ticker(100))
            found = await sent(server, stream, frame, 0.03 * pace)
            await server.wait_for_socket(2)
            return found[0].reason

    for dead, frame in (("candle", ticker), ("ticker", candle)):
        reason = f"no {dead} while the price moved for"
        assert any(reason in run(scene(frame, pace)) for pace in PACES)


def test_the_idle_timer_does_not_interrupt_a_dial(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene(pace: int) -> tuple[bool, int]:
        async with run_faulty_server() as server:
            server.dial_status = 503
            async with watching(server.url, stale_after_seconds=0.1 * pace) as stream:
                await stream.until(has_lost_times(6))
                assert server.dials <= 6
                assert not is_cut(stream.events)
                server.dial_status = None
                await server.send_until(lambda: close_of(MARCH, 101)(stream.events), kline(0, 101))
                return is_cut(stream.events), len(server.sockets)

    def is_cut(events: list[StreamEvent]) -> bool:
        return any("no message" in event.reason for event in list_lost(events))

    assert any(run(scene(pace)) == (False, 1) for pace in PACES)


def compute_long_pause(seconds: float, attempts: int, *, is_shared: bool) -> float:
    """Return the pause before a dial: an hour after the first one that failed."""
    del is_shared
    return 3_600.0 if attempts else seconds


async def next_dial_waits(stream: Any) -> None:
    """Wait until the pause before the next dial has begun."""
    while not stream.manager._client.dial_waits:  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("has_retry_after", [False, True], ids=["refused", "with a Retry-After"])
def test_a_pause_before_a_dial_ends_at_once_but_not_one_of_a_retry_after(
    run: Run,
    run_faulty_server: MisbehavingServer,
    watching: Watching,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_retry_after: bool,
) -> None:
    monkeypatch.setattr("onetape.websocket.client._compute_dial_pause", compute_long_pause)

    async def scene() -> None:
        async with run_faulty_server() as server:
            server.dial_status = 403
            server.dial_headers = {"Retry-After": "3600"} if has_retry_after else {}
            async with watching(server.url) as stream:
                await stream.until(list_lost)
                server.dial_status = None
                await next_dial_waits(stream)
                await asyncio.sleep(0.5)
                assert server.dials == 1
                stream.manager.dial_now()
                if has_retry_after:
                    await asyncio.sleep(0.5)
                    assert server.dials == 1
                    return
                await server.wait_for_socket()
                assert server.dials == 2

    run(scene())


def test_a_close_by_the_server_is_reported_with_its_code(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.sockets[-1].close(code=1012)
            await stream.until(list_lost)
            assert "1012" in list_lost(stream.events)[0].reason
            await server.wait_for_socket(2)

    run(scene())


def test_an_error_of_the_server_loses_the_stream_once_and_the_stream_recovers(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send({"error": {"code": 503, "msg": "busy"}, "id": None})
            await stream.until(list_lost)
            await server.send_until(lambda: close_of(MARCH, 101)(stream.events), kline(0, 101))
            # Once for each of the two streams.
            assert len(list_lost(stream.events)) <= 2

    run(scene())


def test_a_frame_over_ten_megabytes_loses_the_stream(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send("x" * 11_000_000)
            await stream.until(list_lost)
            await server.wait_for_socket(2)

    run(scene())


@pytest.mark.parametrize("guarded", [True, False])
def test_a_quiet_market_is_not_dialled_again(
    run: Run,
    run_faulty_server: MisbehavingServer,
    watching: Watching,
    monkeypatch: pytest.MonkeyPatch,
    *,
    guarded: bool,
) -> None:
    async def always_behind(self: CandleFeed, rest: RestExchange) -> bool:
        del self, rest
        return True

    if not guarded:
        monkeypatch.setattr(CandleFeed, "compare_with_rest", always_behind)

    async def scene() -> bool:
        async with run_faulty_server() as server:
            clock = server.simulator.clock
            async with watching(server.url, stale_after_seconds=0.2, clock=clock) as stream:
                await server.wait_for_socket()
                await stream.until(is_quiet_twice if guarded else list_lost)
                # REST stands in for the stream, which has carried nothing since its start.
                assert not guarded or stream.candle_updates[0].rows[-1].timestamp == MARCH
                assert not guarded or server.dials == 1
                return bool(list_lost(stream.events))

    assert run(scene()) is not guarded


def test_a_connection_without_frames_stays_while_rest_does_not_respond_row_31(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server:
            clock = server.simulator.clock
            async with watching(server.url, stale_after_seconds=0.2, clock=clock) as stream:
                await server.wait_for_socket()
                server.rest_status = 403
                await server.send(kline(0, 101))
                await stream.until(close_of(MARCH, 101))
                await stream.until(is_unconfirmed_twice_or_lost)
                assert list_lost(stream.events) == []
                assert server.dials == 1
                # REST has another price than the stream: only its response ends the connection.
                server.rest_status = None
                await stream.until(list_lost)
                await server.wait_for_socket(2)

    run(scene())


def is_unconfirmed_twice_or_lost(events: list[StreamEvent]) -> bool:
    quiet = [event for event in events if isinstance(event, StreamQuiet)]
    return sum(not event.is_confirmed for event in quiet) >= 2 or bool(list_lost(events))


def is_quiet_twice(events: list[StreamEvent]) -> bool:
    return sum(isinstance(event, StreamQuiet) for event in events) >= 2


def test_connections_that_end_after_a_frame_are_dialled_more_and_more_rarely(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url):
            for number in range(1, 5):
                await server.wait_for_socket(number)
                await server.send(kline(0, 100 + number))
                await server.sockets[-1].close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    for number in range(5, 100):
                        await server.wait_for_socket(number)
                        await server.send(kline(0, 100 + number))
                        await server.sockets[-1].close()
            # Pauses of 0.16 s, then twice as long each time; of 0.02 s each it would be dozens.
            assert len(server.sockets) <= 9

    run(scene())
