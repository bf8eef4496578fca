"""Opens exchange and account at the start; with a position open, again and again until it works.

A start that holds nothing ends with the error of an exchange that cannot be reached. With a
position or an order open the program stays, says that it cannot act, and goes on trying.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from onetape.cli.output import print_line
from onetape.cli.stop import StopRequest
from onetape.core.errors import ExchangeError
from trader.backoff import Backoff

T = TypeVar("T")

#: Between two attempts: the first pause, doubling to the longest, wall seconds.
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 15.0


async def open_exchange(
    attempt: Callable[[AsyncExitStack], Awaitable[T]],
    stack: AsyncExitStack,
    stop: StopRequest,
    *,
    is_held: bool,
) -> T | None:
    """Return what an attempt has opened, or None where the stop came first.

    Args:
        attempt: Opens exchange and account on a stack, which closes them.
        stack: Closes what the attempt that worked has opened.
        stop: Of the program.
        is_held: Whether a position or an order is open; then a failed attempt is repeated.

    Raises:
        ExchangeError: the exchange cannot be used, and nothing is open.
    """

    async def opened(own: AsyncExitStack) -> T:
        return await attempt(own)

    pauses = Backoff(first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
    printed = ""
    while True:
        async with AsyncExitStack() as own:
            try:
                found = await stop.unless_stopped(opened(own))
            except ExchangeError as error:
                if not is_held:
                    raise
                failure = str(error)
            else:
                if found is not None:
                    stack.push_async_callback(own.pop_all().aclose)
                    if printed:
                        print_line("the exchange can be reached again", event="state")
                return found
        if failure != printed:
            printed = failure
            print_line(
                f"degraded: {failure}; a position or order is open: no entries and no exits until "
                "the exchange can be reached; a stop at the exchange stays; it is tried again",
                level="ERROR",
                event="state",
                state="degraded",
            )
        if await stop.unless_stopped(_waited(pauses.lengthen())) is None:
            return None


async def _waited(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True
