"""Detect, while the stream is down, when the exchange can be reached again.

Requests that fail for long are repeated more and more rarely, so a recovery would be noticed late.
One small request every few seconds, for all symbols together, notices it soon.
"""

import time
from collections.abc import Callable
from typing import Final

from onetape.core.errors import ExchangeError
from onetape.exchange.rest import RestExchange

#: Least time between two requests, wall seconds.
PROBE_SECONDS: Final = 3.0


class RestProbe:
    """Fetches the exchange's time. All symbols of a process share it, in one event loop."""

    def __init__(self, exchange: RestExchange) -> None:
        """Begin; the first request is sent when the stream has been down for a moment."""
        self._exchange = exchange
        self._next_seconds = 0.0
        self._has_failed = False
        self.on_recovery: list[Callable[[], None]] = []
        """Functions called when the exchange responds again after failed requests."""

    async def look(self) -> None:
        """Send a request, if the last one is long enough ago; call it while the stream is down."""
        if time.monotonic() < self._next_seconds:
            return
        self._next_seconds = time.monotonic() + PROBE_SECONDS
        try:
            await self._exchange.compare_clocks()
        except ExchangeError:
            # Tasks that need the exchange report it.
            self._has_failed = True
            return
        if self._has_failed:
            self._has_failed = False
            for call in self.on_recovery:
                call()
