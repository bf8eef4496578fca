"""Clients of real exchanges, with CCXT's unchanged classes, connected to a server of the test."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from onetape.core.clock import SteppedClock, SystemClock
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from wall_clocks import QuickWall

#: As CCXT describes a spot market; enough to request its candles.
_MARKET: dict[str, Any] = {
    "type": "spot", "spot": True, "margin": False, "swap": False, "future": False, "option": False,
    "contract": False, "active": True, "linear": None, "inverse": None, "limits": {},
    "precision": {"price": 0.01, "amount": 0.0001},
}  # fmt: skip


@asynccontextmanager
async def open_real_client(
    exchange: str,
    url: str,
    *,
    now_ms: int,
    markets: dict[str, str],
    note: Callable[[str], None] = lambda _: None,
) -> AsyncGenerator[RestExchange]:
    """Yield a client of an exchange whose every address is `url`.

    Args:
        exchange: CCXT id.
        url: Address of the test's server.
        now_ms: Market time, which stands still.
        markets: Its spot markets: the exchange's own name by symbol.
        note: Called with the client's output.
    """
    client = RestExchange(Endpoint(exchange), wall=QuickWall(), seed=1, note=note)
    client.clock = SteppedClock(now_ms)
    ccxt: Any = client._client  # pyright: ignore[reportPrivateUsage] - only the simulator has a URL
    _redirect(ccxt.urls["api"], url)
    ccxt.enableRateLimit = False
    # CCXT chooses among OKX's addresses by the present time: recorded candles are history.
    ccxt.milliseconds = SystemClock().now_ms
    ccxt.timeout_on_exit = 0
    ccxt.set_markets([_make_market(symbol, name) for symbol, name in markets.items()])
    async with client:
        yield client


def _make_market(symbol: str, name: str) -> dict[str, Any]:
    base, quote = symbol.split("/")
    names = {"id": name, "symbol": symbol, "base": base, "quote": quote}
    return {**_MARKET, **names, "baseId": base, "quoteId": quote}


def _redirect(urls: dict[str, Any], url: str) -> None:
    for name, value in urls.items():
        if isinstance(value, dict):
            _redirect(value, url)  # pyright: ignore[reportUnknownArgumentType] - CCXT's own
        elif str(value).startswith("http"):
            # The path stays: Binance's has a version in it.
            path = str(value).split("://", 1)[1].partition("/")[2]
            urls[name] = f"{url}/{path}" if path else url
