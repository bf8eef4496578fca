"""The last price of an open position's market: from the stream, or over REST if that is old.

While the stream sends prices, the rules check each candle and sell at a level. This module serves
the time without a stream, in which `stop_watch.py` compares the price with the level of the stop.
"""

import time
from decimal import Decimal

from msgspec import Struct

from onetape.store.market_data import read_last_ticker
from trader.live.book import LiveBook


class KnownPrice(Struct, frozen=True):
    """The last price of a market, and its age."""

    price: Decimal
    """Last known price, quote currency."""
    age_seconds: float
    """Wall seconds since the price was read or sent."""
    is_by_rest: bool
    """Whether the price was read over REST; otherwise the stream sent it."""


class PriceWatch:
    """Last known price of one market, with its age."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; nothing is requested before a price is needed."""
        self._book = book
        self._requested_at = -1e9

    def get_price(self, now_ms: int) -> KnownPrice | None:
        """Return the newest price, and request another if it is old; None: unknown."""
        book = self._book
        known = self._find_newest_price(now_ms)
        is_old = known is None or known.is_by_rest or known.age_seconds > book.times.price_poll
        is_due = time.monotonic() - self._requested_at >= book.times.price_poll
        if (
            is_old
            and is_due
            and not book.broker.is_request_running("price", book.context.key.symbol)
        ):
            self._requested_at = time.monotonic()
            book.broker.request_price()
        return known

    def _find_newest_price(self, now_ms: int) -> KnownPrice | None:
        """Return the newer one of the stream's stored price and the price of REST, or None."""
        book = self._book
        found: list[KnownPrice] = []
        key = book.context.key
        ticker = read_last_ticker(book.context.store, key.exchange, key.symbol, now_ms=now_ms)
        if ticker is not None and ticker.last:
            age = book.exchange.clock.wall_seconds(now_ms - ticker.timestamp_ms)
            found.append(KnownPrice(Decimal(repr(ticker.last)), age, is_by_rest=False))
        read = book.broker.last_price
        if read is not None:
            found.append(KnownPrice(read[0], time.monotonic() - read[1], is_by_rest=True))
        return min(found, key=lambda known: known.age_seconds, default=None)
