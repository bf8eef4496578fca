"""What a stream tells. Prices in quote currency, candle times in epoch seconds."""

from msgspec import Struct

from onetape.core.candles import Candle


class CandleUpdate(Struct, frozen=True):
    """Candles whose values changed since the last update, oldest first; the last may be forming."""

    rows: tuple[Candle, ...]
    connection: int
    """Counts the connections: a new number means that something may have been missed before."""


class TickerUpdate(Struct, frozen=True):
    """Best prices; None where the exchange sent none."""

    timestamp_ms: int | None
    """The exchange's time, epoch milliseconds."""
    bid: float | None
    ask: float | None
    last: float | None


class StreamLost(Struct, frozen=True):
    """The stream broke; it is being opened again. Nothing is known of the market until then."""

    reason: str


StreamEvent = CandleUpdate | TickerUpdate | StreamLost
