"""The kinds of fault: the place at which each acts, its variants and its settings.

docs/fault-injection.md explains each kind. `model.Fault` checks its settings against this table.
"""

from dataclasses import dataclass
from typing import Final

#: Variants of invalid bodies of a response with status 200.
BODY_SHAPES: Final = (
    "html", "null", "empty_object", "empty_list", "truncated", "octet_stream", "empty", "text",
    "no_symbols",
)  # fmt: skip
#: Frames that no client expects. Up to `deep` they end CCXT's receive loop without an
#: error; `invalid_utf8` ends the socket, `error` is a refusal, and the rest is ignored.
FRAME_SHAPES: Final = (
    "truncated", "array", "no_k", "k_list", "unknown_interval", "binary", "nan", "deep",
    "invalid_utf8", "text", "null", "number", "empty", "unknown_symbol", "unknown_event", "error",
)  # fmt: skip
#: Variants of a spoiled candle, or of a candle that is sent twice, too late or not at all.
CANDLE_SHAPES: Final = (
    "duplicate", "reordered", "revised", "missing", "nan", "infinity", "overflow", "negative",
    "zero", "none", "high_below_low", "close_outside", "time_none", "time_seconds", "time_huge",
    "time_negative", "time_off_grid",
)  # fmt: skip
EVENT_SHAPES: Final = ("lost", "delayed", "duplicated", "reordered")
#: Data that `visibility_delay` delays.
HIDDEN_SHAPES: Final = ("all", "orders", "fills", "balances")
REFUSE_SHAPES: Final = ("status", "page", "hang", "reset")

#: Kinds of place `rest` that also act on a request over the WebSocket API (place `request`). `drip`
#: is none of them: a reply is one frame, which cannot be sent byte by byte between other frames.
WEBSOCKET_API_KINDS: Final = frozenset(
    {"latency", "timeout", "reset", "cut_body", "wrong_body", "status"}
)
#: Settings for where, when and how often a fault fires; every kind takes them.
_ALWAYS: Final = frozenset(
    {"kind", "name", "symbol", "nth", "count", "probability", "market_from", "market_to",
     "market_for", "wall_from", "wall_to", "wall_for"}
)  # fmt: skip
_REST: Final = frozenset({"method", "path"})
_STREAM: Final = frozenset({"stream", "event"})


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault: the place at which it acts, its settings and its variants."""

    place: str
    """Where the kind acts: `rest` (a request), `handshake`, `command` (of a socket), `event` (of a
    stream), `candles`, `reply` (to an order) or `state` (while it lasts)."""
    settings: frozenset[str] = frozenset()
    """Names of the settings of this kind, in addition to those that every kind takes."""
    needs: frozenset[str] = frozenset()
    """Names of the settings that a fault of this kind must have."""
    shapes: tuple[str, ...] = ()
    """Names of the variants of this kind; the first is the default."""
    moments: tuple[str, ...] = ()
    """Moments at which a fault may act: `before` or `after` the exchange acts, or in the response
    (`body`). The first is the default."""

    @property
    def allowed(self) -> frozenset[str]:
        """Names of the settings that a fault of the kind allows."""
        extra = {"shape"} if self.shapes else set[str]()
        extra |= {"when"} if self.moments else set[str]()
        return _ALWAYS | self.settings | extra


def _make_rest_kind(*settings: str, **rest: tuple[str, ...]) -> FaultKind:
    needs = frozenset(rest.pop("needs", ()))
    return FaultKind("rest", _REST | set(settings), needs, **rest)


def _make_event_kind(*settings: str, shapes: tuple[str, ...] = ()) -> FaultKind:
    return FaultKind("event", _STREAM | set(settings), shapes=shapes)


KINDS: Final[dict[str, FaultKind]] = {
    "latency": _make_rest_kind("seconds", "jitter_seconds", needs=("seconds",)),
    "timeout": _make_rest_kind("seconds", moments=("before", "after")),
    "reset": _make_rest_kind(moments=("before", "after", "body")),
    "cut_body": _make_rest_kind("part"),
    "drip": _make_rest_kind("seconds"),
    "wrong_body": _make_rest_kind(shapes=BODY_SHAPES, moments=("after", "before")),
    "status": _make_rest_kind(
        "status", "code", "text", "headers", needs=("status",), moments=("before", "after")
    ),
    "ws_refuse": FaultKind(
        "handshake", frozenset({"path", "seconds", "status", "headers"}), shapes=REFUSE_SHAPES
    ),
    "ws_reject": FaultKind("command", frozenset({"stream", "code", "text"})),
    "ws_no_ack": FaultKind("command", frozenset({"stream"})),
    "ws_close": _make_event_kind("code", "text"),
    "ws_abort": _make_event_kind(),
    "ws_silence": _make_event_kind(),
    "ws_half_open": _make_event_kind(),
    "ws_garbage": _make_event_kind(shapes=FRAME_SHAPES),
    "ws_big_frame": _make_event_kind("bytes"),
    "ws_flood": _make_event_kind("per_second", "seconds"),
    "candles": FaultKind(
        "candles", _REST | _STREAM | {"candle_from", "candle_to"}, shapes=CANDLE_SHAPES
    ),
    "events": _make_event_kind("seconds", shapes=EVENT_SHAPES),
    "fills": _make_event_kind("seconds", shapes=EVENT_SHAPES),
    "clock_skew": FaultKind("state", frozenset({"seconds"}), frozenset({"seconds"})),
    "maintenance": FaultKind("state", frozenset({"text"})),
    "thin_book": FaultKind("state", frozenset({"levels", "amount", "ticks"})),
    "visibility_delay": FaultKind(
        "state", frozenset({"seconds"}), frozenset({"seconds"}), shapes=HIDDEN_SHAPES
    ),
    "ack_only": FaultKind("reply"),
    "halted": FaultKind("state", needs=frozenset({"symbol"})),
    "delisted": FaultKind("state", needs=frozenset({"symbol"})),
}
