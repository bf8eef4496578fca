"""A start on a database that cannot be written: with a position or an order open it waits.

The file is locked by another process, its disk is full, or it is read-only. Without a position or
an order, or if the start fails for another reason, it ends with the error. What a running trader
does while its file is locked is decided by `supervisor`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest
from onetape.core.errors import StoreFull, StoreLocked, StoreUnwritable
from onetape.store.database import open_store
from onetape.store.event_reading import LOADING_OVER
from trader.live.start_plan import StartPlan
from trader.waiting_start import WaitingStart

T = TypeVar("T")

#: Pause between two attempts, wall seconds.
PAUSE_SECONDS: Final = 1.0
#: Time without a failure after which the file counts as writable again, wall seconds.
WORKING_SECONDS: Final = 2.0
#: Maximum time that a write waits for another process; a stop of the program waits, too.
WRITE_TIMEOUT_SECONDS: Final = 1.0


def read_once_unlocked(read: Callable[[], T]) -> T:
    """Call a function that reads the database; wait while another process locks it for readers.

    It blocks the calling thread. Before the read it is unknown whether a position is open, so the
    start does not end with an error; a signal ends the program meanwhile.

    Args:
        read: Function whose result is returned; called again after each failure by a lock.

    Raises:
        OnetapeError: as raised by `read`, except for a lock.
    """
    has_waited = False
    while True:
        try:
            found = read()
        except StoreLocked as error:
            if not has_waited:
                has_waited = True
                failure = str(error).partition("; ")[0]
                print_line(
                    f"degraded: {failure}; whether a position is open cannot be read: no entries "
                    "and no exits until the file can be read; end that process, if this lasts",
                    level="ERROR",
                    event="state",
                    state="degraded",
                )
        else:
            if has_waited:
                print_line("the database file can be read again", event="state")
            return found
        time.sleep(PAUSE_SECONDS)


async def trade_once_unlocked(
    plan: StartPlan,
    path: Path,
    trade: Callable[[StopRequest], Awaitable[None]],
    stop: StopRequest,
) -> None:
    """Trade; if a position or an order is open, wait until the file can be written.

    Args:
        plan: Plan of the start.
        path: Database of the trader.
        trade: Begins the sessions, and trades until the stop.
        stop: Stop request of the trading thread.

    Raises:
        StoreLocked: another process keeps the file locked, and nothing is open.
        StoreFull: the disk is full, and nothing is open.
        StoreUnwritable: the file may not be written, and nothing is open.
        OnetapeError: as raised by `trade`.
    """
    if not plan.open_series:
        await trade(stop)
        return
    waiting = WaitingStart(path, plan)
    try:
        while True:
            try:
                _check_writable(path)
                await waiting.close()
                async with _print_after(waiting.end):
                    await trade(stop)
            except (StoreLocked, StoreFull, StoreUnwritable) as error:
                if stop.name == LOADING_OVER:
                    return  # The start that follows waits for the file.
                if stop.name:
                    raise
                waiting.report(error)
            else:
                return
            if await stop.run_unless_stopped(_wait_pause()) is None:
                _print_stop(stop)
                return
    finally:
        await waiting.close()


@asynccontextmanager
async def _print_after(line: str) -> AsyncGenerator[None]:
    """Print a line once the block has run `WORKING_SECONDS` or has ended without an error.

    A block that fails before has not shown that the file can be written.

    Args:
        line: The line; empty: nothing is printed.
    """
    if not line:
        yield
        return
    loop = asyncio.get_running_loop()
    timer = loop.call_later(WORKING_SECONDS, partial(print_line, line, event="state"))
    is_printed_at = timer.when()
    try:
        yield
    finally:
        timer.cancel()
    if loop.time() < is_printed_at:
        print_line(line, event="state")


def _print_stop(stop: StopRequest) -> None:
    """Print that a signal has ended the wait; the end of loading is printed elsewhere."""
    if stop.name != LOADING_OVER:
        print_line(f"{stop.name}: stopped before trading began")


def _check_writable(path: Path) -> None:
    """Write to the file, which a full disk and another process's lock do not allow.

    What is written changes nothing: the number of the schema, as it is.

    Raises:
        StoreLocked: another process keeps the file locked.
        StoreUnwritable: the file may not be written.
    """
    with open_store(path, create=False) as store:
        store.lock_timeout_seconds = WRITE_TIMEOUT_SECONDS
        with store.write() as connection:
            version = connection.execute("PRAGMA user_version").get
            connection.execute(f"PRAGMA user_version = {version}")


async def _wait_pause() -> bool:
    """Wait `PAUSE_SECONDS`; return True, because a stop returns None instead."""
    await asyncio.sleep(PAUSE_SECONDS)
    return True
