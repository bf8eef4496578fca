"""WebSocketManager on the simulator: received events, and recovery from disconnects."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

import pytest

from busy_loop import BusyLoop
from onetape.core.candles import Candle
from onetape.core.errors import ExchangeRefused
from onetape.exchange.clients import Endpoint, redirect
from onetape.simulator.server.simulator import Simulator
from onetape.websocket.client import close_exchange_client, make_guarded_client
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost, TickerUpdate
from onetape.websocket.websocket import WebSocketManager

MARCH = 1_709_251_200
HOUR_MS = 3_600_000
MARCH_MS = MARCH * 1_000

Run = Callable[[Any], Any]
Stepped = Callable[[int], Simulator]
Watching = Callable[..., AbstractAsyncContextManager[Any]]
Manager = Callable[..., AbstractAsyncContextManager[WebSocketManager]]


def index_newest_rows(events: list[StreamEvent]) -> dict[int, Candle]:
    return {
        row.timestamp: row
        for event in events
        if isinstance(event, CandleUpdate)
        for row in event.rows
    }


def contains_row(timestamp: int) -> Callable[[list[StreamEvent]], Candle | None]:
    return lambda events: index_newest_rows(events).get(timestamp)


def find_different_row(row: Candle) -> Callable[[list[StreamEvent]], Candle | None]:
    def found(events: list[StreamEvent]) -> Candle | None:
        newest = index_newest_rows(events)[row.timestamp]
        return newest if newest != row else None

    return found


def list_lost(events: list[StreamEvent]) -> list[StreamLost]:
    return [event for event in events if isinstance(event, StreamLost)]


def list_tickers(events: list[StreamEvent]) -> list[TickerUpdate]:
    return [event for event in events if isinstance(event, TickerUpdate)]


def has_lost_six_times(events: list[StreamEvent]) -> bool:
    return len(list_lost(events)) >= 6


def get_simulator_candles(
    simulator: Simulator, start: int, count: int, timeframe: str = "1h"
) -> list[Candle]:
    seconds = {"1h": 3_600, "1m": 60}[timeframe]
    bars = simulator.market.get_candles("BTC/USDT", timeframe, start, start + count * seconds)
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def test_the_forming_candle_changes_until_its_final_row_is_emitted(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene() -> None:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            first = await stream.until(contains_row(MARCH))
            await simulator.advance_to_ms(MARCH_MS + 1_800_000)
            second = await stream.until(find_different_row(first))
            await simulator.advance_to_ms(MARCH_MS + HOUR_MS + 1_000)
            await stream.until(contains_row(MARCH + 3_600))
            assert first.open == second.open
            assert second.volume > first.volume
            assert (
                index_newest_rows(stream.events)[MARCH]
                == get_simulator_candles(simulator, MARCH, 1)[0]
            )

    run(scene())


def test_the_final_row_of_every_closed_candle_is_emitted(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene() -> None:
        async with stepped(0) as simulator, watching(simulator.url) as stream:
            await stream.until(contains_row(MARCH))
            # Fewer than CCXT keeps, all in one burst.
            await simulator.advance_to_ms(MARCH_MS + 15 * HOUR_MS)
            await stream.until(contains_row(MARCH + 15 * 3_600))
            seen = index_newest_rows(stream.events)
            expected = get_simulator_candles(simulator, MARCH, 15)
            assert [seen[row.timestamp] for row in expected] == expected

    run(scene())


def test_more_candles_than_ccxt_keeps_count_as_a_break(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene() -> None:
        async with stepped(0) as simulator, watching(simulator.url) as stream:
            await stream.until(contains_row(MARCH))
            before = stream.candle_updates[-1].connection
            # The last frame of the candle known so far may be gone with it.
            await simulator.advance_to_ms(MARCH_MS + 45 * HOUR_MS)
            await stream.until(contains_row(MARCH + 45 * 3_600))
            numbers = [update.connection for update in stream.candle_updates]
            seen = index_newest_rows(stream.events)
            whole = all(
                seen.get(row.timestamp) == row
                for row in get_simulator_candles(simulator, MARCH, 45)
            )
            assert whole or max(numbers) > before

    run(scene())


def test_rows_are_copies_that_do_not_change_later(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene() -> None:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            first = await stream.until(contains_row(MARCH))
            kept = stream.candle_updates[0].rows
            await simulator.advance_to_ms(MARCH_MS + 3_000_000)
            await stream.until(find_different_row(first))
            assert kept == (first,)
            assert stream.candle_updates[0].rows is kept

    run(scene())


def test_an_update_holds_only_rows_that_changed(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene() -> None:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            await stream.until(contains_row(MARCH))
            for hour in range(1, 6):
                await simulator.advance_to_ms(MARCH_MS + hour * HOUR_MS + 60_000)
                await stream.until(contains_row(MARCH + hour * 3_600))
            rows = [row for update in stream.candle_updates for row in update.rows]
            assert len(rows) == len(set(rows))
            assert all(list(update.rows) == sorted(update.rows) for update in stream.candle_updates)

    run(scene())


def test_tickers_carry_bid_ask_and_last(run: Run, stepped: Stepped, watching: Watching) -> None:
    async def scene() -> None:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            ticker = (await stream.until(list_tickers))[0]
            assert ticker.timestamp_ms == MARCH_MS + 600_000
            assert ticker.bid < ticker.ask
            assert ticker.bid <= ticker.last <= ticker.ask

    run(scene())


def test_a_disconnect_is_reported_and_the_next_rows_have_a_new_connection(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene(busy_loop: BusyLoop) -> None:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            await stream.until(contains_row(MARCH))
            before = stream.candle_updates[-1].connection
            busy_loop.begin()
            await simulator.disconnect()
            await stream.until(list_lost)
            await simulator.advance_to_ms(MARCH_MS + HOUR_MS)
            await stream.until(contains_row(MARCH + 3_600))
            assert stream.candle_updates[-1].connection > before
            # Far from the half minute after which a silent socket is given up.
            assert busy_loop.seconds < 5

    with BusyLoop() as busy_loop:
        run(scene(busy_loop))


def test_a_server_that_refuses_for_a_while_is_dialled_rarely_and_reconnected(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene(refuse_seconds: float) -> int:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            await stream.until(contains_row(MARCH))
            await simulator.disconnect(refuse_seconds=refuse_seconds)
            await simulator.advance_to_ms(MARCH_MS + HOUR_MS)
            await stream.until(contains_row(MARCH + 3_600))
            return len(list_lost(stream.events))

    # A machine that stands still may not dial before the shorter times are over.
    losses = next(found for seconds in (0.7, 5.0, 20.0) if (found := run(scene(seconds))) > 1)
    assert losses <= 20


def test_the_stream_recovers_from_each_of_many_disconnects(
    run: Run, stepped: Stepped, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each connection was a good one: the pauses stay short.
    monkeypatch.setattr("onetape.websocket.redial_pause.STEADY_SECONDS", 0.0)

    async def scene() -> None:
        async with stepped(600_000) as simulator, watching(simulator.url) as stream:
            await stream.until(contains_row(MARCH))
            for hour in range(1, 21):
                await simulator.disconnect()
                await simulator.advance_to_ms(MARCH_MS + hour * HOUR_MS)
                await stream.until(contains_row(MARCH + hour * 3_600))
            numbers = [update.connection for update in stream.candle_updates]
            assert numbers == sorted(numbers)
            assert numbers[-1] >= 20
            assert len(asyncio.all_tasks()) < 40

    run(scene())


def test_an_unknown_symbol_is_refused(run: Run, stepped: Stepped, manager: Manager) -> None:
    async def scene() -> None:
        async with (
            stepped(0) as simulator,
            manager(simulator.url, ["NOPE/USDT"]) as opened,
            aclosing(opened.events("NOPE/USDT", "1h")) as events,
        ):
            async for _ in events:
                pass

    with pytest.raises(ExchangeRefused, match="NOPE/USDT"):
        run(scene())


def test_closing_leaves_no_task_socket_or_warning(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene() -> None:
        async with stepped(600_000) as simulator:
            before = asyncio.all_tasks()
            async with watching(simulator.url) as stream:
                await stream.until(contains_row(MARCH))
            # The server's side of the socket ends a moment later.
            while left := asyncio.all_tasks() - before:
                assert all("simulator" in repr(task) or "aiohttp" in repr(task) for task in left)
                await asyncio.sleep(0.01)
            assert await simulator.disconnect() == 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(scene())
        gc.collect()


def test_closing_while_the_server_refuses_ends_the_dial_too(
    run: Run, stepped: Stepped, watching: Watching
) -> None:
    async def scene(busy_loop: BusyLoop) -> None:
        async with stepped(600_000) as simulator:
            before = asyncio.all_tasks()
            async with watching(simulator.url) as stream:
                await stream.until(contains_row(MARCH))
                await simulator.disconnect(refuse_seconds=60)
                await stream.until(has_lost_six_times)
                busy_loop.begin()
            assert busy_loop.seconds < 5
            left = asyncio.all_tasks() - before
            assert [task for task in left if "/ccxt/" in repr(task)] == []

    with BusyLoop() as busy_loop:
        run(scene(busy_loop))


def test_a_reader_cancelled_while_it_waits_leaves_the_manager_usable(
    run: Run, stepped: Stepped, manager: Manager
) -> None:
    async def scene() -> None:
        async with stepped(600_000) as simulator, manager(simulator.url) as opened:

            async def candle_of(opens: int) -> Candle:
                async with aclosing(opened.events("BTC/USDT", "1h")) as events:
                    async for event in events:
                        if isinstance(event, CandleUpdate) and event.rows[-1].timestamp == opens:
                            return event.rows[-1]
                raise AssertionError

            await candle_of(MARCH)
            waiting = asyncio.create_task(candle_of(MARCH))
            await asyncio.sleep(0)
            waiting.cancel()
            assert await asyncio.gather(waiting, return_exceptions=True) != []
            assert waiting.cancelled()
            again = asyncio.create_task(candle_of(MARCH + 3_600))
            await asyncio.sleep(0)
            await simulator.advance_to_ms(MARCH_MS + HOUR_MS)
            await again

    run(scene())


@pytest.mark.parametrize("exchange", ["binance", "binanceus"])
def test_every_exchange_of_binance_streams_bid_and_ask(
    run: Run, stepped: Stepped, tmp_path: Path, exchange: str
) -> None:
    async def scene() -> dict[str, Any]:
        async with stepped(0) as simulator:
            # Not the queue of dials that all programs of this computer share.
            client = make_guarded_client(
                Endpoint(exchange), on_connected=lambda: None, dial_file=tmp_path / "dials"
            )
            redirect(client.urls["api"], simulator.url)
            try:
                watching = asyncio.create_task(client.watch_ticker("BTC/USDT"))
                now_ms = MARCH_MS
                while not watching.done():
                    now_ms += 1_000
                    await simulator.advance_to_ms(now_ms)
                    await asyncio.sleep(0.02)
                return watching.result()
            finally:
                await close_exchange_client(client)

    ticker = run(scene())
    assert ticker["bid"] < ticker["ask"]
