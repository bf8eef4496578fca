"""cancelReplace, by CCXT's `edit_order` and by its raw call."""

import contextlib
import json
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
NEW_ONLY = {"cancelRestrictions": "ONLY_NEW"}


def scale_to_cents(price: Decimal, factor: str) -> float:
    return float((price * Decimal(factor)).quantize(Decimal("0.01")))


async def place_resting_stop(at: Any) -> Any:
    stop = scale_to_cents(await at.last(), "0.9")
    return await at.client.create_order(BTC, "market", "sell", 1, None, {"stopLossPrice": stop})


async def replace_stop(at: Any, **more: object) -> tuple[int, Any]:
    """Send a stop in place of another with CCXT, and return the status and body of the reply."""
    stop = more.pop("stop", "0.95")
    sent = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_LOSS",
        "cancelReplaceMode": "STOP_ON_FAILURE",
        "quantity": "1",
        "stopPrice": str(scale_to_cents(await at.last(), str(stop))),
        **more,
    }
    statuses: list[int] = []
    handle_errors = at.client.handle_errors

    def noted(status: int, *rest: Any) -> Any:
        statuses.append(status)
        return handle_errors(status, *rest)

    at.client.handle_errors = noted
    with contextlib.suppress(ccxt.BaseError):
        await at.client.private_post_order_cancelreplace(sent)
    return statuses[-1], json.loads(at.client.last_http_response)


def test_ccxt_edits_an_order_and_all_coins_stay_set_aside(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            price = scale_to_cents(await at.last(), "1.2")
            first = await at.client.create_order(BTC, "limit", "sell", 1, price)
            edited = await at.client.edit_order(first["id"], BTC, "limit", "sell", 1, price + 100)
            assert edited["price"] == price + 100
            assert (await at.client.fetch_order(first["id"], BTC))["status"] == "canceled"
            (standing,) = await at.client.fetch_open_orders(BTC)
            assert standing["id"] == edited["id"]
            assert (await at.client.fetch_balance())["BTC"]["used"] == 1.0

    run(play())


def test_a_stop_is_moved_although_it_holds_all_coins(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            old = await place_resting_stop(at)
            status, body = await replace_stop(
                at, cancelOrderId=old["id"], cancelRestrictions="ONLY_NEW"
            )
            assert (status, body["cancelResult"], body["newOrderResult"]) == (
                200,
                "SUCCESS",
                "SUCCESS",
            )
            assert body["cancelResponse"]["status"] == "CANCELED"

    run(play())


def test_a_new_stop_beyond_the_price_leaves_the_coins_without_a_stop(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            old = await place_resting_stop(at)
            status, body = await replace_stop(at, stop="1.05", cancelOrderId=old["id"])
            assert (status, body["code"]) == (409, -2021)
            assert body["data"]["newOrderResponse"] == {
                "code": -2010,
                "msg": "Order would trigger immediately.",
            }
            assert await at.client.fetch_open_orders(BTC) == []

    run(play())


@pytest.mark.parametrize(
    ("mode", "status", "code", "tried"),
    [
        ("STOP_ON_FAILURE", 400, -2022, "NOT_ATTEMPTED"),
        ("ALLOW_FAILURE", 409, -2021, "SUCCESS"),
    ],
)
def test_the_mode_decides_what_a_failed_cancellation_leads_to(
    run: Run, scene: Opened, mode: str, status: int, code: int, tried: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            found = await replace_stop(at, cancelReplaceMode=mode, cancelOrigClientOrderId="gone")
            assert (found[0], found[1]["code"]) == (status, code)
            assert found[1]["data"]["cancelResponse"]["code"] == -2011
            assert found[1]["data"]["newOrderResult"] == tried

    run(play())


def test_a_filter_refuses_before_anything_is_cancelled(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            old = await place_resting_stop(at)
            status, body = await replace_stop(at, cancelOrderId=old["id"], quantity="0.00001")
            assert (status, body["code"], body["msg"]) == (400, -1013, "Filter failure: NOTIONAL")
            assert len(await at.client.fetch_open_orders(BTC)) == 1
            status, body = await replace_stop(at, cancelOrderId=old["id"], nonsense="1")
            assert (status, body["code"]) == (400, -1104)

    run(play())


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", "order"), ("delete", "order"), ("get", "openorders"), ("get", "mytrades")],
)
def test_a_parameter_that_binance_does_not_read_is_refused(
    run: Run, scene: Opened, method: str, path: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            call = getattr(at.client, f"private_{method}_{path}")
            with pytest.raises(ccxt.BaseError, match="-1104"):
                await call({"symbol": "BTCUSDT", "orderId": 1, "nonsense": "1"})

    run(play())


@pytest.mark.parametrize(
    ("restriction", "text"), [("ONLY_PARTIALLY_FILLED", "restrictions"), ("NEVER", "-1145")]
)
def test_a_cancellation_keeps_its_restrictions(
    run: Run, scene: Opened, restriction: str, text: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            order = await place_resting_stop(at)
            with pytest.raises(ccxt.BaseError, match=text):
                await at.client.cancel_order(order["id"], BTC, {"cancelRestrictions": restriction})
            assert len(await at.client.fetch_open_orders(BTC)) == 1

    run(play())


def test_ccxt_raises_when_only_the_cancellation_worked(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(USDT="100", BTC="1") as at:
            await at.client.load_markets()
            price = scale_to_cents(await at.last(), "1.2")
            first = await at.client.create_order(BTC, "limit", "sell", 1, price)
            with pytest.raises(ccxt.ExchangeError):
                await at.client.edit_order(first["id"], BTC, "limit", "sell", 2, price)
            assert await at.client.fetch_open_orders(BTC) == []

    run(play())
