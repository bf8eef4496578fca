"""A position is protected although the account cannot be read or compared."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from live_desk import BALANCE, START_MS, open_live_desk
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator

CASH = {"USDT": Decimal(50_000)}
#: Balances can be read, and open orders cannot.
NO_ORDERS = Fault("status", path="/api/v3/openOrders", status=500, when="before")


async def hold_without_stop(path: Path, simulator: Simulator) -> None:
    """Hold a position whose stop is cancelled by hand after the program has ended."""
    async with open_live_desk(path, simulator=simulator) as desk:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
    simulator.account.cancel_by_hand("BTC/USDT")


@pytest.mark.parametrize("balance", [CASH, BALANCE], ids=["no baseline", "baseline"])
def test_a_stop_is_placed_although_each_reading_fails_after_the_balances(
    tmp_path: Path, balance: dict[str, Decimal]
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=balance) as simulator:
            path = tmp_path / "x.db"
            await hold_without_stop(path, simulator)
            fault = simulator.faults.add(NO_ORDERS)
            async with open_live_desk(
                path, simulator=simulator, number=2, baseline=balance
            ) as desk:
                await desk.until(lambda: desk.resting)
                await desk.until(lambda: "account reading" in desk.problems)
                assert not desk.executor._account.is_checked  # pyright: ignore[reportPrivateUsage]
                await desk.drive(0.3)
                assert len(desk.resting) == 1
                simulator.faults.remove(fault)
                await desk.until(lambda: desk.problems == [])
                await desk.drive(0.2)
                assert len(desk.resting) == 1
                assert len(desk.taken) == 3
                assert desk.sold == 0

    asyncio.run(scenario())


def test_no_second_stop_is_placed_next_to_one_that_may_hold_the_coins(tmp_path: Path) -> None:
    """Something that this program does not know has locked as much as the position."""

    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path = tmp_path / "x.db"
            await hold_without_stop(path, simulator)
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                desk.place_by_hand()
            simulator.faults.add(NO_ORDERS)
            async with open_live_desk(
                path, simulator=simulator, number=3, baseline=BALANCE
            ) as desk:
                await desk.until(lambda: "account reading" in desk.problems)
                await desk.until(lambda: "protection" in desk.problems)
                await desk.drive(0.3)
                assert [one.client_id for one in desk.resting] == ["web_1"]
                assert desk.stop_state is not None
                assert desk.stop_state.place != "exchange"

    asyncio.run(scenario())
