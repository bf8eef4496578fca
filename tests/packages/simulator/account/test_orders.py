"""The unchanged CCXT class places, queries and cancels every type of order."""

from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from onetape.simulator.market.clock import make_clock

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
MARCH_MS = 1_709_251_200_000
BTC = "BTC/USDT"


def scale_to_cents(price: Decimal, factor: str) -> float:
    """Return a price in whole cents as the float that CCXT takes."""
    return float((price * Decimal(factor)).quantize(Decimal("0.01")))


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_market_order_after_a_close_fills_at_the_open_of_the_next_bar(
    run: Run, scene: Opened, side: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            await at.step(3_600)
            order = await at.client.create_order(BTC, "market", side, 0.01)
            rows = await at.client.fetch_ohlcv(BTC, "1h", since=at.now_ms, limit=1)
            assert rows[0][0] == at.now_ms
            assert (order["status"], order["average"], order["filled"]) == (
                "closed",
                rows[0][1],
                0.01,
            )

    run(play())


def test_in_a_running_market_a_market_order_takes_the_best_offer(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(clock=make_clock(start_ms=MARCH_MS, speed=0.001)) as at:
            await at.client.load_markets()
            ticker = await at.client.fetch_ticker(BTC)
            bought = await at.client.create_order(BTC, "market", "buy", 0.0002)
            sold = await at.client.create_order(BTC, "market", "sell", 0.0002)
            assert (bought["average"], sold["average"]) == (ticker["ask"], ticker["bid"])

    run(play())


def test_a_market_order_by_cost_spends_at_most_the_cost(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            order = await at.client.create_market_buy_order_with_cost(BTC, 1_000)
            last = await at.last()
            assert order["status"] == "closed"
            assert 0 <= 1_000 - order["cost"] < last * Decimal("0.00001")

    run(play())


@pytest.mark.parametrize(
    ("kind", "side", "price", "extra"),
    [
        ("limit", "buy", "0.8", {}),
        ("limit", "sell", "1.2", {}),
        ("market", "sell", None, {"stopLossPrice": "0.9"}),
        ("limit", "sell", "0.89", {"stopLossPrice": "0.9"}),
        ("limit", "buy", "1.11", {"stopLossPrice": "1.1"}),
        ("limit", "sell", "1.1", {"takeProfitPrice": "1.1"}),
        ("limit", "buy", "0.9", {"takeProfitPrice": "0.9"}),
    ],
)
def test_an_order_that_waits_is_placed_found_and_cancelled(
    run: Run, scene: Opened, kind: str, side: str, price: str | None, extra: dict[str, str]
) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            last = await at.last()
            params = {name: scale_to_cents(last, factor) for name, factor in extra.items()}
            limit = None if price is None else scale_to_cents(last, price)
            placed = await client.create_order(BTC, kind, side, 0.01, limit, params)
            found = await client.fetch_order(placed["id"], BTC)
            assert (found["status"], found["side"], found["amount"]) == ("open", side, 0.01)
            if params:
                assert found["triggerPrice"] == next(iter(params.values()))
            assert [one["id"] for one in await client.fetch_open_orders(BTC)] == [placed["id"]]
            asset = "BTC" if side == "sell" else "USDT"
            assert (await client.fetch_balance())[asset]["used"] > 0
            assert (await client.cancel_order(placed["id"], BTC))["status"] == "canceled"
            assert (await client.fetch_order(placed["id"], BTC))["status"] == "canceled"
            assert await client.fetch_open_orders(BTC) == []
            assert (await client.fetch_balance())[asset]["used"] == 0

    run(play())


def test_an_order_is_found_by_the_id_that_the_client_chose(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            price = scale_to_cents(await at.last(), "0.8")
            mine = {"clientOrderId": "onetape-1"}
            placed = await at.client.create_order(BTC, "limit", "buy", 0.01, price, mine)
            found = await at.client.fetch_order(None, BTC, mine)
            assert found["id"] == placed["id"]
            with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
                await at.client.create_order(BTC, "limit", "buy", 0.01, price, mine)
            await at.client.cancel_order(None, BTC, mine)
            again = await at.client.create_order(BTC, "limit", "buy", 0.01, price, mine)
            assert again["id"] != placed["id"]
            assert (await at.client.fetch_order(None, BTC, mine))["id"] == again["id"]

    run(play())


def test_all_orders_of_a_market_are_cancelled_at_once(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            price = scale_to_cents(await at.last(), "0.8")
            for _ in range(3):
                await at.client.create_order(BTC, "limit", "buy", 0.01, price)
            cancelled = await at.client.cancel_all_orders(BTC)
            assert [order["status"] for order in cancelled] == ["canceled"] * 3

    run(play())


def test_a_limit_order_is_filled_in_parts_by_the_trades_of_the_market(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(BTC="50", USDT="1000") as at:
            client = at.client
            await client.load_markets()
            price = scale_to_cents(await at.last(), "1.0005")
            placed = await client.create_order(BTC, "limit", "sell", 20, price)
            seen: list[float] = []
            for _ in range(300):
                await at.step(20)
                order = await client.fetch_order(placed["id"], BTC)
                seen.append(order["filled"])
                if order["status"] == "closed":
                    break
            parts = sorted(set(seen))
            assert len(parts) > 3
            assert seen == sorted(seen)
            fills = await client.fetch_my_trades(BTC)
            assert sum(Decimal(fill["info"]["qty"]) for fill in fills) == Decimal(str(seen[-1]))
            assert {fill["takerOrMaker"] for fill in fills} == {"maker"}
            assert {fill["price"] for fill in fills} == {price}

    run(play())


@pytest.mark.parametrize("in_bnb", [False, True])
def test_balances_follow_from_the_trades_alone(run: Run, scene: Opened, in_bnb: bool) -> None:
    async def play() -> None:
        held = {"USDT": "20000", "BTC": "0.5", "BNB": "1"}
        async with scene(in_bnb=in_bnb, **held) as at:
            client = at.client
            await client.load_markets()
            last = await at.last()
            await client.create_order(BTC, "limit", "buy", 0.05, scale_to_cents(last, "0.999"))
            await client.create_order(BTC, "limit", "sell", 0.05, scale_to_cents(last, "1.001"))
            for number in range(12):
                side = "sell" if number % 3 else "buy"
                await client.create_order(BTC, "market", side, 0.01 + 0.003 * number)
                await client.create_order("BNB/USDT", "market", "buy", 0.1)
                await at.step(300)
            await client.cancel_all_orders(BTC) if await client.fetch_open_orders(BTC) else None
            trades = [
                *await client.fetch_my_trades(BTC), *await client.fetch_my_trades("BNB/USDT")
            ]  # fmt: skip
            expected = recompute_balances(held, [trade["info"] for trade in trades])
            balances = (await client.fetch_balance())["info"]["balances"]
            found = {row["asset"]: Decimal(row["free"]) for row in balances}
            assert {asset: found[asset] for asset in held} == {
                asset: expected[asset] for asset in held
            }
            paid_in = {trade["info"]["commissionAsset"] for trade in trades}
            assert paid_in == ({"BNB"} if in_bnb else {"BTC", "BNB", "USDT"})

    run(play())


def recompute_balances(held: dict[str, str], trades: list[dict[str, Any]]) -> dict[str, Decimal]:
    balances = defaultdict(Decimal, {asset: Decimal(amount) for asset, amount in held.items()})
    for trade in trades:
        sign = 1 if trade["isBuyer"] else -1
        balances[trade["symbol"].removesuffix("USDT")] += sign * Decimal(trade["qty"])
        balances["USDT"] -= sign * Decimal(trade["price"]) * Decimal(trade["qty"])
        balances[trade["commissionAsset"]] -= Decimal(trade["commission"])
    return balances


def test_a_stop_is_filled_when_the_market_reaches_it(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            stop = scale_to_cents(await at.last(), "0.999")
            placed = await at.client.create_order(
                BTC, "market", "sell", 0.01, None, {"stopLossPrice": stop}
            )
            order = placed
            while order["status"] in ("open", None) and at.now_ms < MARCH_MS + 86_400_000:
                await at.step(600)
                order = await at.client.fetch_order(placed["id"], BTC)
            assert (order["status"], order["filled"]) == ("closed", 0.01)
            assert order["average"] <= stop
            assert [row["event"] for row in at.ledger.orders] == ["NEW", "TRIGGERED", "TRADE"]

    run(play())


def test_a_test_order_changes_nothing(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            await at.client.create_order(BTC, "market", "buy", 0.01, None, {"test": True})
            with pytest.raises(ccxt.InsufficientFunds):
                await at.client.create_order(BTC, "market", "buy", 5, None, {"test": True})
            assert at.ledger.orders == []
            assert await at.client.fetch_my_trades(BTC) == []

    run(play())


def test_ccxt_reads_fees_and_key_permissions(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(key="reader") as at:
            await at.client.load_markets()
            fee = await at.client.fetch_trading_fee(BTC)
            assert (fee["maker"], fee["taker"]) == (0.001, 0.001)
            assert BTC in await at.client.fetch_trading_fees()
            rights = await at.client.sapi_get_account_apirestrictions()
            assert (rights["enableReading"], rights["enableSpotAndMarginTrading"]) == (True, False)
            assert rights["enableWithdrawals"] is False

    run(play())
