"""Binance's limits: request weight, order counts, bans, WebSocket dials and messages.

All limits count real time, also in an accelerated or stepped market, because clients wait and
spread their requests by real time too. With `--speed 60` a strategy sends sixty times as many
requests, and the limits count all of them.
"""

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.faults.rest import is_handshake
from onetape.simulator.market.clock import get_clock_speed
from onetape.simulator.server.exchange_info import RATE_LIMITS
from onetape.simulator.server.weights import DIAL_WEIGHT, get_order_count, get_request_weight
from onetape.simulator.server.wire import JsonObject, format_json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Clock of real time, seconds.
WALL: Callable[[], float] = time.monotonic
_UNITS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}
_LETTERS: Final = {"SECOND": "S", "MINUTE": "M", "HOUR": "H", "DAY": "D"}
#: Number of refusals within a window after which a client that sends another request is banned.
REFUSALS_BEFORE_BAN: Final = 10
FIRST_BAN_SECONDS: Final = 120.0
LONGEST_BAN_SECONDS: Final = 3 * 86_400.0
MAX_DIALS: Final = 300
DIALS_SECONDS: Final = 300.0
#: Path of the WebSocket API, whose requests count as those over REST do.
WS_API_PATH: Final = "/ws-api/v3"
#: Messages that a client may send on one socket in a second: commands, pings and pongs together.
MAX_MESSAGES: Final = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """One entry of exchangeInfo's `rateLimits`."""

    kind: str
    """Binance's `rateLimitType`, such as `REQUEST_WEIGHT`."""
    unit: str
    """Unit of the window: `SECOND`, `MINUTE`, `HOUR` or `DAY`."""
    count: int
    """Length of the window in units."""
    limit: int
    """Highest allowed sum within a window."""

    @property
    def seconds(self) -> int:
        """Length of the limit's window, seconds."""
        return self.count * _UNITS[self.unit]

    def make_document(self, count: int) -> JsonObject:
        """Return the limit as in a reply's `rateLimits`, with its used count."""
        return {
            "rateLimitType": self.kind,
            "interval": self.unit,
            "intervalNum": self.count,
            "limit": self.limit,
            "count": count,
        }

    @property
    def header(self) -> str:
        """Window of the limit as HTTP headers name it, such as `1M` or `10S`."""
        return f"{self.count}{_LETTERS[self.unit]}"


def get_rates(kind: str) -> tuple[Rate, ...]:
    """Return the limits of one kind as exchangeInfo states them."""
    entries = cast("list[dict[str, Any]]", RATE_LIMITS)
    return tuple(
        Rate(kind, entry["interval"], entry["intervalNum"], entry["limit"])
        for entry in entries
        if entry["rateLimitType"] == kind
    )


@dataclass(slots=True)
class _Window:
    """Counts in windows that begin at multiples of their length."""

    rate: Rate
    """Limit whose windows are counted."""
    window: int = -1
    """Number of the present window."""
    used: int = 0
    """Sum in the present window."""

    def roll_to(self, now: float) -> int:
        """Return the used count of the present window."""
        window = int(now // self.rate.seconds)
        if window != self.window:
            self.window, self.used = window, 0
        return self.used

    def compute_left_seconds(self, now: float) -> int:
        """Return the whole seconds until the next window has begun."""
        return max(math.ceil((int(now // self.rate.seconds) + 1) * self.rate.seconds - now), 1)


@dataclass(slots=True)
class _Client:
    """Requests, refusals and bans of one client address."""

    weight: _Window
    """Request weight that is used."""
    raw: _Window
    """Number of requests."""
    refusals: int = 0
    """Number of refusals since the client last used less than half of its weight."""
    bans: int = 0
    """Number of bans so far; each ban doubles the next one."""
    banned_until: float = 0.0
    """End of the ban, seconds of the monotonic clock; 0: never banned."""
    dials: deque[float] = field(default_factory=deque[float])
    """Times of the WebSocket handshakes of the last five minutes, seconds."""


@dataclass(frozen=True, slots=True)
class Excess:
    """The exceeded limit that refuses a request."""

    status: int
    """HTTP status of the refusal: 429, or 418 during a ban."""
    code: int
    """Binance's error code."""
    text: str
    """Text of the error, in Binance's words."""
    left_seconds: float
    """Real time until the next request is served, seconds."""


class Limits:
    """Counts the requests of each client address and writes the counts into headers.

    If limits are enforced, a request beyond a limit is refused, and a client that sends more after
    several refusals is banned.
    """

    def __init__(self, clock: Clock, *, enforced: bool) -> None:
        """Begin with all counts at 0.

        Args:
            clock: Clock for the end of a ban, which Binance states in its own time.
            enforced: Whether requests are refused; otherwise only the headers are sent.
        """
        self._clock = clock
        self.enforced = enforced
        self._wall = WALL
        (self._weight,) = get_rates("REQUEST_WEIGHT")
        (self._raw,) = get_rates("RAW_REQUESTS")
        # Counts of the account, for all keys, processes and addresses that send its orders.
        self._orders = tuple(map(_Window, get_rates("ORDERS")))
        self._clients: dict[str, _Client] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a request, then handle or refuse it."""
        if is_handshake(request):
            return self.count_handshake(request) or await handler(request)
        if not request.path.startswith(("/api/", "/sapi/")):
            return await handler(request)
        address = request.remote or ""
        orders = get_order_count(request.method, request.path)
        weight = get_request_weight(request.method, request.path, request.query)
        excess = self.count(address, weight, orders=orders)
        response = await handler(request) if excess is None else _make_excess_response(excess)
        if not response.prepared:
            if orders and response.status in (200, 409):
                self.count_orders(orders)
            self._write_headers(address, response, orders)
        return response

    def count(self, address: str, weight: int, *, orders: int) -> Excess | None:
        """Count a request of an address; return the limit that refuses the request, or None.

        Args:
            address: Address of the client.
            weight: Weight of the request.
            orders: Number of orders in the request; `count_orders` counts those accepted.
        """
        client, now = self._get_client(address), self._wall()
        if client.banned_until > now:
            return self._make_ban_excess(client, now)
        for window, used in ((client.weight, weight), (client.raw, 1)):
            window.roll_to(now)
            window.used += used
        return self._find_excess(client, now, orders) if self.enforced else None

    def count_orders(self, orders: int) -> None:
        """Count orders of the account that were accepted."""
        now = self._wall()
        for window in self._orders:
            window.roll_to(now)
            window.used += orders

    def list_used_limits(self, address: str, *, orders: int) -> list[JsonObject]:
        """Return the `rateLimits` of a reply: the limits that a request counts in."""
        client, now = self._get_client(address), self._wall()
        windows = (*self._orders, client.weight) if orders else (client.weight,)
        return [window.rate.make_document(window.roll_to(now)) for window in windows]

    def is_banned(self, address: str) -> bool:
        """Return whether requests of an address are refused because of a ban."""
        return self._get_client(address).banned_until > self._wall()

    def compute_served_ms(self, excess: Excess) -> int:
        """Return the market time at which a refused client is served again, milliseconds."""
        return self._compute_market_ms(excess.left_seconds)

    def count_handshake(self, request: web.Request) -> web.Response | None:
        """Count a WebSocket handshake; return its refusal where there are too many, else None."""
        client, now = self._get_client(request.remote or ""), self._wall()
        if request.path == WS_API_PATH:
            if client.banned_until > now:
                return _make_excess_response(self._make_ban_excess(client, now))
            client.weight.roll_to(now)
            client.weight.used += DIAL_WEIGHT
        if not self.enforced:
            return None
        while client.dials and client.dials[0] <= now - DIALS_SECONDS:
            client.dials.popleft()
        if len(client.dials) < MAX_DIALS:
            client.dials.append(now)
            return None
        wait = math.ceil(client.dials[0] + DIALS_SECONDS - now)
        return web.Response(status=429, headers={"Retry-After": str(wait)})

    def _get_client(self, address: str) -> _Client:
        if address not in self._clients:
            self._clients[address] = _Client(_Window(self._weight), _Window(self._raw))
        return self._clients[address]

    def _find_excess(self, client: _Client, now: float, orders: int) -> Excess | None:
        over = next((one for one in (client.weight, client.raw) if one.used > one.rate.limit), None)
        if over is not None:
            client.refusals += 1
            if client.refusals > REFUSALS_BEFORE_BAN:
                return self._start_ban(client, now)
            return Excess(
                429, -1003, _format_limit_error(over.rate), over.compute_left_seconds(now)
            )
        if client.weight.used <= self._weight.limit // 2:
            client.refusals = 0
        if not orders:
            return None
        for window in self._orders:
            if window.roll_to(now) + orders > window.rate.limit:
                rate = window.rate
                text = (
                    f"Too many new orders; current limit is {rate.limit} orders per "
                    f"{rate.count} {rate.unit}."
                )
                return Excess(429, -1015, text, window.compute_left_seconds(now))
        return None

    def _start_ban(self, client: _Client, now: float) -> Excess:
        seconds = min(FIRST_BAN_SECONDS * 2**client.bans, LONGEST_BAN_SECONDS)
        client.bans += 1
        client.refusals = 0
        client.banned_until = now + seconds
        return self._make_ban_excess(client, now)

    def _make_ban_excess(self, client: _Client, now: float) -> Excess:
        left = client.banned_until - now
        text = (
            f"Way too much request weight used; IP banned until {self._compute_market_ms(left)}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        return Excess(418, -1003, text, left)

    def _compute_market_ms(self, left_seconds: float) -> int:
        """Return the market time after a span of real time."""
        speed = get_clock_speed(self._clock) or 1.0
        return self._clock.now_ms() + round(left_seconds * 1_000 * speed)

    def _write_headers(self, address: str, response: web.StreamResponse, orders: int) -> None:
        client = self._get_client(address)
        used = str(client.weight.used)
        response.headers["X-MBX-USED-WEIGHT"] = used
        response.headers[f"X-MBX-USED-WEIGHT-{self._weight.header}"] = used
        if not orders or response.status != 200:
            return
        for window in self._orders:
            response.headers[f"X-MBX-ORDER-COUNT-{window.rate.header}"] = str(window.used)


class MessageLimit:
    """The number of messages that the client of one socket may send in a second."""

    def __init__(self, *, enforced: bool) -> None:
        """Begin with all counts at 0."""
        self._enforced = enforced
        self._wall = WALL
        self._times: deque[float] = deque(maxlen=MAX_MESSAGES)

    def is_over_after_message(self) -> bool:
        """Count a message; return whether the limit is exceeded."""
        if not self._enforced:
            return False
        now = self._wall()
        over = len(self._times) == MAX_MESSAGES and self._times[0] > now - 1.0
        self._times.append(now)
        return over


def _format_limit_error(rate: Rate) -> str:
    ending = "Please use WebSocket Streams for live updates to avoid polling the API."
    if rate.kind == "RAW_REQUESTS":
        window = f"{rate.count} {rate.unit}"
        return f"Too many requests; current limit is {rate.limit} requests per {window}. {ending}"
    return (
        f"Too much request weight used; current limit is {rate.limit} request weight per "
        f"{rate.count} {rate.unit}. {ending}"
    )


def _make_excess_response(excess: Excess) -> web.Response:
    return web.Response(
        text=format_json({"code": excess.code, "msg": excess.text}),
        status=excess.status,
        headers={"Retry-After": str(math.ceil(excess.left_seconds))},
        content_type="application/json",
    )
