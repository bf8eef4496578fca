"""Exits of the exit journal while it is unknown which position is open."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from live_desk import ACCOUNT, BALANCE, KEY, START_MS, LiveDesk, open_live_desk
from onetape.core.trading import ExitObligation
from onetape.simulator.faults.model import Fault
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from trader.exit_journal import ExitJournal
from trader.journal_entries import JournalEntries

Run = Callable[..., None]


def exit_of(entry: str) -> ExitObligation:
    """Return an exit of the position that an order has opened."""
    return ExitObligation(
        uuid4().hex, ACCOUNT, "live", *KEY.names[:2], entry, "market", START_MS // 1_000, None,
        START_MS, "the test",
    )  # fmt: skip


def open_journal_with_exit(desk: LiveDesk, entry: str) -> tuple[ExitJournal, JournalEntries]:
    """Return the journal with an exit, as a process finds it that begins now."""
    journal = ExitJournal(desk.store.path, "a test")
    journal.add(exit_of(entry))
    return journal, JournalEntries(desk.context, journal, desk.executor, desk.lease.fence)


def make_restore_step(
    entries: JournalEntries, desk: LiveDesk, *, until_pending: bool
) -> Callable[[], bool]:
    """Return a step that restores exits and returns whether one is pending, as each second."""

    def restore() -> bool:
        entries.restore()
        return desk.has_pending_exit is until_pending

    return restore


def test_an_exit_of_the_journal_outlives_the_restore_of_a_backup_that_lacks_its_entry(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = make_clock(start_ms=START_MS, stepped=True)
        async with Simulator(clock=clock, balance=BALANCE) as simulator:
            path, backup = tmp_path / "x.db", tmp_path / "backup.db"
            async with open_live_desk(path, simulator=simulator):
                pass
            shutil.copy(path, backup)
            async with open_live_desk(path, simulator=simulator, number=2) as desk:
                await desk.hold()
                entry = desk.executor.entry_order_id
                assert entry is not None
            async with open_live_desk(backup, simulator=simulator, number=2) as desk:
                journal, entries = open_journal_with_exit(desk, entry)
                entries.restore()
                assert len(journal.read_entries()) == 1
                await desk.until(make_restore_step(entries, desk, until_pending=True))
                assert journal.read_entries() == []
                await desk.until(lambda: desk.executor.position.is_flat)
                desk.assert_ledgers_equal()
                journal.close()

    asyncio.run(scenario())


def test_an_exit_of_the_journal_waits_for_an_entry_without_a_response(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.until(lambda: desk.executor.balance_is_known)
        order = desk.enter()
        # Nothing is stored of what comes of it.
        await desk.until_sent(order)
        journal, entries = open_journal_with_exit(desk, order.client_order_id)
        entries.restore()
        assert len(journal.read_entries()) == 1
        await desk.until(make_restore_step(entries, desk, until_pending=True))
        assert journal.read_entries() == []
        await desk.until(lambda: desk.executor.position.is_flat)
        desk.assert_ledgers_equal()
        journal.close()

    lost = Fault("reset", method="POST", path="/api/v3/order", count=1, when="after")
    run(scenario, lost)


def test_an_exit_that_is_added_to_the_journal_later_is_pending_too(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        await desk.hold()
        entry = desk.executor.entry_order_id
        assert entry is not None
        journal = ExitJournal(desk.store.path, "a test")
        entries = JournalEntries(desk.context, journal, desk.executor, desk.lease.fence)
        entries.restore()
        assert not desk.has_pending_exit
        # The watch of exits wrote it while everything was built again from the file.
        journal.add(exit_of(entry))
        entries.restore()
        assert desk.has_pending_exit
        assert not journal.has_entries
        journal.close()

    run(scenario)


def test_an_exit_of_the_journal_ends_with_an_entry_that_never_arrived(run: Run) -> None:
    async def scenario(desk: LiveDesk) -> None:
        order = desk.enter()
        await desk.until(lambda: desk.state_of(order.client_order_id) == "unknown")
        journal, entries = open_journal_with_exit(desk, order.client_order_id)
        entries.restore()
        assert len(journal.read_entries()) == 1
        await desk.pass_time(4)
        await desk.until(lambda: desk.state_of(order.client_order_id) == "absent")
        await desk.until(lambda: desk.executor.is_position_known)
        entries.restore()
        assert journal.read_entries() == []
        assert not desk.has_pending_exit
        journal.close()

    run(scenario, Fault("reset", method="POST", path="/api/v3/order", count=1, when="before"))
