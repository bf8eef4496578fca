"""The thread that trades, with an event loop of its own.

The main thread's loop has the sockets and the signals. The thread reads and writes the database: a
write that waits for another process, or for the disk, holds up neither sockets nor signals. All
writes of a session are made in it, in the order of what they rest on.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from onetape.cli.stop import StopRequest

_Ready = tuple[asyncio.AbstractEventLoop, StopRequest]


async def run_in_thread(
    stop: StopRequest, work: Callable[[StopRequest], Coroutine[Any, Any, None]]
) -> None:
    """Run a coroutine in the event loop of a new thread until it ends.

    Args:
        stop: The program's; once it is requested, that of the thread is.
        work: Gets the thread's own stop request, and ends soon after that is requested.

    Raises:
        Exception: what the coroutine raised.
    """
    ready: Future[_Ready] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="trading") as thread:
        running = asyncio.wrap_future(thread.submit(asyncio.run, _main(ready, work)))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                loop, inner = await asyncio.wrap_future(ready)
                loop.call_soon_threadsafe(inner.request, stop.name)
            await running
        finally:
            stopped.cancel()


async def _main(
    ready: "Future[_Ready]", work: Callable[[StopRequest], Coroutine[Any, Any, None]]
) -> None:
    stop = StopRequest(takes_signals=False)
    ready.set_result((asyncio.get_running_loop(), stop))
    await work(stop)
