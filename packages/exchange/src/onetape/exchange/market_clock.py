"""The clock of a simulator's market time, and the choice between it and `ExchangeClock`."""

import http.client
import json
import select
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from onetape.core.clock import Clock
from onetape.core.errors import ExchangeUnreachable
from onetape.core.simulated import CandleRecording, SimulatedSource
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.ccxt_errors import suggest_remedy
from onetape.exchange.clients import Endpoint
from onetape.exchange.exchange_clock import ExchangeClock
from onetape.exchange.wall_clock import WallClock

#: Time limit of the first request, and of later ones, seconds. A local simulator responds at once
#: or not at all; at the start it, or the computer, may be busy.
FIRST_TIMEOUT_SECONDS = 10.0
TIMEOUT_SECONDS = 0.4
#: Pause after a request without a response, seconds; the caller waits for each request.
PAUSE_SECONDS = 1.0
#: Time after a response for which market time is computed without a request, seconds.
EXTRAPOLATION_SECONDS = 5.0
#: Errors of a request without a usable response.
_NO_RESPONSE = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)


class SimulatorClock:
    """The market time of a simulator, requested over HTTP.

    The simulator states whether its time is steady, that is, runs by itself. Then the time since
    the last response is added by the monotonic clock, because a busy simulator responds late and a
    decision reads the time often. This is done for at most `EXTRAPOLATION_SECONDS`, and only while
    the connection exists: the next connection may be to another simulator.

    A time that is stepped or held is requested at each read: a computed time would be ahead, and
    forming candles would count as closed. While the simulator does not respond, time stands still.
    The request blocks the caller's thread: a frozen simulator blocks it for 0.4 s of each 1.4 s.
    """

    def __init__(self, url: str) -> None:
        """Send one request for the simulator's time, which blocks.

        Args:
            url: Address of the simulator, such as `http://127.0.0.1:8790`.

        Raises:
            ExchangeUnreachable: nothing responds at the address, or it is no simulator.
        """
        parts = urlsplit(url)
        self._url = url
        # http.client uses no proxy of the environment, which a local address does not need.
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=FIRST_TIMEOUT_SECONDS
        )
        self._lock = threading.Lock()
        self._now_ms = 0
        self._speed = 1.0
        self._request_after = 0.0
        self._is_steady = False
        self._base_ms = 0
        self._base = 0.0
        """Monotonic time of the response from which time is computed, seconds; 0: no response."""
        self._response_seconds = 0.0
        """Time of the simulator's last response, monotonic seconds."""
        self.seed = 0
        """Seed of the simulator's market."""
        self.replays: bool | None = None
        """Whether the simulator replays recorded candles; None: not stated."""
        try:
            self._request_clock()
        except _NO_RESPONSE as error:
            self._disconnect()
            raise ExchangeUnreachable(
                f"no simulator responds at {url} ({error}); {suggest_remedy(SIMULATOR_ID)}"
            ) from error
        self._connection.timeout = TIMEOUT_SECONDS
        if self._connection.sock is not None:
            self._connection.sock.settimeout(TIMEOUT_SECONDS)

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC. Threads may share the clock."""
        with self._lock:
            return self._get_now_ms()

    def _get_now_ms(self) -> int:
        """Return the market time, requested if the last response is too old; the lock must be held.

        Without a response, the last known time is returned, for `PAUSE_SECONDS` without a request.
        """
        now = time.monotonic()
        if now < self._request_after:
            return self._now_ms
        if self._may_extrapolate(now):
            self._now_ms = self._extrapolate_ms(now)
            return self._now_ms
        try:
            try:
                self._request_clock()
            except (ConnectionError, http.client.HTTPException):
                # A connection kept open may have been closed meanwhile: the next one is new.
                self._disconnect()
                self._request_clock()
        except _NO_RESPONSE:
            self._disconnect()
            self._request_after = time.monotonic() + PAUSE_SECONDS
        return self._now_ms

    def _may_extrapolate(self, now: float) -> bool:
        """Return whether market time may be computed from the last response, without a request."""
        if not self._is_steady or now - self._response_seconds >= EXTRAPOLATION_SECONDS:
            return False
        connection = self._connection.sock
        if connection is None:
            return False
        # No response is expected, so only the end of the connection can be readable.
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return not poll.poll(0)

    def _extrapolate_ms(self, now: float) -> int:
        return self._base_ms + int((now - self._base) * self._speed * 1_000)

    def _disconnect(self) -> None:
        self._connection.close()
        self._base = 0.0

    def wall_seconds(self, market_ms: int) -> float:
        """Return the wall time of `market_ms` of market time, seconds; 0 for a stepped clock."""
        return market_ms / 1_000 / self._speed if self._speed else 0.0

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._disconnect()

    def fetch_recordings(self) -> dict[str, CandleRecording] | None:
        """Request the recordings that the simulator replays, by symbol; as in `SimulatedSource`.

        Raises:
            ExchangeUnreachable: the simulator did not respond.
        """
        if not self.replays:
            return None if self.replays is None else {}
        try:
            with self._lock:
                self._connection.request("GET", "/simulator/recordings")
                found: dict[str, dict[str, str]] = json.loads(self._connection.getresponse().read())
            return {
                symbol: CandleRecording(one["timeframe"], one["digest"])
                for symbol, one in found.items()
            }
        except _NO_RESPONSE as error:
            raise ExchangeUnreachable(
                f"the simulator at {self._url} does not state what it replays ({error})"
            ) from error

    def _request_clock(self) -> None:
        """Request the simulator's time, speed, seed and source, and set the attributes."""
        self._connection.request("GET", "/simulator/clock")
        state: dict[str, Any] = json.loads(self._connection.getresponse().read())
        response_ms, self._speed = int(state["market_ms"]), float(state["speed"])
        self.seed = int(state["seed"])
        origin = state.get("origin")
        self.replays = None if origin is None else origin == "recorded"
        self._is_steady = bool(state.get("steady"))
        self._response_seconds = time.monotonic()
        self._now_ms = self._choose_later_ms(response_ms) if self._is_steady else response_ms

    def _choose_later_ms(self, response_ms: int) -> int:
        """Return the later of the new response and the time computed from an older response.

        Each is behind the simulator by the transit time of its response, and never ahead, so the
        later one is more exact. It is the base of later computed times.
        """
        computed_ms = self._extrapolate_ms(self._response_seconds)
        longest_transit_ms = TIMEOUT_SECONDS * self._speed * 1_000
        if self._base and 0 <= computed_ms - response_ms <= longest_transit_ms:
            return computed_ms
        self._base, self._base_ms = self._response_seconds, response_ms
        return response_ms


def open_market_clock(endpoint: Endpoint, wall: WallClock) -> Clock:
    """Return the clock of the market: the simulator's own, or that of a real exchange.

    Args:
        endpoint: Endpoint of the exchange.
        wall: The computer's time.

    Raises:
        ExchangeUnreachable: the simulator did not return its time.
    """
    if endpoint.simulator_url is None:
        return ExchangeClock(wall)
    return SimulatorClock(endpoint.simulator_url)


class SimulatorInfo(Struct, frozen=True):
    """Market and time of a running simulator."""

    source: SimulatedSource
    """Seed, or recordings, from which its candles are made."""
    now_ms: int
    """Market time of the simulator, epoch milliseconds."""


def fetch_simulator_info(endpoint: Endpoint) -> SimulatorInfo | None:
    """Request the market and the time of a simulator; None for a real exchange.

    The call blocks until the response, so an event loop must call it in a thread.

    Raises:
        ExchangeUnreachable: the simulator did not respond.
    """
    if endpoint.simulator_url is None:
        return None
    clock = SimulatorClock(endpoint.simulator_url)
    try:
        source = SimulatedSource(clock.seed, clock.fetch_recordings())
        return SimulatorInfo(source, clock.now_ms())
    finally:
        clock.close()
