"""Stop an asyncio program on SIGTERM or Ctrl-C: a request that tasks can wait for."""

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


#: Time after which a task that swallowed its cancellation is cancelled again, seconds.
CANCEL_AGAIN_SECONDS = 0.5


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until each has ended; results and errors stay in the tasks.

    Python 3.11's `wait_for`, which CCXT uses, may swallow a cancellation that arrives just as its
    awaitable is done: cancelled once, such a task would go on forever.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            # The caller reads the error again; asyncio would log an error that was never read.
            task.exception()


_signal_came: float | None = None
"""Time of the first signal that stops this program, monotonic seconds; None: no signal."""


def get_seconds_since_signal() -> float | None:
    """Return the time since a signal stopped this program, seconds; None: no signal."""
    return None if _signal_came is None else time.monotonic() - _signal_came


class StopRequest:
    """A request to stop that tasks can wait for, made by SIGTERM, Ctrl-C or the program itself.

    An instance must be created inside the running event loop.
    """

    def __init__(self, *, takes_signals: bool = True) -> None:
        """Handle SIGTERM and SIGINT from now on, if `takes_signals` is set.

        The event loop of a thread other than the main one cannot handle signals.
        """
        self._event = asyncio.Event()
        self.name = ""
        """Cause of the stop, such as `SIGTERM` or `Ctrl-C`; empty: no stop was requested."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT) if takes_signals else ():
            loop.add_signal_handler(number, self._stop, number)

    def request(self, name: str) -> None:
        """Request the stop; `name` is its cause."""
        self.name = name
        self._event.set()

    def _stop(self, number: signal.Signals) -> None:
        global _signal_came
        if _signal_came is None:
            _signal_came = time.monotonic()
        self.request("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

    async def wait(self) -> None:
        """Wait for the request."""
        await self._event.wait()

    async def run_unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of the work, or None if the stop came first and cancelled the work."""
        working = asyncio.create_task(work)
        stopped = asyncio.create_task(self.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(working, stopped)
        return None if working.cancelled() else working.result()
