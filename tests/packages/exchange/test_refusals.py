"""HTTP errors of real exchanges, as CCXT's classes and the printed lines report them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from onetape.core.errors import ExchangeRefused, ExchangeUnreachable, OnetapeError
from onetape.exchange.rest import RestExchange
from real_clients import open_real_client

Run = Callable[..., Any]
NOW = 1_709_251_200
#: The exchange's own name of BTC/USDT, by CCXT id.
NAMES = {
    "binance": "BTCUSDT", "binanceus": "BTCUSDT", "bitfinex": "tBTCUST", "bitget": "BTCUSDT",
    "bitstamp": "btcusdt", "bybit": "BTCUSDT", "coinbase": "BTC-USDT", "gate": "BTC_USDT",
    "htx": "btcusdt", "kraken": "XBTUSDT", "kucoin": "BTC-USDT", "mexc": "BTCUSDT",
    "okx": "BTC-USDT", "cryptocom": "BTC_USDT",
}  # fmt: skip
#: As they came from the exchanges.
COINBASE_400 = {
    "error": "INVALID_ARGUMENT",
    "error_details": "start and end argument is invalid - number of candles requested should be "
    "less than 350",
    "message": "start and end argument is invalid - number of candles requested should be less "
    "than 350",
}
COINBASE_404 = {
    "error": "NOT_FOUND",
    "error_details": "valid product_id is required",
    "message": "valid product_id is required",
}


@dataclass
class RefusingServer:
    """Responds to every request with one HTTP error."""

    status: int
    body: Any
    requested: list[str] = field(default_factory=list[str])

    async def response(self, request: web.Request) -> web.Response:
        self.requested.append(request.path)
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status, content_type="text/html")
        return web.json_response(self.body, status=self.status)


@asynccontextmanager
async def open_client(exchange: str, server: RefusingServer) -> AsyncGenerator[RestExchange]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.response)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    markets = {"BTC/USDT": NAMES[exchange]}
    try:
        async with open_real_client(exchange, url, now_ms=NOW * 1_000, markets=markets) as client:
            yield client
    finally:
        await runner.cleanup()


def get_request_error(run: Run, exchange: str, server: RefusingServer) -> OnetapeError:
    """Return the error of a request for candles."""

    async def work() -> None:
        async with open_client(exchange, server) as client:
            await client.fetch_candles("BTC/USDT", "1h", since_ms=(NOW - 36_000) * 1_000, limit=5)

    with pytest.raises(OnetapeError) as caught:
        run(asyncio.wait_for(work(), 20))
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (
            400,
            COINBASE_400,
            "coinbase responded with 400 Bad Request (start and end argument is invalid - number "
            "of candles requested should be less than 350): it does not accept the request: check "
            "symbol, timeframe and range",
        ),
        (
            404,
            COINBASE_404,
            "coinbase responded with 404 Not Found (valid product_id is required): it has nothing "
            "there: the market may be gone, or the address is wrong",
        ),
    ],
)
def test_a_refusal_of_coinbase_is_reported_with_its_text_and_not_as_a_network_error(
    run: Run, status: int, body: Any, text: str
) -> None:
    server = RefusingServer(status, body)
    error = get_request_error(run, "coinbase", server)
    assert isinstance(error, ExchangeRefused)
    assert (str(error), error.exit_code) == (text, 5)
    assert len(server.requested) == 1


BODIES: list[Any] = [
    {"message": "nothing of that name"},
    {"code": 77, "msg": "nothing of that name"},
    {"error": {"message": "nothing of that name"}},
    {"errors": [{"id": "x", "message": "nothing of that name"}]},
    "<html><body>no</body></html>",
]


@pytest.mark.parametrize("exchange", sorted(NAMES))
@pytest.mark.parametrize("status", [400, 403, 404, 451])
def test_a_client_error_of_any_exchange_is_final_and_has_the_response_text(
    run: Run, exchange: str, status: int
) -> None:
    for body in BODIES:
        server = RefusingServer(status, body)
        error = get_request_error(run, exchange, server)
        assert isinstance(error, ExchangeRefused), body
        assert "check the network" not in str(error)
        assert f"{exchange} responded with {status} " in str(error)
        assert ("nothing of that name" in str(error)) is (body != BODIES[-1])
        assert len(server.requested) == 1


@pytest.mark.parametrize("exchange", sorted(NAMES))
def test_a_server_error_of_any_exchange_is_requested_again(run: Run, exchange: str) -> None:
    server = RefusingServer(502, "<html><body>Bad Gateway</body></html>")
    error = get_request_error(run, exchange, server)
    assert isinstance(error, ExchangeUnreachable)
    assert str(error) == f"cannot reach {exchange}: it responded with 502 Bad Gateway"
    assert len(server.requested) > 2


def test_an_error_text_is_shortened_and_has_no_terminal_control_characters(run: Run) -> None:
    server = RefusingServer(400, {"message": "\x1b[2J" + "x" * 5_000})
    text = str(get_request_error(run, "coinbase", server))
    assert text.isprintable()
    assert len(text) < 400
