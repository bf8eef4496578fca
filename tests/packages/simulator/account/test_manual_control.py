"""Manual actions over HTTP on orders, keys, trading rules and prices."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt
import pytest

from onetape.simulator.trading.account_service import CAMPAIGN_BALANCE

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTC = "BTC/USDT"


async def post(at: Any, path: str, body: object) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{at.simulator.url}/simulator/{path}",
            data=json.dumps(body),
            headers={"X-Onetape-Control": "1"},
        ) as response,
    ):
        return response.status, await response.json()


def scale_to_cents(price: Decimal, factor: str) -> str:
    return str((price * Decimal(factor)).quantize(Decimal("0.01")))


def test_a_person_cancels_the_stop_of_a_program(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            stop = {"stopLossPrice": float(scale_to_cents(await at.last(), "0.9"))}
            order = await client.create_order(BTC, "market", "sell", 0.5, None, stop)
            requested = {"symbol": BTC, "order_id": int(order["id"])}
            assert (await post(at, "account/cancel", requested))[1]["canceled"] == [1]
            assert (await client.fetch_order(order["id"], BTC))["status"] == "canceled"
            status, body = await post(at, "account/cancel", {"symbol": BTC})
            assert (status, body["code"]) == (400, -2011)

    run(play())


def test_a_person_places_an_order_of_any_type(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            price = scale_to_cents(await at.last(), "1.5")
            body = {"symbol": BTC, "side": "SELL", "type": "LIMIT_MAKER", "quantity": "0.1"}
            status, _ = await post(at, "account/place", {**body, "price": price})
            (order,) = await at.client.fetch_open_orders(BTC)
            assert (status, order["clientOrderId"][:4]) == (200, "web_")
            status, found = await post(at, "account/place", body)
            assert (status, found["code"]) == (400, -1102)

    run(play())


def test_a_key_is_revoked_rotated_and_gets_other_rights(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            status, key = await post(
                at, "keys/change", {"key": "simulator", "withdrawals": True, "trading": False}
            )
            assert (status, key["withdrawals"], "secret" in key) == (200, True, False)
            rights = await client.sapi_get_account_apirestrictions()
            assert rights["enableWithdrawals"] is True
            assert rights["enableSpotAndMarginTrading"] is False
            with pytest.raises(ccxt.BaseError, match="-2015"):
                await client.create_order(BTC, "market", "buy", 0.01)
            rotated = {"key": "simulator", "new_key": "second", "secret": "other"}
            await post(at, "keys/rotate", {**rotated})
            with pytest.raises(ccxt.BaseError, match="-2015"):
                await client.fetch_balance()
            client.apiKey, client.secret = "second", "other"
            assert (await client.fetch_balance())["BTC"]["total"] == 1.0
            await post(at, "keys/revoke", {"key": "second"})
            with pytest.raises(ccxt.BaseError, match="-2015"):
                await client.fetch_balance()

    run(play())


def test_several_keys_trade_one_account(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            assert (await post(at, "keys/create", {"key": "two", "secret": "s"}))[0] == 200
            await at.client.create_order(BTC, "market", "buy", 0.01)
            at.client.apiKey, at.client.secret = "two", "s"
            assert len(await at.client.fetch_my_trades(BTC)) == 1

    run(play())


def test_changed_steps_are_published_and_enforced(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            body = {"symbol": BTC, "amount_step": "0.01", "price_step": "1", "min_notional": "200"}
            status, found = await post(at, "account/rules", body)
            assert (status, found["amount_step"]) == (200, "0.01000000")
            with pytest.raises(ccxt.InvalidOrder, match="LOT_SIZE"):
                await client.create_order(BTC, "market", "buy", 0.015)
            with pytest.raises(ccxt.BaseError, match="PRICE_FILTER"):
                await client.create_order(BTC, "limit", "buy", 0.01, 30_000.5)
            await client.load_markets(reload=True)
            market = client.market(BTC)
            assert (market["precision"]["amount"], market["precision"]["price"]) == (0.01, 1.0)
            assert market["limits"]["cost"]["min"] == 200
            body = {"symbol": BTC, "max_market_quantity": "0.05"}
            status, found = await post(at, "account/rules", body)
            assert (found["max_market_quantity"], found["min_notional"]) == (
                "0.05000000", "200.00000000"
            )  # fmt: skip
            with pytest.raises(ccxt.InvalidOrder, match="MARKET_LOT_SIZE"):
                await client.create_order(BTC, "market", "buy", 0.06)
            await client.load_markets(reload=True)
            assert client.market(BTC)["limits"]["market"]["max"] == 0.05
            by_value = await client.create_market_buy_order_with_cost(BTC, 1_000)
            assert Decimal(str(by_value["filled"])) % Decimal("0.01") == 0
            status, _ = await post(at, "account/rules", {"symbol": BTC, "amount_step": "0.000001"})
            assert status == 400

    run(play())


def test_after_bnb_is_withdrawn_fees_are_paid_in_the_coin(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(USDT="10000", BNB="1") as at:
            await at.client.load_markets()
            await post(at, "account/fees", {"in_bnb": True})
            first = await at.client.create_order(BTC, "market", "buy", 0.01)
            assert (await post(at, "account/drain", {"asset": "BNB"}))[0] == 200
            second = await at.client.create_order(BTC, "market", "buy", 0.01)
            coins = [one["trades"][0]["fee"]["currency"] for one in (first, second)]
            assert coins == ["BNB", "BTC"]

    run(play())


def test_an_unknown_action_is_refused_with_the_possible_actions(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            for path, body, reason in (
                ("account/rules", {"symbol": BTC}, "no rule is given"),
                ("account/rules", {"symbol": BTC, "tick": "1"}, "missing or unknown: tick"),
                ("account/buy", {"symbol": BTC}, "exactly one of quantity and quote must be given"),
                ("account/buy", {"quantity": "1"}, "missing or unknown: symbol"),
                ("account/fees", {"in_bnb": "yes"}, "true or false, found 'yes'"),
                ("account/dance", {}, "missing or unknown: dance"),
                ("keys/create", {"key": "k"}, "missing or unknown: secret"),
                ("keys/change", {"key": "simulator", "flying": True}, "missing or unknown: flying"),
                ("keys/revoke", {"key": "nobody"}, "missing or unknown: nobody"),
            ):
                status, response = await post(at, path, body)
                assert (status, "there are" in response["error"]) == (400, True), path
                assert response["because"] == reason, path

    run(play())


def test_a_scripted_price_gap_moves_candles_trades_and_stops_alike(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            stop = {"stopLossPrice": float(scale_to_cents(await at.last(), "0.95"))}
            order = await client.create_order(BTC, "market", "sell", 0.5, None, stop)
            body = {"symbol": BTC, "percent": -10, "after": "1m"}
            status, move = await post(at, "price", body)
            assert (status, move["start_ms"], move["end_ms"]) == (200, at.now_ms + 120_000, None)
            await at.step(180)
            before, after = (await client.fetch_ohlcv(BTC, "1m", since=at.now_ms - 120_000))[:2]
            assert after[1] == pytest.approx(before[4] * 0.9, rel=0.001)
            sold = await client.fetch_order(order["id"], BTC)
            assert sold["status"] == "closed"
            assert sold["average"] == pytest.approx(before[4] * 0.9, rel=0.002)
            trades = await client.fetch_trades(BTC)
            assert trades[-1]["price"] < stop["stopLossPrice"]
            bars = await client.fetch_ohlcv(BTC, "1h", since=at.now_ms - 3_600_000)
            assert bars[-1][3] < stop["stopLossPrice"]

    run(play())


def test_a_scripted_spike_is_over_after_its_time(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            start_ms = at.now_ms
            requested = {"symbol": BTC, "percent": 20, "for": "1m"}
            assert (await post(at, "price", requested))[0] == 200
            await at.step(240)
            rows = await client.fetch_ohlcv(BTC, "1m", since=start_ms)
            opens = [row[1] for row in rows[:3]]
            assert opens[1] == pytest.approx(opens[0] * 1.2, rel=0.01)
            assert opens[2] == pytest.approx(opens[0], rel=0.01)
            assert (await post(at, "price", {"symbol": BTC, "percent": "much"}))[0] == 400
            assert (await post(at, "price", {"symbol": "NO/NO", "percent": 1}))[0] == 400

    run(play())


def test_the_account_of_a_campaign_can_pay_for_ten_orders_and_has_baseline_coins() -> None:
    assert CAMPAIGN_BALANCE["USDT"] >= 10 * 10_000
    assert {"BTC", "BNB"} <= set(CAMPAIGN_BALANCE)
