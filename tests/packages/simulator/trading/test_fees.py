"""Fees in the received coin and in BNB."""

from collections.abc import Callable
from decimal import Decimal

from onetape.simulator.market.symbols import SYMBOLS
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.fees import Fees
from onetape.simulator.trading.money import ZERO
from onetape.simulator.trading.orders import RequestedOrder

Open = Callable[..., Exchange]
MakeOrder = Callable[..., RequestedOrder]


def test_a_purchase_pays_in_the_coin_it_buys(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)], USDT="1000")
    exchange.place(make_requested_order("BUY", "MARKET", 10), 0)
    assert (exchange.fills[0].fee, exchange.fills[0].fee_asset) == (Decimal("0.01"), "COIN")
    assert exchange.account.get_free("COIN") == Decimal("9.99")


def test_a_sale_pays_in_the_quote(open_exchange: Open, make_requested_order: MakeOrder) -> None:
    exchange = open_exchange([(0, 100, 1)], COIN="10")
    exchange.place(make_requested_order("SELL", "MARKET", 10), 0)
    assert (exchange.fills[0].fee, exchange.fills[0].fee_asset) == (Decimal(1), "USDT")


def test_an_account_that_pays_fees_in_bnb_pays_three_quarters(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)], in_bnb=True, USDT="1000", BNB="1")
    exchange.place(make_requested_order("BUY", "MARKET", 10), 0)
    # 1,000 USDT x 0.1 % x 0.75, at 500 USDT a BNB.
    assert (exchange.fills[0].fee, exchange.fills[0].fee_asset) == (Decimal("0.0015"), "BNB")
    assert exchange.account.get_free("COIN") == 10


def test_with_too_little_bnb_the_fee_is_not_paid_in_bnb(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)], in_bnb=True, USDT="1000", BNB="0.00149999")
    exchange.place(make_requested_order("BUY", "MARKET", 10), 0)
    assert exchange.fills[0].fee_asset == "COIN"
    assert exchange.account.get_free("BNB") == Decimal("0.00149999")


def test_bnb_that_is_being_sold_pays_no_fee(open_exchange: Open) -> None:
    exchange = open_exchange([(0, 100, 1)], in_bnb=True, BNB="25")
    (bnb,) = [symbol for symbol in exchange.symbols if symbol.base == "BNB"]
    order = exchange.place(RequestedOrder(bnb, "SELL", "MARKET", quantity=25), 0)
    assert (order.status, exchange.account.get_free("BNB")) == ("FILLED", 0)
    assert {fill.fee_asset for fill in exchange.fills} == {"USDT"}


def test_resting_orders_pay_the_maker_fee_and_taking_orders_the_taker_fee() -> None:
    rates = Fees(maker=Decimal("0.0002"), taker=Decimal("0.001"))
    moved = (Decimal(10), Decimal(1_000))

    def no_price(base: str, quote: str) -> Decimal | None:
        del base, quote

    def charged(*, maker: bool) -> Decimal:
        return rates.charge(SYMBOLS[0], "SELL", moved, ZERO, no_price, maker=maker)[0]

    assert (charged(maker=True), charged(maker=False)) == (Decimal("0.2"), Decimal(1))


def test_an_order_pays_as_taker_at_first_and_as_maker_once_it_rests(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1_000, 98, 5)])
    exchange.fees.maker = Decimal("0.0002")
    exchange.place(make_requested_order("BUY", "MARKET", 10), 0)
    exchange.place(make_requested_order("BUY", "LIMIT", 5, price=99), 0)
    exchange.settle(1_000)
    assert [(fill.maker, fill.fee) for fill in exchange.fills] == [
        (False, Decimal("0.01")),
        (True, Decimal("0.001")),
    ]
