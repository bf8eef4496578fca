"""Notices soon that the exchange can be reached again after an outage.

Requests that fail for long are repeated more and more rarely. While the stream is down, one small
request every 3 s, for all symbols together, ends these pauses with its first response.
"""

import time
from collections.abc import Callable
from typing import Final

from onetape.core.errors import ExchangeError
from onetape.exchange.rest import RestExchange

#: Minimum time between two requests, wall seconds.
PROBE_SECONDS: Final = 3.0


class RestProbe:
    """Requests the exchange's time as a probe; shared by all symbols, in one event loop."""

    def __init__(self, exchange: RestExchange) -> None:
        """Initialise; nothing is requested before the first call of `send_if_due`."""
        self._exchange = exchange
        self._next_seconds = 0.0
        """Earliest time of the next request, monotonic seconds."""
        self._has_failed = False
        self.on_recovery: list[Callable[[], None]] = []
        """Functions called when the exchange responds again after failed requests."""

    async def send_if_due(self) -> None:
        """Send a request, if the last one was 3 s ago; call it while the stream is down.

        The first response after a failure calls the functions of `on_recovery`.
        """
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
