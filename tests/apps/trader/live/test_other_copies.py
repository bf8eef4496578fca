"""Another copy of the database trades the same account: nothing is taken over or repeated."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from live_desk import ACCOUNT, BALANCE, QUICK, START_MS, LiveDesk, open_live_desk
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.live_accounts import (
    add_difference,
    end_difference,
    read_open_differences,
    store_difference_answer,
)
from trader.live.times import LiveTimes

COPY = "other copy"


@asynccontextmanager
async def trade_two_copies(
    tmp_path: Path, *, is_holding: bool = False, times: LiveTimes = QUICK, **options: Any
) -> AsyncGenerator[tuple[LiveDesk, LiveDesk]]:
    """Trade a file and a copy of it on one simulator, both started within the same second.

    Args:
        tmp_path: Of both files.
        is_holding: Whether both files have the same open position.
        times: Time limits of both.
        options: Of the second desk.
    """
    clock = make_clock(start_ms=START_MS, stepped=True)
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    async with Simulator(clock=clock, balance=BALANCE) as simulator:
        async with open_live_desk(first, simulator=simulator, baseline=BALANCE) as desk:
            if is_holding:
                await desk.hold()
                await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        shutil.copy(first, second)
        async with (
            open_live_desk(first, simulator=simulator, number=2, times=times) as one,
            open_live_desk(second, simulator=simulator, number=3, times=times, **options) as other,
        ):
            await one.pass_time(1)
            await one.until(lambda: one.executor.balance_is_known)
            await other.until(lambda: other.executor.balance_is_known)
            yield one, other


def is_seen(desk: LiveDesk) -> bool:
    return desk.states.has_problem(COPY)


def run(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def test_row_138_orders_of_another_copy_are_not_taken_over_and_stop_entries_and_exits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            await one.hold()
            sent = one.taken
            await other.until(lambda: is_seen(other))
            assert other.states.state == "halted"
            assert other.executor.position.is_flat
            other.enter()
            await other.drive(0.3)
            assert one.taken == sent
            assert other.fills == []
            # The first one goes on alone.
            await one.drive(0.2)
            assert one.problems == []
            assert len(one.resting) == 1
            one.leave()
            await one.until(lambda: one.executor.position.is_flat)
            one.assert_ledgers_equal()
            assert other.fills == []

    run(scenario)
    lines = capsys.readouterr().out.splitlines()
    text = "halted: another copy of this database trades BTC/USDT on this account: it has sent"
    assert len([line for line in lines if line.startswith(text)]) == 1
    assert len([line for line in lines if line.startswith(f"no buy: {text}")]) == 1


def test_row_138_two_copies_that_enter_at_once_each_protect_their_own_coins(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            one.enter()
            other.enter()
            await one.until(lambda: is_seen(one) and one.executor.stops)
            await other.until(lambda: is_seen(other) and other.executor.stops)
            await one.until(lambda: one.executor.stops[0].state.stage == "open")
            await other.until(lambda: other.executor.stops[0].state.stage == "open")
            assert len(one.resting) == 2
            for desk in (one, other):
                assert len(desk.fills) == 1
                desk.leave()
            await one.drive(0.3)
            await other.drive(0.3)
            assert one.sold == 0
            assert len(one.resting) == 2

    run(scenario)


def test_row_138_no_stop_is_placed_next_to_the_one_of_a_copy_with_the_same_position(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path, is_holding=True, stop_loss=0.04) as (one, other):
            # The rules of the second one move the stop.
            await other.until(lambda: other.executor.stops[0].state.stage == "open")
            await one.until(lambda: is_seen(one))
            await one.drive(0.3)
            await other.drive(0.3)
            assert len(one.resting) == 1
            assert not is_seen(other)
            other.leave()
            await other.until(lambda: other.executor.position.is_flat)
            await one.drive(0.5)
            assert one.resting == []
            # None of the account's own coins was sold.
            assert one.coins >= 0

    run(scenario)


def test_row_138_an_event_of_a_copy_keeps_an_entry_waiting_until_the_account_is_read(
    tmp_path: Path,
) -> None:
    times = structs.replace(QUICK, poll=600.0, poll_with_stream=600.0)

    async def scenario() -> None:
        async with trade_two_copies(tmp_path, has_stream=True, times=times) as (one, other):
            await other.until(lambda: other.executor.broker.stream_opened_ms is not None)
            await other.drive(0.3)
            one.enter()
            await one.until(lambda: one.fills)
            broker = other.executor.broker
            async with asyncio.timeout(60):
                while not broker._reports:  # pyright: ignore[reportPrivateUsage]
                    broker.reported.clear()
                    await broker.reported.wait()
            other.executor.drive(other.exchange.now_ms())
            other.enter()
            await other.until(lambda: is_seen(other))
            assert [name for name in one.taken if name not in _read_known_orders(one)] == []

    run(scenario)


def _read_known_orders(desk: LiveDesk) -> list[str]:
    return [row[0] for row in desk.query("SELECT client_order_id FROM orders")]


def test_row_138_the_answer_that_the_copy_was_stopped_takes_its_orders_over(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            await one.hold()
            await other.until(lambda: is_seen(other))
            await one.until(lambda: one.executor.stops[0].state.stage == "open")
            await one.pass_time(1)
            answer_stopped(other)
            await other.until(lambda: not other.executor.position.is_flat)
            await other.until(lambda: other.executor.stops[0].state.stage == "open")
            assert not is_seen(other)
            assert other.executor.position == one.executor.position
            assert len(one.resting) == 1
            assert read_open_differences(other.store) == []
            other.leave()
            await other.until(lambda: other.executor.position.is_flat)
            other.assert_ledgers_equal()
            # The first one was not stopped after all.
            await one.until(lambda: is_seen(one))
            assert len(one.fills) == 1

    run(scenario)


@pytest.mark.parametrize("is_of_before", [False, True])
def test_row_138_a_start_takes_the_orders_of_a_copy_over_once_a_person_has_answered(
    tmp_path: Path, is_of_before: bool
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            await one.hold()
            await other.until(lambda: is_seen(other))
            await one.until(lambda: one.executor.stops[0].state.stage == "open")
            await one.pass_time(1)
            if is_of_before:
                store_as_before(other)
            other.lease.release()
            path, sent = tmp_path / "second.db", one.taken
            async with open_live_desk(path, simulator=one.simulator, number=4) as again:
                assert is_seen(again)
                await again.until(lambda: again.executor.balance_is_known)
                again.enter()
                await again.drive(0.5)
                assert is_seen(again)
                assert again.states.state == "halted"
                assert again.executor.position.is_flat
                assert (one.taken, again.fills) == (sent, [])
                again.lease.release()
                answer_stopped(again)
            async with open_live_desk(path, simulator=one.simulator, number=5) as again:
                await again.until(lambda: not again.executor.position.is_flat)
                await again.until(lambda: again.executor.stops[0].state.stage == "open")
                assert not is_seen(again)
                assert read_open_differences(again.store) == []
                assert len(again.resting) == 1
                again.leave()
                await again.until(lambda: again.executor.position.is_flat)
                again.assert_ledgers_equal()

    run(scenario)


def test_row_138_another_copy_is_still_known_after_a_database_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            await one.hold()
            await other.until(lambda: is_seen(other))
            await one.pass_time(3_600)
            other.start()
            await other.until(lambda: other.executor.balance_is_known)
            assert is_seen(other)
            assert other.fills == []

    run(scenario)


def test_row_138_own_orders_without_a_response_are_not_taken_for_those_of_a_copy(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with open_live_desk(tmp_path / "x.db") as desk:
            await desk.until(lambda: desk.executor.balance_is_known)
            await desk.pass_time(1)
            order = desk.enter()
            await desk.until_sent(order)
            desk.start()
            await desk.until(lambda: desk.executor.stops)
            await desk.drive(0.3)
            assert not is_seen(desk)
            assert Decimal(0) < desk.coins
            desk.lease.release()
            # Another process takes the file over while the stop has no response.
            async with open_live_desk(
                tmp_path / "x.db", simulator=desk.simulator, number=2
            ) as other:
                await other.until(lambda: other.executor.balance_is_known)
                await other.drive(0.3)
                assert not is_seen(other)
                assert len(other.resting) == 1

    run(scenario)


def store_as_before(desk: LiveDesk) -> None:
    """Store the other copy as an earlier version did: with the session that has seen it."""
    document = "json_remove(json_set(document, '$.session', ?), '$.began_ms')"
    with desk.store.write() as connection:
        connection.execute(
            f"UPDATE account_differences SET document = {document}",
            (desk.context.session.session,),
        )


def answer_stopped(desk: LiveDesk) -> None:
    """Answer that the other copy was stopped."""
    (found,) = [one for one in read_open_differences(desk.store) if one.kind == COPY]
    assert store_difference_answer(desk.store, found.number, "adopt", answered_ms=0)


def test_row_138_coins_of_both_copies_have_one_stop_and_are_sold_once_one_copy_was_stopped(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            one.enter()
            other.enter()
            await one.until(lambda: is_seen(one) and one.executor.stops)
            await other.until(lambda: is_seen(other) and len(other.resting) == 2)
            await one.until(lambda: one.executor.stops[0].state.stage == "open")
            await one.pass_time(1)
            answer_stopped(one)
            await one.until(lambda: len(one.fills) == 2)
            await one.until(lambda: len(one.resting) == 1)
            await one.until(lambda: one.resting[0].quantity == int(one.coins.scaleb(5)))
            assert one.executor.position.base == one.coins
            one.leave()
            await one.until(lambda: one.executor.position.is_flat)
            one.assert_ledgers_equal()

    run(scenario)


def test_row_138_a_position_that_the_copy_has_sold_is_closed_once_the_copy_was_stopped(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path, is_holding=True) as (one, other):
            other.leave()
            await other.until(lambda: other.executor.position.is_flat)
            sold = other.sold
            await one.until(lambda: is_seen(one))
            # The position is not there any more; the account has baseline coins.
            one.leave()
            await one.drive(0.5)
            assert (one.sold, one.resting) == (sold, [])
            await one.pass_time(1)
            answer_stopped(one)
            await one.until(lambda: one.executor.position.is_flat)
            await one.drive(0.3)
            assert (one.sold, one.resting, one.problems) == (sold, [], [])
            one.assert_ledgers_equal()

    run(scenario)


def test_row_138_of_two_copies_that_sell_one_position_at_once_only_one_sells(
    tmp_path: Path,
) -> None:
    times = structs.replace(QUICK, acknowledge=600.0, stop_taken=1.0)
    late = Fault("latency", seconds=0.3, method="POST", path="/api/v3/order")

    async def scenario() -> None:
        async with trade_two_copies(tmp_path, is_holding=True, times=times) as (one, other):
            held = one.coins
            one.simulator.faults.add(late)
            one.leave()
            other.leave()
            await asyncio.gather(
                *(
                    desk.until(lambda: one.sold > 0 and (is_seen(one) or is_seen(other)))
                    for desk in (one, other)
                )
            )
            await asyncio.gather(one.drive(1.5), other.drive(1.5))
            # The account has baseline coins that a second order could have sold.
            assert 0 < one.sold <= held
            assert [is_seen(one), is_seen(other)].count(True) == 1

    run(scenario)


def test_row_138_the_stop_of_a_copy_that_fires_leaves_the_stop_of_the_other_one(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        # Readings that confirm each other are an hour apart.
        times = structs.replace(QUICK, missing=3_600.0)
        async with trade_two_copies(tmp_path, times=times, stop_loss=0.02) as (one, other):
            one.enter()
            other.enter()
            await one.until(lambda: is_seen(one) and one.executor.stops)
            await other.until(lambda: is_seen(other) and len(other.resting) == 2)
            await one.until(lambda: one.executor.stops[0].state.stage == "open")
            await one.drive(0.3)
            (stop,) = one.executor.stops
            await one.move_price(0.97)
            await one.until(lambda: len(one.resting) == 1)
            await one.drive(0.5)
            assert [each.client_id for each in one.resting] == [stop.identity]
            assert one.executor.stops == [stop]
            assert len(one.fills) == 1

    run(scenario)


def test_row_138_a_copy_is_seen_even_if_the_time_of_the_start_was_estimated_too_late(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_two_copies(tmp_path) as (one, other):
            session = other.context.session
            ahead = structs.replace(session, started_ms=session.started_ms + 3_600_000)
            other.context = structs.replace(other.context, session=ahead)
            other.start()
            await other.until(lambda: other.executor.balance_is_known)
            await one.pass_time(1)
            await one.hold()
            await other.until(lambda: is_seen(other))
            assert other.fills == []

    run(scenario)


def test_row_138_another_copy_in_one_symbol_stops_entries_in_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_live_desk(tmp_path / "x.db") as desk:
            await desk.hold()
            document = {"text": "another copy", "symbol": "ETH/USDT", "session": "other"}
            moment = desk.exchange.now_ms()
            add_difference(desk.store, None, ACCOUNT, COPY, "ETH/USDT", document, seen_ms=moment)
            await desk.until(lambda: desk.states.has_problem("other copy elsewhere"))
            assert "trades ETH/USDT" in (desk.states.entry_obstacle or "")
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            (found,) = read_open_differences(desk.store)
            end_difference(desk.store, found.number, ended_ms=moment)
            await desk.until(lambda: desk.states.entry_obstacle is None)

    run(scenario)
