"""Baseline coins, and coins that left the account: the former are never sold."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from live_desk import BALANCE, QUICK, LiveDesk, open_live_desk
from onetape.core.trading import Fill
from onetape.store.connection import insert_row
from onetape.store.live_accounts import read_open_differences, store_difference_answer
from onetape.store.sessions import start_session

Run = Callable[..., None]
CASH = {"USDT": Decimal(50_000)}


def stop_amount(desk: LiveDesk) -> Decimal:
    (stop,) = desk.resting
    return Decimal(stop.quantity).scaleb(-5)


def sell_by_hand(desk: LiveDesk, amount: Decimal) -> None:
    desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=amount)


def store_answer(desk: LiveDesk, kind: str, chosen: str) -> None:
    (found,) = [one for one in read_open_differences(desk.store) if one.kind == kind]
    assert store_difference_answer(desk.store, found.number, chosen, answered_ms=0)  # pyright: ignore[reportArgumentType] - one of the responses


def test_a_position_after_dust_was_converted_gets_its_stop_and_its_exit(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        dust = desk.executor.position.dust
        assert dust > 0
        desk.simulator.account.convert_dust(["BTC"])
        await desk.hold()
        await desk.drive(0.3)
        position = desk.executor.position
        assert (position.earlier_dust, position.open_amount) == (dust, position.base - dust)
        step = Decimal("0.00001")
        assert position.open_amount - step < stop_amount(desk) <= position.open_amount
        assert desk.problems == []
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.drive(0.2)
        assert desk.problems == []

    run(scenario, balance=CASH, baseline=CASH)


def test_remaining_dust_is_sold_with_the_position_and_baseline_coins_are_not(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        for _ in range(4):
            await desk.hold()
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            await desk.until(lambda: not desk.executor.orders)
            assert desk.executor.position.dust == desk.coins
            assert 0 <= desk.coins < Decimal("0.00001")

    run(scenario, baseline=BALANCE)


def test_a_position_sold_by_hand_is_not_sold_again_from_baseline_coins(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        sell_by_hand(desk, stop_amount(desk))
        await desk.until(lambda: "coins" in desk.problems)
        assert desk.states.state == "halted"
        # The stop would sell coins of before now.
        await desk.until(lambda: not desk.resting)
        desk.leave()
        await desk.drive(0.4)
        assert desk.resting == []
        before = desk.sold
        store_answer(desk, "missing coins", "adopt")
        await desk.until(lambda: "coins" not in desk.problems)
        await desk.drive(0.2)
        assert desk.executor.position.is_flat
        assert desk.sold == before
        assert abs(desk.coins) < Decimal("0.0001")

    run(scenario, baseline=BALANCE)


def test_an_exit_sells_no_baseline_coins_while_it_is_uncertain_whether_coins_are_missing(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.simulator.account.cancel_by_hand("BTC/USDT")
        sell_by_hand(desk, Decimal("2.03"))
        sold, exit_ = desk.sold, desk.leave()
        await desk.until(lambda: "coins" in desk.problems)
        await desk.drive(0.3)
        assert desk.sold == sold
        assert exit_.client_order_id not in desk.taken
        assert desk.has_pending_exit

    run(scenario, baseline=BALANCE, times=structs.replace(QUICK, missing=1.5))


def test_after_a_manual_sale_the_rest_of_a_position_keeps_its_stop_and_is_adopted(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        sell_by_hand(desk, Decimal("0.01"))
        await desk.until(lambda: "coins" in desk.problems)
        left = desk.coins
        await desk.until(lambda: desk.resting and stop_amount(desk) <= left)
        store_answer(desk, "missing coins", "adopt")
        await desk.until(lambda: "coins" not in desk.problems)
        await desk.drive(0.3)
        assert desk.problems == ["account"]
        assert desk.executor.position.base == left
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        assert 0 <= desk.coins < Decimal("0.00001")

    run(scenario, baseline=BALANCE)


def test_a_manual_sale_of_baseline_coins_is_accepted_by_an_answer_and_the_stop_returns(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        held = stop_amount(desk)
        sell_by_hand(desk, Decimal("0.5"))
        await desk.until(lambda: "coins" in desk.problems)
        store_answer(desk, "foreign fills", "keep")
        await desk.until(lambda: desk.problems == [])
        await desk.until(lambda: desk.resting and stop_amount(desk) == held)
        assert read_open_differences(desk.store)[0].answer == "keep"

    run(scenario, baseline=BALANCE)


def test_a_halt_for_coins_sold_by_hand_outlasts_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "x.db"
        async with open_live_desk(path, baseline=BALANCE) as desk:
            await desk.hold()
            sell_by_hand(desk, stop_amount(desk))
            await desk.until(lambda: "coins" in desk.problems)
            await desk.until(lambda: not desk.executor.stops)
            desk.start()
            await desk.until(lambda: "coins" in desk.problems)
            await desk.drive(0.2)
            assert desk.resting == []

    asyncio.run(scenario())


@pytest.mark.parametrize("hand", ["withdrawal", "bought back"])
def test_a_withdrawal_or_a_sale_that_is_bought_back_leaves_the_position_covered(
    run: Run, hand: str
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        account = desk.simulator.account
        if hand == "withdrawal":
            account.withdraw("BTC", Decimal(2))
        else:
            account.trade_by_hand("BUY", "BTC/USDT", quantity=Decimal("0.2"))
            sell_by_hand(desk, Decimal("0.1"))
        await desk.drive(0.4)
        assert "coins" not in desk.problems
        assert len(desk.resting) == 1

    run(scenario, baseline=BALANCE)


def pay_fee_elsewhere(desk: LiveDesk, amount: Decimal) -> None:
    """Take coins from the account, and store them as the fee of a trade of another symbol."""
    session = structs.replace(desk.context.session, session="another", symbol="ETH/USDT")
    start_session(desk.store, session, desk.lease.fence)
    (bought,) = desk.fills
    trade = structs.replace(
        bought, exchange_trade_id="another", symbol="ETH/USDT", session="another", fee=amount
    )
    values = {name: getattr(trade, name) for name in Fill.__struct_fields__}
    texts = {name: str(values[name]) for name in ("price", "amount", "fee")}
    with desk.store.write() as connection:
        insert_row(connection, "trades", values | texts)
    desk.simulator.account.withdraw("BTC", amount)


def test_coins_that_paid_fees_of_other_symbols_are_deducted_from_the_position(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.enter()
        await desk.until(lambda: not desk.executor.position.is_flat)
        await desk.until(lambda: not desk.executor.orders)
        held, money = desk.executor.position.open_amount, desk.executor.position.quote
        fee = Decimal("0.0002")
        pay_fee_elsewhere(desk, fee)
        await desk.until(lambda: desk.executor.position.open_amount < held)
        position = desk.executor.position
        assert (position.open_amount, position.quote) == (held - fee, money)
        await desk.drive(0.2)
        assert (desk.problems, desk.executor.position.open_amount) == ([], held - fee)
        # More than fees explain is missing.
        desk.simulator.account.withdraw("BTC", Decimal("0.0001"))
        await desk.until(lambda: desk.problems == ["coins"])
        assert desk.executor.position.open_amount == held - fee

    run(scenario, balance=CASH, baseline=CASH, stop_loss=None)
