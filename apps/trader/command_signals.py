"""Signals to a running trader that are commands of a person: SIGUSR1 pauses, SIGUSR2 flattens.

The commands are stored as rows like all others, so they survive a restart. While the database
cannot be written, as on a full disk, a command stays in memory, and storing it is tried again every
second.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Final

from onetape.cli.output import print_line
from onetape.core.errors import OnetapeError, StoreError, StoreUnwritable, UsageError
from onetape.execution.controls import ControlVerb
from onetape.store.account_reading import read_traded_series
from onetape.store.controls import insert_controls
from onetape.store.database import open_if_exists
from trader.command_rows import NewCommand, make_command_rows
from trader.start import held_signals, hold_command_signals, hold_signal

#: Commands by signal.
SIGNALS: Final[dict[signal.Signals, ControlVerb]] = {
    signal.SIGUSR1: "pause",
    signal.SIGUSR2: "flatten",
}

#: Pause before storing a command is tried again, wall seconds.
RETRY_SECONDS = 1.0


@contextlib.contextmanager
def holding_command_signals() -> Generator[None]:
    """While the block runs, let command signals wait until `taking_command_signals` stores them.

    Signals that came since the start of the program wait too. Call it in the main thread.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hold_command_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        held_signals.clear()


@contextlib.contextmanager
def taking_command_signals(database: Path, account: str) -> Generator[None]:
    """While the block runs, store the command of each signal; signals that waited come first.

    Call it in the running event loop of the main thread.

    Args:
        database: Path of the trader's database; it may not exist yet.
        account: The account that the commands are for.
    """
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    def take(number: signal.Signals) -> None:
        task = asyncio.create_task(_store(database, account, number))
        running.add(task)
        task.add_done_callback(running.discard)

    for number in SIGNALS:
        loop.add_signal_handler(number, partial(take, number))
    while held_signals:
        take(held_signals.pop(0))
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, hold_signal)
        for task in running:
            task.cancel()


async def _store(database: Path, account: str, number: signal.Signals) -> None:
    """Store the command of a signal when the file can be written; print the result."""
    command = NewCommand(SIGNALS[number], account=account)
    wall_ms = time.time_ns() // 1_000_000
    printed = ""

    def store() -> None:
        """Store the command, in a separate thread."""
        opened = open_if_exists(database)
        if opened is None:
            raise StoreError(f"{database} does not exist yet")
        with opened:
            rows = make_command_rows(
                read_traded_series(opened), command, at_ms=wall_ms, given_by=f"signal {number.name}"
            )
            insert_controls(opened, rows)

    while True:
        try:
            # A locked file must not hold up the loop that has the sockets.
            await asyncio.to_thread(store)
        except (StoreError, StoreUnwritable, UsageError) as error:
            # At the first start of an account, its session stores the account.
            if str(error) != printed:
                printed = str(error)
                print_line(
                    f"{number.name}: the command {command.verb} is not stored yet: {error}; it is "
                    "tried again as long as this program runs",
                    level="ERROR",
                )
            await asyncio.sleep(RETRY_SECONDS)
        except OnetapeError as error:
            print_line(f"{number.name}: the command {command.verb} is not stored: {error}")
            return
        else:
            print_line(f"{number.name}: command {command.verb} stored")
            return
