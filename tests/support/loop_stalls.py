"""Time for which an event loop stands still while its process runs."""

import asyncio
import threading
from types import TracebackType
from typing import Final, Self

#: Interval at which the thread next to the event loop counts, seconds.
TICK_SECONDS: Final = 0.005


class LoopStalls:
    """Measure stalls of an event loop while the block lasts, by a counting thread.

    While the machine stands still, or runs other processes, neither of them runs: that is no stall
    of the loop.
    """

    def __init__(self) -> None:
        """Prepare; the block begins in the loop."""
        self.longest_seconds = 0.0
        """The longest stall so far."""
        self._ticks = 0
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to measure."""
        self._thread.start()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the measurement; a stall that lasts until now counts."""
        assert self._watching is not None
        await asyncio.sleep(2 * TICK_SECONDS)
        self._watching.cancel()
        self._has_ended.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._has_ended.wait(TICK_SECONDS):
            self._ticks += 1

    async def _watch(self) -> None:
        while True:
            before = self._ticks
            await asyncio.sleep(TICK_SECONDS)
            stall = (self._ticks - before) * TICK_SECONDS
            self.longest_seconds = max(self.longest_seconds, stall)
