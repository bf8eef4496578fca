"""A CCXT Pro client that is redirected to the simulator has no other address left."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from onetape.core.errors import UsageError
from onetape.exchange.clients import Endpoint, make_client_settings, redirect
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials
from onetape.websocket.client import make_guarded_client

NOW_MS = 1_709_252_400_000


def make_redirected_client(url: str, **settings: Any) -> Any:
    import ccxt.pro

    kind: Any = ccxt.pro.binance
    client = kind({**make_client_settings(Endpoint("simulator", url)), **settings})
    redirect(client.urls["api"], url)
    return client


def iterate_addresses(urls: dict[str, Any]) -> Iterator[str]:
    for value in urls.values():
        if isinstance(value, dict):
            yield from iterate_addresses(cast("dict[str, Any]", value))
        elif isinstance(value, str):
            yield value


def test_every_address_leads_to_the_simulator() -> None:
    client = make_redirected_client("http://127.0.0.1:8790")
    assert {urlsplit(one).netloc for one in iterate_addresses(client.urls["api"])} == {
        "127.0.0.1:8790"
    }


@pytest.mark.parametrize(
    ("names", "path"),
    [(("ws", "spot"), "/stream/ws"), (("ws", "ws-api", "spot"), "/ws-api/v3")],
)
def test_streams_and_the_websocket_api_keep_their_own_paths(
    names: tuple[str, ...], path: str
) -> None:
    found: Any = make_redirected_client("http://127.0.0.1:8790").urls["api"]
    for name in names:
        found = found[name]
    assert found == f"ws://127.0.0.1:8790{path}"


def test_an_order_and_the_account_go_over_the_redirected_websocket_api(simulator_url: str) -> None:
    async def scene() -> Any:
        client = make_redirected_client(simulator_url, apiKey="simulator", secret="simulator")  # noqa: S106 - none
        client.milliseconds = lambda: NOW_MS
        try:
            await client.load_markets()
            placed = await client.create_order_ws("BTC/USDT", "limit", "buy", 0.01, 10_000)
            gone = await client.cancel_order_ws(placed["id"], "BTC/USDT")
            (address,) = client.clients
            return gone["status"], urlsplit(str(address)).path
        finally:
            await client.close()

    found = asyncio.run(asyncio.wait_for(scene(), 60))
    assert found == ("canceled", "/ws-api/v3")


def test_certificates_are_read_and_checked_for_every_address_but_a_plain_one_of_the_simulator():
    plain = make_client_settings(Endpoint("simulator", "http://127.0.0.1:8790"))
    assert plain["verify"] is False
    for other in (Endpoint("simulator", "https://127.0.0.1:8790"), Endpoint("binance")):
        assert "verify" not in make_client_settings(other)


def test_on_a_test_network_no_spot_address_leads_to_the_exchange_itself() -> None:
    """REST, orders and streams: each client of ours, as it is constructed."""
    endpoint = Endpoint("binance", is_sandbox=True)
    credentials = Credentials("key", "secret")

    async def scene() -> set[str]:
        clients: list[Any] = [make_guarded_client(endpoint, on_connected=lambda: None)]
        rest = RestExchange(endpoint)
        private = PrivateClient(endpoint, credentials, now_ms=lambda: NOW_MS)
        clients += [vars(rest)["_client"], vars(private)["_client"]]
        hosts: set[str] = set()
        for client in clients:
            urls: Any = client.urls["api"]
            assert "sapi" not in urls
            used: list[Any] = [urls["public"], urls["private"]]
            if "ws" in urls:
                used.append(urls["ws"]["spot"])
            hosts.update(urlsplit(str(one)).netloc for one in used)
        await asyncio.gather(*(client.close() for client in clients))
        return hosts

    assert asyncio.run(scene()) == {"testnet.binance.vision", "stream.testnet.binance.vision"}


def test_an_exchange_without_a_test_network_is_refused() -> None:
    with pytest.raises(UsageError, match="no test network of kraken"):
        RestExchange(Endpoint("kraken", is_sandbox=True))
