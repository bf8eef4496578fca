"""A process is suspended at each point around a send while another takes over: nothing is doubled.

The short form takes two points; ONETAPE_SUSPENSIONS=5 (`make suspensions`) each point five times.
"""

import asyncio
import os
from pathlib import Path

import pytest

from live_desk import BALANCE, START_MS, LiveDesk, open_live_desk
from live_kill_outcomes import KillParameters, WarmProcess, start_warm_process
from live_kills import SUSPENSIONS
from onetape.core.errors import SafetyRefusal
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.database import open_store

ROUNDS = int(os.environ.get("ONETAPE_SUSPENSIONS", "0"))
SHORT = ("suspended, entry: request made", "suspended, exit: send stored")


def end_lease(db: Path) -> None:
    """Let the lease of the suspended process run out, as after 20 s."""
    with open_store(db, create=False) as store, store.write() as connection:
        connection.execute("UPDATE leases SET expires_ms = 0")


async def take_over(desk: LiveDesk) -> None:
    """Resolve the orders of the suspended process, then finish the remaining steps once."""
    # Before the deadline of what it may have sent nothing is concluded.
    unknown = [one.identity for one in desk.executor.orders.values() if not one.order.is_protection]
    await desk.drive(0.15)
    assert all(desk.state_of(one) != "absent" for one in unknown if one not in desk.taken)
    await desk.simulator.advance_to_ms(desk.simulator.clock.now_ms() + 5_000)
    await desk.until(lambda: desk.executor.balance_is_known)
    await desk.until(lambda: desk.executor.is_at_rest and not desk.has_pending_exit)
    if desk.executor.position.is_flat and not desk.sold:
        desk.enter()
        await desk.until(lambda: desk.resting)
    await desk.until(lambda: desk.executor.is_at_rest)


async def suspend(warm: WarmProcess, folder: Path, point: str) -> None:
    """Suspend a trader at a point, let another take over, and let the first one go on."""
    clock = make_clock(start_ms=START_MS, stepped=True)
    async with Simulator(clock=clock, balance=BALANCE, strict_timestamps=True) as simulator:
        db = folder / "x.db"
        pid = await warm.suspend(simulator.url, db, point, KillParameters.of(0))
        with pytest.raises(SafetyRefusal):
            async with open_live_desk(db, simulator=simulator, number=2):
                pass
        end_lease(db)
        async with open_live_desk(db, simulator=simulator, number=2) as desk:
            await take_over(desk)
            assert await warm.resume(pid) == 1
            assert "another process" in " ".join(warm.printed), warm.printed
            # A stop that the first one has cancelled late is set again.
            await desk.drive(0.3)
            await desk.until(lambda: desk.executor.is_at_rest)
            orders = simulator.account.exchange.orders.values()
            assert sum(one.side == "BUY" for one in orders) == 1
            assert len(set(desk.taken)) == len(desk.taken)
            assert len(desk.resting) == (0 if desk.executor.position.is_flat else 1)
            assert desk.coins >= 0
            desk.assert_ledgers_equal()


def test_a_suspended_process_repeats_no_order_after_another_took_over(tmp_path: Path) -> None:
    async def campaign() -> None:
        async with start_warm_process() as warm:
            for number, point in enumerate([*SUSPENSIONS] * ROUNDS or SHORT):
                folder = tmp_path / str(number)
                folder.mkdir()
                try:
                    await suspend(warm, folder, point)
                except AssertionError as error:
                    raise AssertionError(f"{point}: {error}") from error

    asyncio.run(campaign())
