"""All faults of a simulator: the choice of those that fire now, and the log of past firings.

The servers describe each request or event by a `Call`. `Faults.fire` returns a `Firing` for each
fault that acts on it now, and appends a `FiringRecord` to the log.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final

from onetape.core.clock import Clock, SystemClock
from onetape.simulator.faults.durations import format_moment, parse_moment_ms, parse_span_ms
from onetape.simulator.faults.kinds import WEBSOCKET_API_KINDS
from onetape.simulator.faults.model import Fault, make_fault
from onetape.simulator.server.wire import JsonObject

#: Maximum number of firings in the log, the first ones; more would add nothing.
MAX_LOGGED: Final = 100_000
#: Kinds that affect many events of a socket; the log has the first event only.
LASTING_SOCKET_KINDS: Final = frozenset({"ws_silence", "ws_half_open"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request, a handshake, a command or an event, compared with the filters of faults."""

    place: str
    """Place of the call: `rest`, `request` (over the WebSocket API), `handshake`, `command`,
    `event`, `candles` or `state`."""
    on: str
    """Name of the call in the log, such as `GET /api/v3/klines` or `btcusdt@kline_1m`."""
    method: str = ""
    """HTTP method, or method of the WebSocket API; empty for others."""
    path: str = ""
    """Path of the request; empty for others."""
    stream: str = ""
    """Name of the stream; empty for others."""
    event: str = ""
    """Type of the event, such as `kline`; empty for others."""
    symbol: str = ""
    """Market of the call, as `BTCUSDT`; empty: none."""
    opens_ms: tuple[int, int] = (0, 0)
    """Open of the first and end of the last of `candles`, epoch milliseconds."""
    is_fill: bool = False
    """Whether an event of the user data stream reports a fill."""
    socket: int = 0
    """Number of the socket that sends an event; a lasting fault is logged once for each socket."""


@dataclass(frozen=True, slots=True)
class FiringRecord:
    """One line of the fault log; equal seeds and timelines give equal lines."""

    number: int
    """Number of this firing, counted from 1 over all faults of the simulator."""
    fault: int
    """Number of the fault that fired."""
    kind: str
    """Kind of the fault."""
    name: str
    """Name of the fault in its timeline; empty: it has none."""
    on: str
    """Name of the call, such as `GET /api/v3/klines` or `btcusdt@kline_1m`."""
    symbol: str
    """Market of the call, as `BTCUSDT`; empty: none."""
    call: int
    """Number of the call among those that matched this fault, from 1."""
    market_ms: int
    """Market time of the firing, epoch milliseconds."""
    seed: int
    """Seed of the timeline; with `fault` and `call` it determines every random draw."""

    def make_document(self) -> JsonObject:
        """Return the firing as in `GET /simulator/faults/log`."""
        return {name: getattr(self, name) for name in self.__slots__}

    def format_line(self) -> str:
        """Return the firing as one line of text."""
        label = f" ({self.name})" if self.name else ""
        return (
            f"fault {self.fault}{label}: {self.kind} on {self.on}, call {self.call}, "
            f"market time {format_moment(self.market_ms)}, seed {self.seed}"
        )


@dataclass(frozen=True, slots=True)
class Firing:
    """A fault that fires now, with its own random generator."""

    fault: Fault
    number: int
    """Number of the fault."""
    call: int
    """Number of the call among those that matched this fault, from 1."""
    random: Random
    """Generator of this firing's draws, seeded by the timeline's seed, `number` and `call`."""
    began_ms: int
    """Market time at which the fault began, epoch milliseconds."""
    added_ms: int
    """Market time at which the fault was added, from which its offsets count; epoch milliseconds.
    """

    def draw_delay_seconds(self) -> float:
        """Return the delay of a response, seconds; a random part is drawn at each call."""
        jitter = (self.fault.jitter_seconds or 0.0) * self.random.random()
        return (self.fault.seconds or 0.0) + jitter


@dataclass(slots=True)
class _FaultEntry:
    """A fault of the simulator with its counts and its time."""

    number: int
    """Number of the fault, from 1."""
    fault: Fault
    added_ms: int
    """Market time at which the fault was added, epoch milliseconds."""
    added_wall: float
    """Real time at which the fault was added, seconds of the monotonic clock."""
    calls: int = 0
    """Number of calls that matched the fault."""
    fired: int = 0
    """Number of times that the fault has fired."""
    sockets: set[int] = field(default_factory=set[int])
    """Numbers of the sockets for which a lasting fault is logged already."""
    began_ms: int = 0
    """Market time at which the fault begins, epoch milliseconds."""
    market: tuple[float, float] = (0.0, 0.0)
    """First millisecond of the fault's market time, and the first after it."""
    wall: tuple[float, float] = (0.0, 0.0)
    """Start and end of the fault in real time, seconds."""

    def __post_init__(self) -> None:
        self.anchor(self.added_ms, self.added_wall)

    def anchor(self, added_ms: int, added_wall: float) -> None:
        """Set the times from which the offsets of the fault count (market time and real time)."""
        fault, forever = self.fault, float("inf")
        self.added_ms, self.added_wall = added_ms, added_wall
        begins = (
            added_ms if fault.market_from is None else parse_moment_ms(fault.market_from, added_ms)
        )
        ends = forever if fault.market_to is None else parse_moment_ms(fault.market_to, added_ms)
        if fault.market_for is not None:
            ends = begins + parse_span_ms(fault.market_for)
        self.began_ms = begins
        self.market = (-forever if fault.market_from is None else begins, ends)
        first = 0 if fault.wall_from is None else parse_span_ms(fault.wall_from)
        last = forever if fault.wall_to is None else parse_span_ms(fault.wall_to)
        if fault.wall_for is not None:
            last = first + parse_span_ms(fault.wall_for)
        self.wall = (added_wall + first / 1_000, added_wall + last / 1_000)

    def is_active(self, now_ms: int, wall: float) -> bool:
        """Return whether the fault is active at these times."""
        return self.market[0] <= now_ms < self.market[1] and self.wall[0] <= wall < self.wall[1]

    def is_matching(self, call: Call) -> bool:
        """Return whether the fault acts on a call."""
        fault = self.fault
        return (
            _is_acting_at(fault, call.place)
            and _is_pattern_match(fault.method, call.method)
            and _is_pattern_match(fault.path, call.path)
            and _is_pattern_match(fault.stream, call.stream)
            and (fault.event is None or fault.event == call.event)
            and (fault.symbol is None or _normalize_symbol(fault.symbol) == call.symbol)
            and (fault.kind != "fills" or call.is_fill)
            and (fault.kind != "candles" or self._has_candle(call.opens_ms))
        )

    def _has_candle(self, opens_ms: tuple[int, int]) -> bool:
        """Return whether the fault spoils one of the candles that open in `opens_ms`."""
        fault, (first, end) = self.fault, opens_ms
        if fault.candle_to is not None and first >= parse_moment_ms(fault.candle_to, self.added_ms):
            return False
        return fault.candle_from is None or end > parse_moment_ms(fault.candle_from, self.added_ms)

    def may_fire(self) -> bool:
        """Return whether the fault fires at the call that was just counted."""
        fault = self.fault
        if fault.nth is not None and self.calls < fault.nth:
            return False
        most = fault.count if fault.count is not None else (1 if fault.nth is not None else None)
        return most is None or self.fired < most


class Faults:
    """The faults of one simulator. Every method may be called from any thread."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int | None = None) -> None:
        """Take the faults of a timeline; their offsets count from the start of the simulator.

        Args:
            faults: In the order of the timeline; the first that fits a call is the one that fires.
            seed: Random seed of all draws; None: the seed of the market.
        """
        self._lock = threading.RLock()
        self._clock: Clock = SystemClock()
        self._wall: Callable[[], float] = time.monotonic
        self._seed = 0 if seed is None else seed
        self._has_own_seed = seed is not None
        self._entries: tuple[_FaultEntry, ...] = ()
        self._numbers = 0
        self._log: list[FiringRecord] = []
        self._fired = 0
        #: Called with each firing; `--verbose` prints it.
        self.listener: Callable[[FiringRecord], None] | None = None
        for fault in faults:
            self.add(fault)

    def start(self, clock: Clock, seed: int) -> None:
        """Count the offsets of all faults from now on; the simulator calls it when it starts.

        Args:
            clock: Market time.
            seed: Seed of the market, for faults without a seed of their own.
        """
        with self._lock:
            self._clock = clock
            if not self._has_own_seed:
                self._seed = seed
            for entry in self._entries:
                entry.anchor(clock.now_ms(), self._wall())

    @property
    def seed(self) -> int:
        """Seed of all draws."""
        return self._seed

    @property
    def has_faults(self) -> bool:
        """Whether the simulator has any fault."""
        return bool(self._entries)

    @property
    def log(self) -> tuple[FiringRecord, ...]:
        """Every firing, oldest first."""
        with self._lock:
            return tuple(self._log)

    def add(self, fault: Fault | None = None, /, **settings: Any) -> int:
        """Add a fault, or one that is made from settings; return its number.

        The fault's offsets count from now.

        Raises:
            FaultError: the settings are invalid.
        """
        made = make_fault(settings) if fault is None else fault
        with self._lock:
            self._numbers += 1
            entry = _FaultEntry(self._numbers, made, self._clock.now_ms(), self._wall())
            self._entries = (*self._entries, entry)
            return entry.number

    def remove(self, number: int) -> bool:
        """Remove a fault; return whether there was one of that number."""
        with self._lock:
            others = tuple(entry for entry in self._entries if entry.number != number)
            found = len(others) < len(self._entries)
            self._entries = others
            return found

    def clear(self) -> int:
        """Remove all faults and return their number; the log stays."""
        with self._lock:
            count = len(self._entries)
            self._entries = ()
            return count

    def list_faults(self) -> list[JsonObject]:
        """Return every fault with its number, the time of its addition and its firings."""
        with self._lock:
            return [
                {
                    "number": entry.number,
                    "added_ms": entry.added_ms,
                    "calls": entry.calls,
                    "fired": entry.fired,
                    "fault": entry.fault.collect_given_settings(),
                }
                for entry in self._entries
            ]

    def fire(self, call: Call, only_one: Collection[str] = ()) -> tuple[Firing, ...]:
        """Count a call for every fault that fits it, and return those that fire.

        Args:
            call: Call or event to match.
            only_one: Kinds of which at most one fires at a call; the call is not counted for the
                faults of these kinds that come after the one that fires.
        """
        if not self._entries:
            return ()
        with self._lock:
            now_ms, wall = self._clock.now_ms(), self._wall()
            firings: list[Firing] = []
            has_limited_fired = False
            for entry in self._entries:
                is_limited = entry.fault.kind in only_one
                if is_limited and has_limited_fired:
                    continue
                if not entry.is_matching(call) or not entry.is_active(now_ms, wall):
                    continue
                firing = self._count_call(entry, call, now_ms)
                if firing is not None:
                    firings.append(firing)
                    has_limited_fired = has_limited_fired or is_limited
            return tuple(firings)

    def fire_lasting(self, kind: str, on: str, symbol: str = "") -> tuple[Firing, ...]:
        """Return the faults of a lasting kind that are active now; each is logged once.

        Args:
            kind: `maintenance`, `halted`, `delisted` or `clock_skew`.
            on: Name in the log of the call at which the fault is first noticed.
            symbol: Only those of this market, as `BTCUSDT`; empty is all.
        """
        if not self._entries:
            return ()
        with self._lock:
            now_ms, wall = self._clock.now_ms(), self._wall()
            found: list[Firing] = []
            for entry in self._entries:
                fault = entry.fault
                if fault.kind != kind or not entry.is_active(now_ms, wall):
                    continue
                if (
                    symbol
                    and fault.symbol is not None
                    and _normalize_symbol(fault.symbol) != symbol
                ):
                    continue
                if entry.calls == 0:
                    entry.calls = 1
                    self._record_firing(
                        entry,
                        Call("state", on, symbol=_normalize_symbol(fault.symbol or "")),
                        now_ms,
                    )
                found.append(self._make_firing(entry))
            return tuple(found)

    def _count_call(self, entry: _FaultEntry, call: Call, now_ms: int) -> Firing | None:
        entry.calls += 1
        if not entry.may_fire():
            return None
        firing = self._make_firing(entry)
        if entry.fault.probability < 1 and firing.random.random() >= entry.fault.probability:
            return None
        if entry.fault.kind not in LASTING_SOCKET_KINDS:
            self._record_firing(entry, call, now_ms)
        elif call.socket not in entry.sockets:
            entry.sockets.add(call.socket)
            self._record_firing(entry, call, now_ms)
        return firing

    def _make_firing(self, entry: _FaultEntry) -> Firing:
        # A separate generator for each call, so that draws of other calls do not matter.
        random = Random(f"{self._seed}/{entry.number}/{entry.calls}")  # noqa: S311 - no secret
        return Firing(
            entry.fault, entry.number, entry.calls, random, entry.began_ms, entry.added_ms
        )

    def _record_firing(self, entry: _FaultEntry, call: Call, now_ms: int) -> None:
        entry.fired += 1
        self._fired += 1
        fault = entry.fault
        fired = FiringRecord(
            self._fired, entry.number, fault.kind, fault.name, call.on, call.symbol, entry.calls,
            now_ms, self._seed,
        )  # fmt: skip
        if len(self._log) < MAX_LOGGED:
            self._log.append(fired)
        if self.listener is not None:
            self.listener(fired)


def _is_acting_at(fault: Fault, place: str) -> bool:
    if place == "request":
        return fault.kind in WEBSOCKET_API_KINDS
    return fault.definition.place == place


def _is_pattern_match(pattern: str | None, text: str) -> bool:
    return pattern is None or pattern == text or fnmatchcase(text, pattern)


def _normalize_symbol(symbol: str) -> str:
    return symbol.replace("/", "").upper()
