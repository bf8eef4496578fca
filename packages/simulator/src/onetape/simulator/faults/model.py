"""One fault: its kind, filters, time, count and settings; checked when it is made.

Timelines (`timeline.py`), `POST /simulator/faults` and tests make the same `Fault`.
"""

import re
from typing import Any, cast

import msgspec

from onetape.core.errors import UsageError
from onetape.core.message_text import suggest_name
from onetape.simulator.faults.durations import parse_moment_ms, parse_span_ms
from onetape.simulator.faults.kinds import KINDS, FaultKind

_MOMENT_SETTINGS = ("market_from", "market_to", "candle_from", "candle_to")
_SPAN_SETTINGS = ("market_for", "wall_from", "wall_to", "wall_for")
_END_SETTINGS = (("market_to", "market_for"), ("wall_to", "wall_for"))


class FaultError(UsageError):
    """An invalid fault; `key` is the setting that is wrong."""

    def __init__(self, key: str, text: str) -> None:
        """Take the setting that is wrong, and the text with the fix."""
        super().__init__(f"{key}: {text}")
        self.key = key
        self.text = text


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault of a timeline. Filters that are left out match every call.

    `Fault("timeout", method="POST", path="/api/v3/order", nth=2, when="after")` lets the second
    order be done and sends no response.
    """

    kind: str
    """Kind of the fault, a key of `kinds.KINDS`."""
    name: str = ""
    """Name of the fault in the log."""

    method: str | None = None
    """HTTP method of the requests that the fault acts on, or a method of the WebSocket API, such as
    `order.place`."""
    path: str | None = None
    """Path of the requests, such as `/api/v3/klines`, or `/ws-api/v3`; `*` is any text."""
    stream: str | None = None
    """Name of the stream, such as `btcusdt@kline_*`; `user` is the user data stream."""
    event: str | None = None
    """Type of the stream's event, such as `kline` or `executionReport`."""
    symbol: str | None = None
    """Market that the fault acts on, as `BTC/USDT` or `BTCUSDT`."""
    nth: int | None = None
    """Number of the matching call at which the fault fires, from 1; without `count` it fires at no
    other."""
    count: int | None = None
    """Number of times that the fault fires at most; without it as often as calls match while its
    time lasts."""
    probability: float = 1.0
    """Probability that a matching call is affected; drawn from the seed, the fault's and the
    call's number."""
    market_from: str | None = None
    """Market time at which the fault begins: `2024-03-01T00:10` (UTC), or `+10m` after it was
    added."""
    market_to: str | None = None
    """Market time at which the fault has ended, in the form of `market_from`."""
    market_for: str | None = None
    """Duration of the fault in market time, such as `2m`; instead of `market_to`."""
    wall_from: str | None = None
    """Real time from when the fault was added to when it begins, such as `5s`."""
    wall_to: str | None = None
    """Real time from when the fault was added to when it has ended."""
    wall_for: str | None = None
    """Duration of the fault in real time; instead of `wall_to`."""

    shape: str | None = None
    """Variant of the kind, such as `html` of `wrong_body`."""
    when: str | None = None
    """Moment of the fault: `before` or `after` the exchange did what was requested, or inside the
    `body` of its response."""
    seconds: float | None = None
    """Real time of a delay, of a period without events, or between two bytes; market time of the
    faults `clock_skew` and `visibility_delay`."""
    jitter_seconds: float | None = None
    """Largest random addition to `seconds`, drawn from the seed."""
    status: int | None = None
    """HTTP status of the response."""
    code: int | None = None
    """Binance's error code, or the close code of a socket."""
    text: str | None = None
    """Text of the error; known codes have the text of Binance."""
    headers: dict[str, str] | None = None
    """Headers of the response, such as `Retry-After: 30`."""
    part: float | None = None
    """Fraction of the body that is sent before it is cut, 0 to 1."""
    bytes: int | None = None
    """Size of a big frame, bytes."""
    per_second: int | None = None
    """Messages per second of a flood."""
    levels: int | None = None
    """Offers on each side of a thin book; default 5."""
    amount: float | None = None
    """Amount of each offer of a thin book, base currency; default 0.01."""
    ticks: int | None = None
    """Price steps between two offers of a thin book; default 1."""
    candle_from: str | None = None
    """Open of the first spoiled candle, market time; without it one candle of the page is drawn."""
    candle_to: str | None = None
    """Open of the first candle that is not spoiled any more, market time."""

    def __post_init__(self) -> None:
        """Check everything that a type cannot express.

        Raises:
            FaultError: a setting has no place in this kind, is missing, or has a wrong value.
        """
        kind = KINDS.get(self.kind)
        if kind is None:
            hint = suggest_name(self.kind, KINDS) or f"; one of {', '.join(KINDS)}"
            raise FaultError("kind", f"unknown kind {self.kind!r}{hint}")
        self._check_settings(kind)
        self._check_variant(kind)
        self._check_numbers()
        self._check_amount()
        self._check_times()

    @property
    def definition(self) -> FaultKind:
        """Settings, variants and moments that the fault's kind allows."""
        return KINDS[self.kind]

    @property
    def variant(self) -> str:
        """Variant of the fault, by default that of its kind."""
        return self.shape or self.definition.shapes[0]

    @property
    def moment(self) -> str:
        """Moment at which the fault acts; by default that of its kind."""
        return self.when or self.definition.moments[0]

    @property
    def is_before(self) -> bool:
        """Whether the fault acts before the request reaches the exchange."""
        return bool(self.definition.moments) and self.moment == "before"

    def collect_given_settings(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, as in a timeline."""
        return cast("dict[str, Any]", msgspec.to_builtins(self))

    def _check_settings(self, kind: FaultKind) -> None:
        given = self.collect_given_settings()
        for key in given:
            if key not in kind.allowed:
                raise FaultError(key, f"{self.kind} takes no {key}")
        for key in sorted(kind.needs):
            if key not in given:
                raise FaultError(key, f"{self.kind} needs {key}")

    def _check_variant(self, kind: FaultKind) -> None:
        for key, known in (("shape", kind.shapes), ("when", kind.moments)):
            value = cast("str | None", getattr(self, key))
            if value is not None and value not in known:
                hint = suggest_name(value, known)
                raise FaultError(key, f"{self.kind} has {', '.join(known)}, found {value!r}{hint}")

    def _check_numbers(self) -> None:
        if not 0 < self.probability <= 1:
            raise FaultError("probability", f"above 0 and at most 1, found {self.probability:g}")
        for key in ("nth", "count", "bytes", "per_second", "levels", "ticks"):
            value = cast("int | None", getattr(self, key))
            if value is not None and value < 1:
                raise FaultError(key, f"1 or more, found {value}")
        if self.part is not None and not 0 <= self.part < 1:
            raise FaultError("part", f"0 or more and below 1, found {self.part:g}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise FaultError("status", f"an HTTP status of 200 to 599, found {self.status}")
        for key in ("seconds", "jitter_seconds"):
            value = cast("float | None", getattr(self, key))
            if value is None:
                continue
            if not abs(value) < 1e9 or (value < 0 and self.kind != "clock_skew"):
                raise FaultError(key, f"a number of seconds, 0 or more, found {value:g}")
        if self.kind == "ws_close" and not 1_000 <= (self.code or 1_000) <= 4_999:
            raise FaultError("code", f"a close code of 1000 to 4999, found {self.code}")

    def _check_amount(self) -> None:
        if self.amount is not None and not 0 < self.amount < 1e12:
            raise FaultError("amount", f"an amount above 0, found {self.amount:g}")

    def _check_times(self) -> None:
        for key in (*_MOMENT_SETTINGS, *_SPAN_SETTINGS):
            text = cast("str | None", getattr(self, key))
            if text is None:
                continue
            try:
                _ = parse_moment_ms(text, 0) if key in _MOMENT_SETTINGS else parse_span_ms(text)
            except ValueError as error:
                raise FaultError(key, str(error)) from None
        for end, length in _END_SETTINGS:
            if getattr(self, end) is not None and getattr(self, length) is not None:
                raise FaultError(length, f"leave out {end} or {length}")


def make_fault(settings: dict[str, Any], *, strict: bool = True) -> Fault:
    """Return a fault from a mapping, such as the body of a request.

    Args:
        settings: Names and values; an unknown one is an error.
        strict: Whether a number must be a number and not its text.

    Raises:
        FaultError: a setting is unknown, has the wrong type or is invalid.
    """
    if "kind" not in settings:
        raise FaultError("kind", f"missing; one of {', '.join(KINDS)}")
    try:
        return msgspec.convert(settings, Fault, strict=strict)
    except msgspec.ValidationError as error:
        raise _make_fault_error(str(error), settings) from None


def _make_fault_error(text: str, settings: dict[str, Any]) -> FaultError:
    unknown = re.search(r"unknown field `(.*?)`", text)
    if unknown:
        hint = suggest_name(unknown[1], Fault.__struct_fields__)
        return FaultError(unknown[1], f"unknown setting{hint}")
    at = re.search(r" - at `\$\.?(\w+).*?`$", text)
    key = at[1] if at else "kind"
    expected = re.search(r"Expected `(.*?)`", text)
    wanted = expected[1].replace(" | null", "") if expected else "another value"
    wanted = wanted.replace("float", "a number").replace("int", "a whole number")
    return FaultError(key, f"expected {wanted}, found {settings.get(key)!r}")
