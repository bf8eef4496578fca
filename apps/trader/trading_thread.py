"""The trading thread: the sessions run in a separate thread with its own event loop.

The main thread's loop has the sockets and the signals. The trading thread reads and writes the
database: a write that waits for another process, or for the disk, holds up neither sockets nor
signals. The thread makes all writes of a session, in the order of their dependencies.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NoReturn

from onetape.cli.output import print_line
from onetape.cli.program import EXIT_INTERRUPTED
from onetape.cli.stop import StopRequest
from onetape.core.message_text import format_duration
from trader.monitoring.alerts import end_alerts

#: Time that the thread has not run before that is printed, wall seconds.
STUCK_SECONDS = 10.0
#: Time between two checks whether the thread runs, wall seconds.
CHECK_SECONDS = 1.0
#: Time after a stop in which the thread must end; then the process ends without it, wall seconds.
FORCED_END_SECONDS = 5.0
#: Exit code of a process that SIGTERM has ended, as shells count it.
EXIT_TERMINATED: Final = 143

#: Event loop of the trading thread, and the stop request in it.
_Ready = tuple[asyncio.AbstractEventLoop, StopRequest]


async def run_in_thread(
    stop: StopRequest, work: Callable[[StopRequest], Coroutine[Any, Any, None]]
) -> None:
    """Run a coroutine in the event loop of a new thread until it ends.

    Args:
        stop: Stop request of the program; passed on to the thread.
        work: Called with the stop request of the thread's loop; its coroutine ends soon after that
            request.

    Raises:
        Exception: as raised by the coroutine.
    """
    ready: Future[_Ready] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="trading") as thread:
        running = asyncio.wrap_future(thread.submit(asyncio.run, _main(ready, work)))
        stopped = asyncio.create_task(stop.wait())
        watching = asyncio.create_task(_watch(ready))
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                loop, inner = await asyncio.wrap_future(ready)
                loop.call_soon_threadsafe(inner.request, stop.name)
                await asyncio.wait({running}, timeout=FORCED_END_SECONDS)
            if not running.done():
                _end_process(stop.name)
            await running
        finally:
            stopped.cancel()
            watching.cancel()


async def _watch(ready: "Future[_Ready]") -> None:
    """Print if the thread does not run: a disk that hangs can block it for hours."""
    home = asyncio.get_running_loop()
    loop, _ = await asyncio.wrap_future(ready)
    while True:
        responded = asyncio.Event()
        began = time.monotonic()
        try:
            loop.call_soon_threadsafe(home.call_soon_threadsafe, responded.set)
        except RuntimeError:
            return  # The thread has ended, and its loop with it.
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await responded.wait()
        except TimeoutError:
            print_line(
                f"degraded: the trader's own thread has not run for {STUCK_SECONDS:.0f} s, "
                "probably because the disk does not respond; nothing is decided or traded "
                "meanwhile; look at the disk, if this lasts"
            )
            await responded.wait()
            lasted = format_duration(time.monotonic() - began)
            print_line(f"trading again after {lasted}; over: the trader's own thread did not run")
        await asyncio.sleep(CHECK_SECONDS)


def _end_process(name: str) -> NoReturn:
    """End the process although the trading thread hangs; the next session stores what is missing.

    Args:
        name: The stop request: `Ctrl-C` or `SIGTERM`.
    """
    print_line(
        f"{name}: ended while the trader's own thread hangs, probably because the disk does not "
        "respond; the end of the session is not stored, the next one stores it",
        event="session",
        level="ERROR",
    )
    end_alerts()
    os._exit(EXIT_INTERRUPTED if name == "Ctrl-C" else EXIT_TERMINATED)


async def _main(
    ready: "Future[_Ready]", work: Callable[[StopRequest], Coroutine[Any, Any, None]]
) -> None:
    stop = StopRequest(takes_signals=False)
    ready.set_result((asyncio.get_running_loop(), stop))
    await work(stop)
