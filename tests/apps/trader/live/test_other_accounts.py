"""Two accounts with one key in one database: each books only its own orders."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from live_desk import BALANCE, LiveDesk, open_live_desk
from onetape.execution.events import StatusReport
from onetape.store.live_accounts import LiveAccount, open_live_account
from traded_accounts import TradedAccount
from trader.live.order_adoption import track_order_again


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@asynccontextmanager
async def open_other_account(db: Path, desk: LiveDesk) -> AsyncGenerator[LiveDesk]:
    """Open another account on the same file and simulator; the first one has ended."""
    desk.lease.release()
    async with open_live_desk(
        db, simulator=desk.simulator, stop_loss=0.2, number=2, account="another"
    ) as found:
        yield found


def read_booked_fills(desk: LiveDesk) -> list[tuple[Any, ...]]:
    return desk.query("SELECT account, side FROM trades ORDER BY executed_ms")


def test_a_stop_of_another_account_that_fires_sells_nothing_of_this_one(db: Path) -> None:
    async def scenario() -> None:
        async with open_live_desk(db, stop_loss=0.02) as desk:
            await desk.hold()
            await desk.until(lambda: desk.executor.stops[0].state.stage == "open")
            async with open_other_account(db, desk) as other:
                other.enter()
                await other.until(lambda: len(other.resting) == 2)
                await other.until(lambda: other.executor.stops[0].state.stage == "open")
                held = other.executor.position
                await other.move_price(0.95)
                await other.until(lambda: len(other.resting) == 1)
                await other.drive(0.5)
                assert other.executor.position == held
                assert read_booked_fills(other) == [("live test", "buy"), ("another", "buy")]
                (stop,) = other.resting
                assert [one.identity for one in other.executor.stops] == [stop.client_id]

    asyncio.run(scenario())


def test_new_fills_of_another_account_stop_no_order_of_this_one(db: Path) -> None:
    async def scenario() -> None:
        async with open_live_desk(db) as desk:
            await desk.hold()
            desk.leave()
            await desk.until(lambda: desk.executor.position.is_flat)
            async with open_other_account(db, desk) as other:
                await other.until(lambda: other.executor.balance_is_known)
                assert not other.executor.orders
                await other.hold()
                assert not other.problems

    asyncio.run(scenario())


def test_an_order_of_another_account_without_a_response_is_not_taken_over(db: Path) -> None:
    async def scenario() -> None:
        async with open_live_desk(db) as desk:
            await desk.until(lambda: desk.executor.balance_is_known)
            order = desk.enter()
            await desk.until_sent(order)
            async with open_other_account(db, desk) as other:
                await other.drive(0.5)
                assert not other.executor.orders
                assert not read_booked_fills(other)
                assert other.state_of(order.client_order_id) == "sent"

    asyncio.run(scenario())


def test_a_late_event_does_not_open_a_finished_order_again(db: Path) -> None:
    async def scenario() -> None:
        async with open_live_desk(db) as desk:
            await desk.hold()
            entry = desk.executor.entry_order_id
            assert entry is not None
            one = track_order_again(desk.executor, entry)
            assert one is not None
            again = StatusReport("closed", one.state.filled)
            desk.executor.record(one, [again], desk.exchange.now_ms())
            assert entry not in desk.executor.orders
            assert desk.executor.entry_or_exit is None

    asyncio.run(scenario())


def test_an_entry_spends_no_coins_of_a_position_of_another_account(db: Path) -> None:
    """The quote currency of this account is what the other one has bought."""

    async def scenario() -> None:
        async with open_live_desk(db, baseline=BALANCE) as desk:
            with TradedAccount(
                db, "euros", symbol="USDT/EUR", exchange="simulator", mode="live"
            ) as other:
                opened = LiveAccount("euros", "simulator", "simulator 1", {}, 1, 1)
                open_live_account(other.store, opened)
                other.fill("buy", "49000", "0.9", 1)
            await desk.until(lambda: desk.executor.balance_is_known)
            order = desk.enter()
            await desk.until(lambda: desk.state_of(order.client_order_id) not in ("intent", "sent"))
            spent = sum(fill.price * fill.amount for fill in desk.fills)
            assert 0 <= spent <= 1_000

    asyncio.run(scenario())
