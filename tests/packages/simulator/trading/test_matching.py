"""Matching of orders with trades of the market."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.orders import RequestedOrder, SimulatedOrder

Open = Callable[..., Exchange]
MakeOrder = Callable[..., RequestedOrder]


def list_fill_prices(exchange: Exchange) -> list[tuple[int, int]]:
    return [(fill.price, fill.quantity) for fill in exchange.fills]


def test_a_market_order_fills_at_the_last_price(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (5, 110, 1)])
    order = exchange.place(make_requested_order("BUY", "MARKET", 3), 5)
    assert (order.status, list_fill_prices(exchange)) == ("FILLED", [(110, 3)])


def test_a_large_market_order_takes_level_after_level(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    exchange.place(make_requested_order("SELL", "MARKET", 25), 0)
    assert list_fill_prices(exchange) == [(100, 10), (99, 10), (98, 5)]


def test_a_market_order_beyond_the_last_level_expires_partly_filled(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    order = exchange.place(make_requested_order("SELL", "MARKET", 60), 0)
    assert (order.status, order.filled) == ("EXPIRED", 50)


def test_a_market_order_by_value_spends_no_more_than_that(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    order = exchange.place(make_requested_order("BUY", "MARKET", quote_quantity=Decimal(1_250)), 0)
    assert (order.status, order.quantity, order.value) == ("FILLED", 12, Decimal(1_202))


def test_a_market_order_by_value_sells_for_no_more_than_that(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    order = exchange.place(make_requested_order("SELL", "MARKET", quote_quantity=Decimal(450)), 0)
    assert (order.status, order.filled, order.value) == ("FILLED", 4, Decimal(400))


def test_a_limit_order_waits_until_trades_pass_its_price(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 95, 8), (2, 94, 8)])
    order = exchange.place(make_requested_order("BUY", "LIMIT", 5, price=95), 0)
    exchange.settle(1)
    assert order.status == "NEW"
    exchange.settle(2)
    assert (order.status, list_fill_prices(exchange)) == ("FILLED", [(95, 5)])


def test_a_trade_fills_no_more_than_its_amount(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 94, 2), (2, 96, 9), (3, 90, 2), (4, 80, 9)])
    order = exchange.place(make_requested_order("BUY", "LIMIT", 5, price=95), 0)
    exchange.settle(3)
    assert (order.status, order.filled) == ("PARTIALLY_FILLED", 4)
    exchange.settle(4)
    assert (order.status, list_fill_prices(exchange)) == ("FILLED", [(95, 2), (95, 2), (95, 1)])


def test_own_orders_share_a_trade_by_price_then_age(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 90, 6)])
    low = exchange.place(make_requested_order("BUY", "LIMIT", 5, price=94), 0)
    first = exchange.place(make_requested_order("BUY", "LIMIT", 4, price=95), 0)
    second = exchange.place(make_requested_order("BUY", "LIMIT", 4, price=95), 0)
    exchange.settle(1)
    assert [order.filled for order in (first, second, low)] == [4, 2, 0]


def test_a_marketable_limit_order_takes_what_is_there_and_the_rest_stays_open(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 100, 50)])
    order = exchange.place(make_requested_order("BUY", "LIMIT", 25, price=101), 0)
    assert list_fill_prices(exchange) == [(100, 10), (101, 10)]
    assert exchange.account.get_locked("USDT") == 5 * 101
    exchange.settle(1)
    assert (order.status, exchange.fills[-1].maker) == ("FILLED", True)


@pytest.mark.parametrize(
    ("kind", "status", "filled"),
    [("GTC", "PARTIALLY_FILLED", 10), ("IOC", "EXPIRED", 10), ("FOK", "EXPIRED", 0)],
)
def test_time_in_force_decides_about_the_unfilled_rest(
    open_exchange: Open, make_requested_order: MakeOrder, kind: str, status: str, filled: int
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    order = exchange.place(
        make_requested_order("SELL", "LIMIT", 15, price=100, time_in_force=kind), 0
    )
    assert (order.status, order.filled) == (status, filled)
    assert exchange.account.get_locked("COIN") == (5 if kind == "GTC" else 0)


def test_a_whole_order_is_filled_or_killed(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    order = exchange.place(
        make_requested_order("SELL", "LIMIT", 15, price=99, time_in_force="FOK"), 0
    )
    assert order.status == "FILLED"


def test_a_stop_loss_sells_at_the_price_after_a_gap(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 96, 1), (2, 80, 1)])
    order = exchange.place(make_requested_order("SELL", "STOP_LOSS", 5, stop=95), 0)
    assert exchange.account.get_locked("COIN") == 5
    exchange.settle(1)
    assert (order.status, order.is_waiting) == ("NEW", True)
    exchange.settle(2)
    assert (order.status, list_fill_prices(exchange)) == ("FILLED", [(80, 5)])


def test_a_stop_loss_that_buys_takes_no_more_than_the_account_can_pay(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 200, 1)], USDT="500")
    order = exchange.place(make_requested_order("BUY", "STOP_LOSS", 4, stop=110), 0)
    exchange.settle(1)
    assert (order.status, order.filled, exchange.account.get_free("USDT")) == ("EXPIRED", 2, 100)


def test_a_stop_limit_rests_where_the_gap_went_past_its_limit(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 80, 1), (2, 93, 1), (3, 97, 9)])
    order = exchange.place(make_requested_order("SELL", "STOP_LOSS_LIMIT", 5, stop=95, price=94), 0)
    exchange.settle(2)
    assert (order.status, order.is_waiting) == ("NEW", False)
    exchange.settle(3)
    assert (order.status, list_fill_prices(exchange)) == ("FILLED", [(94, 5)])


@pytest.mark.parametrize(
    ("side", "kind", "stop", "hit", "not_hit"),
    [
        ("SELL", "STOP_LOSS_LIMIT", 95, 95, 96),
        ("BUY", "STOP_LOSS_LIMIT", 105, 105, 104),
        ("SELL", "TAKE_PROFIT_LIMIT", 105, 105, 104),
        ("BUY", "TAKE_PROFIT_LIMIT", 95, 95, 96),
    ],
)
def test_a_stop_triggers_at_its_price(
    open_exchange: Open,
    make_requested_order: MakeOrder,
    side: str,
    kind: str,
    stop: int,
    hit: int,
    not_hit: int,
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, not_hit, 1), (2, hit, 1)])
    order = exchange.place(make_requested_order(side, kind, 1, stop=stop, price=stop), 0)
    exchange.settle(1)
    assert order.is_waiting
    exchange.settle(2)
    assert order.working_ms == 2


@pytest.mark.parametrize(("side", "stop"), [("SELL", 100), ("SELL", 101), ("BUY", 99)])
def test_a_stop_that_is_already_reached_is_refused(
    open_exchange: Open, make_requested_order: MakeOrder, side: str, stop: int
) -> None:
    exchange = open_exchange([(0, 100, 1)])
    with pytest.raises(Refusal, match="would trigger immediately"):
        exchange.place(make_requested_order(side, "STOP_LOSS", 1, stop=stop), 0)


def test_a_trade_at_the_time_of_the_order_does_not_fill_the_order(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (7, 100, 5)])
    exchange.settle(7)
    order = exchange.place(make_requested_order("BUY", "LIMIT", 1, price=99), 7)
    exchange.settle(8)
    assert order.status == "NEW"


def test_one_long_step_gives_the_fills_of_many_short_ones(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    trades = [(time, 100 + (time * 7) % 23 - 11, 1 + time % 3) for time in range(60)]

    def ledger(times: list[int]) -> list[object]:
        exchange = open_exchange(trades)
        exchange.place(make_requested_order("BUY", "LIMIT", 9, price=88), 0)
        exchange.place(make_requested_order("SELL", "LIMIT", 9, price=110), 0)
        exchange.place(make_requested_order("SELL", "STOP_LOSS", 9, stop=87), 0)
        for time in times:
            exchange.settle(time)
        return [exchange.ledger.orders, exchange.ledger.fills, exchange.ledger.balances]

    assert ledger([59]) == ledger(list(range(60)))


def test_a_cancelled_order_frees_its_money(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 94, 2)])
    order = exchange.place(make_requested_order("BUY", "LIMIT", 5, price=95), 0)
    exchange.cancel(order, 1)
    assert (order.status, order.filled, exchange.account.get_locked("USDT")) == ("CANCELED", 2, 0)
    assert exchange.account.get_free("USDT") == 100_000 - 190


def test_a_cancel_that_comes_after_the_fill_is_refused(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1, 94, 9)])
    order = exchange.place(make_requested_order("BUY", "LIMIT", 5, price=95), 0)
    with pytest.raises(Refusal, match="Unknown order sent"):
        exchange.cancel(order, 1)


def test_a_client_id_is_free_again_once_its_order_is_done(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)])

    def placed() -> SimulatedOrder:
        return exchange.place(
            make_requested_order("BUY", "LIMIT", 1, price=90, client_id="mine"), 0
        )

    first = placed()
    with pytest.raises(Refusal, match="Duplicate order sent"):
        placed()
    exchange.cancel(first, 0)
    assert placed().id == 2


def test_a_refused_order_is_only_in_the_ledger(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1)], USDT="50")
    with pytest.raises(Refusal, match="insufficient balance"):
        exchange.place(make_requested_order("BUY", "MARKET", 1), 0)
    assert exchange.orders == {}
    assert [row["status"] for row in exchange.ledger.orders] == ["REJECTED"]
    assert exchange.account.get_free("USDT") == 50


def test_the_stream_shows_which_orders_stand_in_the_book(
    open_exchange: Open, make_requested_order: MakeOrder
) -> None:
    exchange = open_exchange([(0, 100, 1), (1_000, 98, 5)])
    exchange.place(make_requested_order("BUY", "MARKET", 1), 0)
    exchange.place(make_requested_order("BUY", "LIMIT", 5, price=99), 0)
    exchange.place(make_requested_order("SELL", "STOP_LOSS", 5, stop=90), 0)
    exchange.settle(1_000)
    reported = [
        (event["o"], event["x"], event["w"])
        for event in exchange.ledger.events
        if event["e"] == "executionReport"
    ]
    assert reported == [
        ("MARKET", "NEW", False),
        ("MARKET", "TRADE", False),
        ("LIMIT", "NEW", True),
        ("STOP_LOSS", "NEW", False),
        ("LIMIT", "TRADE", False),
    ]
