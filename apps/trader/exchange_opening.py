"""Opens exchange and account at the start; with a position open, it is retried until it succeeds.

With nothing open, the start ends with the error of an exchange that cannot be reached. With a
position or an order open the program goes on, prints that it cannot act, and tries again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest
from onetape.core.errors import ExchangeError, StoreLocked
from trader.backoff import Backoff
from trader.waiting_start import WaitingStart

T = TypeVar("T")

#: Pauses between two attempts: the first, doubling to the longest, wall seconds.
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 15.0


async def open_exchange(
    attempt: Callable[[AsyncExitStack], Awaitable[T]],
    stack: AsyncExitStack,
    stop: StopRequest,
    *,
    waiting: WaitingStart | None,
) -> T | None:
    """Return the result of an attempt to open the exchange; None: a stop came before.

    Args:
        attempt: Opens exchange and account, and enters them into the stack that it gets.
        stack: Stack that closes the objects of the successful attempt.
        stop: Stop request of the program.
        waiting: Reports that the start waits; a failed attempt is repeated. None: no position and
            no order is open, so the first error is raised.

    Raises:
        ExchangeError: the exchange cannot be used, and nothing is open.
        StoreLocked: another process keeps the file locked, and nothing is open.
        SafetyRefusal: another process trades a symbol of the account.
    """
    try:
        return await _open_with_retries(attempt, stack, stop, waiting)
    finally:
        if waiting is not None:
            await waiting.close()


async def _open_with_retries(
    attempt: Callable[[AsyncExitStack], Awaitable[T]],
    stack: AsyncExitStack,
    stop: StopRequest,
    waiting: WaitingStart | None,
) -> T | None:
    """Return the result of an attempt, or None; as `open_exchange`, which closes `waiting`."""

    async def attempt_once(own: AsyncExitStack) -> T:
        return await attempt(own)

    pauses = Backoff(first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
    while True:
        async with AsyncExitStack() as own:
            try:
                found = await stop.run_unless_stopped(attempt_once(own))
            except (ExchangeError, StoreLocked) as error:
                if waiting is None:
                    raise
                waiting.report(error)
            else:
                if found is not None:
                    stack.push_async_callback(own.pop_all().aclose)
                    if waiting is not None and waiting.end:
                        print_line(waiting.end, event="state")
                return found
        if await stop.run_unless_stopped(_wait_seconds(pauses.begin_pause())) is None:
            return None


async def _wait_seconds(seconds: float) -> bool:
    """Wait; return True, because a stop returns None instead."""
    await asyncio.sleep(seconds)
    return True
