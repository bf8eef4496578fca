"""WebSocket: the unchanged CCXT Pro class watches; raw sockets get Binance's frames and replies."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import ccxt
import pytest

from onetape.core.clock import Clock
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.server.simulator import Simulator
from raw_sockets import open_socket, read_frames

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
Client = Callable[..., AbstractAsyncContextManager[Any]]
HOUR_MS = 3_600_000
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


def test_every_candle_closes_once_in_order_with_final_values(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0)) as simulator,
            open_socket(simulator, "/ws/btcusdt@kline_1h") as opened,
        ):
            await read_frames(opened, 1)
            # Many candles pass in one step: none may be skipped.
            await simulator.advance_to_ms(MARCH_MS + 1_700 * HOUR_MS)
            events = await read_frames(opened, 1_701)
        bars = [event["k"] for event in events]
        assert [bar["x"] for bar in bars] == [True] * 1_700 + [False]
        assert [bar["t"] for bar in bars] == [MARCH_MS + row * HOUR_MS for row in range(1_701)]
        truth = SimulatedMarket(7).get_candles(
            "BTC/USDT", "1h", MARCH_MS // 1_000, MARCH_MS // 1_000 + 1_700 * 3_600
        )
        assert [float(bar["c"]) for bar in bars[:-1]] == truth.close.tolist()
        assert [float(bar["v"]) for bar in bars[:-1]] == truth.volume.tolist()

    run(scene())


def test_the_closing_frame_equals_the_candle_of_rest(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(59 * 60_000)) as simulator,
            open_socket(simulator, "/ws/ethusdt@kline_1h") as opened,
        ):
            await read_frames(opened, 1)
            await simulator.advance_to_ms(MARCH_MS + HOUR_MS)
            closing, opening = await read_frames(opened, 2)
            query = f"symbol=ETHUSDT&interval=1h&startTime={MARCH_MS}"
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{simulator.url}/api/v3/klines?{query}") as response,
            ):
                closed, forming = await response.json()
        for event, row in ((closing, closed), (opening, forming)):
            keys = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
            assert [event["k"][key] for key in keys] == row
            assert event["k"]["L"] - event["k"]["f"] + 1 == event["k"]["n"]
        assert (closing["k"]["x"], opening["k"]["x"]) == (True, False)
        assert opening["k"]["n"] == 1, "at its open a candle is one trade"

    run(scene())


def test_an_accelerated_stream_loses_no_candle(run: Run) -> None:
    async def scene() -> None:
        # A minute takes 50 ms here, so some candles pass between two looks.
        clock = make_clock(start_ms=MARCH_MS, speed=1_200)
        async with (
            Simulator(clock=clock) as simulator,
            open_socket(simulator, "/ws/btcusdt@kline_1m") as opened,
        ):
            closed: list[Any] = []
            shown = 0
            while len(closed) < 15:
                (event,) = await read_frames(opened, 1)
                if event["k"]["x"]:
                    closed.append(event["k"])
                else:
                    shown += 1
        opens = [bar["t"] for bar in closed]
        assert opens == [opens[0] + 60_000 * row for row in range(15)]
        assert shown >= 3
        truth = SimulatedMarket(7).get_candles(
            "BTC/USDT", "1m", opens[0] // 1_000, opens[-1] // 1_000 + 60
        )
        assert [float(bar["c"]) for bar in closed] == truth.close.tolist()

    run(scene())


def test_ccxt_watches_candles_tickers_offers_and_trades(run: Run, ccxt_client: Client) -> None:
    async def scene() -> None:
        clock = make_clock(start_ms=MARCH_MS, speed=600)
        async with (
            Simulator(clock=clock) as simulator,
            ccxt_client(simulator, pro=True) as client,
        ):
            rows = await client.watch_ohlcv("BTC/USDT", "1h")
            ticker = await client.watch_ticker("BTC/USDT", {"name": "ticker"})
            mini = await client.watch_ticker("ETH/USDT")
            offers = await client.watch_bids_asks(["BTC/USDT"])
            trades = await client.watch_trades("BTC/USDT")
        assert rows[-1][0] == MARCH_MS
        assert ticker["bid"] < ticker["ask"]
        assert mini["last"] > 0
        assert offers["BTC/USDT"]["bid"] < offers["BTC/USDT"]["ask"]
        assert trades[-1]["price"] > 0

    run(scene())


def test_ccxt_gets_each_closed_candle_as_rest_has_it(run: Run, ccxt_client: Client) -> None:
    async def scene() -> None:
        clock = make_clock(start_ms=MARCH_MS, speed=600)
        async with (
            Simulator(clock=clock) as simulator,
            ccxt_client(simulator, pro=True) as client,
        ):
            seen: dict[int, list[float]] = {}
            while len(seen) < 8:
                for row in await client.watch_ohlcv("BTC/USDT", "1m"):
                    seen[row[0]] = list(row)
            # The newest may still form, and the oldest was joined midway but closed since.
            whole = sorted(seen)[:-1]
            page = await client.fetch_ohlcv("BTC/USDT", "1m", whole[0], len(whole))
        assert [seen[opened] for opened in whole] == page

    run(scene())


def test_a_disconnect_is_a_network_error_and_the_next_call_recovers(
    run: Run, ccxt_client: Client
) -> None:
    async def scene() -> None:
        clock = make_clock(start_ms=MARCH_MS, speed=600)
        async with (
            Simulator(clock=clock) as simulator,
            ccxt_client(simulator, pro=True) as client,
        ):
            await client.watch_ohlcv("BTC/USDT", "1h")
            waiting = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1h"))
            await asyncio.sleep(0)
            assert await simulator.disconnect() == 1
            with pytest.raises(ccxt.NetworkError):
                await waiting
            assert await client.watch_ohlcv("BTC/USDT", "1h")

    run(scene())


def test_sockets_are_refused_for_as_long_as_set(run: Run, ccxt_client: Client) -> None:
    async def scene(refuse_seconds: float) -> tuple[int, float]:
        clock = make_clock(start_ms=MARCH_MS, speed=600)
        async with (
            Simulator(clock=clock) as simulator,
            ccxt_client(simulator, pro=True) as client,
        ):
            await client.watch_ohlcv("BTC/USDT", "1h")
            loop = asyncio.get_running_loop()
            cut, failures = loop.time(), 0
            await simulator.disconnect(refuse_seconds=refuse_seconds)
            while True:
                try:
                    await client.watch_ohlcv("BTC/USDT", "1h")
                    break
                except ccxt.NetworkError:
                    failures += 1
            return failures, loop.time() - cut

    # A machine that stands still may dial once or less before the shorter time is over.
    failures = 0
    for refuse_seconds in (0.5, 5.0, 20.0):
        failures, seconds = run(scene(refuse_seconds))
        assert seconds >= 0.8 * refuse_seconds
        if failures >= 2:
            break
    assert failures >= 2


def test_trades_of_the_stream_are_all_trades_of_the_market(run: Run, stepped: Stepped) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(30_000)) as simulator,
            open_socket(simulator, "/ws") as opened,
        ):
            command = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
            await opened.send_json(command)
            await read_frames(opened, 1)
            await simulator.advance_to_ms(MARCH_MS + 30_000)
            await simulator.advance_to_ms(MARCH_MS + 60_000)
            await simulator.advance_to_ms(MARCH_MS + 150_000)
            market = SimulatedMarket(7)
            symbol = market.get_symbol("BTCUSDT")
            expected: list[tuple[int, int]] = []
            for minute in range(3):
                trades = market.get_trades(symbol, MARCH_MS // 1_000 + 60 * minute)
                expected += zip(trades.id.tolist(), trades.time_ms.tolist(), strict=True)
            wanted = [row for row in expected if MARCH_MS + 30_000 < row[1] <= MARCH_MS + 150_000]
            events = await read_frames(opened, len(wanted))
        assert [(event["t"], event["T"]) for event in events] == wanted

    run(scene())


def test_combined_streams_name_the_stream_of_each_event(run: Run, stepped: Stepped) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(1_000)) as simulator:
            path = "/stream?streams=btcusdt@bookTicker/ethbtc@kline_1d"
            async with open_socket(simulator, path) as opened:
                return await read_frames(opened, 2)

    events = run(scene())
    assert {event["stream"]: event["data"]["s"] for event in events} == {
        "btcusdt@bookTicker": "BTCUSDT",
        "ethbtc@kline_1d": "ETHBTC",
    }


def test_streams_that_are_due_at_once_are_in_the_same_order_for_every_client(
    run: Run, stepped: Stepped
) -> None:
    names = ("btcusdt@kline_1m", "btcusdt@ticker", "ethusdt@kline_1m", "ethusdt@ticker")
    path = f"/stream?streams={'/'.join(names)}"

    async def scene() -> None:
        async with (
            Simulator(clock=stepped(30_000)) as simulator,
            open_socket(simulator, path) as one,
            open_socket(simulator, path) as other,
        ):
            await simulator.advance_to_ms(MARCH_MS + 30_000)
            await simulator.advance_to_ms(MARCH_MS + 60_000)
            # At first each stream shows its state; at the close both candles end and begin.
            seen, seen_by_other = await read_frames(one, 10), await read_frames(other, 10)
        assert seen == seen_by_other
        assert [frame["stream"] for frame in seen[:4]] == list(names)
        closed = [frame["data"]["k"]["x"] for frame in seen[4:] if "kline" in frame["stream"]]
        assert closed == [True, False, True, False]

    run(scene())


def test_an_unknown_symbol_is_accepted_and_gets_no_data_as_on_binance(
    run: Run, stepped: Stepped
) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(0)) as simulator:
            path = "/stream?streams=nopeusdt@ticker/bccusdt@kline_1m/btcusdt@kline_1m"
            async with open_socket(simulator, path) as opened:
                await simulator.advance_to_ms(MARCH_MS + 5_000)
                return await read_frames(opened, 1)

    (event,) = run(scene())
    assert event["stream"] == "btcusdt@kline_1m"
