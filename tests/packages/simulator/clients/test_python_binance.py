"""python-binance trades on the simulator unchanged; only its addresses differ."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
BTC = "BTCUSDT"
#: What python-binance itself imports of websockets.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")


@asynccontextmanager
async def open_client() -> AsyncGenerator[tuple[Any, Simulator]]:
    """Open python-binance's asynchronous client on a simulator in real time."""
    from binance.async_client import AsyncClient  # pyright: ignore[reportMissingTypeStubs] - none

    made: Any = AsyncClient
    simulator = Simulator(seed=3, balance={"USDT": Decimal(10_000), "BTC": Decimal(1)})
    async with simulator:
        client = made("simulator", "simulator")
        client.API_URL = f"{simulator.url}/api"
        client.MARGIN_API_URL = f"{simulator.url}/sapi"
        client.ws_api._url = f"ws{simulator.url[4:]}/ws-api/v3"
        try:
            yield client, simulator
        finally:
            await client.close_connection()


def scale_price(price: str, factor: str) -> str:
    return str((Decimal(price) * Decimal(factor)).quantize(Decimal("0.01")))


def test_an_order_is_placed_looked_up_and_cancelled(run: Run) -> None:
    async def play() -> None:
        async with open_client() as (client, _):
            assert (await client.get_exchange_info())["symbols"]
            price = (await client.get_symbol_ticker(symbol=BTC))["price"]
            assert len(await client.get_klines(symbol=BTC, interval="1m", limit=5)) == 5
            bought = await client.order_market_buy(symbol=BTC, quantity="0.01")
            assert bought["status"] == "FILLED"
            by_value = await client.order_market_buy(symbol=BTC, quoteOrderQty="100")
            assert by_value["status"] == "FILLED"
            placed = await client.order_limit_sell(
                symbol=BTC, quantity="0.01", price=scale_price(price, "1.2")
            )
            found = await client.get_order(symbol=BTC, orderId=placed["orderId"])
            assert found["status"] == "NEW"
            assert len(await client.get_open_orders(symbol=BTC)) == 1
            canceled = await client.cancel_order(symbol=BTC, orderId=placed["orderId"])
            assert canceled["status"] == "CANCELED"
            assert len(await client.get_all_orders(symbol=BTC)) == 3
            assert len(await client.get_my_trades(symbol=BTC)) >= 2
            assert Decimal((await client.get_asset_balance(asset="BTC"))["free"]) > 1
            rights = await client.get_account_api_permissions()
            assert rights["enableWithdrawals"] is False

    run(play())


def test_stops_oco_and_cancel_replace_work(run: Run) -> None:
    async def play() -> None:
        async with open_client() as (client, simulator):
            price = (await client.get_symbol_ticker(symbol=BTC))["price"]
            oco = await client.create_oco_order(
                symbol=BTC,
                side="SELL",
                quantity="0.5",
                aboveType="LIMIT_MAKER",
                abovePrice=scale_price(price, "1.2"),
                belowType="STOP_LOSS",
                belowStopPrice=scale_price(price, "0.8"),
            )
            assert oco["listOrderStatus"] == "EXECUTING"
            (listed,) = await client.get_open_oco_orders()
            assert listed["orderListId"] == oco["orderListId"]
            await client.v3_delete_order_list(symbol=BTC, orderListId=oco["orderListId"])
            stop = await client.create_order(
                symbol=BTC,
                side="SELL",
                type="STOP_LOSS",
                quantity="1",
                stopPrice=scale_price(price, "0.8"),
            )
            moved = await client.cancel_replace_order(
                symbol=BTC,
                side="SELL",
                type="STOP_LOSS",
                quantity="1",
                stopPrice=scale_price(price, "0.85"),
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrderId=stop["orderId"],
            )
            assert moved["newOrderResult"] == "SUCCESS"
            statuses = [one.status for one in simulator.account.exchange.orders.values()]
            assert statuses == ["CANCELED", "CANCELED", "CANCELED", "NEW"]

    run(play())


def test_the_user_stream_and_the_websocket_api_work(run: Run) -> None:
    async def play() -> None:
        from binance.ws.streams import (  # pyright: ignore[reportMissingTypeStubs] - none
            BinanceSocketManager,
        )

        manager: Any = BinanceSocketManager
        async with open_client() as (client, _), manager(client).user_socket() as stream:
            order = await client.ws_create_order(
                symbol=BTC, side="BUY", type="MARKET", quantity="0.01"
            )
            assert order["status"] == "FILLED"
            kinds: list[str] = []
            while "TRADE" not in kinds:
                message = await asyncio.wait_for(stream.recv(), 120)
                event = message.get("event", message)
                kinds.append(event.get("x", event["e"]))
            assert kinds[0] == "NEW"

    run(play())


def test_an_error_is_raised_with_binances_code(run: Run) -> None:
    from binance.exceptions import (  # pyright: ignore[reportMissingTypeStubs] - none
        BinanceAPIException,
    )

    async def play() -> None:
        async with open_client() as (client, _):
            with pytest.raises(BinanceAPIException) as error:
                await client.order_market_buy(symbol=BTC, quantity="0.00001")
            assert vars(error.value)["code"] == -1013

    run(play())
