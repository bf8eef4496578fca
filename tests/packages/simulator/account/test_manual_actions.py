"""Deposits, withdrawals and orders by hand, and the ledger that shows them."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import ROUND_DOWN, Decimal
from typing import Any

import aiohttp
import pytest

from onetape.core.errors import ExchangeUnreachable, UsageError
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.simulator.trading.account_service import parse_balance
from onetape.simulator.trading.ledger_command import format_summary, read_ledger

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
MARCH_MS = 1_709_251_200_000


async def post_action(at: Any, action: str, body: object) -> tuple[int, Any]:
    url = f"{at.simulator.url}/simulator/account/{action}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=json.dumps(body), headers={"X-Onetape-Control": "1"}) as response,
    ):
        return response.status, await response.json()


def test_a_manual_deposit_and_withdrawal_change_the_balance(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(USDT="100") as at:
            status, body = await post_action(at, "deposit", {"asset": "BTC", "amount": "0.5"})
            assert (status, body["balances"]["BTC"]["free"]) == (200, "0.50000000")
            await post_action(at, "withdraw", {"asset": "BTC", "amount": "0.2"})
            status, body = await post_action(at, "withdraw", {"asset": "BTC", "amount": "0.31"})
            assert (status, body["code"]) == (400, -2010)
            assert [row["reason"] for row in at.ledger.balances] == [
                "opening", "deposit", "withdrawal"
            ]  # fmt: skip
            changes = [event for event in at.ledger.events if event["e"] == "balanceUpdate"]
            assert [event["d"] for event in changes] == ["0.50000000", "-0.20000000"]

    run(play())


def test_a_manual_order_sells_coins(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            status, body = await post_action(at, "sell", {"symbol": "BTC/USDT", "quantity": "0.4"})
            assert (status, body["order"]["status"]) == (200, "FILLED")
            (order,) = await at.client.fetch_orders("BTC/USDT")
            assert order["clientOrderId"].startswith("web_")
            assert (await at.client.fetch_balance())["BTC"]["total"] == 0.6
            await post_action(at, "buy", {"symbol": "BTCUSDT", "quote": "500"})
            assert len(await at.client.fetch_my_trades("BTC/USDT")) == 2

    run(play())


def test_dust_becomes_bnb(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(DOGE="7", ETH="0.0001") as at:
            status, body = await post_action(at, "dust", {"assets": ["DOGE", "ETH"]})
            assert status == 200
            assert (
                body["balances"]["DOGE"]["free"] == body["balances"]["ETH"]["free"] == "0.00000000"
            )
            bnb = await at.last("BNB/USDT")
            values = [
                Decimal(amount) * await at.last(f"{asset}/USDT") / bnb * Decimal("0.98")
                for asset, amount in (("DOGE", "7"), ("ETH", "0.0001"))
            ]
            came = sum(one.quantize(Decimal("1E-8"), rounding=ROUND_DOWN) for one in values)
            assert Decimal(body["bnb"]) == Decimal(body["balances"]["BNB"]["free"]) == came > 0

    run(play())


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("deposit", {"asset": "BTC"}),
        ("deposit", {"asset": "BTC", "amount": 0.5}),
        ("deposit", {"asset": "BTC", "amount": "-1"}),
        ("deposit", {"asset": "BTC", "amount": "0.000000001"}),
        ("deposit", {"asset": "btc", "amount": "1"}),
        ("deposit", {"asset": "BTC", "amount": "NaN"}),
        ("deposit", {"asset": "BTC", "amount": "1E+400"}),
        ("deposit", {"asset": "BTC", "amount": "1_0"}),
        ("deposit", {"asset": "BTC", "amount": True}),
        ("sell", {"symbol": "BTC/USDT"}),
        ("sell", {"symbol": "NOPE/USDT", "quantity": "1"}),
        ("dust", {"assets": "BTC"}),
        ("shake", {}),
        ("deposit", [1]),
        ("deposit", "text"),
        ("deposit", None),
    ],
)
def test_an_invalid_manual_action_changes_nothing(
    run: Run, scene: Opened, action: str, body: object
) -> None:
    async def play() -> None:
        async with scene() as at:
            rows = len(at.ledger.balances)
            status, response = await post_action(at, action, body)
            assert status == 400
            assert response.get("error") or response.get("msg")
            assert len(at.ledger.balances) == rows

    run(play())


def test_the_ledger_is_read_over_http_and_by_the_command() -> None:
    clock = make_clock(start_ms=MARCH_MS, stepped=True)
    with embedded_simulator(seed=3, clock=clock, balance={"BTC": Decimal(1)}) as simulator:
        simulator.run_on_account(
            lambda account: account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.4"))
        )
        start = {"startTime": str(MARCH_MS - 7_200_000), "endTime": str(MARCH_MS)}
        document = read_ledger(simulator.url, {"symbol": "BTC/USDT", "interval": "1h", **start})
    assert set(document) == {"account", "orders", "fills", "balances", "candles"}
    assert document["account"]["BTC"] == {"free": "0.60000000", "locked": "0.00000000"}
    assert [row["event"] for row in document["orders"]] == ["NEW", "TRADE"]
    assert len(document["fills"]) == 1
    assert len(document["candles"]) == 2
    assert "1 order (0 open), 1 fill" in format_summary(document)


def test_the_ledger_of_an_unknown_account_is_one_error() -> None:
    with pytest.raises(ExchangeUnreachable, match="no simulator listens"):
        read_ledger("http://127.0.0.1:9")


def test_the_same_clock_steps_and_requests_give_the_same_ledger(run: Run, scene: Opened) -> None:
    async def play() -> str:
        async with scene(pro=False, BTC="30", USDT="50000") as at:
            await at.client.load_markets()
            for number in range(10):
                price = float((await at.last() * Decimal("1.0003")).quantize(Decimal("0.01")))
                mine = {"clientOrderId": f"order-{number}"}
                await at.client.create_order("BTC/USDT", "limit", "sell", 2, price, mine)
                await at.client.create_order("BTC/USDT", "market", "buy", 0.01, None, {
                    "clientOrderId": f"market-{number}"
                })  # fmt: skip
                await at.step(90)
            return json.dumps(vars(at.ledger))

    assert run(play()) == run(play())


@pytest.mark.parametrize(
    ("text", "balance"),
    [
        ("USDT=10000", {"USDT": Decimal(10_000)}),
        ("USDT=10000, BTC=0.5", {"USDT": Decimal(10_000), "BTC": Decimal("0.5")}),
    ],
)
def test_a_balance_option_is_parsed(text: str, balance: dict[str, Decimal]) -> None:
    assert parse_balance(text) == balance


@pytest.mark.parametrize(
    "text", ["", "USDT", "USDT=", "USDT=ten", "USDT=-5", "USDT=1E+400", "A=1,A=2", "=5"]
)
def test_an_invalid_balance_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--balance"):
        parse_balance(text)
