"""A filled entry whose executions cannot be read gets a stop without them."""

import asyncio
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import pytest
from msgspec import structs

from live_desk import BALANCE, START_MS, LiveDesk, open_live_desk
from onetape.core.errors import StoreError
from onetape.execution.broker import OrderReport
from onetape.execution.events import FillReport, StatusReport
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.live_accounts import (
    Answer,
    StoredDifference,
    read_open_differences,
    store_difference_answer,
)

Run = Callable[..., None]
#: The response to an order is lost; the exchange has taken the order.
LOST = Fault("reset", method="POST", path="/api/v3/order", count=1, when="after")
UNREAD = Fault("status", status=500, path="/api/v3/myTrades")
#: What no fee is larger than is left out of the stop, in whole steps.
LEAST = Decimal("0.05942")


def stop_amounts(desk: LiveDesk) -> list[Decimal]:
    return [Decimal(one.quantity).scaleb(-5) for one in desk.resting]


async def enter_unread(desk: LiveDesk) -> int:
    """Buy 0.06003 BTC so that no execution is known; return the number of the fault."""
    await desk.until(lambda: desk.executor.balance_is_known)
    desk.simulator.faults.add(LOST)
    number = desk.simulator.faults.add(UNREAD)
    desk.enter()
    return number


def test_an_entry_without_known_executions_gets_a_stop_and_is_reported(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await enter_unread(desk)
        await desk.until(lambda: desk.states.has_problem("executions"))
        assert "NONE" not in str(desk.states.entry_obstacle)
        await desk.until(lambda: stop_amounts(desk) == [LEAST])
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        assert desk.executor.position.is_flat
        (entry,) = (one for one in desk.executor.orders.values() if one.order.side == "buy")
        (stop,) = desk.executor.stops
        assert stop.order.entry_order_id == entry.identity
        assert stop.order.stop_price == Decimal(repr(round(desk.price * 0.95 - 0.005, 2)))
        await desk.drive(0.3)
        assert stop_amounts(desk) == [LEAST]
        # Once its executions are known, the stop covers the position.
        desk.simulator.faults.remove(number)
        await desk.until(lambda: stop_amounts(desk) == [Decimal("0.05996")])
        await desk.until(lambda: desk.executor.stops[-1].state.stage == "open")
        await desk.drive(0.3)
        assert not desk.states.has_problem("executions")
        assert desk.problems == []
        desk.assert_ledgers_equal()

    run(scenario, baseline=BALANCE)


def test_the_stop_of_an_entry_without_known_executions_sells_once(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await enter_unread(desk)
        await desk.until(lambda: desk.resting)
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        (stop,) = desk.executor.stops
        await desk.let_stop_fire()
        # Another stop would be taken now.
        await desk.move_price(1.1)
        # An event has the execution of the stop; those of the entry are not known yet.
        fill = desk.simulator.account.exchange.fills[-1]
        price, amount = Decimal(fill.price).scaleb(-2), Decimal(fill.quantity).scaleb(-5)
        event = FillReport(str(fill.id), price, amount, Decimal(0), "USDT", fill.time_ms)
        desk.report(OrderReport(stop.identity, event))
        await desk.until(lambda: desk.fills)
        await desk.drive(0.5)
        assert len(desk.taken) == 2
        assert desk.resting == []
        desk.simulator.faults.remove(number)
        await desk.until(lambda: not desk.executor.position.is_flat)
        # What the stop has left out is the position now.
        assert desk.executor.position.open_amount == Decimal("0.06003") * Decimal("0.999") - LEAST
        assert desk.sold == LEAST
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.executor.orders)
        desk.assert_ledgers_equal()

    run(scenario, baseline=BALANCE, stop_loss=0.005)


async def enter_without_amount(desk: LiveDesk, *, is_taken: bool) -> None:
    """Enter so that the exchange states the order as filled, without an amount or an execution."""
    await desk.pass_time(60)
    await desk.until(lambda: desk.executor.balance_is_known)
    for fault in (
        LOST if is_taken else structs.replace(LOST, when="before"),
        Fault("status", method="GET", path="/api/v3/order", status=503, when="before"),
        Fault("visibility_delay", seconds=3_600, shape="fills"),
    ):
        desk.simulator.faults.add(fault)
    entry = desk.enter()
    if is_taken:
        await desk.until_sent(entry)
    await desk.until(lambda: desk.state_of(entry.client_order_id) == "unknown")
    desk.report(OrderReport(entry.client_order_id, StatusReport("closed")))


def test_row_147_an_entry_without_a_stated_amount_gets_a_stop_for_the_coins_that_came(
    run: Run,
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await enter_without_amount(desk, is_taken=True)
        await desk.until(lambda: desk.resting)
        least = (desk.coins * Decimal("0.99")).quantize(Decimal("0.00001"), rounding=ROUND_DOWN)
        assert stop_amounts(desk) == [least]
        assert desk.executor.position.is_flat
        await desk.drive(0.3)
        assert stop_amounts(desk) == [least]

    run(scenario, baseline=BALANCE)


def test_row_147_no_stop_sells_own_coins_for_an_entry_of_which_no_coins_came(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await enter_without_amount(desk, is_taken=False)
        await desk.until(lambda: desk.states.has_problem("executions"))
        await desk.until_read()
        await desk.drive(0.3)
        assert desk.resting == []

    run(scenario, baseline=BALANCE)


@pytest.mark.parametrize("is_stored", [True, False], ids=["status stored", "no response stored"])
def test_an_entry_without_known_executions_gets_its_stop_after_a_restart(
    tmp_path: Path, is_stored: bool
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path = tmp_path / "x.db"
            async with open_live_desk(path, simulator=simulator, baseline=BALANCE) as desk:
                number = await enter_unread(desk)
                (entry,) = desk.executor.orders.values()
                await desk.until_sent(entry.order)
                if is_stored:
                    await desk.until(lambda: entry.state.filled)
                    assert not desk.executor.is_at_rest
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                await desk.until(lambda: desk.states.has_problem("executions"))
                await desk.until(lambda: stop_amounts(desk) == [LEAST])
                await desk.drive(0.3)
                assert len(desk.resting) == 1
                simulator.faults.remove(number)
                await desk.until(lambda: stop_amounts(desk) == [Decimal("0.05996")])
                await desk.until(lambda: desk.problems == [])

    asyncio.run(scenario())


def test_without_a_stop_in_the_rules_the_report_states_that_nothing_sells(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await enter_unread(desk)
        await desk.until(lambda: desk.states.has_problem("executions"))
        await desk.drive(0.3)
        assert desk.resting == []
        desk.simulator.faults.remove(number)
        await desk.until(lambda: not desk.states.has_problem("executions"))
        assert not desk.executor.position.is_flat

    run(scenario, baseline=BALANCE, stop_loss=None)


def list_lost_executions(desk: LiveDesk) -> list[StoredDifference]:
    return [one for one in read_open_differences(desk.store) if one.kind == "lost executions"]


def store_answer(desk: LiveDesk, answer: Answer) -> None:
    (found,) = list_lost_executions(desk)
    assert store_difference_answer(desk.store, found.number, answer, answered_ms=0)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_row_141_an_entry_whose_executions_stay_unknown_becomes_a_position_on_an_answer(
    run: Run, is_restarted: bool
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await enter_unread(desk)
        await desk.until(lambda: list_lost_executions(desk))
        await desk.until(lambda: stop_amounts(desk) == [LEAST])
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        store_answer(desk, "adopt")
        if is_restarted:
            desk.start()
        await desk.until(lambda: not desk.executor.position.is_flat)
        assert desk.executor.position.open_amount == Decimal("0.06003") * Decimal("0.99")
        (fill,) = desk.fills
        assert isinstance(fill.price, Decimal)
        assert 0.99 < float(fill.price) / desk.price < 1.01
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.drive(0.5)
        # The executions that are known now are those that were booked.
        assert len(desk.fills) == 1
        assert stop_amounts(desk) == [LEAST]
        assert not desk.states.has_problem("executions")
        assert desk.problems == []
        assert list_lost_executions(desk) == []
        desk.start()
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.drive(0.3)
        assert len(desk.fills) == 1
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.resting)
        assert desk.sold == LEAST
        await desk.until(lambda: desk.states.entry_obstacle is None)

    run(scenario, baseline=BALANCE)


@pytest.mark.parametrize("answer", ["forget", "keep"])
@pytest.mark.parametrize("failing", ["", "trades", "account_differences"])
def test_row_141_an_entry_whose_executions_stay_unknown_ends_on_an_answer(
    run: Run, answer: Answer, failing: str
) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await enter_unread(desk)
        await desk.until(lambda: list_lost_executions(desk))
        await desk.until(lambda: stop_amounts(desk) == [LEAST])
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        store_answer(desk, answer)
        if failing:
            # The program ends between two of the steps.
            when = "INSERT ON trades WHEN NEW.side = 'sell'"
            when = when if failing == "trades" else "UPDATE OF ended_ms ON account_differences"
            sql = f"CREATE TRIGGER fails BEFORE {when} BEGIN SELECT RAISE(ABORT, 'fails'); END"
            execute(desk, sql)
            with pytest.raises(StoreError, match="fails"):
                await desk.drive(20)
            execute(desk, "DROP TRIGGER fails")
            desk.start()
        await desk.until(lambda: not list_lost_executions(desk) and not desk.resting)
        desk.simulator.faults.remove(number)
        await desk.until(lambda: desk.executor.balance_is_known)
        await desk.drive(0.3)
        assert desk.executor.position.is_flat
        assert [one.side for one in desk.fills] == ["buy", "sell"]
        assert desk.sold == 0
        await desk.until(lambda: desk.states.entry_obstacle is None)
        # The coins that are there belong to the account: no later stop or exit sells them.
        await desk.hold()
        desk.leave()
        await desk.until(lambda: desk.executor.position.is_flat and not desk.resting)
        assert desk.coins >= Decimal("0.05996")

    run(scenario, baseline=BALANCE)


def test_row_141_executions_that_are_read_before_an_answer_end_the_question(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        number = await enter_unread(desk)
        await desk.until(lambda: list_lost_executions(desk))
        desk.simulator.faults.remove(number)
        await desk.until(lambda: not list_lost_executions(desk))
        await desk.until(lambda: stop_amounts(desk) == [Decimal("0.05996")])
        desk.assert_ledgers_equal()

    run(scenario, baseline=BALANCE)


def execute(desk: LiveDesk, sql: str) -> None:
    with desk.store.write() as connection:
        connection.execute(sql)
