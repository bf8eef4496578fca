"""After any orders by CCXT's class, its trades alone explain the balances."""

import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import ROUND_DOWN, Decimal
from typing import Any

import ccxt
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[Any]]
HELD = {"USDT": "30000", "BTC": "0.5", "ETH": "4", "BNB": "3"}
#: Each market with the rough value of one of its base coins in dollars, and its assets.
MARKETS = {"BTC/USDT": ("BTC", "USDT"), "ETH/BTC": ("ETH", "BTC"), "BNB/USDT": ("BNB", "USDT")}
TYPES = ("market", "cost", "limit", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
ORDERS = 14
#: Refusals that random orders meet: too small or large, no money, no such price, a stop too near.
REFUSED = (ccxt.InvalidOrder, ccxt.InsufficientFunds, ccxt.BadRequest)


async def place_random_order(client: Any, random_: random.Random, last: dict[str, float]) -> bool:
    """Send one order near the last price; return whether the exchange took it."""
    symbol = random_.choice(sorted(MARKETS))
    side, kind = random_.choice(("buy", "sell")), random_.choice(TYPES)
    price = last[symbol] * random_.uniform(0.997, 1.003)
    value = random_.uniform(2, 9_000) / (1 if symbol.endswith("USDT") else last["BTC/USDT"])
    amount = float(client.amount_to_precision(symbol, max(value / last[symbol], 0.001)))
    price = float(client.price_to_precision(symbol, price))
    stop = float(client.price_to_precision(symbol, last[symbol] * random_.uniform(0.998, 1.002)))
    try:
        if kind == "cost":
            await client.create_order(
                symbol, "market", side, None, None, {"quoteOrderQty": round(value, 4)}
            )
        elif kind in ("market", "limit"):
            wait = {} if kind == "market" else {"timeInForce": random_.choice(("GTC", "IOC"))}
            limit = None if kind == "market" else price
            await client.create_order(symbol, kind, side, amount, limit, wait)
        else:
            limit = None if kind == "STOP_LOSS" else price
            await client.create_order(symbol, kind, side, amount, limit, {"stopPrice": stop})
    except REFUSED:
        return False
    return True


async def trade_randomly(at: Any, random_: random.Random) -> int:
    """Send orders, let time pass, cancel now and then; return how many orders were taken."""
    client, taken = at.client, 0
    await client.load_markets()
    for _ in range(ORDERS):
        last = {symbol: float(await at.last(symbol)) for symbol in MARKETS}
        taken += await place_random_order(client, random_, last)
        await at.step(random_.choice((0.5, 5, 60, 900)))
        waiting = [one for symbol in MARKETS for one in await client.fetch_open_orders(symbol)]
        if waiting and random_.random() < 0.3:
            unlucky = random_.choice(waiting)
            await client.cancel_order(unlucky["id"], unlucky["symbol"])
    return taken


def recompute_balances(trades: list[dict[str, Any]]) -> dict[str, Decimal]:
    """Return the balances that myTrades leads to; a quote value is cut at 8 digits."""
    balances = defaultdict(Decimal, {asset: Decimal(amount) for asset, amount in HELD.items()})
    for trade in trades:
        base, quote = next(
            both for symbol, both in MARKETS.items() if symbol.replace("/", "") == trade["symbol"]
        )
        sign = 1 if trade["isBuyer"] else -1
        value = Decimal(trade["price"]) * Decimal(trade["qty"])
        balances[base] += sign * Decimal(trade["qty"])
        balances[quote] -= sign * value.quantize(Decimal("1E-8"), rounding=ROUND_DOWN)
        balances[trade["commissionAsset"]] -= Decimal(trade["commission"])
    return balances


@pytest.mark.parametrize("in_bnb", [False, True])
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_sequence_of_orders_makes_or_loses_money_beyond_the_fees(
    run: Run, scene: Opened, in_bnb: bool, seed: int
) -> None:
    note(f"seed {seed}")

    async def play() -> None:
        async with scene(in_bnb=in_bnb, **HELD) as at:
            taken = await trade_randomly(at, random.Random(seed))  # noqa: S311 - a drawn play
            trades = [
                trade["info"]
                for symbol in MARKETS
                for trade in await at.client.fetch_my_trades(symbol, None, 1_000)
            ]
            rows = (await at.client.fetch_balance())["info"]["balances"]
            found = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
            expected = recompute_balances(trades)
            assert taken
            assert {asset: found[asset] for asset in HELD} == {
                asset: expected[asset] for asset in HELD
            }
            assert all(found[asset] == 0 for asset in found.keys() - HELD)

    run(play())


def test_own_trades_and_orders_from_a_time_on_come_oldest_first(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(**HELD) as at:
            await at.client.load_markets()
            began = at.now_ms
            for _ in range(5):
                await at.client.create_order("BTC/USDT", "market", "buy", 0.01)
                await at.step(2)
            newest = await at.client.fetch_my_trades("BTC/USDT", None, 2)
            first = await at.client.fetch_my_trades("BTC/USDT", began, 2)
            every = await at.client.fetch_my_trades("BTC/USDT")
            assert [one["id"] for one in newest] == [one["id"] for one in every[-2:]]
            assert [one["id"] for one in first] == [one["id"] for one in every[:2]]
            orders = await at.client.fetch_orders("BTC/USDT")
            early = await at.client.fetch_orders("BTC/USDT", began, 2)
            assert [one["id"] for one in early] == [one["id"] for one in orders[:2]]

    run(play())
