"""Comparison of a live account with the exchange: what is taken over, stops entries, or halts."""

import asyncio
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from live_desk import BALANCE, START_MS, LiveDesk, open_live_desk
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.live_accounts import read_open_differences, store_difference_answer

Run = Callable[..., None]


def test_an_order_of_a_restored_backup_is_taken_over_and_protected(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path, backup = tmp_path / "x.db", tmp_path / "backup.db"
            async with open_live_desk(path, simulator=simulator):
                pass
            shutil.copy(path, backup)
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                await desk.hold()
                held = desk.executor.position
            async with open_live_desk(backup, simulator=simulator, number=2) as desk:
                await desk.until(lambda: desk.executor.entry_order_id)
                await desk.until(lambda: desk.executor.stops)
                await desk.drive(0.4)
                assert desk.executor.position == held
                assert len(desk.resting) == 1
                assert len(desk.taken) == 2
                assert desk.problems == []
                desk.leave()
                await desk.until(lambda: desk.executor.position.is_flat)
                desk.assert_ledgers_equal()

    asyncio.run(scenario())


def test_round_trips_of_a_restored_backup_are_taken_over_in_their_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path, backup = tmp_path / "x.db", tmp_path / "backup.db"
            async with open_live_desk(path, simulator=simulator):
                pass
            shutil.copy(path, backup)
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                await desk.hold()
                desk.leave()
                await desk.until(lambda: desk.executor.position.is_flat)
                await desk.until(lambda: not desk.executor.orders)
                await simulator.advance_to_ms(clock.now_ms() + 60_000)
                await desk.hold()
                held, sold = desk.executor.position, desk.sold
            async with open_live_desk(backup, simulator=simulator, number=2) as desk:
                await desk.until(lambda: desk.executor.position == held)
                await desk.drive(0.4)
                assert desk.problems == []
                assert len(desk.resting) == 1
                assert desk.sold == sold
                assert len(desk.fills) == 3
                desk.assert_ledgers_equal()

    asyncio.run(scenario())


def test_an_order_of_another_program_stops_entries_while_it_is_open(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        assert desk.states.entry_obstacle is None
        order = desk.place_by_hand()
        await desk.until(lambda: "account" in desk.problems)
        assert desk.states.entry_obstacle is not None
        exchange = desk.simulator.account.exchange
        exchange.cancel(order, desk.simulator.clock.now_ms())
        await desk.until(lambda: "account" not in desk.problems)

    run(scenario)


def test_a_fill_of_another_program_stops_entries_until_a_person_has_judged_it(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.simulator.account.trade_by_hand("BUY", "BTC/USDT", quantity=Decimal("0.1"))
        await desk.until(lambda: "account" in desk.problems)
        # Exits and stops go on, and sell nothing but what was bought here.
        (found,) = read_open_differences(desk.store)
        assert found.kind == "foreign fills"
        assert store_difference_answer(desk.store, found.number, "keep", answered_ms=0)
        await desk.until(lambda: "account" not in desk.problems)
        held = desk.executor.position.base
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        assert held - Decimal("0.00001") < desk.sold <= held

    run(scenario)


def test_an_execution_dated_in_the_future_hides_no_later_fill_after_a_restart(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        with desk.store.write() as connection:
            connection.execute("UPDATE trades SET executed_ms = executed_ms + 3600000")
        desk.start()
        desk.simulator.account.trade_by_hand("BUY", "BTC/USDT", quantity=Decimal("0.1"))
        await desk.until(lambda: "account" in desk.problems)

    run(scenario)


def test_missing_coins_halt_the_symbol_until_they_are_back(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        # All but what the stop holds, and a part of that: a person has cancelled it and sold.
        exchange = desk.simulator.account.exchange
        (stop,) = desk.resting
        exchange.cancel(stop, desk.simulator.clock.now_ms())
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("2.03"))
        await desk.until(lambda: "coins" in desk.problems)
        assert desk.states.state == "halted"
        sent = len(desk.taken)
        desk.leave()
        await desk.drive(0.3)
        assert len(desk.taken) == sent
        desk.simulator.account.deposit("BTC", Decimal("2.03"))
        await desk.until(lambda: "coins" not in desk.problems)

    run(scenario)


@pytest.mark.parametrize("answer", ["adopt", "forget"])
def test_a_person_ends_a_halt_for_missing_coins(run: Run, answer: str) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        exchange = desk.simulator.account.exchange
        exchange.cancel(desk.resting[0], desk.simulator.clock.now_ms())
        desk.simulator.account.trade_by_hand("SELL", "BTC/USDT", quantity=Decimal("2.03"))
        await desk.until(lambda: "coins" in desk.problems)
        left = desk.coins + 2
        for found in read_open_differences(desk.store):
            chosen = answer if found.kind == "missing coins" else "keep"
            store_difference_answer(desk.store, found.number, chosen, answered_ms=0)  # pyright: ignore[reportArgumentType] - one of the responses
        await desk.until(lambda: "coins" not in desk.problems)
        position = desk.executor.position
        assert position.base == (left if answer == "adopt" else 0)
        assert position.is_flat == (answer == "forget")

    run(scenario)


def test_deposits_and_sales_of_other_coins_are_notes_and_change_nothing(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def notes() -> list[str]:
        lines = capsys.readouterr().out.splitlines()
        return [line.partition(", and")[0] for line in lines if line.startswith("note: ")]

    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        await desk.drive(0.3)
        assert notes() == []
        account = desk.simulator.account
        account.deposit("BTC", Decimal("0.5"))
        account.deposit("ETH", Decimal(3))
        account.trade_by_hand("BUY", "BNB/USDT", quantity=Decimal(1))
        found: list[str] = []

        def have(*lines: str) -> bool:
            found.extend(notes())
            return {f"note: the account has {line}" for line in lines} <= set(found)

        await desk.until(lambda: have("0.999 BNB more", "0.5 BTC more", "3 ETH more"))
        await desk.until(lambda: any(line.endswith("USDT less") for line in found) or have())
        account.convert_dust(["ETH"])
        account.withdraw("BTC", Decimal(2))
        account.withdraw("USDT", Decimal(100))
        await desk.until(lambda: have("3 ETH less", "2 BTC less", "100 USDT less"))
        assert desk.problems == []
        assert len(desk.resting) == 1
        # A trade of the trader itself is no note.
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat)
        await desk.drive(0.3)
        assert notes() == []

    run(scenario)
