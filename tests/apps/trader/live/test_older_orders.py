"""After a restore of a backup from before the first session, older orders are left unchanged."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from live_desk import ACCOUNT, BALANCE, START_MS, LiveDesk, open_live_desk
from onetape.core.errors import StoreError
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.store.database import open_store
from onetape.store.live_accounts import (
    Answer,
    LiveAccount,
    StoredDifference,
    open_live_account,
    read_live_account,
    read_open_differences,
    read_order_tag,
    store_difference_answer,
)

OLDER = "older order"
HOUR_MS = 3_600_000
#: An account on the same account at the exchange, which the backup has.
FIRST = LiveAccount("first", "simulator", "simulator 1", {}, START_MS - 24 * HOUR_MS, START_MS)
#: The backup has traded with real orders, and none on this account at the exchange.
ELSEWHERE = structs.replace(FIRST, exchange="binance", exchange_account="1")
#: The look-up of an order by its number.
REFUSED = Fault("status", status=500, method="GET", path="/api/v3/order")


async def hold_then_restore(
    tmp_path: Path, simulator: Simulator, *, has_stop: bool = True, first: LiveAccount = FIRST
) -> Path:
    """Open a position, and return a backup from before its account's first session.

    The account is opened in the backup two hours later, with the coins of the position.
    """
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    with open_store(path, create=True) as store:
        read_order_tag(store)
        open_live_account(store, first)
    shutil.copy(path, backup)
    async with open_live_desk(path, simulator=simulator, baseline=BALANCE) as desk:
        await desk.hold()
        await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
        held = desk.coins
    if not has_stop:
        simulator.account.cancel_by_hand("BTC/USDT")
    now_ms = simulator.clock.now_ms() + 2 * HOUR_MS
    await simulator.advance_to_ms(now_ms)
    baseline = {**BALANCE, "BTC": BALANCE["BTC"] + held}
    with open_store(backup, create=False) as store:
        open_live_account(
            store, LiveAccount(ACCOUNT, "simulator", "simulator 1", baseline, now_ms, now_ms)
        )
    return backup


@asynccontextmanager
async def trade_restored_backup(
    tmp_path: Path, *, has_stop: bool = True, first: LiveAccount = FIRST
) -> AsyncGenerator[LiveDesk]:
    """Trade a backup from before the account's first session, whose position is open."""
    clock = make_clock(start_ms=START_MS, stepped=True)
    async with Simulator(clock=clock, balance=BALANCE) as simulator:
        backup = await hold_then_restore(tmp_path, simulator, has_stop=has_stop, first=first)
        async with open_live_desk(backup, simulator=simulator, number=2) as desk:
            yield desk


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def done() -> None:
        await work()

    asyncio.run(done())


def list_older_orders(desk: LiveDesk) -> list[StoredDifference]:
    return [one for one in read_open_differences(desk.store) if one.kind == OLDER]


def store_answer(desk: LiveDesk, answer: Answer) -> None:
    (found,) = list_older_orders(desk)
    assert store_difference_answer(desk.store, found.number, answer, answered_ms=0)


def execute(desk: LiveDesk, sql: str) -> None:
    with desk.store.write() as connection:
        connection.execute(sql)


def read_own_coins(desk: LiveDesk) -> Decimal:
    account = read_live_account(desk.store, ACCOUNT)
    assert account is not None
    return account.baseline["BTC"]


@pytest.mark.parametrize("has_stop", [True, False])
def test_row_139_orders_older_than_their_account_stop_entries_and_no_stop_is_cancelled(
    tmp_path: Path, has_stop: bool
) -> None:
    async def scenario() -> None:
        async with trade_restored_backup(tmp_path, has_stop=has_stop) as desk:
            await desk.until(lambda: desk.states.has_problem(OLDER))
            sent = desk.taken
            desk.enter()
            await desk.drive(0.5)
            assert desk.taken == sent
            assert len(desk.resting) == int(has_stop)
            assert desk.fills == []
            assert desk.states.state == "degraded"
            # Also after a start, until a person has answered.
            desk.start()
            await desk.until(lambda: desk.states.has_problem(OLDER))
            await desk.drive(0.3)
            assert len(desk.resting) == int(has_stop)
            assert len(list_older_orders(desk)) == 1

    run(scenario)


@pytest.mark.parametrize("has_stop", [True, False])
@pytest.mark.parametrize("is_ended", [False, True])
@pytest.mark.parametrize("first", [FIRST, ELSEWHERE], ids=["this account", "another account"])
def test_row_139_older_orders_are_taken_over_with_their_coins_on_a_persons_answer(
    tmp_path: Path, has_stop: bool, is_ended: bool, first: LiveAccount
) -> None:
    async def scenario() -> None:
        async with trade_restored_backup(tmp_path, has_stop=has_stop, first=first) as desk:
            await desk.until(lambda: desk.states.has_problem(OLDER))
            await desk.until(lambda: desk.executor.balance_is_known)
            store_answer(desk, "adopt")
            if is_ended:
                # The program ends before it reads the answer.
                desk.start()
            await desk.until(lambda: desk.executor.stops)
            await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
            assert not desk.states.has_problem(OLDER)
            assert list_older_orders(desk) == []
            assert len(desk.resting) == 1
            assert read_own_coins(desk) == BALANCE["BTC"]
            desk.start()
            await desk.until(lambda: desk.executor.balance_is_known)
            await desk.drive(0.3)
            assert desk.problems == []
            assert len(desk.resting) == 1
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            desk.assert_ledgers_equal()
            assert 0 <= desk.coins < Decimal("0.00001")
            assert read_own_coins(desk) == BALANCE["BTC"]

    run(scenario)


@pytest.mark.parametrize("failing", ["INSERT ON orders", "UPDATE OF baseline ON live_accounts"])
def test_row_139_older_orders_are_taken_over_completely_even_if_the_program_ends_meanwhile(
    tmp_path: Path, failing: str
) -> None:
    async def scenario() -> None:
        async with trade_restored_backup(tmp_path, has_stop=False) as desk:
            await desk.until(lambda: desk.states.has_problem(OLDER))
            # A trade after the restore: the history is read from there on.
            await desk.pass_time(120)
            store_answer(desk, "keep")
            await desk.until(lambda: not desk.states.has_problem(OLDER))
            await desk.hold()
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat and not desk.resting)
            await desk.pass_time(120)
            execute(desk, "UPDATE account_differences SET answer = NULL, ended_ms = NULL")
            desk.start()
            await desk.until(lambda: desk.states.has_problem(OLDER))
            before = read_own_coins(desk)
            fails = f"CREATE TRIGGER fails BEFORE {failing} BEGIN SELECT RAISE(ABORT, 'fails'); END"
            execute(desk, fails)
            store_answer(desk, "adopt")
            with pytest.raises(StoreError, match="fails"):
                await desk.until(lambda: read_own_coins(desk) < before)
            assert read_own_coins(desk) == before
            execute(desk, "DROP TRIGGER fails")
            desk.start()
            await desk.until(lambda: desk.executor.stops)
            await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
            assert len(desk.resting) == 1
            assert list_older_orders(desk) == []
            assert read_own_coins(desk) == BALANCE["BTC"]
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            desk.assert_ledgers_equal()

    run(scenario)


def test_row_139_older_orders_that_a_person_leaves_alone_stay_next_to_new_ones(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with trade_restored_backup(tmp_path) as desk:
            await desk.until(lambda: desk.states.has_problem(OLDER))
            (kept,) = desk.resting
            store_answer(desk, "keep")
            await desk.until(lambda: not desk.states.has_problem(OLDER))
            before = read_own_coins(desk)
            desk.enter()
            await desk.until(lambda: len(desk.resting) == 2)
            await desk.drive(0.3)
            assert kept in desk.resting
            assert desk.problems == []
            desk.start()
            await desk.until(lambda: desk.executor.balance_is_known)
            await desk.drive(0.3)
            assert len(desk.resting) == 2
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            assert desk.resting == [kept]
            assert read_own_coins(desk) == before

    run(scenario)


@pytest.mark.parametrize("is_kept", [False, True])
def test_row_139_a_stop_is_kept_while_the_entry_of_its_position_cannot_be_looked_up(
    tmp_path: Path, is_kept: bool
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path, backup = tmp_path / "x.db", tmp_path / "backup.db"
            async with open_live_desk(path, simulator=simulator, baseline=BALANCE):
                pass
            shutil.copy(path, backup)
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                await desk.hold()
                await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
                (stop,) = desk.resting
                held = desk.executor.position
                await desk.pass_time(1)
            fault = simulator.faults.add(REFUSED)
            async with open_live_desk(backup, simulator=simulator, number=2) as desk:
                await desk.until(lambda: desk.executor._account.is_history_read)  # pyright: ignore[reportPrivateUsage]
                await desk.until(lambda: "account" in desk.problems)
                await desk.drive(0.3)
                assert desk.resting == [stop]
                assert not desk.executor.stops
                if is_kept:
                    (found,) = read_open_differences(desk.store)
                    assert store_difference_answer(desk.store, found.number, "keep", answered_ms=0)
                simulator.faults.remove(fault)
                if is_kept:
                    await desk.until(lambda: desk.executor.entry_order_id)
                    await desk.drive(0.5)
                    assert stop in desk.resting
                    assert stop.client_id not in [one.identity for one in desk.executor.stops]
                    return
                await desk.until(lambda: desk.executor.stops)
                await desk.drive(0.3)
                assert desk.executor.position == held
                assert desk.resting == [stop]
                assert desk.problems == []

    run(scenario)


def test_row_139_orders_of_others_from_before_the_account_do_not_stop_entries(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            simulator.account.trade_by_hand("BUY", "BTC/USDT", quantity=Decimal("0.1"))
            await simulator.advance_to_ms(START_MS + 2 * HOUR_MS)
            now_ms = simulator.clock.now_ms()
            path = tmp_path / "x.db"
            with open_store(path, create=True) as store:
                open_live_account(store, FIRST)
                open_live_account(store, structs.replace(FIRST, account=ACCOUNT, opened_ms=now_ms))
            async with open_live_desk(path, simulator=simulator) as desk:
                await desk.hold()
                assert desk.problems == []
                assert read_open_differences(desk.store) == []
                simulator.account.trade_by_hand("BUY", "BTC/USDT", quantity=Decimal("0.1"))
                await desk.until(lambda: "account" in desk.problems)

    run(scenario)
