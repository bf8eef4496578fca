"""Thin books, late data, bare acknowledgements and lost responses, as clients read them."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import ccxt
import pytest

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTC = "BTC/USDT"


def scale_to_cents(price: Decimal, factor: str) -> float:
    return float((price * Decimal(factor)).quantize(Decimal("0.01")))


@pytest.mark.parametrize(("amount", "filled"), [(0.025, 0.025), (0.1, 0.03)])
def test_a_market_order_takes_several_levels_of_a_thin_book_in_a_stepped_market(
    run: Run, scene: Opened, amount: float, filled: float
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            last = float(await at.last())
            at.simulator.faults.add(kind="thin_book", levels=3, amount=0.01, ticks=100)
            order = await at.client.create_order(BTC, "market", "buy", amount)
            trades = await at.client.fetch_my_trades(BTC)
            assert [one["price"] for one in trades] == [last, last + 1, last + 2]
            assert order["filled"] == filled == sum(one["amount"] for one in trades)
            whole = amount == filled
            assert order["status"] == ("closed" if whole else "expired")
            assert order["info"].get("expiryReason") == (
                None if whole else "INSUFFICIENT_LIQUIDITY"
            )

    run(play())


def test_a_limit_order_takes_part_of_a_thin_book_and_the_rest_stays_open(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            at.simulator.faults.add(kind="thin_book", symbol=BTC, levels=1, amount=0.01)
            order = await at.client.create_order(
                BTC, "limit", "buy", 0.05, scale_to_cents(await at.last(), "1.001")
            )
            assert (order["status"], order["filled"]) == ("open", 0.01)
            for _ in range(60):
                await at.step(60)
            assert (await at.client.fetch_order(order["id"], BTC))["filled"] > 0.01

    run(play())


def test_an_order_is_visible_some_seconds_after_its_effect(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            await at.step(60)
            at.simulator.faults.add(kind="visibility_delay", seconds=10)
            price = scale_to_cents(await at.last(), "0.9")
            mine = {"clientOrderId": "mine"}
            await client.create_order(BTC, "limit", "buy", 0.01, price, mine)
            bought = await client.create_order(BTC, "market", "buy", 0.01)
            assert bought["filled"] == 0.01  # its own response is true
            await at.step(9)
            with pytest.raises(ccxt.OrderNotFound):
                await client.fetch_order(None, BTC, mine)
            assert await client.fetch_open_orders(BTC) == []
            assert await client.fetch_orders(BTC) == []
            assert await client.fetch_my_trades(BTC) == []
            assert (await client.fetch_balance())["BTC"]["total"] == 1.0
            await at.step(1)
            assert (await client.fetch_order(None, BTC, mine))["status"] == "open"
            assert len(await client.fetch_orders(BTC)) == 2
            assert len(await client.fetch_my_trades(BTC)) == 1
            assert (await client.fetch_balance())["BTC"]["total"] > 1.0

    run(play())


def test_a_cancellation_is_visible_late_and_the_hidden_part_can_be_chosen(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            await at.step(60)
            price = scale_to_cents(await at.last(), "0.9")
            order = await client.create_order(BTC, "limit", "buy", 0.01, price)
            await at.step(60)
            at.simulator.faults.add(kind="visibility_delay", shape="orders", seconds=10)
            await client.cancel_order(order["id"], BTC)
            assert (await client.fetch_order(order["id"], BTC))["status"] == "open"
            assert (await client.fetch_balance())["USDT"]["used"] == 0
            await at.step(10)
            assert (await client.fetch_order(order["id"], BTC))["status"] == "canceled"

    run(play())


def test_an_order_is_acknowledged_without_status_and_fills(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            at.simulator.faults.add(kind="ack_only", count=1)
            order = await at.client.create_order(BTC, "market", "buy", 0.01)
            assert (order["status"], order["trades"]) == (None, [])
            assert set(order["info"]) == {
                "symbol",
                "orderId",
                "orderListId",
                "clientOrderId",
                "transactTime",
            }
            assert (await at.client.fetch_order(order["id"], BTC))["status"] == "closed"
            requested = {"newOrderRespType": "ACK"}
            again = await at.client.create_order(BTC, "market", "buy", 0.01, None, requested)
            assert again["status"] is None
            full = await at.client.create_order(BTC, "market", "buy", 0.01)
            assert full["status"] == "closed"

    run(play())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "timeout", "when": "after", "seconds": 60}, ccxt.RequestTimeout),
        ({"kind": "status", "status": 504, "when": "after"}, ccxt.RequestTimeout),
        ({"kind": "reset", "when": "after"}, ccxt.ExchangeNotAvailable),
        ({"kind": "wrong_body", "shape": "html", "when": "after"}, None),
    ],
)
def test_row_57_an_order_whose_response_is_lost_was_placed_once(
    run: Run, scene: Opened, fault: dict[str, Any], error: type[Exception] | None
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            at.simulator.faults.add(method="POST", path="/api/v3/order", count=1, **fault)
            mine = {"clientOrderId": "mine"}

            def send() -> Any:
                return at.client.create_order(BTC, "market", "buy", 0.01, None, mine)

            if error is None:  # a page with status 200
                assert (await send())["id"] is None
            elif fault["kind"] == "timeout":
                # The longer ones are for a machine that stands still before the order arrives.
                for at.client.timeout in (300, 3_000, 30_000):
                    with pytest.raises(error):
                        await send()
                    if at.simulator.faults.log:
                        break
            else:
                with pytest.raises(error):
                    await send()
            found = await at.client.fetch_order(None, BTC, mine)
            assert found["filled"] == 0.01
            assert len(at.simulator.account.exchange.orders) == 1

    run(play())


def test_a_request_with_a_fixed_timestamp_is_refused_when_it_is_late(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(strict_timestamps=True) as at:
            client = at.client
            await client.load_markets()
            pinned_ms = at.now_ms
            client.milliseconds = lambda: pinned_ms
            await at.step(11)  # CCXT sends a recvWindow of 10 s
            with pytest.raises(ccxt.InvalidNonce, match="-1021"):
                await client.create_order(BTC, "market", "buy", 0.01)
            wide = {"recvWindow": 60_000}
            assert (await client.create_order(BTC, "market", "buy", 0.01, None, wide))["id"] == "1"
            client.milliseconds = lambda: at.now_ms + 1_001
            with pytest.raises(ccxt.InvalidNonce, match="ahead of the server"):
                await client.create_order(BTC, "market", "buy", 0.01)

    run(play())
