"""Order lists (OCO), LIMIT_MAKER and TAKE_PROFIT, sent by the unchanged CCXT class."""

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


def scale_to_cents(price: Decimal, factor: str) -> str:
    return str((price * Decimal(factor)).quantize(Decimal("0.01")))


async def place_oco(at: Any, *, above: str = "1.1", below: str = "0.9") -> Any:
    last = await at.last()
    return await at.client.private_post_orderlist_oco(
        {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "quantity": "0.5",
            "aboveType": "LIMIT_MAKER",
            "abovePrice": scale_to_cents(last, above),
            "belowType": "STOP_LOSS_LIMIT",
            "belowStopPrice": scale_to_cents(last, below),
            "belowPrice": scale_to_cents(last, "0.5"),
            "belowTimeInForce": "GTC",
            "listClientOrderId": "mine",
        }
    )


async def step_until_done(at: Any, list_id: str) -> None:
    for _ in range(60 * 24):
        found = await at.client.private_get_orderlist({"orderListId": list_id})
        if found["listOrderStatus"] == "ALL_DONE":
            return
        await at.step(3_600)
    raise AssertionError("the price never reached either order")


def test_an_oco_locks_its_coins_once_and_either_order_names_the_list(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            placed = await place_oco(at)
            assert placed["listStatusType"] == "EXEC_STARTED"
            assert [one["type"] for one in placed["orderReports"]] == [
                "STOP_LOSS_LIMIT",
                "LIMIT_MAKER",
            ]
            assert (await at.client.fetch_balance())["BTC"] == {
                "free": 0.5,
                "used": 0.5,
                "total": 1.0,
            }
            orders = await at.client.fetch_open_orders(BTC)
            assert {one["info"]["orderListId"] for one in orders} == {placed["orderListId"]}
            (open_list,) = await at.client.private_get_openorderlist()
            assert open_list["listClientOrderId"] == "mine"
            (every,) = await at.client.private_get_allorderlist()
            assert every == open_list

    run(play())


@pytest.mark.parametrize(
    ("above", "below", "filled"),
    [("1.004", "0.5", "LIMIT_MAKER"), ("4", "0.996", "STOP_LOSS_LIMIT")],
)
def test_the_order_of_an_oco_that_trades_first_ends_the_other(
    run: Run, scene: Opened, above: str, below: str, filled: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            placed = await place_oco(at, above=above, below=below)
            await step_until_done(at, placed["orderListId"])
            orders = {one["info"]["type"]: one["info"] for one in await at.client.fetch_orders(BTC)}
            assert orders.pop(filled)["status"] == "FILLED"
            ((_, other),) = orders.items()
            assert (other["status"], other["expiryReason"]) == ("EXPIRED", "OCO_TRIGGER")
            assert (await at.client.fetch_balance())["BTC"]["total"] == 0.5
            assert (await at.client.fetch_balance())["BTC"]["used"] == 0
            lists = [one["L"] for one in at.ledger.events if one["e"] == "listStatus"]
            assert lists == ["EXECUTING", "ALL_DONE"]

    run(play())


@pytest.mark.parametrize("by", ["list", "order", "all"])
def test_cancelling_one_order_of_an_oco_cancels_both(run: Run, scene: Opened, by: str) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            placed = await place_oco(at)
            if by == "list":
                requested = {"symbol": "BTCUSDT", "listClientOrderId": "mine"}
                reply = await client.private_delete_orderlist(requested)
                assert [one["status"] for one in reply["orderReports"]] == ["CANCELED"] * 2
            elif by == "order":
                await client.cancel_order(placed["orders"][1]["orderId"], BTC)
            else:
                (reply,) = await client.private_delete_openorders({"symbol": "BTCUSDT"})
                assert reply["contingencyType"] == "OCO"
            assert await client.fetch_open_orders(BTC) == []
            assert (await client.fetch_balance())["BTC"]["free"] == 1.0
            with pytest.raises(ccxt.OrderNotFound):
                await client.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": 1})

    run(play())


def test_the_older_form_of_an_oco_is_accepted(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            last = await at.last()
            placed = await at.client.private_post_order_oco(
                {
                    "symbol": "BTCUSDT",
                    "side": "BUY",
                    "quantity": "0.1",
                    "price": scale_to_cents(last, "0.9"),
                    "stopPrice": scale_to_cents(last, "1.1"),
                    "stopLimitPrice": scale_to_cents(last, "1.2"),
                    "stopLimitTimeInForce": "GTC",
                }
            )
            kinds = [one["type"] for one in placed["orderReports"]]
            assert kinds == ["LIMIT_MAKER", "STOP_LOSS_LIMIT"]
            used = Decimal(str((await at.client.fetch_balance())["USDT"]["used"]))
            assert used == Decimal(scale_to_cents(last, "1.2")) / 10  # the dearer of the two, once

    run(play())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"abovePrice": "1.00"}, "prices for the orders is not correct"),
        ({"belowType": "LIMIT_MAKER"}, "-1102"),
        ({"aboveType": "STOP_LOSS"}, "-1102"),
        ({"quantity": "2"}, "insufficient balance"),
        ({"aboveTrailingDelta": "100"}, "Trailing stop orders are not supported"),
        ({"aboveIcebergQty": "0.1"}, "Iceberg orders are not supported"),
        ({"nonsense": "1"}, "-1104"),
    ],
)
def test_an_oco_that_binance_refuses_changes_nothing(
    run: Run, scene: Opened, change: dict[str, str], text: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            last = await at.last()
            if "abovePrice" in change:
                change["abovePrice"] = scale_to_cents(last, "0.8")
            sent = {
                "symbol": "BTCUSDT",
                "side": "SELL",
                "quantity": "0.5",
                "aboveType": "LIMIT_MAKER",
                "abovePrice": scale_to_cents(last, "1.1"),
                "belowType": "STOP_LOSS",
                "belowStopPrice": scale_to_cents(last, "0.9"),
            }
            with pytest.raises(ccxt.BaseError, match=text):
                await at.client.private_post_orderlist_oco({**sent, **change})
            assert not at.simulator.account.exchange.orders
            assert (await at.client.fetch_balance())["BTC"]["used"] == 0

    run(play())


def test_a_limit_maker_that_would_take_is_refused(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            last = await at.last()
            post_only = {"postOnly": True}
            dear = float(scale_to_cents(last, "1.1"))
            with pytest.raises(ccxt.OrderImmediatelyFillable):
                await at.client.create_order(BTC, "limit", "buy", 0.01, dear, post_only)
            cheap = float(scale_to_cents(last, "0.9"))
            order = await at.client.create_order(BTC, "limit", "buy", 0.01, cheap, post_only)
            found = await at.client.fetch_order(order["id"], BTC)
            assert (found["info"]["type"], found["status"]) == ("LIMIT_MAKER", "open")

    run(play())


def test_a_take_profit_triggers_at_its_price_and_takes_the_available_amount(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            target = float(scale_to_cents(await at.last(), "1.003"))
            order = await at.client.create_order(
                BTC, "market", "sell", 0.01, None, {"takeProfitPrice": target}
            )
            found = await at.client.fetch_order(order["id"], BTC)
            while found["status"] == "open":
                await at.step(3_600)
                found = await at.client.fetch_order(order["id"], BTC)
            assert (found["status"], found["info"]["type"]) == ("closed", "TAKE_PROFIT")
            assert found["average"] >= target

    run(play())


def test_exchange_info_lists_no_feature_that_orders_are_refused_for(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            info = at.client.market(BTC)["info"]
            features = {
                "allowTrailingStop": {"type": "STOP_LOSS", "trailingDelta": "100"},
                "icebergAllowed": {
                    "type": "LIMIT",
                    "timeInForce": "GTC",
                    "price": "1000.00",
                    "icebergQty": "0.1",
                },
                "pegInstructionsAllowed": {
                    "type": "LIMIT",
                    "timeInForce": "GTC",
                    "price": "1000.00",
                    "pegPriceType": "MARKET_PEG",
                },
            }
            for feature, extra in features.items():
                assert info[feature] is False
                sent = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.5", **extra}
                sent |= {"stopPrice": "1000.00"} if extra["type"] == "STOP_LOSS" else {}
                with pytest.raises(ccxt.BaseError, match="not supported for this symbol"):
                    await at.client.private_post_order(sent)
            assert not any(info[name] for name in ("amendAllowed", "otoAllowed", "opoAllowed"))

    run(play())
