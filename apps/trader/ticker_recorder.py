"""Stores the best prices (bid, ask, last) of the stream, one row a second, and deletes old rows."""

import math
from typing import Final

from onetape.core.candles import PRICE_LIMIT
from onetape.exchange.rest import RestExchange
from onetape.store.market_data import BestPrices, delete_tickers_before, insert_ticker
from onetape.websocket.events import TickerUpdate
from trader.session_context import SessionContext

#: Old tickers are deleted this often, milliseconds of market time.
CLEAN_EVERY_MS: Final = 3_600_000
#: A ticker's own time is replaced by the market time if it is older than this, milliseconds.
DAY_MS: Final = 86_400_000


class TickerRecorder:
    """Stores the best prices of one symbol."""

    def __init__(self, context: SessionContext, exchange: RestExchange) -> None:
        """Initialise; nothing is read or written yet."""
        self._context = context
        self._exchange = exchange
        self._second = -1
        """Epoch second of the ticker that was stored last."""
        self._cleaned_ms = 0
        """Market time when old tickers were deleted last, epoch milliseconds."""
        self.ticker: BestPrices | None = None
        """The newest best prices, stored or not; None before the first."""

    def store(self, update: TickerUpdate) -> None:
        """Store the best prices, unless their second has a row; once an hour, delete old rows."""
        now_ms = self._exchange.now_ms()
        time_ms = update.timestamp_ms
        # A ticker dated ahead would hide all tickers until that time.
        if time_ms is None or not 0 <= now_ms - time_ms <= DAY_MS:
            time_ms = now_ms
        prices = (_convert_price(value) for value in (update.bid, update.ask, update.last))
        ticker = self.ticker = BestPrices(time_ms, *prices)
        if ticker.bid is None and ticker.ask is None and ticker.last is None:
            return
        second = ticker.timestamp_ms // 1_000
        if second == self._second:
            return
        self._second = second
        context = self._context
        insert_ticker(context.store, context.key.exchange, context.key.symbol, ticker)
        if now_ms - self._cleaned_ms >= CLEAN_EVERY_MS:
            self._cleaned_ms = now_ms
            self._delete_old(now_ms)

    def _delete_old(self, now_ms: int) -> None:
        """Delete the tickers that are older than the setting `ticker_days`."""
        key = self._context.key
        oldest_ms = now_ms - int(self._context.settings.ticker_days * DAY_MS)
        delete_tickers_before(self._context.store, key.exchange, key.symbol, oldest_ms)


def _convert_price(value: float | None) -> float | None:
    """Return a usable price; None for zero (an empty side of the book) and other values."""
    if value is None or not math.isfinite(value) or not 0 < value < PRICE_LIMIT:
        return None
    return value
