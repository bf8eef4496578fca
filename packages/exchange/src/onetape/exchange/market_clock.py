"""Market time of an exchange: the computer's, or what the simulator says it is."""

import contextlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from onetape.core.clock import Clock, SystemClock
from onetape.core.errors import ExchangeUnreachable
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.clients import Endpoint
from onetape.exchange.translate import way_out

#: A local simulator answers at once or not at all.
TIMEOUT_SECONDS = 2.0
_NO_ANSWER = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)


class SimulatorClock:
    """The simulator's market time, asked for anew each time (under a millisecond on loopback).

    A clock of our own that was set once would run ahead whenever the simulator's is held or
    stepped, and take forming candles for closed ones. While the simulator does not answer, time
    stands still: nothing can be known to have closed.
    """

    def __init__(self, url: str) -> None:
        """Ask for the first time.

        Args:
            url: Where the simulator listens, such as `http://127.0.0.1:8790`.

        Raises:
            ExchangeUnreachable: nothing answers there, or something else does.
        """
        parts = urlsplit(url)
        self._url = url
        # http.client obeys no proxy of the environment: those are for the outside.
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=TIMEOUT_SECONDS
        )
        self._now_ms = 0
        self._speed = 1.0
        self.seed = 0
        """Which market the simulator invents."""
        try:
            self._ask()
        except _NO_ANSWER as error:
            self._connection.close()
            raise ExchangeUnreachable(
                f"no simulator answers at {url} ({error}); {way_out(SIMULATOR_ID)}"
            ) from error

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        try:
            self._ask()
        except _NO_ANSWER:
            # A connection kept open may have been closed meanwhile: the next one is new.
            self._connection.close()
            with contextlib.suppress(*_NO_ANSWER):
                self._ask()
        return self._now_ms

    def wall_seconds(self, market_ms: int) -> float:
        """Return how long `market_ms` take on the wall clock, in seconds; 0 where it is stepped."""
        return market_ms / 1_000 / self._speed if self._speed else 0.0

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        self._connection.close()

    def _ask(self) -> None:
        self._connection.request("GET", "/simulator/clock")
        state: dict[str, Any] = json.loads(self._connection.getresponse().read())
        self._now_ms, self._speed = int(state["market_ms"]), float(state["speed"])
        self.seed = int(state["seed"])


def market_clock(endpoint: Endpoint) -> Clock:
    """Return the clock of the market: the simulator's own, or the computer's.

    Raises:
        ExchangeUnreachable: the simulator did not tell its time.
    """
    if endpoint.simulator_url is None:
        return SystemClock()
    return SimulatorClock(endpoint.simulator_url)


def simulator_seed(endpoint: Endpoint) -> int | None:
    """Return which market the simulator invents; None for a real exchange. It waits: use a thread.

    Raises:
        ExchangeUnreachable: the simulator did not tell.
    """
    if endpoint.simulator_url is None:
        return None
    clock = SimulatorClock(endpoint.simulator_url)
    clock.close()
    return clock.seed
