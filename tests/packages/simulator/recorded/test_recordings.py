"""The simulator's replies and messages have the shape of the recorded ones of Binance.

Each recording gets a kind, by the table of its file; for each kind one reply of ours is produced in
`produced` and compared key by key. A recording without a kind and without a reason fails the walk,
and so does a difference that is not listed with its reason.
"""

import asyncio
import hashlib
import hmac
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
import pytest

from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from recorded_kinds import find_kind, get_body, read_recordings

#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
#: Kinds of one thing. A key of ours that an old or shortened recording lacks is right if
#: another recording of its family has it.
FAMILIES = dict.fromkeys(
    ("new order", "new limit order", "new order over WebSocket", "order", "open orders",
     "all orders", "cancelled order", "cancelled orders"), "order",
) | {"account over WebSocket": "account"}  # fmt: skip


class SignedAccount:
    """Signed requests to a simulator with a stepped clock, and one socket of each kind."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def public(self, path: str) -> Any:
        async with self.session.get(self.simulator.url + path) as response:
            return json.loads(await response.text())

    async def signed(self, method: str, path: str, **params: str) -> Any:
        query = urlencode({**params, "timestamp": str(self.simulator.clock.now_ms())})
        seal = hmac.new(b"simulator", query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.simulator.url}{path}?{query}&signature={seal}"
        headers = {"X-MBX-APIKEY": "simulator"}
        async with self.session.request(method, url, headers=headers) as response:
            return json.loads(await response.text())

    async def requested(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        method: str,
        number: int | str = 1,
        **params: str,
    ) -> Any:
        whole = {**params, "apiKey": "simulator", "timestamp": str(self.simulator.clock.now_ms())}
        text = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
        seal = hmac.new(b"simulator", text.encode(), hashlib.sha256).hexdigest()
        request = {"id": number, "method": method, "params": {**whole, "signature": seal}}
        await socket.send_json(request)
        return json.loads(await socket.receive_str(timeout=60))


async def produce_replies() -> dict[str, Any]:
    """Return one reply of the simulator for each kind."""
    clock = make_clock(start_ms=MARCH_MS, stepped=True)
    balance = {"USDT": Decimal(100_000), "BTC": Decimal(2), "BNB": Decimal(9)}
    async with (
        Simulator(clock=clock, balance=balance) as simulator,
        aiohttp.ClientSession() as session,
    ):
        account = SignedAccount(simulator, session)
        return {
            **await produce_market_replies(account),
            **await produce_order_replies(account),
            **await produce_user_stream_messages(account),
            **await produce_stream_messages(account),
        }


async def produce_market_replies(account: SignedAccount) -> dict[str, Any]:
    paths = {
        "ping": "ping",
        "time": "time",
        "klines": "klines?symbol=BTCUSDT&interval=1h",
        "day ticker": "ticker/24hr?symbol=BTCUSDT",
        "book ticker": "ticker/bookTicker?symbol=BTCUSDT",
        "price ticker": "ticker/price?symbol=BTCUSDT",
        "average": "avgPrice?symbol=BTCUSDT",
        "depth": "depth?symbol=BTCUSDT",
        "trades": "trades?symbol=BTCUSDT",
        "old trades": "historicalTrades?symbol=BTCUSDT&fromId=5",
        "aggregates": "aggTrades?symbol=BTCUSDT",
        "exchange info": "exchangeInfo",
    }
    found = {kind: await account.public(f"/api/v3/{path}") for kind, path in paths.items()}
    return {**found, "status": await account.public("/sapi/v1/system/status")}


async def produce_order_replies(account: SignedAccount) -> dict[str, Any]:
    order, market = "/api/v3/order", {"symbol": "BTCUSDT"}
    limit = {
        **market, "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
        "price": "90000",
    }  # fmt: skip
    bought = {**market, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    found = {"new order": await account.signed("POST", order, **bought)}
    waiting = await account.signed("POST", order, **limit)
    number = {**market, "orderId": str(waiting["orderId"])}
    found |= {
        "new limit order": waiting,
        "order": await account.signed("GET", order, **number),
        "open orders": await account.signed("GET", "/api/v3/openOrders"),
        "all orders": await account.signed("GET", "/api/v3/allOrders", **market),
        "own trades": await account.signed("GET", "/api/v3/myTrades", **market),
        "account": await account.signed("GET", "/api/v3/account"),
        "cancelled order": await account.signed("DELETE", order, **number),
        "trade fee": await account.signed("GET", "/sapi/v1/asset/tradeFee", **market),
    }
    await account.signed("POST", order, **limit)
    found["cancelled orders"] = await account.signed("DELETE", "/api/v3/openOrders", **market)
    return found


async def produce_user_stream_messages(account: SignedAccount) -> dict[str, Any]:
    """Return replies and events of the WebSocket API."""
    market = {"symbol": "BTCUSDT", "quantity": "0.01"}
    limit = {**market, "side": "SELL", "type": "LIMIT", "price": "90000"}
    stop = {"side": "SELL", "type": "STOP_LOSS_LIMIT", "price": "20000", "stopPrice": "20001"}
    async with account.session.ws_connect(f"{account.simulator.url}/ws-api/v3") as socket:
        requested = {
            # As CCXT requests them: with an additional id, and without the limits in the reply.
            "account over WebSocket": await account.requested(
                socket, "account.status", number="605a6d20", returnRateLimits="false"
            ),
            "new order over WebSocket": await account.requested(
                socket, "order.place", **limit, timeInForce="GTC"
            ),
            "user stream": await account.requested(socket, "userDataStream.subscribe.signature"),
        }
        orders = (
            {**market, "side": "BUY", "type": "MARKET"},
            {**limit, "timeInForce": "GTC"},
            {**limit, "timeInForce": "IOC"},
            {**market, **stop, "timeInForce": "GTC"},
        )
        for order in orders:
            await account.signed("POST", "/api/v3/order", **order)
        await account.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
        account.simulator.account.withdraw("BTC", Decimal("0.1"))
        await account.simulator.advance_to_ms(account.simulator.clock.now_ms() + 1_000)
        wrapped = await read_waiting_messages(socket, "ping")
    found: dict[str, Any] = {}
    for message in wrapped:
        event = message["event"]
        kind = event["e"]
        found.setdefault(f"wrapped {kind}", message)
        if kind == "executionReport":
            kind = "report of a stop" if event["o"] == "STOP_LOSS_LIMIT" else f"report {event['x']}"
        found.setdefault(kind, event)
    return requested | found


async def produce_stream_messages(account: SignedAccount) -> dict[str, Any]:
    kinds = ("kline_1m", "ticker", "miniTicker", "bookTicker", "trade", "aggTrade")
    found: dict[str, Any] = {}
    async with account.session.ws_connect(f"{account.simulator.url}/stream") as socket:
        command = {"method": "SUBSCRIBE", "params": [f"btcusdt@{kind}" for kind in kinds], "id": 1}
        await socket.send_json(command)
        found["subscribed"] = json.loads(await socket.receive_str(timeout=60))
        now_ms = account.simulator.clock.now_ms()
        await account.simulator.advance_to_ms(now_ms)
        await account.simulator.advance_to_ms(now_ms + 60_000)
        for message in await read_waiting_messages(socket, "LIST_SUBSCRIPTIONS"):
            name = message["stream"].partition("@")[2].replace("kline_1m", "kline")
            found[f"stream {name}"] = message["data"]
        await socket.send_json({"method": "SUBSCRIBE", "params": ["no stream"], "id": 2})
        found["refused stream"] = json.loads(await socket.receive_str(timeout=60))
    return found


async def read_waiting_messages(socket: aiohttp.ClientWebSocketResponse, method: str) -> list[Any]:
    """Return the messages sent before the reply to a request with this method."""
    await socket.send_json({"method": method, "id": 77})
    found: list[Any] = []
    while (message := json.loads(await socket.receive_str(timeout=60))).get("id") != 77:
        found.append(message)
    return found


def find_differences(ours: Any, real: Any, where: str = "") -> list[str]:
    """Return how ours differs in keys and types: `a.b missing`, `a.b added`, `a: int not str`."""
    if isinstance(real, list) != isinstance(ours, list):
        # One entry and a list of such entries: the same endpoint, requested in two ways.
        ours, real = _get_first(ours), _get_first(real)
    own_type, real_type = _list_types([ours, real])
    if isinstance(real, dict) and isinstance(ours, dict):
        theirs, own = cast("dict[str, Any]", real), cast("dict[str, Any]", ours)
        found = [f"{where}{key} missing" for key in theirs if key not in own]
        found += [f"{where}{key} added" for key in own if key not in theirs]
        for key in theirs.keys() & own.keys():
            found += find_differences(own[key], theirs[key], f"{where}{key}.")
        return sorted(found)
    if isinstance(real, list) and isinstance(ours, list):
        own, theirs = cast("list[Any]", ours), cast("list[Any]", real)
        if not theirs or not own:
            return []
        kinds = [_list_types(own), _list_types(theirs)]
        if len(set(kinds[1])) > 1:
            return [] if kinds[0] == kinds[1] else [f"{where}{kinds[0]} not {kinds[1]}"]
        return find_differences(own[0], theirs[0], where)
    if own_type == real_type or real_type == "NoneType":
        return []
    return [f"{where[:-1]}: {own_type} not {real_type}"]


def _list_types(row: list[Any]) -> list[str]:
    return [type(cell).__name__ for cell in row]


def _get_first(value: Any) -> Any:
    return cast("list[Any]", value)[0] if isinstance(value, list) else value


def _strip_envelope(name: str) -> str:
    """Return a key's path without the envelope of the WebSocket API."""
    return name.removeprefix("result.").removeprefix("event.")


def get_family(kind: str) -> str:
    """Return the group of recordings with an equal shape."""
    return "report" if "report" in kind.lower() else FAMILIES.get(kind, kind)


def list_keys(value: Any, where: str = "") -> dict[str, bool]:
    """Return the paths of all keys in a value, and whether each has one (of a list the first's)."""
    if isinstance(value, list):
        return list_keys(value[0], where) if value else {}  # pyright: ignore[reportUnknownArgumentType] - any JSON
    found: dict[str, bool] = {}
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            found |= {where + key: item is not None} | list_keys(item, f"{where}{key}.")
    return found


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return asyncio.run(asyncio.wait_for(produce_replies(), 60))


def test_every_recording_has_a_kind_or_a_reason_for_none(
    shared: Path, ours: dict[str, Any]
) -> None:
    unknown = [
        (file, kind, {key: str(value)[:80] for key, value in item.items()})
        for file, item in read_recordings(shared)
        if not (kind := find_kind(file, item)) or not (kind.startswith("out: ") or kind in ours)
    ]
    assert unknown == []
    assert set(ours) - {find_kind(file, item) for file, item in read_recordings(shared)} == set()


def find_all_differences(recorded: list[tuple[str, Any]], ours: dict[str, Any]) -> set[str]:
    """Return how ours differ from what was recorded of each kind, as `kind: difference`.

    A key that another recording of the family has may be added, and what another recording of the
    very kind has as null may be null.
    """
    known: dict[str, set[str]] = {}
    nulls: dict[str, set[str]] = {}
    for kind, real in recorded:
        keys = set(list_keys(real))
        if kind.endswith("over WebSocket"):
            # Its envelope has nothing of the orders that others show.
            keys = {key for key in keys if key.startswith("result.")}
        known.setdefault(get_family(kind), set()).update(map(_strip_envelope, keys))
        nulls.setdefault(kind, set()).update(
            key for key, item in list_keys(real).items() if not item
        )
    found: set[str] = set()
    for kind, real in recorded:
        for difference in find_differences(ours[kind], real):
            name, _, what = difference.rpartition(" ")
            in_family = what == "added" and _strip_envelope(name) in known[get_family(kind)]
            null_too = ": NoneType not " in difference and name.split(":")[0] in nulls[kind]
            if not in_family and not null_too:
                found.add(f"{kind}: {difference}")
    return found


def test_every_reply_and_message_looks_as_recorded(shared: Path, ours: dict[str, Any]) -> None:
    every = [
        (find_kind(file, item) or "", get_body(file, item))
        for file, item in read_recordings(shared)
    ]
    recorded = [(kind, real) for kind, real in every if not kind.startswith("out: ")]
    assert find_all_differences(recorded, ours) == set()


def test_the_comparison_finds_a_missing_key_another_type_and_a_shorter_row() -> None:
    assert find_differences({"a": 1}, {"a": "1", "b": 2}) == ["a: int not str", "b missing"]
    assert find_differences([[1, "2"]], [[1, "2", 3]]) == [
        "['int', 'str'] not ['int', 'str', 'int']"
    ]
    assert find_differences([{"a": {"c": 1}}], [{"a": {}}]) == ["a.c added"]


def test_an_allowed_difference_of_one_recording_does_not_apply_to_another_kind() -> None:
    recorded: list[tuple[str, Any]] = [
        ("report NEW", {"N": None}),
        ("report NEW", {"N": "BTC"}),
        ("report TRADE", {"N": "BTC"}),
        ("order", {"price": "1"}),
        ("order over WebSocket", {"id": 1, "result": {}}),
    ]
    ours: dict[str, Any] = {
        "report NEW": {"N": None},
        "report TRADE": {"N": None},
        "order": {"price": "1", "id": 1},
        "order over WebSocket": {"id": 1, "result": {}},
    }
    assert find_all_differences(recorded, ours) == {
        "report TRADE: N: NoneType not str",
        "order: id added",
    }
