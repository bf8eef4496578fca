"""Private requests by CCXT's real class: what a response, or none, proves about an order."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from onetape.core.errors import ExchangeError, ExchangeRefused, ExchangeUnreachable
from onetape.exchange.clients import Endpoint
from onetape.exchange.dialects import get_dialect
from onetape.exchange.order_calls import (
    OrderTerms,
    make_cancel_order_call,
    make_look_up_calls,
    make_market_order_call,
    make_replace_stop_call,
    make_stop_order_call,
)
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import (
    Credentials,
    OrderRefused,
    OrderRequest,
    OrderUnknown,
)
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from order_server import OrderServer, ServerResponse, open_private_client

T = TypeVar("T")
SYMBOL = "BTC/USDT"
KEY = Credentials("simulator", "simulator")
BALANCE = {"USDT": Decimal(10_000), "BTC": Decimal(1)}


#: 2024-03-01 00:20 UTC: the market stands still, so that no order is late on a busy machine.
NOW_MS = 1_709_252_400_000


def now_ms() -> int:
    return NOW_MS


def make_order(side: Any = "buy", **changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "client_order_id": uuid4().hex,
        "symbol": SYMBOL,
        "side": side,
        "amount": Decimal("0.01"),
        "timestamp_ms": now_ms(),
    }
    return OrderRequest(**fields | changes)


@contextmanager
def run_simulator(*faults: Fault) -> Generator[EmbeddedSimulator]:
    clock = make_clock(start_ms=NOW_MS, stepped=True)
    with embedded_simulator(
        balance=BALANCE, faults=faults, clock=clock, strict_timestamps=True
    ) as simulator:
        yield simulator


def run(
    simulator: EmbeddedSimulator,
    work: Callable[[PrivateClient], Awaitable[T]],
    *,
    key: Credentials = KEY,
    timeout_ms: int = 30_000,
) -> T:
    async def done() -> T:
        endpoint = Endpoint("simulator", simulator.url)
        client = PrivateClient(endpoint, key, now_ms=now_ms, timeout_ms=timeout_ms)
        async with client:
            await client.load_markets()
            return await work(client)

    return asyncio.run(done())


def list_taken_orders(simulator: EmbeddedSimulator) -> list[str]:
    """Return the client order ids that the exchange has taken."""
    return simulator.run_on_account(
        lambda account: [order.client_id for order in account.exchange.orders.values()]
    )


@pytest.fixture(scope="module")
def simulator() -> Generator[EmbeddedSimulator]:
    with run_simulator() as running:
        yield running


def test_an_order_comes_back_with_its_fills_and_can_be_looked_up(
    simulator: EmbeddedSimulator,
) -> None:
    request = make_order()

    async def work(client: PrivateClient) -> None:
        sent = await client.submit(request)
        assert (sent.status, sent.filled, sent.side) == ("closed", Decimal("0.01"), "buy")
        found = await client.look_up(SYMBOL, request.client_order_id, since_ms=0)
        assert found is not None
        assert found.exchange_order_id == sent.exchange_order_id
        fills = await client.fetch_fills(
            SYMBOL, since_ms=request.timestamp_ms, exchange_order_id=sent.exchange_order_id
        )
        assert fills == sent.trades
        assert sum(fill.fee for fill in fills) == Decimal("0.00001")
        assert {fill.fee_currency for fill in fills} == {"BTC"}
        # 0 is the account's first moment: all of its fills.
        since = await client.fetch_fills(SYMBOL, since_ms=request.timestamp_ms - 60_000)
        assert set(fills) <= set(since)

    run(simulator, work)


def test_an_order_that_does_not_exist_is_reported_as_absent(simulator: EmbeddedSimulator) -> None:
    assert run(simulator, lambda client: client.look_up(SYMBOL, uuid4().hex, since_ms=0)) is None


def test_a_resting_stop_is_listed_and_cancelled_once(simulator: EmbeddedSimulator) -> None:
    request = make_order("sell", stop_price=Decimal(20_000))

    async def work(client: PrivateClient) -> None:
        sent = await client.submit(request)
        assert (sent.status, sent.stop_price) == ("open", Decimal(20_000))
        (listed,) = await client.fetch_open_orders(SYMBOL)
        assert listed.client_order_id == request.client_order_id
        locked = (await client.fetch_balances())["BTC"].locked
        assert locked == request.amount
        ended = await client.cancel(SYMBOL, request.client_order_id)
        assert ended.status == "canceled"
        with pytest.raises(OrderRefused) as refused:
            await client.cancel(SYMBOL, request.client_order_id)
        assert refused.value.code == "-2011"

    run(simulator, work)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": Decimal(5)}, "-2010"),
        ({"amount": Decimal("0.00001")}, "-1013"),
        ({"stop_price": Decimal(900_000), "side": "sell"}, "-2010"),
    ],
)
def test_a_refusal_by_the_exchange_has_its_code(
    simulator: EmbeddedSimulator, changes: dict[str, Any], code: str
) -> None:
    request = make_order(**changes)
    with pytest.raises(OrderRefused) as refused:
        run(simulator, lambda client: client.submit(request))
    assert refused.value.code == code
    assert request.client_order_id not in list_taken_orders(simulator)


def test_a_request_that_arrives_after_its_deadline_is_refused(
    simulator: EmbeddedSimulator,
) -> None:
    """The timestamp is pinned when the order is stored: a process that slept sends it in vain."""
    request = make_order(timestamp_ms=now_ms() - 4_000)
    with pytest.raises(OrderRefused) as refused:
        run(simulator, lambda client: client.submit(request))
    assert refused.value.code == "-1021"
    assert request.client_order_id not in list_taken_orders(simulator)


#: Responses that leave open whether the order exists, and whether it does.
DOUBTFUL = {
    "no response": (Fault("timeout", when="after", seconds=60, method="POST"), True),
    "no response, not applied": (Fault("timeout", when="before", seconds=60, method="POST"), False),
    "reset": (Fault("reset", when="after", method="POST"), True),
    "reset, not applied": (Fault("reset", when="before", method="POST"), False),
    "cut body": (Fault("cut_body", part=0.5, method="POST"), True),
    "html": (Fault("wrong_body", shape="html", when="after", method="POST"), True),
    "null": (Fault("wrong_body", shape="null", when="after", method="POST"), True),
    "{}": (Fault("wrong_body", shape="empty_object", when="after", method="POST"), True),
    "502": (Fault("status", status=502, when="after", method="POST"), True),
    "504": (Fault("status", status=504, when="after", method="POST"), True),
    "-1006": (Fault("status", status=400, code=-1006, text="x", when="after", method="POST"), True),
    "-1007": (Fault("status", status=408, code=-1007, text="x", when="after", method="POST"), True),
    "403 page": (Fault("status", status=403, when="after", method="POST"), True),
}


@pytest.mark.parametrize("response", DOUBTFUL)
def test_row_57_an_order_with_an_unclear_response_is_unknown_and_sent_once(response: str) -> None:
    fault, is_applied = DOUBTFUL[response]
    with run_simulator(fault) as simulator:
        request = make_order()

        async def work(client: PrivateClient) -> object:
            tap: Any = client._client  # pyright: ignore[reportPrivateUsage] - the order's timeout alone
            original_timeout_ms = tap.timeout
            if fault.kind == "timeout":
                tap.timeout = 3_000
            with pytest.raises(OrderUnknown):
                await client.submit(request)
            tap.timeout = original_timeout_ms
            return await client.look_up(SYMBOL, request.client_order_id, since_ms=0)

        found = run(simulator, work)
        assert list_taken_orders(simulator) == [request.client_order_id] * is_applied
        assert (found is not None) == is_applied


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", method="GET", path="/api/v3/order"),
        Fault("wrong_body", shape="html", method="GET", path="/api/v3/order"),
        Fault("wrong_body", shape="null", method="GET", path="/api/v3/order"),
        Fault("wrong_body", shape="empty_object", method="GET", path="/api/v3/order"),
        Fault("status", status=404, method="GET", path="/api/v3/order"),
        Fault("status", status=400, code=-2015, text="x", method="GET", path="/api/v3/order"),
    ],
)
def test_row_59_a_failed_look_up_never_proves_absence(fault: Fault) -> None:
    with run_simulator(fault) as simulator, pytest.raises((ExchangeError, OrderUnknown)):
        run(simulator, lambda client: client.look_up(SYMBOL, uuid4().hex, since_ms=0))


@pytest.mark.parametrize("path", ["/api/v3/myTrades", "/api/v3/openOrders"])
@pytest.mark.parametrize("shape", ["html", "null", "empty_object", "truncated"])
def test_an_invalid_list_is_not_an_empty_list(path: str, shape: str) -> None:
    fault = Fault("wrong_body", shape=shape, path=path)

    async def work(client: PrivateClient) -> None:
        ask = (
            client.fetch_open_orders(SYMBOL)
            if "open" in path
            else client.fetch_fills(SYMBOL, since_ms=0)
        )
        with pytest.raises(ExchangeUnreachable):
            await ask

    with run_simulator(fault) as simulator:
        run(simulator, work)


def test_an_order_does_not_wait_for_other_requests() -> None:
    slow = Fault("latency", seconds=60, path="/api/v3/myTrades")
    with run_simulator(slow) as simulator:

        async def work(client: PrivateClient) -> bool:
            hanging = [
                asyncio.create_task(client.fetch_fills(SYMBOL, since_ms=0)) for _ in range(3)
            ]
            await asyncio.sleep(0)
            await client.submit(make_order())
            is_first = not any(task.done() for task in hanging)
            for task in hanging:
                task.cancel()
            await asyncio.wait(hanging)
            return is_first

        assert run(simulator, work)


def test_rights_and_account_of_a_key_are_read(simulator: EmbeddedSimulator) -> None:
    async def work(client: PrivateClient) -> tuple[object, object, str]:
        found = await client.fetch_permissions()
        return found.may_trade, found.may_withdraw, await client.fetch_account_id()

    *rights, account = run(simulator, work)
    assert rights == [True, False]
    *others, same = run(simulator, work, key=Credentials("withdrawer", "withdrawer"))
    assert (others, same) == ([True, True], account)
    with pytest.raises(ExchangeError):
        run(simulator, work, key=Credentials("nobody", "x"))


def test_row_69_a_key_that_is_revoked_is_named_and_not_taken_for_too_many_requests() -> None:
    with run_simulator() as simulator:

        async def work(client: PrivateClient) -> None:
            await client.fetch_balances()
            simulator.run_on_account(lambda account: account.keys.revoke("simulator"))
            for _ in range(2):
                with pytest.raises(ExchangeRefused, match=r"does not accept the API key.*-2015"):
                    await client.fetch_balances()
            with pytest.raises(OrderRefused, match=r"-2015"):
                await client.submit(make_order())

        run(simulator, work)


def test_credentials_show_neither_key_nor_secret() -> None:
    secret = Credentials("canary-key", "canary-secret")
    assert "canary" not in repr(secret)
    assert "canary" not in f"{secret} {[secret]}"


def test_the_http_client_repeats_reads_and_cancels_once_and_never_an_order() -> None:
    """Each request is read by the exchange, whose connection then drops without a response."""
    dialect, arrived = get_dialect("binance"), list[str]()

    def script(method: str, target: str) -> ServerResponse:
        arrived.append(f"{method} {target.partition('?')[0].split()[0]}")
        return ServerResponse(b"", ending="reset")

    async def work() -> None:
        name, stated_ms = uuid4().hex, now_ms()
        terms = OrderTerms(name, SYMBOL, "sell", Decimal("0.01"))
        calls = (
            make_market_order_call(dialect, terms, stated_ms),
            make_stop_order_call(dialect, terms, stated_ms, trigger=Decimal(100)),
            make_replace_stop_call(
                dialect, terms, stated_ms, replaced_id=name, trigger=Decimal(100)
            ),
            make_cancel_order_call(dialect, name, SYMBOL),
            *make_look_up_calls(dialect, name, SYMBOL, since_ms=0),
        )
        async with OrderServer(script) as server, open_private_client("binance", server.url) as tap:
            for call in calls:
                assert (await tap.perform(call)).error is not None

    asyncio.run(work())
    order = "/api/v3/order"
    assert arrived == [
        f"POST {order}", f"POST {order}", f"POST {order}/cancelReplace",
        *[f"DELETE {order}"] * 2, *[f"GET {order}"] * 2,
    ]  # fmt: skip


def test_a_cancel_that_the_http_client_repeats_ends_its_order_alone_and_proves_nothing() -> None:
    lost = Fault("reset", method="DELETE", path="/api/v3/order", count=1, when="after")

    async def work(client: PrivateClient) -> None:
        stops = [make_order("sell", stop_price=Decimal(20_000)) for _ in range(2)]
        for stop in stops:
            await client.submit(stop)
        first, second = (stop.client_order_id for stop in stops)
        with pytest.raises(OrderRefused) as caught:
            await client.cancel(SYMBOL, first, is_stop=True)
        # The order is gone, and not known to be cancelled by another program.
        assert caught.value.is_absent
        found = [await client.look_up(SYMBOL, name, since_ms=0) for name in (first, second)]
        assert [one and one.status for one in found] == ["canceled", "open"]

    with run_simulator(lost) as simulator:
        run(simulator, work)
