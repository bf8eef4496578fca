"""No sequence of orders, cancels and clock steps makes or loses money beyond the fees."""

from collections import defaultdict
from decimal import ROUND_DOWN, Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SYMBOLS, SpotSymbol
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.market_trade_feed import MarketTradeFeed
from onetape.simulator.trading.orders import LIMIT_TYPES, RequestedOrder, SimulatedOrder
from repeatable import count_examples

MARCH_MS = 1_709_251_200_000
MARKET = SimulatedMarket(3)
TRADED = tuple(symbol for symbol in SYMBOLS if symbol.id in ("BTCUSDT", "ETHBTC", "BNBUSDT"))
OPENING = {"USDT": Decimal(200_000), "BTC": Decimal(3), "ETH": Decimal(20), "BNB": Decimal(40)}

orders = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(TRADED),
        "side": st.sampled_from(["BUY", "SELL"]),
        "type": st.sampled_from(
            ["MARKET", "LIMIT", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
        ),
        "time_in_force": st.sampled_from(["GTC", "IOC", "FOK"]),
        "value": st.integers(5, 90_000),
        "by_value": st.booleans(),
        "price": st.integers(-8, 25),
        "stop": st.integers(-2, 25),
    }
)
passing = st.integers(1, 1_800_000)
"""Milliseconds that pass."""
others = st.one_of(
    passing,
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("fees"), st.booleans()),
)
plays = st.lists(st.tuples(orders, passing, orders, others), min_size=1, max_size=8).map(
    lambda rounds: [step for each in rounds for step in each]
)


def get_last_price(symbol: SpotSymbol, now_ms: int) -> int:
    return int(MARKET.get_running_trades(symbol, now_ms).price[-1])


def request_of(wish: dict[str, Any], now_ms: int) -> RequestedOrder:
    """Return an order near the last price; `price` and `stop` are twenty-thousandths away from it.

    Above zero is where the order waits, below where it is met at once.
    """
    symbol: SpotSymbol = wish["symbol"]
    last = get_last_price(symbol, now_ms)
    kind: Any = wish["type"]
    unit = last // 20_000 + 1
    away = -unit if wish["side"] == "BUY" else unit
    stop_away = away if kind == "TAKE_PROFIT_LIMIT" else -away
    quote_value = Decimal(wish["value"]) / (1 if symbol.quote == "USDT" else 50_000)
    step_value = Decimal(last).scaleb(-symbol.price_digits - symbol.amount_digits)
    by_value = kind == "MARKET" and wish["by_value"]
    return RequestedOrder(
        symbol,
        wish["side"],
        kind,
        wish["time_in_force"],
        0 if by_value else int(quote_value / step_value) + 1,
        quote_value.quantize(Decimal("0.0001")) if by_value else Decimal(0),
        last + wish["price"] * away if kind in LIMIT_TYPES else 0,
        last + wish["stop"] * stop_away if kind.startswith(("STOP", "TAKE")) else 0,
    )  # fmt: skip


def trade_steps(steps: list[Any], *, held: bool) -> Exchange:
    exchange = Exchange(
        MarketTradeFeed(MARKET, held=held), SYMBOLS, balance=OPENING, now_ms=MARCH_MS, fees=Fees()
    )
    now_ms = MARCH_MS
    for step in steps:
        if isinstance(step, int):
            now_ms += step
            exchange.settle(now_ms)
        elif isinstance(step, dict):
            try:
                exchange.place(request_of(step, now_ms), now_ms)  # pyright: ignore[reportUnknownArgumentType] - drawn
            except Refusal:
                continue
        elif step[0] == "fees":
            exchange.fees.in_bnb = step[1]
        else:
            waiting: list[SimulatedOrder] = exchange.get_open_orders()
            if waiting:
                exchange.cancel(waiting[int(step[1]) % len(waiting)], now_ms)
    return exchange


def recompute_balances(exchange: Exchange) -> dict[str, Decimal]:
    """Return the balances that the fills alone lead to."""
    held: defaultdict[str, Decimal] = defaultdict(Decimal, OPENING)
    for fill in exchange.fills:
        sign = 1 if fill.side == "BUY" else -1
        quantity = Decimal(fill.quantity).scaleb(-fill.symbol.amount_digits)
        price = Decimal(fill.price).scaleb(-fill.symbol.price_digits)
        value = (quantity * price).quantize(Decimal("1E-8"), rounding=ROUND_DOWN)
        held[fill.symbol.base] += sign * quantity
        held[fill.symbol.quote] -= sign * value
        held[fill.fee_asset] -= fill.fee
    return held


def check_books(exchange: Exchange) -> None:
    account = exchange.account
    fills = recompute_balances(exchange)
    for asset in account.get_assets():
        assert account.get_free(asset) + account.get_locked(asset) == fills[asset]
    locked: defaultdict[str, Decimal] = defaultdict(Decimal)
    for order in exchange.get_open_orders():
        locked[order.spends] += order.locked
        assert order.locked == order.compute_needed_lock()
    assert {asset: account.get_locked(asset) for asset in account.get_assets()} == {
        asset: locked[asset] for asset in account.get_assets()
    }
    for row in exchange.ledger.balances:
        assert not str(row["free"]).startswith("-")
        assert not str(row["locked"]).startswith("-")


def check_orders(exchange: Exchange) -> None:
    for order in exchange.orders.values():
        own = [fill for fill in exchange.fills if fill.order_id == order.id]
        assert order.filled == sum(fill.quantity for fill in own) <= order.quantity
        assert order.value == sum((fill.value for fill in own), Decimal(0))
        assert (order.status == "FILLED") == (order.filled == order.quantity)
        limit = order.request.price
        for fill in own:
            if limit:
                assert fill.price <= limit if order.side == "BUY" else fill.price >= limit


@settings(
    max_examples=count_examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(plays, st.booleans())
def test_no_sequence_of_orders_creates_or_destroys_money_beyond_fees(
    steps: list[Any], held: bool
) -> None:
    exchange = trade_steps(steps, held=held)
    check_books(exchange)
    check_orders(exchange)


@settings(max_examples=15, deadline=None)
@given(plays)
def test_the_same_steps_give_the_same_ledger(steps: list[Any]) -> None:
    one, other = trade_steps(steps, held=True), trade_steps(steps, held=True)
    assert vars(one.ledger) == vars(other.ledger)


def test_the_generated_orders_do_trade() -> None:
    wish = {
        "symbol": TRADED[0], "side": "BUY", "type": "LIMIT", "time_in_force": "GTC",
        "value": 50_000, "by_value": False, "price": 1, "stop": 0,
    }  # fmt: skip
    exchange = trade_steps([wish, 400_000, 400_000, 400_000], held=False)
    assert any(fill.maker for fill in exchange.fills)
