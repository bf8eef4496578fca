"""The exchange's close mark of a final candle, in CCXT's real classes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from onetape.exchange.clients import Endpoint
from onetape.websocket.client import close_exchange_client, make_guarded_client
from onetape.websocket.events import CandleUpdate, StreamEvent

MARCH = 1_709_251_200
MARCH_MS = MARCH * 1_000
HOUR = 3_600

Run = Callable[[Any], Any]
Kline = Callable[..., dict[str, Any]]
Watching = Callable[..., AbstractAsyncContextManager[Any]]
MisbehavingServer = Callable[[], AbstractAsyncContextManager[Any]]


def make_binance_frame(*, is_final: bool) -> dict[str, Any]:
    bar = {"t": MARCH_MS, "s": "BTCUSDT", "i": "1h", "o": "1", "c": "2", "h": "3", "l": "1",
           "v": "4", "x": is_final}  # fmt: skip
    return {"e": "kline", "E": MARCH_MS, "s": "BTCUSDT", "k": bar}


def make_bybit_frame(*, is_final: bool) -> dict[str, Any]:
    bar = {"start": MARCH_MS, "end": MARCH_MS + 3_599_999, "interval": "60", "open": "1",
           "close": "2", "high": "3", "low": "1", "volume": "4", "turnover": "8",
           "confirm": is_final, "timestamp": MARCH_MS}  # fmt: skip
    return {"topic": "kline.60.BTCUSDT", "type": "snapshot", "ts": MARCH_MS, "data": [bar]}


def make_okx_frame(*, is_final: bool) -> dict[str, Any]:
    bar = [str(MARCH_MS), "1", "3", "1", "2", "4", "8", "8", str(int(is_final))]
    return {"arg": {"channel": "candle1H", "instId": "BTC-USDT"}, "data": [bar]}


#: How a frame is made, the exchange's name of the market, and where the stream is.
EXCHANGES: dict[str, tuple[Callable[..., dict[str, Any]], str, str]] = {
    "binance": (make_binance_frame, "BTCUSDT", "wss://stream.binance.com:9443/stream/ws"),
    "binanceus": (make_binance_frame, "BTCUSDT", "wss://stream.binance.us:9443/stream/ws"),
    "bybit": (make_bybit_frame, "BTCUSDT", "wss://stream.bybit.com/v5/public/spot"),
    "okx": (make_okx_frame, "BTC-USDT", "wss://ws.okx.com:8443/ws/v5/business"),
}

#: Series that are read in the tests of what a frame wakes.
WATCHED = [("BTC/USDT", "1h"), ("ETH/USDT", "1h"), ("BTC/USDT", "5m")]


def collect_final_candles(exchange: str, *frames: dict[str, Any]) -> dict[Any, Any]:
    """Return the final candles of CCXT's class of an exchange after these frames."""
    _, market_id, url = EXCHANGES[exchange]

    async def scene() -> dict[Any, Any]:
        client = make_guarded_client(Endpoint(exchange), on_connected=lambda: None)
        market = {"id": market_id, "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT",
                  "baseId": "BTC", "quoteId": "USDT", "type": "spot", "spot": True}  # fmt: skip
        client.set_markets([client.safe_market_structure(market)])
        for frame in frames:
            client.handle_ohlcv(client.client(url), frame)
        found = dict(client.final_candles)
        await close_exchange_client(client)
        return found

    return asyncio.run(scene())


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_the_row_of_a_frame_with_a_close_mark_is_final(exchange: str) -> None:
    found = collect_final_candles(exchange, EXCHANGES[exchange][0](is_final=True))
    assert found == {("BTC/USDT", "1h"): {MARCH_MS: [MARCH_MS, 1.0, 3.0, 1.0, 2.0, 4.0]}}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_frame_without_the_mark_stores_no_final_row(exchange: str) -> None:
    assert collect_final_candles(exchange, EXCHANGES[exchange][0](is_final=False)) == {}


def test_a_frame_of_okx_without_the_last_column_stores_no_final_row() -> None:
    frame = make_okx_frame(is_final=True)
    frame["data"] = [frame["data"][0][:7]]
    assert collect_final_candles("okx", frame) == {}


def list_woken_series(exchange: str, frame: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the series whose events are set by a frame."""
    _, market_id, url = EXCHANGES[exchange]

    async def scene() -> list[tuple[str, str]]:
        client = make_guarded_client(Endpoint(exchange), on_connected=lambda: None)
        market = {"id": market_id, "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT",
                  "baseId": "BTC", "quoteId": "USDT", "type": "spot", "spot": True}  # fmt: skip
        client.set_markets([client.safe_market_structure(market)])
        client.candle_frame_events |= {asyncio.Event(): series for series in WATCHED}
        client.handle_ohlcv(client.client(url), frame)
        found = [series for event, series in client.candle_frame_events.items() if event.is_set()]
        await close_exchange_client(client)
        return found

    return asyncio.run(scene())


@pytest.mark.parametrize("is_final", [True, False])
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_frame_wakes_the_readers_of_its_series_only(exchange: str, *, is_final: bool) -> None:
    assert list_woken_series(exchange, EXCHANGES[exchange][0](is_final=is_final)) == [
        ("BTC/USDT", "1h")
    ]


def test_a_frame_of_a_series_that_nothing_reads_wakes_all_readers() -> None:
    frame = make_okx_frame(is_final=False)
    frame["arg"]["channel"] = "candle1D"
    assert list_woken_series("okx", frame) == WATCHED


def close_of(timestamp: int, close: float) -> Callable[[list[StreamEvent]], bool]:
    return lambda events: any(
        (row.timestamp, row.close) == (timestamp, close)
        for event in events
        if isinstance(event, CandleUpdate)
        for row in event.rows
    )


def has_closed(events: list[StreamEvent]) -> bool:
    return any(isinstance(event, CandleUpdate) and event.closed for event in events)


def remove_readers(ccxt_class: type) -> None:
    del ccxt_class


@pytest.mark.parametrize("guarded", [True, False])
def test_a_frame_after_the_mark_never_changes_the_candle(
    run: Run,
    run_faulty_server: MisbehavingServer,
    watching: Watching,
    kline: Kline,
    monkeypatch: pytest.MonkeyPatch,
    *,
    guarded: bool,
) -> None:
    if not guarded:
        monkeypatch.setattr("onetape.websocket.client.find_mark_reader", remove_readers)

    async def scene() -> list[float]:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            # The last one comes late: it is older than the mark.
            await server.send(kline(0, 101), kline(0, 102, x=True), kline(1, 103), kline(0, 55))
            await server.send(kline(1, 104))
            await stream.until(close_of(MARCH + HOUR, 104))
            rows = [row for update in stream.candle_updates for row in update.rows]
            return [row.close for row in rows if row.timestamp == MARCH][-1:]

    assert run(scene()) == ([102] if guarded else [55])


def test_a_mark_is_emitted_though_no_value_changes(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            await server.send(kline(0, 101))
            await stream.until(close_of(MARCH, 101))
            assert stream.candle_updates[-1].closed == frozenset()
            await server.send(kline(0, 101, x=True))
            await stream.until(has_closed)
            assert stream.candle_updates[-1].closed == {MARCH}

    run(scene())


def test_a_frame_that_ccxt_does_not_signal_is_emitted_at_once(
    run: Run, run_faulty_server: MisbehavingServer, watching: Watching, kline: Kline
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server, watching(server.url) as stream:
            await server.wait_for_socket()
            # In one burst: CCXT alone returns the second with the next frame, which never comes.
            await server.send(kline(0, 101), kline(0, 102, x=True))
            await stream.until(has_closed)

    run(scene())
