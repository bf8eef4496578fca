"""Failure mode 23: candles of a stream that come out of order keep their own times."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from onetape.core.candles import Candle
from onetape.exchange.responses import parse_candle
from onetape.websocket.events import CandleUpdate, StreamEvent
from onetape.websocket.feeds import CandleFeed

MARCH = 1_709_251_200
HOUR = 3_600
SEED = 23

Run = Callable[[Any], Any]
Kline = Callable[..., dict[str, Any]]
Watching = Callable[..., AbstractAsyncContextManager[Any]]
MisbehavingServer = Callable[[], AbstractAsyncContextManager[Any]]


async def read_without_guard(self: CandleFeed) -> CandleUpdate:
    """Read without the guard: take the rows that CCXT returns for the changed ones."""
    client: Any = self._client  # pyright: ignore[reportPrivateUsage] - its place is taken here
    rows = await client.watch_ohlcv("BTC/USDT", "1h")
    return CandleUpdate(tuple(parse_candle(row) for row in rows), client.connections)


def iterate_frames() -> list[tuple[int, float]]:
    """Return hours and closes: 2, 5, 3, an update of 1, and then whatever the seed gives."""
    chosen = random.Random(SEED)  # noqa: S311 - the same frames every time
    hours = [1, 2, 5, 3, 1, *(chosen.randint(1, 8) for _ in range(30))]
    return [(hour, 101.0 + number) for number, hour in enumerate(hours)]


@pytest.mark.parametrize("guarded", [True, False])
def test_row_23_candles_out_of_order_are_all_reported_by_timestamp(
    run: Run,
    run_faulty_server: MisbehavingServer,
    watching: Watching,
    kline: Kline,
    monkeypatch: pytest.MonkeyPatch,
    *,
    guarded: bool,
) -> None:
    if not guarded:
        monkeypatch.setattr(CandleFeed, "read", read_without_guard)

    async def scene() -> dict[int, Candle]:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            for place, (hour, close) in enumerate(iterate_frames(), start=1):
                await server.send(kline(hour, close))
                if guarded:
                    await stream.until(has_shown(MARCH + hour * HOUR, close))
                else:
                    await stream.until(has_updates(place))
            return {row.timestamp: row for each in stream.candle_updates for row in each.rows}

    last_rows = run(scene())
    sent_last = {MARCH + hour * HOUR: close for hour, close in iterate_frames()}
    is_true = {time: row.close for time, row in last_rows.items()} == sent_last
    assert is_true is guarded


def has_shown(timestamp: int, close: float) -> Callable[[list[StreamEvent]], bool]:
    return lambda events: any(
        (row.timestamp, row.close) == (timestamp, close)
        for event in events
        if isinstance(event, CandleUpdate)
        for row in event.rows
    )


def has_updates(times: int) -> Callable[[list[StreamEvent]], bool]:
    return lambda events: sum(isinstance(event, CandleUpdate) for event in events) >= times


def test_rows_from_before_a_subscription_are_marked_as_cached(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> list[tuple[float, bool]]:
        async with run_faulty_server() as server, watching(server.url) as first:
            await server.wait_for_socket()
            await server.send(kline(1, 101.0))
            await first.until(has_shown(MARCH + HOUR, 101.0))
            second = type(first)(first.manager, "BTC/USDT", "1h")
            await second.until(has_shown(MARCH + HOUR, 101.0))
            await server.send(kline(1, 102.0))
            await second.until(has_shown(MARCH + HOUR, 102.0))
            await second.stop()
            return [(update.rows[-1].close, update.is_cached) for update in second.candle_updates]

    assert run(scene()) == [(101.0, True), (102.0, False)]
