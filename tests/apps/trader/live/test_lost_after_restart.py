"""Requests lost at a restart, while the balances differ from those at the account's opening."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec import structs

from live_desk import BALANCE, QUICK, LiveDesk
from onetape.simulator.faults.model import Fault

Run = Callable[..., None]


def lose(desk: LiveDesk, nth: int = 1) -> None:
    """Let the request of an order be lost: the next one, or one after it."""
    desk.simulator.faults.add(
        Fault("reset", method="POST", path="/api/v3/order", nth=nth, count=1, when="before")
    )


async def is_absent_after_a_restart(desk: LiveDesk, identity: str) -> None:
    """Wait for the look-ups after a restart; no time passes in which balances count."""
    await desk.until(lambda: desk.state_of(identity) == "unknown")
    desk.start()
    await desk.pass_time(4)
    await desk.until(lambda: desk.state_of(identity) == "absent")


def test_a_stop_lost_at_a_restart_is_placed_again_although_own_coins_have_left(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.simulator.account.withdraw("BTC", Decimal(1))
        await desk.until(lambda: desk.executor.balance_is_known)
        lose(desk, nth=2)
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (lost,) = desk.executor.stops
        await desk.until(lambda: lost.state.stage == "unknown")
        desk.start()
        await desk.pass_time(4)
        await desk.until(lambda: desk.resting)
        assert lost.identity not in desk.taken
        await desk.until(lambda: "protection" not in desk.problems)

    run(scenario, baseline=BALANCE)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_order_lost_at_a_restart_is_absent_although_own_coins_have_moved(
    run: Run, side: str
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        account = desk.simulator.account
        if side == "buy":
            account.deposit("BTC", Decimal(1))
            await desk.until(lambda: desk.executor.balance_is_known)
            lose(desk)
            lost = desk.enter().client_order_id
        else:
            account.withdraw("BTC", Decimal(1))
            await desk.hold()
            lose(desk)
            lost = desk.leave().client_order_id
        await is_absent_after_a_restart(desk, lost)

    run(scenario, baseline=BALANCE)


def test_a_stop_whose_fill_the_exchange_shows_late_is_not_placed_again_after_a_restart(
    run: Run,
) -> None:
    """What the account had at the send counts the coins of an entry that no reading has yet."""

    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        for shape in ("orders", "fills"):
            desk.simulator.faults.add(Fault("visibility_delay", seconds=86_400, shape=shape))
        desk.simulator.faults.add(
            Fault("reset", method="POST", path="/api/v3/order", nth=2, count=1, when="after")
        )
        await desk.pass_time(1)
        desk.enter()
        await desk.until(lambda: desk.executor.stops)
        (lost,) = desk.executor.stops
        await desk.until(lambda: lost.state.stage == "unknown")
        await desk.let_stop_fire()
        desk.start()
        await desk.drive(1.0)
        assert desk.state_of(lost.identity) == "unknown"
        assert len(desk.taken) == 2

    # A reading is made after each change alone: none comes between the entry and its stop.
    run(scenario, baseline=BALANCE, stop_loss=0.005, times=structs.replace(QUICK, poll=600.0))
