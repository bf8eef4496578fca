"""Exits while the account shows coins of the position as locked: all is sold, or stays pending."""

import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec import structs

from live_desk import BASELINE, QUICK, LiveDesk
from onetape.execution.events import FillReport
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]
CASH = {"USDT": Decimal(50_000)}
#: Coins of the account's own, fewer than a position has.
FEW = CASH | {"BTC": Decimal("0.02")}
#: Balances as they were a while ago: what the cancelled stop has locked is not free yet.
LATE = Fault("visibility_delay", seconds=30, shape="balances")
#: No exit is put off because it waits, however slow the machine is.
SLOW = structs.replace(QUICK, acknowledge=600.0, exit_again=600.0)


async def hold_with_late_balances(desk: LiveDesk) -> int:
    """Hold a position whose coins stay locked in all readings from now on; return the fault."""
    await desk.hold()
    await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
    await desk.pass_time(60)
    number = desk.simulator.faults.add(LATE)
    # A reading from before must not let the coins look free.
    await desk.until_read()
    return number


def compute_added_coins(desk: LiveDesk, balance: dict[str, Decimal]) -> Decimal:
    """Return the coins of the account above its baseline."""
    return desk.coins + BASELINE - balance.get("BTC", Decimal(0))


@pytest.mark.parametrize("balance", [CASH, FEW], ids=["no baseline", "small baseline"])
def test_an_exit_waits_for_coins_that_some_readings_show_as_locked(
    run: Run, balance: dict[str, Decimal]
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await hold_with_late_balances(desk)
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        await desk.drive(0.4)
        assert desk.state_of(exit_.client_order_id) == "intent"
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        # The entry, its stop and one exit: no part was sold, and no stop was put back.
        assert len(desk.taken) == 3
        assert desk.state_of(exit_.client_order_id) == "closed"
        assert "exit" not in desk.problems
        assert 0 <= compute_added_coins(desk, balance) < Decimal("0.00001")

    run(scenario, balance=balance, baseline=balance, times=SLOW)


def test_free_coins_are_sold_and_locked_coins_stay_pending(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await hold_with_late_balances(desk)
        bought = desk.executor.position.open_amount
        desk.leave()
        await desk.until(lambda: desk.has_exit("closed"))
        assert desk.sold == Decimal("0.02")
        assert desk.has_pending_exit
        await desk.until(lambda: desk.sold > Decimal("0.02"))
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert bought - Decimal("0.00001") < desk.sold <= bought
        assert desk.query("SELECT end_reason FROM exit_obligations") == [("filled",)]
        assert 0 <= compute_added_coins(desk, FEW) < Decimal("0.00001")
        assert desk.resting == []
        # Only the entry, stops and exits of the trader.
        booked = {row[0] for row in desk.query("SELECT client_order_id FROM orders")}
        assert set(desk.taken) <= booked

    run(scenario, balance=FEW, baseline=FEW)


def test_an_exit_of_locked_coins_is_postponed_after_seconds_and_not_at_once(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await hold_with_late_balances(desk)
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        began = time.monotonic()
        await desk.until(lambda: "exit" in desk.problems)
        assert time.monotonic() - began > QUICK.acknowledge * 0.9
        assert desk.state_of(exit_.client_order_id) == "absent"
        await desk.until(lambda: desk.resting)
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert "exit" not in desk.problems
        assert 0 <= compute_added_coins(desk, CASH) < Decimal("0.00001")

    run(scenario, balance=CASH, baseline=CASH)


def test_a_free_part_that_is_too_small_to_sell_does_not_turn_the_position_into_dust(
    run: Run,
) -> None:
    # 3.30 USDT are free, the position was bought for 8, and the market takes no order under 5.
    little = CASH | {"BTC": Decimal("0.0001")}

    async def scenario(desk: LiveDesk) -> None:
        number = await hold_with_late_balances(desk)
        bought = desk.executor.position.open_amount
        desk.leave()
        await desk.until(lambda: desk.has_exit("rejected"))
        await desk.drive(0.1)
        assert desk.executor.position.open_amount == bought
        assert desk.has_pending_exit
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert bought - Decimal("0.00001") < desk.sold <= bought

    run(scenario, balance=little, baseline=little, quote_amount=8.0)


def test_an_exit_that_begins_while_an_entry_is_partly_unknown_sells_all_of_it(run: Run) -> None:
    faults = (
        Fault("status", method="GET", path="/api/v3/order", status=503, when="before"),
        Fault("visibility_delay", seconds=3_600, shape="fills"),
    )

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        entry = desk.enter()
        await desk.until_sent(entry)
        # The response to the order names both executions; the second one comes later here.
        found = await desk.next_reports()
        number = next(n for n, one in enumerate(found) if isinstance(one.event, FillReport))
        for one in found[: number + 1]:
            desk.report(one)
        desk.simulator.faults.clear()
        hiding = [desk.simulator.faults.add(one) for one in faults]
        await desk.until(lambda: desk.fills)
        desk.leave()
        await desk.until(lambda: desk.has_exit("closed"))
        assert desk.executor.position.is_flat
        assert desk.sold == Decimal("0.00999")
        for one in hiding:
            desk.simulator.faults.remove(one)
        await desk.until(lambda: len(desk.fills) > 2)
        assert desk.has_pending_exit
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert desk.sold == Decimal("0.01998")
        assert desk.query("SELECT end_reason FROM exit_obligations") == [("filled",)]
        desk.assert_ledgers_equal()

    # Two offers of 0.01 BTC on each side: an order for 2,000 USDT takes both and expires.
    run(scenario, Fault("thin_book", levels=2, amount=0.01, ticks=50))


def test_an_exit_ends_if_the_rest_of_the_entry_never_fills(
    run: Run,
) -> None:
    faults = (
        Fault("status", method="GET", path="/api/v3/order", status=503, when="before"),
        Fault("visibility_delay", seconds=3_600, shape="fills"),
    )

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        entry = desk.enter()
        await desk.until_sent(entry)
        # All executions are known, and that there are no more is not.
        for one in await desk.next_reports():
            if isinstance(one.event, FillReport):
                desk.report(one)
        hiding = [desk.simulator.faults.add(one) for one in faults]
        await desk.until(lambda: desk.fills)
        desk.leave()
        await desk.until(lambda: desk.has_exit("closed"))
        assert desk.query("SELECT count(*) FROM exit_obligations WHERE ended_ms IS NULL") == [(1,)]
        for one in hiding:
            desk.simulator.faults.remove(one)
        await desk.until(lambda: desk.state_of(entry.client_order_id) == "expired")
        assert desk.query("SELECT end_reason FROM exit_obligations") == [
            ("the position is closed",)
        ]

    run(scenario, Fault("thin_book", levels=1, amount=0.01, ticks=50))
