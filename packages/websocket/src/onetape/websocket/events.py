"""Events of a stream. Prices in quote currency, candle times in epoch seconds."""

from typing import Literal

from msgspec import Struct

from onetape.core.candles import Candle

CandleSource = Literal["stream", "trades", "polling"]
"""Source of live candles: the exchange's candle stream, its trade stream, or REST."""


class StreamOpened(Struct, frozen=True):
    """The first event: the source of the candles."""

    candle_source: CandleSource
    has_marks: bool
    """Whether the exchange marks candles as final."""


class CandleUpdate(Struct, frozen=True):
    """Candles whose values changed since the last update, oldest first; the last may be forming."""

    rows: tuple[Candle, ...]
    connection: int
    """Number of the connection; a new number means that earlier events may have been missed."""
    closed: frozenset[int] = frozenset()
    """Opens (epoch seconds) of the rows that the exchange marked as final. A later frame of such a
    candle is dropped. Empty for an exchange whose stream has no such mark."""
    is_cached: bool = False
    """Whether the rows came before the subscriber did, on a socket that was open already."""
    received_seconds: float | None = None
    """Steady clock of the computer when the newest row came; None: the time is not known."""

    def merge_with(self, later: "CandleUpdate") -> "CandleUpdate":
        """Return this update and a later one as one: the newest row of each candle."""
        rows: dict[int, Candle] = {row.timestamp: row for row in (*self.rows, *later.rows)}
        return CandleUpdate(
            tuple(rows[opened] for opened in sorted(rows)),
            later.connection,
            self.closed | later.closed,
            later.is_cached,
            later.received_seconds,
        )


class TickerUpdate(Struct, frozen=True):
    """Best prices; None where the exchange sent none."""

    timestamp_ms: int | None
    """Time of the ticker by the exchange, epoch milliseconds."""
    bid: float | None
    ask: float | None
    last: float | None


class PublicTrade(Struct, frozen=True):
    """One trade of the market, between other people."""

    timestamp_ms: int
    """Time of the trade by the exchange, epoch milliseconds."""
    price: float
    """Price of the trade, quote currency."""
    amount: float
    """Amount of the trade, base currency."""
    side: str | None
    """Side of the taker, `buy` or `sell`; None where the exchange does not report it."""
    id: str | None
    """Trade id of the exchange; None where it has none."""


class TradeUpdate(Struct, frozen=True):
    """Trades since the last update, in the order in which they came."""

    trades: tuple[PublicTrade, ...]
    connection: int
    """Number of the connection; a new number means that earlier trades may have been missed."""


class StreamLost(Struct, frozen=True):
    """The stream broke and is being opened again. No frame arrives until then."""

    reason: str


class StreamQuiet(Struct, frozen=True):
    """No frame arrived for some time, on a connection that is open."""

    seconds: float
    """Wall time since the last frame, seconds."""
    is_confirmed: bool = True
    """Whether REST has nothing newer: there are no trades. False: REST gave no response."""


StreamEvent = StreamOpened | CandleUpdate | TickerUpdate | TradeUpdate | StreamLost | StreamQuiet
