"""Executions from before a start are read without delaying stops and exits."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from live_desk import BALANCE, START_MS, LiveDesk, open_live_desk
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.live_accounts import read_open_differences, store_difference_answer

Run = Callable[..., None]
#: The look-up of an order by its number, which the history makes for each order of others.
REFUSED = Fault("status", status=500, method="GET", path="/api/v3/order")
SLOW = Fault("latency", seconds=1.0, method="GET", path="/api/v3/order")
#: No baseline coins: an exit need not find out whose coins it sells.
CASH = {"USDT": Decimal(500_000)}
#: The history is not read: the first page of executions is of the reading.
LATE = Fault("latency", seconds=600.0, path="/api/v3/myTrades", nth=2)
LONG_TIMEOUT_MS = 300_000


def trade_by_hand(desk: LiveDesk, count: int) -> None:
    """Buy and sell some coins, as another program does; more are bought, for their fees."""
    for number in range(count):
        side, amount = ("SELL", "0.01") if number % 2 else ("BUY", "0.0101")
        desk.simulator.account.trade_by_hand(side, "BTC/USDT", quantity=Decimal(amount))


def list_foreign_fills(desk: LiveDesk) -> list[str]:
    return [one.subject for one in read_open_differences(desk.store) if one.kind == "foreign fills"]


async def hold_then_end(path: Path, simulator: Simulator) -> None:
    """Open a position and end the program; an hour later its stop is cancelled by hand."""
    async with open_live_desk(path, simulator=simulator) as desk:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        await desk.pass_time(3_600)
        desk.simulator.account.exchange.cancel(desk.resting[0], desk.simulator.clock.now_ms())


@pytest.mark.parametrize("fault", [SLOW, REFUSED], ids=["slow", "refused"])
def test_look_ups_of_old_orders_delay_no_stop_and_no_exit(tmp_path: Path, fault: Fault) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=CASH) as simulator:
            await hold_then_end(tmp_path / "x.db", simulator)
            async with open_live_desk(
                tmp_path / "x.db", simulator=simulator, number=2, baseline=CASH
            ) as desk:
                trade_by_hand(desk, 40)
                await desk.pass_time(3_600)
                await desk.until(lambda: desk.resting)
                desk.simulator.faults.add(fault)
                desk.start()
                await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
                desk.leave()
                await desk.until(lambda: desk.executor.position.is_flat)
                # The look-ups of forty orders take a second each.
                is_read = desk.executor._account.is_history_read  # pyright: ignore[reportPrivateUsage]
                assert fault is REFUSED or not is_read

    asyncio.run(scenario())


def test_a_stop_is_placed_before_the_history_is_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=CASH) as simulator:
            await hold_then_end(tmp_path / "x.db", simulator)
            async with open_live_desk(
                tmp_path / "x.db", simulator=simulator, number=2, baseline=CASH
            ) as desk:
                trade_by_hand(desk, 40)
                await desk.pass_time(3_600)
                # The first page is of the reading.
                simulator.faults.add(Fault("latency", seconds=6.0, path="/api/v3/myTrades", nth=2))
                await desk.until(lambda: desk.resting)
                assert not desk.executor.balance_is_known
                assert list_foreign_fills(desk) == []
                await desk.until(lambda: len(list_foreign_fills(desk)) == 40)
                await desk.until(lambda: desk.executor.balance_is_known)
                assert "account" in desk.problems

    asyncio.run(scenario())


def test_an_entry_waits_for_the_history(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        desk.simulator.faults.add(
            Fault("status", status=500, path="/api/v3/myTrades", nth=2, count=4)
        )
        order = desk.intend_entry()
        account = desk.executor._account  # pyright: ignore[reportPrivateUsage]
        desk.turn()
        await desk.until(lambda: account.is_readable)
        await desk.drive(0.1)
        assert desk.taken == []
        await desk.until(lambda: order.client_order_id in desk.taken)
        assert desk.executor.balance_is_known or not account.is_readable

    run(scenario)


def test_orders_that_cannot_be_looked_up_stop_entries_until_they_can(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        fault = desk.simulator.faults.add(REFUSED)
        trade_by_hand(desk, 2)
        await desk.until(lambda: desk.states.has_problem("account names"))
        assert desk.states.entry_obstacle is not None
        assert list_foreign_fills(desk) == []
        # The position is protected all the while.
        held = desk.executor.position.base
        assert len(desk.resting) == 1
        desk.simulator.faults.remove(fault)
        await desk.until(lambda: len(list_foreign_fills(desk)) == 2)
        await desk.until(lambda: not desk.states.has_problem("account names"))
        assert desk.executor.position.base == held

    run(scenario)


def test_known_orders_of_others_are_not_looked_up_again(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        trade_by_hand(desk, 6)
        await desk.until(lambda: len(list_foreign_fills(desk)) == 6)
        for one in read_open_differences(desk.store):
            assert store_difference_answer(desk.store, one.number, "keep", answered_ms=0)
        desk.simulator.faults.add(REFUSED)
        desk.start()
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        await desk.drive(0.5)
        assert not desk.states.has_problem("account names")
        assert desk.problems == []

    run(scenario)


def test_an_exit_waits_for_the_history_if_the_account_has_baseline_coins(
    tmp_path: Path,
) -> None:
    """Others have sold the position: an exit at once would sell the account's own coins."""

    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            await hold_then_end(tmp_path / "x.db", simulator)
            simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.06003"))
            async with open_live_desk(
                tmp_path / "x.db", simulator=simulator, number=2, baseline=BALANCE
            ) as desk:
                await desk.pass_time(3_600)
                sold = desk.sold
                # The first page is of the reading.
                simulator.faults.add(Fault("latency", seconds=2.0, path="/api/v3/myTrades", nth=2))
                await desk.until(lambda: desk.executor._account.is_checked)  # pyright: ignore[reportPrivateUsage]
                desk.leave()
                await desk.until(lambda: "coins" in desk.problems)
                await desk.drive(0.3)
                assert desk.sold == sold

    asyncio.run(scenario())


def test_an_exit_waits_for_a_long_history_and_no_stop_sells_baseline_coins(
    tmp_path: Path,
) -> None:
    """Others have sold the position: the account's own coins would be sold in its place."""

    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            await hold_then_end(tmp_path / "x.db", simulator)
            simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.06003"))
            async with open_live_desk(
                tmp_path / "x.db",
                simulator=simulator,
                number=2,
                baseline=BALANCE,
                timeout_ms=LONG_TIMEOUT_MS,
            ) as desk:
                await desk.pass_time(3_600)
                sold = desk.sold
                simulator.faults.add(LATE)
                await desk.until(lambda: desk.executor._account.is_checked)  # pyright: ignore[reportPrivateUsage]
                desk.leave()
                await desk.until(lambda: "exit" in desk.problems)
                await desk.drive(0.5)
                assert "others may have sold it" in (desk.states.entry_obstacle or "")
                assert desk.sold == sold
                assert desk.resting == []
                assert desk.has_pending_exit

    asyncio.run(scenario())


def test_an_exit_does_not_wait_for_the_history_if_all_coins_are_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            await hold_then_end(tmp_path / "x.db", simulator)
            async with open_live_desk(
                tmp_path / "x.db",
                simulator=simulator,
                number=2,
                baseline=BALANCE,
                timeout_ms=LONG_TIMEOUT_MS,
            ) as desk:
                await desk.pass_time(3_600)
                simulator.faults.add(LATE)
                await desk.until(lambda: desk.resting)
                desk.leave()
                await desk.until(lambda: desk.executor.position.is_flat)
                assert not desk.executor._account.is_history_read  # pyright: ignore[reportPrivateUsage]
                assert 0 <= desk.coins < Decimal("0.00001")

    asyncio.run(scenario())


def test_an_exit_waits_until_orders_that_may_have_sold_the_position_are_looked_up(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        fault = desk.simulator.faults.add(REFUSED)
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("0.02"))
        sold = desk.sold
        await desk.until(lambda: desk.states.has_problem("account names"))
        desk.leave()
        await desk.until(lambda: "exit" in desk.problems)
        await desk.drive(0.3)
        assert desk.sold == sold
        assert len(desk.resting) == 1
        assert "coins" not in desk.problems
        desk.simulator.faults.remove(fault)
        await desk.until(lambda: "coins" in desk.problems)
        assert desk.sold == sold

    run(scenario, baseline=BALANCE)


def test_a_history_is_read_again_after_a_long_database_error(tmp_path: Path) -> None:
    """A person sells the position while the file cannot be written; the account has own coins."""

    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path = tmp_path / "x.db"
            async with open_live_desk(path, simulator=simulator, baseline=BALANCE) as desk:
                await desk.hold()
                await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
                (amount,) = (one.quantity for one in desk.resting)
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                # The first page is of the reading.
                simulator.faults.add(Fault("latency", seconds=0.5, path="/api/v3/myTrades", nth=2))
                broker = desk.executor.broker
                await desk.until(lambda: broker.is_request_running("history", "BTC/USDT"))
                # From here on nothing is stored; the history arrives.
                async with asyncio.timeout(60):
                    while broker.is_request_running("history", "BTC/USDT"):
                        broker.reported.clear()
                        await broker.reported.wait()
                simulator.account.cancel_by_hand("BTC/USDT")
                sold_by_hand = Decimal(amount).scaleb(-5)
                simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=sold_by_hand)
                await desk.pass_time(120)
                sold = desk.sold
                desk.start()
                await desk.until(lambda: "coins" in desk.problems)
                assert desk.states.state == "halted"
                await desk.drive(0.3)
                desk.leave()
                await desk.drive(0.3)
                assert desk.resting == []
                assert desk.sold == sold

    asyncio.run(scenario())
