"""Orders that never arrived, while others trade the same symbol with the same account."""

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import pytest
from msgspec import structs

from live_desk import ACCOUNT, BALANCE, KEY, QUICK, LiveDesk
from onetape.simulator.faults.model import Fault
from onetape.store.orders import insert_order
from onetape.store.sessions import start_session

Run = Callable[..., None]
#: The readings of the account fail; look-ups of orders do not.
NO_READINGS = Fault("status", path="/api/v3/openOrders", status=503, when="before")


def lose(desk: LiveDesk) -> None:
    """Let the request of the next order be lost."""
    desk.simulator.faults.add(
        Fault("reset", method="POST", path="/api/v3/order", count=1, when="before")
    )


def trade_by_hand(desk: LiveDesk, side: Literal["BUY", "SELL"]) -> None:
    desk.simulator.account.trade_by_hand(side, "BTC/USDT", quantity=Decimal("0.5"))


async def send_lost_entry(desk: LiveDesk) -> str:
    """Send an order to buy that never arrives; return its id, after its deadline."""
    await desk.until(lambda: desk.executor.balance_is_known)
    lose(desk)
    order = desk.enter()
    await desk.until(lambda: desk.state_of(order.client_order_id) == "unknown")
    await desk.pass_time(4)
    return order.client_order_id


def test_a_lost_entry_is_absent_although_others_have_sold_meanwhile(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        trade_by_hand(desk, "SELL")
        lost = await send_lost_entry(desk)
        await desk.until(lambda: desk.state_of(lost) == "absent")
        assert desk.query("SELECT count(*) FROM reservations") == [(0,)]

    run(scenario, baseline=BALANCE)


@pytest.mark.parametrize("doubt", [600.0, 0.0])
def test_an_execution_without_a_known_order_keeps_an_order_unknown_only_for_minutes(
    run: Run, doubt: float
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(NO_READINGS)
        trade_by_hand(desk, "SELL")
        lose(desk)
        order = desk.intend_entry()
        desk.turn()
        await desk.until(lambda: desk.state_of(order.client_order_id) == "unknown")
        await desk.pass_time(4)
        if doubt:
            await desk.drive(0.5)
            assert desk.state_of(order.client_order_id) == "unknown"
        else:
            await desk.until(lambda: desk.state_of(order.client_order_id) == "absent")

    # No time passes on the wall clock of a stepped market: 600 s are never over.
    run(scenario, baseline=BALANCE, times=structs.replace(QUICK, balance_doubt=doubt))


def test_a_lost_stop_is_placed_again_although_others_have_traded_meanwhile(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(
            Fault("reset", method="POST", path="/api/v3/order", nth=2, count=1, when="before")
        )
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (first,) = desk.executor.stops
        await desk.until(lambda: first.state.stage == "unknown")
        trade_by_hand(desk, "BUY")
        await desk.pass_time(4)
        await desk.until(lambda: desk.resting)
        assert first.identity not in desk.taken
        assert len(desk.resting) == 1

    run(scenario, baseline=BALANCE)


def buy_eth_with_btc(desk: LiveDesk) -> None:
    """Execute an order of another symbol of the trader, which pays with BTC, and store its fill."""
    account = desk.simulator.account
    account.trade_by_hand("BUY", "ETH/BTC", quantity=Decimal(2))
    (fill,) = [one for one in account.exchange.fills if one.symbol.id == "ETHBTC"]
    other = structs.replace(desk.context.session, session="other", symbol="ETH/BTC")
    start_session(desk.store, other, desk.lease.fence)
    order = structs.replace(
        desk.order("buy", "market"), client_order_id="other-1", session="other", symbol="ETH/BTC"
    )
    insert_order(desk.store, order, desk.lease.fence)
    price = Decimal(fill.price).scaleb(-fill.symbol.price_digits)
    with desk.store.write() as connection:
        connection.execute(
            "INSERT INTO trades (exchange, symbol, exchange_trade_id, client_order_id, session, "
            "mode, account, side, price, amount, fee, fee_currency, executed_ms) "
            "VALUES (?, 'ETH/BTC', '1', 'other-1', 'other', 'live', ?, 'buy', ?, '2', '0.002', "
            "'ETH', ?)",
            (KEY.exchange, ACCOUNT, str(price), fill.time_ms),
        )


def test_a_lost_stop_is_placed_again_although_another_symbol_was_paid_with_its_coins(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        desk.simulator.faults.add(
            Fault("reset", method="POST", path="/api/v3/order", nth=2, count=1, when="before")
        )
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (first,) = desk.executor.stops
        await desk.until(lambda: first.state.stage == "unknown")
        await desk.pass_time(1)
        buy_eth_with_btc(desk)
        await desk.pass_time(4)
        await desk.until(lambda: desk.resting)
        assert first.identity not in desk.taken

    run(scenario, baseline=BALANCE)


def test_a_lost_exit_is_sent_again_although_others_have_bought_meanwhile(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        lose(desk)
        order = desk.leave()
        await desk.until(lambda: desk.state_of(order.client_order_id) == "unknown")
        trade_by_hand(desk, "BUY")
        await desk.pass_time(4)
        await desk.until(lambda: desk.state_of(order.client_order_id) == "absent")
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert 0 <= desk.coins - Decimal("0.4995") < Decimal("0.00001")

    run(scenario, baseline=BALANCE)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_after_a_restart_dust_is_not_taken_for_coins_of_a_lost_order(run: Run, side: str) -> None:
    cash = {"USDT": Decimal(50_000)}

    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert desk.executor.position.dust > 0
        if side == "buy":
            # The dust is still there: it is no coin that a lost order has bought.
            lost = await send_lost_entry(desk)
        else:
            desk.simulator.account.convert_dust(["BTC"])
            await desk.hold()
            lose(desk)
            lost = desk.leave().client_order_id
            await desk.until(lambda: desk.state_of(lost) == "unknown")
            await desk.pass_time(4)
        desk.start()
        await desk.until(lambda: desk.state_of(lost) == "absent")

    run(scenario, balance=cash, baseline=cash)
