"""A stored exit that cannot be sent: the stop stays, or is placed again within seconds."""

import math
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec import structs

from busy_loop import BusyLoop
from live_desk import BALANCE, BASELINE, QUICK, LiveDesk
from onetape.execution.broker import OrderReport
from onetape.execution.events import Acknowledged, StatusReport
from onetape.simulator.faults.model import Fault
from trader.live import executors
from trader.live.executors import SETTLE_SECONDS, settle_orders

Run = Callable[..., None]
#: The account has no baseline coins: locked coins are not free.
NO_COINS = {"USDT": Decimal(50_000)}
NO_FILLS = Fault("status", path="/api/v3/myTrades", status=503, when="before")
#: No exit is put off because it waits: the end of the program alone drops it.
SLOW = structs.replace(QUICK, acknowledge=600.0, exit_again=600.0)


async def hold(desk: LiveDesk) -> str:
    """Hold a position whose stop rests, in an account that was read; return the stop's id."""
    await desk.hold()
    await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
    await desk.until(lambda: desk.executor.balance_is_known)
    return desk.resting[0].client_id


def assert_covered(desk: LiveDesk) -> None:
    """Check that one stop rests for all that is held, and that nothing was sold by an exit."""
    (stop,) = desk.resting
    held = desk.executor.position.base
    amount = Decimal(stop.quantity).scaleb(-5)
    assert held - Decimal("0.00001") < amount <= held
    assert desk.has_pending_exit


def test_the_stop_is_placed_again_if_the_account_cannot_be_read_after_its_cancellation(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await hold(desk)
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        number = desk.simulator.faults.add(NO_FILLS)
        began, driven = time.monotonic(), desk.driven_seconds
        await desk.until(lambda: desk.resting)
        assert time.monotonic() - began > QUICK.acknowledge * 0.9
        assert desk.driven_seconds - driven < QUICK.acknowledge + 1
        assert desk.state_of(exit_.client_order_id) == "absent"
        assert "exit" in desk.problems
        stop = desk.resting[0].client_id
        # While readings fail the next one takes no stop away.
        await desk.drive(0.5)
        assert desk.resting[0].client_id == stop
        assert desk.sold == 0
        assert_covered(desk)
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert "exit" not in desk.problems
        assert desk.resting == []
        assert desk.coins >= 0
        desk.assert_ledgers_equal()

    run(scenario)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_no_stop_is_cancelled_for_an_exit_before_the_account_is_read(
    run: Run, is_restarted: bool
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        stop = await hold(desk)
        number = desk.simulator.faults.add(NO_FILLS)
        if is_restarted:
            desk.start()
        else:
            await desk.until(lambda: any("myTrades" in one.on for one in desk.simulator.faults.log))
            await desk.drive(0.1)
        desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        await desk.drive(0.3)
        assert [one.client_id for one in desk.resting] == [stop]
        assert_covered(desk)
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        desk.assert_ledgers_equal()

    run(scenario)


@pytest.mark.parametrize("is_ending", [False, True])
def test_the_stop_is_placed_again_if_a_late_balance_shows_locked_coins(
    run: Run, is_ending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "SETTLE_SECONDS", 60.0)

    async def scenario(desk: LiveDesk) -> None:
        first = await hold(desk)
        await desk.pass_time(60)
        await desk.until_read()
        late = Fault("visibility_delay", seconds=30, shape="balances")
        number = desk.simulator.faults.add(late)
        exit_ = desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        assert desk.state_of(exit_.client_order_id) == "absent"
        if is_ending:
            assert await settle_orders(desk.executor, desk.exchange, desk.lease)
        else:
            await desk.until(lambda: desk.resting)
        assert desk.resting[0].client_id != first
        assert_covered(desk)
        desk.simulator.faults.remove(number)
        if not is_ending:
            await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
            assert desk.coins + BASELINE == desk.executor.position.base

    run(scenario, balance=NO_COINS, times=structs.replace(QUICK, exit_again=0.5))


def test_the_end_of_the_program_places_the_stop_again_and_failed_readings_wait(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine needs longer.
    monkeypatch.setattr(executors, "SETTLE_SECONDS", 60.0)

    async def scenario(desk: LiveDesk) -> None:
        await hold(desk)
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        desk.simulator.faults.add(NO_FILLS)
        began = time.monotonic()
        with BusyLoop() as busy_loop:
            assert await settle_orders(desk.executor, desk.exchange, desk.lease)
            assert busy_loop.seconds < SETTLE_SECONDS
        seconds = time.monotonic() - began
        assert seconds > executors.LEAVE_SECONDS
        # Readings at once, then after 0.1, 0.3, 0.7 and 1.5 s; a look-up may read fills too.
        failed = [one for one in desk.simulator.faults.log if "myTrades" in one.on]
        assert 2 <= len(failed) <= 3 + math.log2(seconds / 0.1 + 1)
        assert desk.state_of(exit_.client_order_id) == "absent"
        assert desk.sold == 0
        assert_covered(desk)

    run(scenario, times=structs.replace(SLOW, read_again=0.1, poll=5.0))


def test_a_stop_is_placed_again_for_the_rest_after_a_partial_fill_of_the_old_one(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        settings = structs.replace(desk.context.settings, stop_limit=0.01)
        desk.context = structs.replace(desk.context, settings=settings)
        desk.start()
        await hold(desk)
        thin = desk.simulator.faults.add(Fault("thin_book", levels=1, amount=0.01))
        await desk.move_price(0.945)
        desk.simulator.account.get_balances()
        (stop,) = desk.resting
        assert 0 < stop.filled < stop.quantity
        desk.simulator.faults.remove(thin)
        level = Decimal(repr(round(desk.price * 0.9, 2)))
        desk.executor.set_level_source(lambda: ("stop_loss", level))
        # The stop's own executions cannot be read after its cancellation.
        number = desk.simulator.faults.add(NO_FILLS)
        desk.leave()
        await desk.until(lambda: desk.resting and desk.resting[0].client_id != stop.client_id)
        assert desk.resting[0].quantity == stop.quantity - stop.filled
        assert desk.has_pending_exit
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        assert 0 <= desk.coins < Decimal("0.00001")
        desk.assert_ledgers_equal()

    run(scenario)


def test_missing_coins_during_a_waiting_exit_leave_a_stop_for_the_rest(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await hold(desk)
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.02"))
        await desk.until(lambda: "coins" in desk.problems)
        await desk.until(lambda: desk.resting)
        left = desk.coins
        (stop,) = desk.resting
        assert left - Decimal("0.00001") < Decimal(stop.quantity).scaleb(-5) <= left
        assert exit_.client_order_id not in desk.taken
        assert desk.has_pending_exit

    run(scenario, baseline=BALANCE)


def test_a_stop_is_placed_again_at_the_first_reading_that_lacks_coins_of_the_position(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await hold(desk)
        exit_ = desk.leave()
        await desk.until(lambda: not desk.resting)
        number = desk.simulator.faults.add(NO_FILLS)
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.02"))
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.resting)
        assert "coins" not in desk.problems
        assert exit_.client_order_id not in desk.taken

    run(scenario, baseline=BALANCE, times=structs.replace(SLOW, missing=600.0))


def test_an_exit_does_not_wait_for_the_pause_after_an_exit_of_an_earlier_position(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await hold(desk)
        refused = Fault(
            "status", method="POST", path="/api/v3/order", count=1, status=400, code=-2010,
            text="no", when="before",
        )  # fmt: skip
        desk.simulator.faults.add(refused)
        desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        await desk.until(lambda: desk.resting)
        await desk.let_stop_fire()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        await hold(desk)
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)

    run(scenario, stop_loss=0.001, times=structs.replace(QUICK, exit_again=600.0))


def test_an_exit_that_the_exchange_ends_without_a_fill_is_tried_again_after_a_pause(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        stop = await hold(desk)
        desk.simulator.faults.add(
            Fault("reset", method="POST", path="/api/v3/order", count=1, when="before")
        )
        exit_ = desk.leave()
        await desk.until(lambda: desk.state_of(exit_.client_order_id) == "unknown")
        expired = StatusReport("expired", Decimal(0))
        for event in (Acknowledged("1000000"), expired):
            desk.report(OrderReport(exit_.client_order_id, event))
        await desk.until(lambda: "exit" in desk.problems)
        await desk.until(lambda: desk.resting)
        back = desk.resting[0].client_id
        await desk.drive(0.5)
        assert desk.resting[0].client_id == back != stop
        assert desk.sold == 0
        assert desk.has_pending_exit

    run(scenario, times=structs.replace(QUICK, exit_again=600.0))
