"""Events that streams of a market yield: candles, tickers, trades, and breaks of the connection.

Prices are in quote currency, times of candles in epoch seconds.
"""

from typing import Literal

from msgspec import Struct

from onetape.core.candles import Candle

CandleSource = Literal["stream", "trades", "polling"]
"""Source of live candles: the exchange's candle stream, its trade stream, or REST."""


class StreamOpened(Struct, frozen=True):
    """The first event of a stream: how the candles are read."""

    candle_source: CandleSource
    """Source of the candles."""
    has_marks: bool
    """Whether the exchange marks candles as final."""


class CandleUpdate(Struct, frozen=True):
    """Candles whose values changed since the last update."""

    rows: tuple[Candle, ...]
    """The changed candles, oldest first; the last one may be forming."""
    connection: int
    """Number of the connection; a new number means that earlier changes may have been missed."""
    closed: frozenset[int] = frozenset()
    """Opens (epoch seconds) of the rows that the exchange marked as final. Later frames of such a
    candle are dropped. Empty for an exchange whose stream has no such mark."""
    is_cached: bool = False
    """Whether the rows arrived before the subscription, on a socket that was already open."""
    received_seconds: float | None = None
    """Monotonic time of the computer when the newest row arrived, seconds; None: not known."""

    def merge_with(self, later: "CandleUpdate") -> "CandleUpdate":
        """Return one update with the newest row of each candle of this and a later update."""
        rows: dict[int, Candle] = {row.timestamp: row for row in (*self.rows, *later.rows)}
        return CandleUpdate(
            tuple(rows[opened] for opened in sorted(rows)),
            later.connection,
            self.closed | later.closed,
            later.is_cached,
            later.received_seconds,
        )


class TickerUpdate(Struct, frozen=True):
    """Best prices of a market; None: the exchange sent none."""

    timestamp_ms: int | None
    """Exchange time of the ticker, epoch milliseconds."""
    bid: float | None
    """Highest price of an order to buy, quote currency."""
    ask: float | None
    """Lowest price of an order to sell, quote currency."""
    last: float | None
    """Price of the last trade, quote currency."""


class PublicTrade(Struct, frozen=True):
    """One trade of the market, between any participants."""

    timestamp_ms: int
    """Exchange time of the trade, epoch milliseconds."""
    price: float
    """Price of the trade, quote currency."""
    amount: float
    """Amount of the trade, base currency."""
    side: str | None
    """Side of the taker, `buy` or `sell`; None: the exchange does not report it."""
    id: str | None
    """The exchange's id of the trade; None: it has none."""


class TradeUpdate(Struct, frozen=True):
    """Trades since the last update."""

    trades: tuple[PublicTrade, ...]
    """The trades in the order of arrival."""
    connection: int
    """Number of the connection; a new number means that earlier trades may have been missed."""


class StreamLost(Struct, frozen=True):
    """The connection is lost and is being opened again; no other event comes until then."""

    reason: str
    """Cause of the loss, one line."""


class StreamQuiet(Struct, frozen=True):
    """No frame has arrived for some time on an open connection."""

    seconds: float
    """Time since the last frame, wall seconds."""
    is_confirmed: bool = True
    """True: REST has nothing newer, so nothing is traded. False: REST did not respond."""


StreamEvent = StreamOpened | CandleUpdate | TickerUpdate | TradeUpdate | StreamLost | StreamQuiet
