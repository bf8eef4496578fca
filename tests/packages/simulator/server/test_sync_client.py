"""The unchanged synchronous `ccxt.binance` on a simulator that runs in a thread."""

from collections.abc import Generator
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from ccxt_addresses import redirect
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock

#: 2024-03-01 00:00 UTC, epoch milliseconds.
MARCH_MS = 1_709_251_200_000
BTC = "BTC/USDT"
HELD = {"USDT": Decimal(10_000), "BTC": Decimal(30)}


@pytest.fixture
def simulator() -> Generator[EmbeddedSimulator]:
    """Return a simulator with a stepped clock."""
    clock = make_clock(start_ms=MARCH_MS, stepped=True)
    with embedded_simulator(seed=3, clock=clock, balance=HELD) as simulator:
        yield simulator


@pytest.fixture
def client(simulator: EmbeddedSimulator) -> Generator[Any]:
    """Return the synchronous client, its markets loaded."""
    client: Any = ccxt.binance(
        {
            "apiKey": "simulator",
            "secret": "simulator",
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["spot"]}},
        }
    )
    client.milliseconds = simulator.clock.now_ms
    redirect(client.urls["api"], simulator.url)
    client.load_markets()
    yield client
    client.session.close()


def scale_to_cents(client: Any, factor: str) -> float:
    last = Decimal(str(client.fetch_ticker(BTC)["last"]))
    return float((last * Decimal(factor)).quantize(Decimal("0.01")))


def recompute_balances(trades: list[Any]) -> dict[str, Decimal]:
    """Return the balances that follow from these trades."""
    balance = dict(HELD)
    for trade in (one["info"] for one in trades):
        sign = 1 if trade["isBuyer"] else -1
        balance["BTC"] += sign * Decimal(trade["qty"])
        balance["USDT"] -= sign * Decimal(trade["quoteQty"])
        balance[trade["commissionAsset"]] -= Decimal(trade["commission"])
    return balance


def test_ccxts_synchronous_client_reads_markets_candles_the_book_and_trades(client: Any) -> None:
    market = client.market(BTC)
    assert market["active"]
    assert market["limits"]["cost"]["min"] == 5
    rows = client.fetch_ohlcv(BTC, "1h", since=MARCH_MS - 36_000_000, limit=100)
    assert [row[0] for row in rows] == [MARCH_MS + hour * 3_600_000 for hour in range(-10, 1)]
    book = client.fetch_order_book(BTC, 20)
    assert (len(book["bids"]), len(book["asks"])) == (20, 20)
    assert book["bids"][0][0] < book["asks"][0][0]
    trades = client.fetch_trades(BTC, limit=50)
    assert len(trades) == 50
    assert trades[-1]["price"] == client.fetch_ticker(BTC)["last"]


def test_a_market_order_is_filled_and_its_trades_add_up_to_the_balance(client: Any) -> None:
    order = client.create_order(BTC, "market", "buy", 0.01)
    assert (order["status"], order["filled"]) == ("closed", 0.01)
    trades = client.fetch_my_trades(BTC)
    assert {trade["order"] for trade in trades} == {order["id"]}
    rows = client.fetch_balance()["info"]["balances"]
    found = {row["asset"]: Decimal(row["free"]) for row in rows if row["asset"] in HELD}
    assert found == recompute_balances(trades)


def test_a_limit_order_is_filled_in_parts_and_cancelled(
    simulator: EmbeddedSimulator, client: Any
) -> None:
    placed = client.create_order(BTC, "limit", "sell", 25, scale_to_cents(client, "1.0005"))
    order = placed
    for step in range(1, 300):
        simulator.advance_to_ms(MARCH_MS + 20_000 * step)
        order = client.fetch_order(placed["id"], BTC)
        if order["filled"]:
            break
    assert (order["status"], 0 < order["filled"] < 25) == ("open", True)
    assert client.cancel_order(placed["id"], BTC)["status"] == "canceled"
    fills = client.fetch_my_trades(BTC)
    assert sum(Decimal(fill["info"]["qty"]) for fill in fills) == Decimal(str(order["filled"]))
    balance = client.fetch_balance()
    assert balance["BTC"]["used"] == 0
    rows = balance["info"]["balances"]
    found = {row["asset"]: Decimal(row["free"]) for row in rows if row["asset"] in HELD}
    assert found == recompute_balances(fills)


def test_a_stop_waits_and_then_fills_at_its_price_or_below(
    simulator: EmbeddedSimulator, client: Any
) -> None:
    stop = scale_to_cents(client, "0.999")
    placed = client.create_order(BTC, "market", "sell", 0.01, None, {"stopLossPrice": stop})
    order = client.fetch_order(placed["id"], BTC)
    assert (order["status"], order["triggerPrice"]) == ("open", stop)
    for step in range(1, 145):
        simulator.advance_to_ms(MARCH_MS + 600_000 * step)
        order = client.fetch_order(placed["id"], BTC)
        if order["status"] == "closed":
            break
    assert order["status"] == "closed"
    assert order["average"] <= stop


def test_a_client_id_of_an_open_order_is_refused(client: Any) -> None:
    price, mine = scale_to_cents(client, "0.8"), {"clientOrderId": "onetape-1"}
    client.create_order(BTC, "limit", "buy", 0.01, price, mine)
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        client.create_order(BTC, "limit", "buy", 0.01, price, mine)
    assert len(client.fetch_open_orders(BTC)) == 1


def test_an_order_of_too_little_value_is_refused(client: Any) -> None:
    with pytest.raises(ccxt.BadRequest, match="NOTIONAL"):
        client.create_order(BTC, "market", "buy", 0.00001)
    assert client.fetch_my_trades(BTC) == []
