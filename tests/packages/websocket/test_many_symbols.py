"""Many symbols on one socket are subscribed with few messages."""

import asyncio
from contextlib import aclosing

import pytest

from bounded_run import run_bounded
from fault_proxy import FaultProxy
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.symbols import make_symbols
from onetape.simulator.server.simulator import Simulator
from onetape.websocket.events import CandleUpdate, TickerUpdate
from onetape.websocket.websocket import WebSocketManager

SYMBOLS = 60


async def wait_until_live(manager: WebSocketManager, symbol: str) -> None:
    """Wait for a candle and a ticker of a symbol."""
    kinds: set[type] = set()
    async with aclosing(manager.events(symbol, "1h")) as events:
        async for event in events:
            kinds.add(type(event))
            if {CandleUpdate, TickerUpdate} <= kinds:
                return


async def count_live_symbols(count: int) -> tuple[int, FaultProxy]:
    """Watch a number of symbols until each is live; return the number that are traded."""
    # Each passing second of the computer is a minute of the market, in which all symbols trade.
    clock = make_clock(start_ms=1_709_251_200_000, speed=60)
    async with Simulator(clock=clock, symbols=make_symbols(count)) as simulator:  # noqa: SIM117
        async with FaultProxy(simulator.url) as proxy:
            endpoint = Endpoint("simulator", proxy.url)
            exchange = await asyncio.to_thread(RestExchange, endpoint)
            async with exchange:
                markets = await exchange.load_ccxt_markets()
                names = [market["symbol"] for market in markets if market["active"]]
                async with WebSocketManager(exchange, names) as manager:
                    await asyncio.gather(*(wait_until_live(manager, name) for name in names))
            return len(names), proxy


def test_many_symbols_are_subscribed_on_one_socket_with_few_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than a busy machine takes to request all streams.
    monkeypatch.setattr("onetape.websocket.sending.PAUSE_SECONDS", 1.5)
    count, proxy = run_bounded(count_live_symbols(SYMBOLS), 180.0)
    assert count > SYMBOLS // 3
    assert proxy.dials == 1
    streams = [stream for command in proxy.commands for stream in command["params"]]
    assert len(streams) == len(set(streams)) == 2 * count
    # One for the first stream, and few for all others: Binance takes five a second.
    assert len(proxy.commands) <= 4
